"""Filling image stores: each file is decoded once for all stores, by several processes, chunk by chunk.

A build keeps the checksum of each finished chunk beside its unfinished array, so that the next attempt decodes only
what is missing.
"""

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model_aggregation.data.parallel import map_alone, map_files
from model_aggregation.data.pixels import PixelRule, decode_to_rules
from model_aggregation.errors import DataError
from model_aggregation.files import reserve

CHUNK = 64
"""Images of a chunk, the last may have fewer."""

_DONE = 1 << 32  # set in the checksum of a chunk that is finished: 0 may be a checksum


@dataclass(frozen=True)
class Build:
    """A store in the making: where it will lie, the rule of its pixels, and its shape (N, H, W, C)."""

    path: Path
    rule: PixelRule
    shape: tuple[int, int, int, int]

    @property
    def part(self) -> Path:
        """The unfinished array."""
        return self.path.with_suffix(".part.npy")

    @property
    def marks(self) -> Path:
        """The checksums of the finished chunks."""
        return self.path.with_suffix(".marks.npy")

    def finish(self) -> None:
        """Give the array its name; now the store is there."""
        self.part.replace(self.path)
        self.marks.unlink()

    def begin(self) -> np.ndarray:
        """Return the checksums of the chunks, those of an attempt before where its pixels still agree."""
        chunks = -(-self.shape[0] // CHUNK)
        with suppress(OSError, ValueError):
            pixels, marks = np.load(self.part, mmap_mode="r"), np.load(self.marks, mmap_mode="r+")
            if pixels.shape == self.shape and marks.shape == (chunks,):
                for chunk in np.flatnonzero(marks):
                    if checksum(pixels, int(chunk)) | _DONE != marks[chunk]:
                        marks[chunk] = 0
                return marks
        np.lib.format.open_memmap(self.part, mode="w+", dtype=np.uint8, shape=self.shape)
        reserve(self.part)
        return np.lib.format.open_memmap(self.marks, mode="w+", dtype=np.uint64, shape=(chunks,))


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring images: the number of the chunk, its files in order, and the builds that lack it."""

    number: int
    files: tuple[str, ...]
    builds: tuple[Build, ...]


def fill(
    builds: Sequence[Build],
    files: Sequence[str],
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[list[int]]:
    """Decode every file that a build lacks, once for all builds; return the checksums of the chunks of each build.

    Raises
    ------
    DataError
        When a file cannot be read or kills the process that decodes it; the chunks before it stay for the next
        attempt.
    """
    marks = [build.begin() for build in builds]
    chunks = []
    for number, start in enumerate(range(0, len(files), CHUNK)):
        lacking = tuple(build for build, done in zip(builds, marks, strict=True) if not done[number])
        if lacking:
            chunks.append(_Chunk(number, tuple(files[start : start + CHUNK]), lacking))
    total = sum(len(chunk.files) for chunk in chunks)
    done = 0
    written = map_files(_write, chunks, files=total, workers=workers, killed=_name_killer)
    for chunk, checksums in zip(chunks, written, strict=True):
        for build, checksum in zip(chunk.builds, checksums, strict=True):
            mark = marks[list(builds).index(build)]
            mark[chunk.number] = checksum
            mark.flush()  # type: ignore[attr-defined]
        done += len(chunk.files)
        if progress:
            progress(done, total)
    return [[int(mark & (_DONE - 1)) for mark in own.astype(int)] for own in marks]


def _write(chunk: _Chunk) -> list[int]:
    """Decode the files of a chunk into every array that lacks it; return what to mark it with."""
    arrays = [np.load(build.part, mmap_mode="r+") for build in chunk.builds]
    for row, file in enumerate(chunk.files, chunk.number * CHUNK):
        for array, pixels in zip(arrays, decode_to_rules(file, [build.rule for build in chunk.builds]), strict=True):
            array[row] = pixels
    for array in arrays:
        array.flush()
    return [checksum(array, chunk.number) | _DONE for array in arrays]


def _name_killer(chunk: _Chunk) -> list[int]:
    """Raise the error about a chunk whose decoding ends the process, with the files that do it."""
    rules = [build.rule for build in chunk.builds]
    decoded = map_alone(partial(_can_be_decoded, rules), chunk.files, killed=lambda _: False)
    killers = [file for file, sound in zip(chunk.files, decoded, strict=True) if not sound]
    raise DataError(
        "A process that decoded images died, from a damaged file or for want of memory; what was decoded before is "
        "kept. Repair or remove these files, then start again:",
        killers or [f"one of {chunk.files[0]} … {chunk.files[-1]}, though none does so alone: there is little memory"],
    )


def _can_be_decoded(rules: Sequence[PixelRule], file: str) -> bool:
    decode_to_rules(file, rules)
    return True


def checksum(pixels: np.ndarray, chunk: int) -> int:
    """Return the CRC-32 of the pixels of one chunk."""
    return zlib.crc32(pixels[chunk * CHUNK : (chunk + 1) * CHUNK].data)
