"""Thumbnails of many pictures: 1 KB each, so they lie in a temporary file that is mapped, not in memory."""

import tempfile
from collections.abc import Iterator
from typing import Self

import numpy as np

from model_aggregation.data.appearance import THUMBNAIL_PX

_AT_ONCE = 2_000


class ThumbnailFile:
    """Collects thumbnails one after the other in a block; the file goes when nothing maps it any more."""

    def __init__(self) -> None:
        self._file, self._count = tempfile.TemporaryFile(), 0  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, pixels: bytes) -> int:
        """Take thumbnails, 1,024 bytes each, and return the place of the first."""
        place = self._count
        self._file.write(pixels)
        self._count += len(pixels) // THUMBNAIL_PX**2
        return place

    def mapped(self) -> np.ndarray:
        """Return all thumbnails so far, (N, 32, 32) uint8, read-only; they outlive the block."""
        shape = (self._count, THUMBNAIL_PX, THUMBNAIL_PX)
        if not self._count:  # an empty file cannot be mapped
            return np.empty(shape, dtype=np.uint8)
        self._file.flush()
        return np.memmap(self._file, dtype=np.uint8, mode="r", shape=shape)


def picked(thumbnails: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the thumbnails at some places in their order, mapped too."""
    with ThumbnailFile() as file:
        for rows in slices(len(places)):
            file.add(thumbnails[places[rows]].tobytes())
        return file.mapped()


def slices(count: int, at_once: int = _AT_ONCE) -> Iterator[slice]:
    """Yield ``range(count)`` in parts that are small in memory."""
    return (slice(start, start + at_once) for start in range(0, count, at_once))
