"""Code that files name, and whether the user said yes to it.

A run folder or a settings file is data that people send each other. What in it would run code here (a transforms
file, a network of the user's own, a pickle, a Ray cluster) runs only after a yes on the command line or in Python. The
yes never stands in the file itself. Two kinds of it are kept, in a file of the user's outside all results: contents
that the user asked to remember, and contents that a run folder made here uses, for that folder only.

Knows nothing about settings: what would run is handed in as ``NamedCode``.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from platformdirs import user_state_path

from model_aggregation.errors import UntrustedCodeError

KEPT_NAME = "trusted_code.jsonl"


@dataclass(frozen=True, order=True)
class NamedCode:
    """Something that would run code: the setting that names it, what that is, and the SHA-256 of its content."""

    setting: str
    what: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.what} (SHA-256 {self.sha256[:16]}…)"


@dataclass(frozen=True)
class Trust:
    """What the user says about code that comes with files.

    Parameters
    ----------
    trust_code
        Run the code that a settings file or a run folder names: transforms, networks of one's own, pickles. What it is
        stands in the message without this flag.
    remember
        With trust_code: do not ask again for code of the same content.
    """

    trust_code: bool = False
    remember: bool = False


_GIVEN: ContextVar[Trust] = ContextVar("trust", default=Trust())  # noqa: B039  (frozen)


@contextmanager
def trusting(trust: Trust) -> Iterator[None]:
    """Let the user's word hold for all files that are read in the block."""
    before = _GIVEN.set(trust)
    try:
        yield
    finally:
        _GIVEN.reset(before)


def code_file(setting: str, path: Path, what: str = "") -> NamedCode:
    """Return a file that would run, ``what`` of it where that is a part; without the file its path stands for it."""
    try:
        sha256 = _sha256_of(path)
    except OSError:
        return code_text(setting, str(path))
    return NamedCode(setting, f"{what} in {path}" if what else str(path), sha256)


def code_text(setting: str, what: str) -> NamedCode:
    """Return something that would run code and is no file here, such as the address of a cluster."""
    return NamedCode(setting, what, _sha256(what.encode()))


def code_folder(setting: str, folder: Path) -> NamedCode:
    """Return the Python files of a folder, any of which may run."""
    files = sorted(path for path in folder.glob("*.py") if path.is_file())
    return NamedCode(setting, str(folder), _sha256("".join(map(_named_hash, files)).encode()))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()  # ``files`` has it too, but imports tables, and help needs none


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named_hash(path: Path) -> str:
    return f"{_sha256_of(path)} {path.name}\n"


def require_trust(code: Iterable[NamedCode], origin: Path) -> None:
    """Refuse code that a file or folder names, unless the user says yes (:func:`trusting`) or it is known.

    Parameters
    ----------
    origin
        The run folder or the file that names the code.

    Raises
    ------
    UntrustedCodeError
        Listing everything that would run, with its content's hash.
    """
    named = sorted(set(code))
    known = _known(origin) if named else set()
    unknown = [entry for entry in named if entry.sha256 not in known]
    if not unknown:
        return
    trust = _GIVEN.get()
    if not trust.trust_code:
        raise UntrustedCodeError(
            f"{origin} names code that would run on this machine. Look at it first; if you trust it, give --trust-code "
            "(in Python trust_code=True), and --remember too if you do not want to be asked again for these contents:",
            [str(entry) for entry in unknown],
        )
    if trust.remember:
        try:
            _keep(unknown, None)
        except OSError as error:
            raise UntrustedCodeError(f"--remember: {kept_file()} cannot be written ({error.strerror}).") from error


def note_made_here(code: Iterable[NamedCode], folder: Path) -> None:
    """Keep what a run folder that is made here uses, so that it runs again from this folder without a question."""
    named = sorted(set(code))
    known = _known(folder) if named else set()
    if new := [entry for entry in named if entry.sha256 not in known]:
        with suppress(OSError):  # then it is asked again
            _keep(new, folder)


def kept_file() -> Path:
    """Return the file that keeps what is trusted: JSON lines, newest last; deleting it forgets everything."""
    return user_state_path("model_aggregation") / KEPT_NAME


def _keep(code: Iterable[NamedCode], folder: Path | None) -> None:
    lines = [
        json.dumps(
            {
                "sha256": entry.sha256,
                "setting": entry.setting,
                "what": entry.what,
                "folder": None if folder is None else str(folder.resolve()),
                "when": datetime.now().isoformat(timespec="seconds"),
            },
            ensure_ascii=False,
        )
        for entry in code
    ]
    path = kept_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _known(origin: Path) -> set[str]:
    """Return the contents that may run from a folder, or from the folder that a file lies in."""
    try:
        lines = kept_file().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    here = origin.resolve()
    folder = str(here if here.is_dir() else here.parent)
    known = set()
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut
            entry = json.loads(line)
            if entry["folder"] is None or entry["folder"] == folder:
                known.add(str(entry["sha256"]))
    return known
