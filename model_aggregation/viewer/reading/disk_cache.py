"""A folder of files that can be made again, bounded in size; the longest unused go first."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from model_aggregation.files import whole_or_absent

_KEPT_SHARE = 0.9
"""What is left of the limit after clearing, so that not every new file clears again."""


class DiskCache:
    """Files by key in one folder; a folder that cannot be written keeps nothing, and nothing fails by that.

    Parameters
    ----------
    folder
        Made at the first file, readable by its owner alone: it may hold images.
    limit_bytes
        The most that all files take together.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._size: int | None = None
        self._lock = Lock()

    def path_of(self, key: str, suffix: str) -> Path:
        """Return where the file of a key lies, or would lie."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:42]}{suffix}"

    def find(self, key: str, suffix: str) -> Path | None:
        """Return the file of a key and note that it was used; None when there is none."""
        path = self.path_of(key, suffix)
        with suppress(OSError):
            os.utime(path)
        return path if path.is_file() else None

    def keep(self, key: str, suffix: str, write: Callable[[Path], None]) -> Path | None:
        """Write the file of a key, whole or absent; None when the folder cannot take it."""
        path = self.path_of(key, suffix)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with whole_or_absent(path) as temporary:
                write(temporary)
            self._count(path.stat().st_size)
        except OSError:  # full, read-only, or the file is mapped by another process (Windows)
            return path if path.is_file() else None
        return path

    def _count(self, added: int) -> None:
        with self._lock:
            self._size = self._clear() if self._size is None else self._size + added
            if self._size > self.limit_bytes:
                self._size = self._clear()

    def _clear(self) -> int:
        """Remove the longest unused files until there is room; return the size of the rest."""
        files = sorted(_files(self.folder))
        size = sum(bytes_ for _, bytes_, _ in files)
        if size <= self.limit_bytes:
            return size
        for _, bytes_, path in files:
            if size <= self.limit_bytes * _KEPT_SHARE:
                break
            with suppress(OSError):
                Path(path).unlink()
                size -= bytes_
        return size


def _files(folder: Path) -> list[tuple[int, int, str]]:
    """Return time, size and path of every file."""
    found = []
    for part in folder.iterdir():
        with suppress(OSError), os.scandir(part) as entries:
            for entry in entries:
                status = entry.stat()
                found.append((status.st_mtime_ns, status.st_size, entry.path))
    return found
