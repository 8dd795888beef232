"""Features of a frozen network in a file: what enters the head, once for each image and view."""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_aggregation.files import reserve

_RESERVE_BYTES = 500 * 2**20  # disk space that is left free


class FeatureFile:
    """Features (views, N, …) float32 in a memory-mapped file, and which of them are there.

    A file that lies there already is continued: what was marked as computed is kept.
    """

    def __init__(self, path: Path, views: int, images: int, shape: tuple[int, ...]) -> None:
        self._path, self._marks, self.views = path, path.with_suffix(".done.npy"), views
        if not self._marks.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            created = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(views, images, *shape))
            del created
            reserve(path)
            self._save_marks(np.zeros((views, images), dtype=bool))
        self._values = np.load(path, mmap_mode="r+")
        self._done = np.load(self._marks)

    @staticmethod
    def exists(path: Path) -> bool:
        """Return whether a file with marks lies at ``path``."""
        return path.with_suffix(".done.npy").exists()

    def missing(self, views: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return those of the pairs of view and position that are not computed yet, in the order given."""
        missing = ~self._done[views, positions]
        return views[missing], positions[missing]

    def write(self, views: np.ndarray, positions: np.ndarray, features: Tensor) -> None:
        """Store features (n, …); they count once :meth:`keep` was called."""
        self._values[views, positions] = features.float().cpu().numpy()

    def keep(self, views: np.ndarray, positions: np.ndarray) -> None:
        """Mark pairs as computed, after all is on the disk."""
        self._values.flush()
        self._done[views, positions] = True
        self._save_marks(self._done)

    def read(self, views: np.ndarray, positions: np.ndarray) -> Tensor:
        """Return features (n, …) float32, a copy."""
        return torch.from_numpy(self._values[views, positions])

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
