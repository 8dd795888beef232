"""Images decoded once: a memory-mapped array of uint8 pixels, shared by all models, epochs and runs.

The key of a store is the content of its files and the rule that made its pixels, so a changed image makes another
store and a renamed one does not. A store is whole or absent: it is built under a temporary name and renamed.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from platformdirs import user_cache_path

from model_aggregation.data.decoding import open_image, resize_image
from model_aggregation.data.parallel import map_files

_FORMAT = "1"  # part of the key: raise it when decoding or resizing changes a pixel
_FILES_PER_CHUNK = 64
_RESERVE_BYTES = 500 * 2**20  # disk space that a store leaves free


@dataclass(frozen=True)
class PixelRule:
    """How a file becomes an array: channels, squashed to a square of ``image_size`` pixels, interpolation."""

    image_size: int
    channels: int
    interpolation: str

    @property
    def bytes_per_image(self) -> int:
        """Bytes of one image in the store."""
        return self.image_size * self.image_size * self.channels


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring rows of a store: the first row and the files, in order."""

    start: int
    files: tuple[str, ...]
    rule: PixelRule


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Decoded images: ``pixels`` is (N, H, W, C) uint8; ``rows`` finds an image by the hash of its file."""

    pixels: np.ndarray
    rows: dict[str, int]

    def rows_of(self, content_hashes: Sequence[str]) -> np.ndarray:
        """Return the row of each image, (n,) int64."""
        return np.array([self.rows[content_hash] for content_hash in content_hashes], dtype=np.int64)


def decode_to_rule(path: str, rule: PixelRule) -> np.ndarray:
    """Decode one file to (H, W, C) uint8 by ``rule``."""
    image = open_image(Path(path), channels=rule.channels)  # type: ignore[arg-type]
    image = resize_image(image, (rule.image_size, rule.image_size), rule.interpolation)
    return np.array(image, dtype=np.uint8).reshape(rule.image_size, rule.image_size, rule.channels)


def open_store(
    images: pd.DataFrame,
    rule: PixelRule,
    *,
    cache_folder: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageStore | None:
    """Return the store of ``images`` (columns ``path``, ``content_hash``), building it where it is missing.

    Returns None when the disk has no room for it; then images are decoded as they are needed.
    """
    unique = _unique(images)
    hashes = unique["content_hash"].tolist()
    path = _store_path(hashes, rule, cache_folder)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < len(hashes) * rule.bytes_per_image + _RESERVE_BYTES:
            return None
        _build(path, unique["path"].tolist(), rule, workers=workers, progress=progress)
    pixels = np.load(path, mmap_mode="r")
    return ImageStore(pixels, {content_hash: row for row, content_hash in enumerate(hashes)})


def remove_store(images: pd.DataFrame, rule: PixelRule, *, cache_folder: Path | None = None) -> None:
    """Remove the store of ``images``, if there is one."""
    _store_path(_unique(images)["content_hash"].tolist(), rule, cache_folder).unlink(missing_ok=True)


def _unique(images: pd.DataFrame) -> pd.DataFrame:
    return images.drop_duplicates("content_hash").sort_values("content_hash")


def _store_path(hashes: list[str], rule: PixelRule, cache_folder: Path | None) -> Path:
    folder = cache_folder or user_cache_path("model_aggregation") / "images"
    return folder / f"{_key(hashes, rule)}.npy"


def _key(hashes: list[str], rule: PixelRule) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {rule}".encode())
    for content_hash in hashes:
        digest.update(content_hash.encode())
    return digest.hexdigest()[:32]


def _build(
    path: Path,
    files: list[str],
    rule: PixelRule,
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.part.npy")
    shape = (len(files), rule.image_size, rule.image_size, rule.channels)
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        del array  # every writer maps the file itself
        starts = range(0, len(files), _FILES_PER_CHUNK)
        chunks = [_Chunk(start, tuple(files[start : start + _FILES_PER_CHUNK]), rule) for start in starts]
        _fill(temporary, chunks, workers=workers, progress=progress)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(
    temporary: Path,
    chunks: list[_Chunk],
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(len(chunk.files) for chunk in chunks)
    done = 0
    for written in map_files(partial(_write_rows, temporary), chunks, files=total, workers=workers):
        done += written
        if progress:
            progress(done, total)


def _write_rows(temporary: Path, chunk: _Chunk) -> int:
    array = np.load(temporary, mmap_mode="r+")
    for row, file in enumerate(chunk.files, chunk.start):
        array[row] = decode_to_rule(file, chunk.rule)
    array.flush()
    return len(chunk.files)
