"""One process for one run: a lock that dies with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from model_aggregation.errors import ResultsError
from model_aggregation.files import content_hash

LOCKS = ".locks"
"""Folder of the locks in a log folder."""
_PATIENCE_SECONDS = 1.0  # who asks whether a run is locked holds it for an instant


class RunIsBusyError(ResultsError):
    """Another process is working on the run."""


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
        with FileLock(path, timeout=_PATIENCE_SECONDS):
            yield
    except Timeout as error:
        raise RunIsBusyError(f"Another process is working on {run_name}; it was left alone.") from error


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
