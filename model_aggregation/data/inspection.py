"""Reading every file once before anything is trained: what is in it, and what stands against using it."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from model_aggregation import files
from model_aggregation.data.decoding import count_frames, decode_bytes, read_bytes
from model_aggregation.data.findings import Finding, check, list_findings
from model_aggregation.data.image_table import INSPECTION_COLUMNS, ImageTable
from model_aggregation.data.parallel import map_files
from model_aggregation.errors import DataError

__all__ = ["Finding", "check", "inspect", "list_findings"]

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
    described = map_files(describe_file, paths, files=len(paths), workers=workers, chunksize=_FILES_PER_TASK)
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
