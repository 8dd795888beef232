"""Reading every file once before anything is trained: what is in it, and what stands against using it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL

from model_aggregation.cache_folder import default_cache_folder
from model_aggregation.data.appearance import APPEARANCE_COLUMNS
from model_aggregation.data.decoding import USUAL_READING, ReadingRule
from model_aggregation.data.description import KILLS_DECODER, RECORD_NUMBERS, describe_file, describe_killer
from model_aggregation.data.finding import Finding
from model_aggregation.data.findings import check, list_findings
from model_aggregation.data.image_table import INSPECTION_COLUMNS, ImageTable
from model_aggregation.data.inspection_cache import FileState, InspectionCache, file_state
from model_aggregation.data.parallel import map_files
from model_aggregation.data.thumbnails import ThumbnailFile, slices

__all__ = ["Finding", "check", "default_cache", "describe_file", "inspect", "list_findings"]

_FORMAT = 2  # of the records in the cache: another number, and every file is read again
_FILES_PER_TASK = 32
_FILES_AT_ONCE = 1000
_THUMBNAIL = "look_thumbnail"
_TYPES: dict[str, Any] = {"readable": bool} | dict.fromkeys((*RECORD_NUMBERS, _THUMBNAIL), "Int64")
_TYPES |= dict.fromkeys((name for name in APPEARANCE_COLUMNS if name != _THUMBNAIL), "float64")


def inspect(
    table: ImageTable,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: InspectionCache | None = None,
    rule: ReadingRule = USUAL_READING,
    appearance: bool = False,
) -> ImageTable:
    """Read and decode every file once and fill ``INSPECTION_COLUMNS``; nothing is judged here.

    Where all images are DICOM files with a patient id and the table has no groups, the patients are the groups.

    Parameters
    ----------
    workers
        Processes to read with, default: the processor cores. Up to 200 files are read in one.
    progress
        Called with (files read, files in all).
    cache
        Where records of unchanged files are taken from, and new ones kept as soon as there are a thousand.
    rule
        How files are read.
    appearance
        Fill ``APPEARANCE_COLUMNS`` too.
    """
    numbers, paths = pd.factorize(table.frame["path"])
    wanted = (*INSPECTION_COLUMNS, *(APPEARANCE_COLUMNS if appearance else ()))
    with ThumbnailFile() as file:
        described = _Described(wanted, file)
        for number, record in _records(paths, workers=workers, cache=cache, rule=rule):
            described.add(number, record)
            if progress is not None:
                progress(len(described), len(paths))
        thumbnails = file.mapped() if appearance else None
    columns = described.table(numbers).set_axis(table.frame.index)
    plain = table.frame.drop(columns=[*INSPECTION_COLUMNS, *APPEARANCE_COLUMNS], errors="ignore")
    return _with_patients(replace(table, frame=pd.concat([plain, columns], axis=1), thumbnails=thumbnails))


class _Described:
    """The records of files as columns: after each thousand they leave the form of Python's objects, which is large."""

    def __init__(self, wanted: tuple[str, ...], thumbnails: ThumbnailFile) -> None:
        self._wanted, self._thumbnails = wanted, thumbnails
        self._types = {name: kind for name, kind in _TYPES.items() if name in wanted}
        self._count = 0
        self._numbers: list[int] = []
        self._orders: list[np.ndarray] = []
        self._rows: list[tuple[Any, ...]] = []
        self._parts: list[pd.DataFrame] = []

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, record: dict[str, Any]) -> None:
        """Take the record of a file."""
        if _THUMBNAIL in self._wanted and record[_THUMBNAIL] is not None:
            record = record | {_THUMBNAIL: self._thumbnails.add(record[_THUMBNAIL])}
        self._count += 1
        self._numbers.append(number)
        self._rows.append(tuple(record[name] for name in self._wanted))
        if len(self._rows) == _FILES_AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        self._parts.append(pd.DataFrame(self._rows, columns=list(self._wanted)).astype(self._types))
        self._orders.append(np.array(self._numbers, dtype=np.int64))
        self._rows, self._numbers = [], []

    def table(self, numbers: np.ndarray) -> pd.DataFrame:
        """Return a row for each number of a file."""
        if self._rows or not self._parts:
            self._pack()
        places = np.empty(self._count, dtype=np.int64)
        places[np.concatenate(self._orders)] = np.arange(self._count)
        whole, self._parts = pd.concat(self._parts, ignore_index=True), []
        return whole.take(places[numbers])  # which also makes one piece of what texts lie in, of half the memory


def _records(
    paths: pd.Index, *, workers: int | None, cache: InspectionCache | None, rule: ReadingRule
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each path and its record: first those that are known, then those read now."""
    with ExitStack() as stack:
        store = stack.enter_context(cache.opened(_rule_text(rule))) if cache is not None else None
        unknown: dict[str, FileState | None] = {}
        unknown_numbers: list[int] = []
        for part in slices(len(paths), _FILES_AT_ONCE):
            numbers = {path: number for number, path in enumerate(paths[part], part.start)}
            states: dict[str, FileState | None] = dict.fromkeys(numbers)
            if store is not None:
                states = {path: file_state(path) for path in states}
                for path, record in store.known({path: state for path, state in states.items() if state}):
                    del states[path]
                    yield numbers[path], record
            unknown |= states
            unknown_numbers += [numbers[path] for path in states]
        describe = partial(describe_file, rule=rule)
        fresh: list[tuple[str, FileState, dict[str, Any]]] = []
        try:
            described = map_files(
                describe,
                list(unknown),
                files=len(paths),  # a file that kills is never known: where it did, it is read in processes again
                workers=workers,
                killed=lambda _: describe_killer(),
                chunksize=_FILES_PER_TASK,
                careful=True,
            )
            for (path, state), number, record in zip(unknown.items(), unknown_numbers, described, strict=True):
                if state and record["error"] != KILLS_DECODER:  # memory may suffice the next time
                    fresh.append((path, state, record))
                if store is not None and len(fresh) >= _FILES_AT_ONCE:
                    store.add(fresh)
                    fresh = []
                yield number, record
        finally:  # stopped half-way, the next time goes on from here
            if store is not None:
                store.add(fresh)


def _rule_text(rule: ReadingRule) -> str:
    """Name everything that a record depends on beside the file."""
    return f"{_FORMAT} Pillow {PIL.__version__} {asdict(rule)}"


def _with_patients(table: ImageTable) -> ImageTable:
    rows = table.readable()
    if table.has_groups or rows.empty or (rows["dicom_patient"] == "").any():
        return table
    return replace(table, frame=table.frame.assign(group=table.frame["dicom_patient"]))


def default_cache(folder: Path | None = None) -> InspectionCache:
    """Return the cache of inspections in the cache folder of the settings, by default the user's own."""
    return InspectionCache(folder or default_cache_folder())
