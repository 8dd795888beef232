"""One process for one run: a lock that dies with the process that holds it."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from model_aggregation.errors import ResultsError
from model_aggregation.files import content_hash

LOCKS = ".locks"
"""Folder of the locks in a log folder."""
_PATIENCE_SECONDS = 1.0  # who asks whether a run is locked holds it for an instant


@dataclass(frozen=True)
class LockHolder:
    """The process that works on a run: its number, its machine, and since when (ISO 8601 with the time zone)."""

    pid: int
    machine: str
    since: str

    def __str__(self) -> str:
        place = "" if self.machine == platform.node() else f" on {self.machine}"
        return f"process {self.pid}{place}, since {datetime.fromisoformat(self.since).astimezone():%Y-%m-%d %H:%M:%S}"


class RunIsBusyError(ResultsError):
    """Another process is working on the run; ``holder`` says which, in words."""

    def __init__(self, run_name: str, holder: str) -> None:
        self.holder = holder
        super().__init__(f"{run_name} is running elsewhere ({holder}); it was left alone.")


@contextmanager
def run_lock(log_folder: Path, group_name: str, run_name: str) -> Iterator[None]:
    """Hold a run for this process inside the block.

    Raises
    ------
    RunIsBusyError
        If another process holds it.
    """
    path = _lock_path(log_folder, group_name, run_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=_PATIENCE_SECONDS), _told(path):
            yield
    except Timeout as error:
        raise RunIsBusyError(run_name, _holder_of(path)) from error


@contextmanager
def _told(lock: Path) -> Iterator[None]:
    """Leave beside a lock who holds it: the lock itself cannot be read by others everywhere (Windows)."""
    path = lock.with_suffix(".json")
    holder = LockHolder(os.getpid(), platform.node(), datetime.now().astimezone().isoformat(timespec="seconds"))
    with suppress(OSError):  # a full disk: nobody is told who holds it
        path.unlink(missing_ok=True)  # of a process that was killed
        path.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _holder_of(lock: Path) -> str:
    try:
        return str(LockHolder(**json.loads(lock.with_suffix(".json").read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return "another process"


def who_holds(log_folder: Path, group_name: str, run_name: str) -> str | None:
    """Return in words which process works on a run; None if none does."""
    path = _lock_path(log_folder, group_name, run_name)
    try:
        with FileLock(path, timeout=_PATIENCE_SECONDS):
            return None
    except Timeout:
        return _holder_of(path)


@contextmanager
def settling_lock(log_folder: Path, group_name: str, model: str) -> Iterator[None]:
    """Wait until no other run of the model settles how it is computed, and let none do so inside the block."""
    path = log_folder / LOCKS / f"{group_name}.{content_hash(model.encode())[:16]}.settling.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def is_locked(log_folder: Path, group_name: str, run_name: str) -> bool:
    """Return whether some process holds the run now."""
    path = _lock_path(log_folder, group_name, run_name)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _lock_path(log_folder: Path, group_name: str, run_name: str) -> Path:
    return log_folder / LOCKS / f"{group_name}.{run_name}.lock"
