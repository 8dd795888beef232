"""Reading every file once before anything is trained: what is in it, and what stands against using it."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import pandas as pd

from model_aggregation import files
from model_aggregation.data.decoding import count_frames, decode_bytes, read_bytes
from model_aggregation.data.findings import Finding, check, list_findings
from model_aggregation.data.image_table import INSPECTION_COLUMNS, ImageTable
from model_aggregation.errors import DataError

__all__ = ["Finding", "check", "inspect", "list_findings"]

_FEWEST_FILES_FOR_PROCESSES = 200
_MOST_WORKERS = 16
_FILES_PER_TASK = 32
_WHOLE_NUMBERS = ("width", "height", "frames", "bytes", "value_range")


def inspect(
    table: ImageTable,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageTable:
    """Read and decode every file once and fill ``INSPECTION_COLUMNS``; nothing is judged here.

    Parameters
    ----------
    workers
        Processes to read with, default: the processor cores. Up to 200 files are read in this process.
    progress
        Called with (files read, files in all).

    Raises
    ------
    DataError
        When a reading process dies, which a broken decoder can cause.
    """
    paths = table.frame["path"].tolist()
    workers = min(workers or _usable_cores(), _MOST_WORKERS)
    alone = workers == 1 or len(paths) <= _FEWEST_FILES_FOR_PROCESSES
    described = map(describe_file, paths) if alone else _describe_in_processes(paths, workers)
    rows = []
    for row in described:
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(paths))
    columns = pd.DataFrame(rows, columns=list(INSPECTION_COLUMNS), index=table.frame.index)
    columns = columns.astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64") | {"readable": bool})
    plain = table.frame.drop(columns=list(INSPECTION_COLUMNS), errors="ignore")
    return replace(table, frame=pd.concat([plain, columns], axis=1))


def describe_file(path: str) -> dict[str, Any]:
    """Return ``INSPECTION_COLUMNS`` for one file; an unreadable file is described, not raised."""
    row: dict[str, Any] = dict.fromkeys(INSPECTION_COLUMNS, "") | dict.fromkeys(_WHOLE_NUMBERS)
    row["readable"] = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            data = read_bytes(path)
            row |= {"bytes": len(data), "content_hash": files.content_hash(data)}
            row |= _describe_pixels(data, path) | {"readable": True}
        except DataError as reason:
            row["error"] = reason.message.removeprefix(f"{path}: ")
    row["remark"] = "; ".join(dict.fromkeys(str(warning.message) for warning in caught))
    return row


def _describe_pixels(data: bytes, path: str) -> dict[str, Any]:
    decoded = decode_bytes(data, path, channels=3)
    width, height = decoded.image.size
    pixels = f"{width}x{height}:".encode("ascii") + decoded.image.tobytes()
    extremes: Any = decoded.image.getextrema()
    return {
        "width": width,
        "height": height,
        "mode": decoded.mode,
        "format": decoded.format,
        "frames": count_frames(data),
        "pixel_hash": files.content_hash(pixels),
        "value_range": max(high - low for low, high in extremes),
    }


def _describe_in_processes(paths: Sequence[str], workers: int) -> Iterator[dict[str, Any]]:
    # spawn everywhere, so that Linux behaves as Windows and no lock of a thread is copied into a child
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(describe_file, paths, chunksize=_FILES_PER_TASK)
    except BrokenProcessPool as reason:
        raise DataError(
            "a process that read images died, perhaps from a damaged file or for want of memory; "
            "read them in one process to see at which file"
        ) from reason


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
