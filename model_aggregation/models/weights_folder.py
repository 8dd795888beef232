"""A folder of weights for machines without internet: filling it, and checking that nothing in it has changed.

``SHA256.txt`` lists the files, one line each. It is written in the form that ``sha256sum -c`` reads too; read are all
forms in which such lists are kept (see ``_FORMS``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_aggregation.errors import ModelError
from model_aggregation.files import file_hash, write_text
from model_aggregation.models.published import Whereabouts, copy_into
from model_aggregation.models.servers import CONFIGURATION
from model_aggregation.models.zoo import SUFFIXES, ModelName

LIST = "SHA256.txt"

_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?P<hash>[0-9a-f]{64}) [ *](?P<name>.+)",  # sha256sum, shasum -a 256
        r"SHA256 \((?P<name>.+)\) = (?P<hash>[0-9a-f]{64})",  # sha256sum --tag, shasum of BSD
        r"(?P<name>.+?)\s+\d+\s+sha256[ :]?(?P<hash>[0-9a-f]{64})(\s.*)?",  # a manifest: name, bytes, hash, remarks
        r"(?P<name>.+?)\s+(?P<hash>[0-9a-f]{64})",
    )
]


@dataclass(frozen=True)
class Fetched:
    """One model's file in the folder, or why there is none."""

    model: ModelName
    file: Path | None
    reason: str = ""


def fetch(
    models: list[ModelName], folder: Path, *, offline: bool = False, said: Callable[[str], None] | None = None
) -> list[Fetched]:
    """Put the published weights of the models into ``folder`` and list them; one that fails does not stop the others.

    What is in the folder or in a library's own download folder is not downloaded again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Fetched] = []
    for model in models:
        if said:
            said(f"{model} …")
        try:
            results.append(Fetched(model, copy_into(folder, model, Whereabouts(folder, offline))))
        except (ModelError, OSError) as error:
            results.append(Fetched(model, None, str(error)))
    files = [result.file for result in results if result.file]
    files += [file.with_name(CONFIGURATION) for file in files if file.with_name(CONFIGURATION).is_file()]
    if files:
        hashes = _listed(folder) if (folder / LIST).is_file() else {}
        hashes |= {file.relative_to(folder).as_posix(): file_hash(file) for file in files}
        write_text(folder / LIST, "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items())))
    return results


def verify(folder: Path) -> dict[str, str]:
    """Compare every file with the list and say how each is: ``same``, ``changed``, ``missing`` or ``not listed``.

    Raises
    ------
    ModelError
        If there is no list, or it cannot be read.
    """
    hashes = _listed(folder)
    found: dict[str, str] = {}
    for name, expected in sorted(hashes.items()):
        file = folder / name
        if not file.is_file():
            found[name] = "missing"
        else:
            found[name] = "same" if file_hash(file) == expected else "changed"
    others = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in others]
    return found | {name: "not listed" for name in names if name not in hashes}


def _listed(folder: Path) -> dict[str, str]:
    """Read the list: the hash of each file by its name."""
    try:
        lines = (folder / LIST).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{folder / LIST} cannot be read: {error}. 'magg weights fetch MODEL --to DIR' makes it; so does "
            f"'sha256sum * > {LIST}' in the folder."
        ) from error
    found = {line: _read_line(line) for line in lines if line.strip()}
    wrong = [line for line, entry in found.items() if entry is None]
    if wrong:
        raise ModelError(
            f"{folder / LIST}: expected 'HASH  FILE' (as sha256sum writes), 'SHA256 (FILE) = HASH', 'FILE HASH' or "
            "'FILE BYTES sha256 HASH' in every line; these are others:",
            wrong,
        )
    return dict(entry for entry in found.values() if entry is not None)


def _read_line(line: str) -> tuple[str, str] | None:
    matches = (form.fullmatch(line.rstrip()) for form in _FORMS)
    match = next((found for found in matches if found), None)
    return (match["name"], match["hash"].lower()) if match else None
