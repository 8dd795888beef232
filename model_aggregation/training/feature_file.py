"""Features of a frozen network in a file: what enters the head, once for each image and view."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_aggregation.errors import DamagedCacheError
from model_aggregation.files import reserve

_RESERVE_BYTES = 500 * 2**20  # disk space that is left free
_DONE = 1 << 32  # set in the checksum of features that are there: 0 may be a checksum


class FeatureFile:
    """Features (views, N, …) float32 in a memory-mapped file, and which of them are there.

    A file that lies there already is continued: what was marked as computed is kept. A mark holds the CRC-32 of the
    features; a file of an earlier version is taken as it is.
    """

    def __init__(self, path: Path, views: int, images: int, shape: tuple[int, ...]) -> None:
        self._path, self._marks, self.views = path, path.with_suffix(".done.npy"), views
        if not self._marks.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            created = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(views, images, *shape))
            del created
            reserve(path)
            self._save_marks(np.zeros((views, images), dtype=np.uint64))
        self._values = np.load(path, mmap_mode="r+")
        self._done = np.load(self._marks)
        if self._done.dtype == bool:
            self._done = np.where(self._done, self._checksums(*np.indices(self._done.shape)), 0).astype(np.uint64)
        self._checksums_written = np.zeros_like(self._done)

    @staticmethod
    def exists(path: Path) -> bool:
        """Return whether a file with marks lies at ``path``."""
        return path.with_suffix(".done.npy").exists()

    @classmethod
    def is_damaged(cls, path: Path) -> bool:
        """Return whether a file with marks lies at ``path`` and holds other features than were computed."""
        if not cls.exists(path):
            return False
        try:
            cls(path, 0, 0, ()).check()
        except (DamagedCacheError, OSError, ValueError, IndexError):
            return True
        return False

    def missing(self, views: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return those of the pairs of view and position that are not computed yet, in the order given."""
        missing = self._done[views, positions] == 0
        return views[missing], positions[missing]

    def write(self, views: np.ndarray, positions: np.ndarray, features: Tensor) -> None:
        """Store features (n, …); they count once :meth:`keep` was called."""
        values = features.float().cpu().numpy()
        self._values[views, positions] = values
        self._checksums_written[views, positions] = [zlib.crc32(row) | _DONE for row in np.ascontiguousarray(values)]

    def keep(self, views: np.ndarray, positions: np.ndarray) -> None:
        """Mark pairs as computed, after all is on the disk."""
        self._values.flush()
        self._done[views, positions] = self._checksums_written[views, positions]
        self._save_marks(self._done)

    def read(self, views: np.ndarray, positions: np.ndarray) -> Tensor:
        """Return features (n, …) float32, a copy."""
        return torch.from_numpy(self._values[views, positions])

    def check(self) -> None:
        """Read all features again.

        Raises
        ------
        DamagedCacheError
            If some are not those that were computed.
        """
        views, positions = np.nonzero(self._done)
        known = self._done[views, positions]
        changed = int((self._checksums(views, positions) != known).sum())
        if changed:
            raise DamagedCacheError(
                f"The stored features of the frozen network in {self._path} were changed while the run went on: "
                f"{changed} of {len(known)} are not those that were computed."
            )

    def _checksums(self, views: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return marks as they should be for what lies in the file, shaped like ``views``."""
        values = np.asarray(self._values)  # rows of a mapped array are slow
        pairs = zip(views.ravel().tolist(), positions.ravel().tolist(), strict=True)
        marks = [zlib.crc32(values[view, position]) | _DONE for view, position in pairs]
        return np.array(marks, dtype=np.uint64).reshape(views.shape)

    def remove(self) -> None:
        """Close and remove the file."""
        del self._values
        self._marks.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _save_marks(self, done: np.ndarray) -> None:
        temporary = self._marks.with_name(f".{self._marks.name}.part.npy")
        np.save(temporary, done)
        temporary.replace(self._marks)


def fits_on_disk(folder: Path, numbers: int) -> bool:
    """Return whether so many float32 numbers fit into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free > 4 * numbers + _RESERVE_BYTES
