"""Writing files so that they are whole or absent: a temporary name first, then a rename.

Knows nothing about what the files mean.
"""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.errors import ResultsError

_DISK_TROUBLES = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "a file may not become so large there",
    errno.EROFS: "it can only be read",
    getattr(errno, "EDQUOT", errno.ENOSPC): "its quota is used up",
}


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends without an error.

    Two processes that write the same file do not meet: the temporary name carries machine and process. The
    temporary name keeps the suffix of ``path``, because some writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{_machine()}-{os.getpid()}"
    temporary = path.with_name(f".{path.stem[:40]}.{writer}.part{path.suffix}")  # short: names have limits
    try:
        yield temporary
        to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_troubles_said(folder: Path) -> Iterator[None]:
    """Turn a disk that takes no more inside the block into an error that says what to do.

    Raises
    ------
    ResultsError
        Instead of such an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_TROUBLES:
            raise
        raise ResultsError(
            f"Nothing more can be written to {error.filename or folder}: {_DISK_TROUBLES[error.errno]} "
            f"({shutil.disk_usage(folder).free / 1e6:.1f} MB are free). Make room and give the same command again; it "
            "goes on from there."
        ) from error


def to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk: a rename must not outlive it when the power fails."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left half-written in a folder and below, where no other one writes."""
    for path in folder.rglob(".*.part*"):
        path.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what a process of this machine that lives no longer left half-written in a folder, not below.

    Others may be writing there: what is theirs stays, and so does what another machine writes.
    """
    for path in folder.glob(f".*.{_machine()}-*.part*"):
        writer = re.search(r"-(\d+)\.part[^-]*$", path.name)
        if writer is not None and not _lives(int(writer[1])):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    import psutil  # rarely needed

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _machine() -> str:
    """Return this machine's mark in temporary names: process ids of another mean nothing here."""
    return content_hash(platform.node().encode(errors="replace"))[:6]


def reserve(path: Path) -> None:
    """Let a file made with holes take its room on the disk now: later a full disk would kill the process.

    Raises
    ------
    OSError
        If the room is not there.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, whole or absent."""
    with whole_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON that every parser reads: NaN and Infinity raise ``ValueError`` instead of being written."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """Return ``content`` as indented JSON in UTF-8 characters, keys in the order given."""
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: UTF-8, LF, quoted where needed, floats as the shortest text that reads back equal."""
    with whole_or_absent(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def csv_text(table: pd.DataFrame) -> str:
    """Return a table in the CSV form of :func:`write_csv`.

    >>> csv_text(pd.DataFrame({"name": ["a,b"], "value": [0.1]}))
    'name,value\\n"a,b",0.1\\n'
    """
    return table.to_csv(index=False, lineterminator="\n")


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
