"""Reading every file once before anything is trained: what is in it, and what stands against using it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import PIL

from model_aggregation.data.appearance import APPEARANCE_COLUMNS
from model_aggregation.data.decoding import USUAL_READING, ReadingRule
from model_aggregation.data.description import KILLS_DECODER, RECORD_NUMBERS, describe_file, describe_killer
from model_aggregation.data.finding import Finding
from model_aggregation.data.findings import check, list_findings
from model_aggregation.data.image_cache import default_cache_folder
from model_aggregation.data.image_table import INSPECTION_COLUMNS, ImageTable
from model_aggregation.data.inspection_cache import FileState, InspectionCache, file_state
from model_aggregation.data.parallel import map_files

__all__ = ["Finding", "check", "default_cache", "describe_file", "inspect", "list_findings"]

_FORMAT = 2  # of the records in the cache: another number, and every file is read again
_FILES_PER_TASK = 32
_FILES_PER_WRITE = 1000
_NUMBERS = tuple(name for name in APPEARANCE_COLUMNS if name != "look_thumbnail")


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
    wanted = (*INSPECTION_COLUMNS, *(APPEARANCE_COLUMNS if appearance else ()))
    paths = table.frame["path"].tolist()
    files_in_all = len(set(paths))
    rows: dict[str, tuple[Any, ...]] = {}
    for path, record in _records(paths, workers=workers, cache=cache, rule=rule):
        rows[path] = tuple(_shared(record[name]) for name in wanted)
        if progress is not None:
            progress(len(rows), files_in_all)
    columns = pd.DataFrame([rows[path] for path in paths], columns=list(wanted), index=table.frame.index)
    types = dict.fromkeys(RECORD_NUMBERS, "Int64") | dict.fromkeys(set(_NUMBERS) & set(wanted), "float64")
    columns = columns.astype(types | {"readable": bool})
    plain = table.frame.drop(columns=[*INSPECTION_COLUMNS, *APPEARANCE_COLUMNS], errors="ignore")
    return _with_patients(replace(table, frame=pd.concat([plain, columns], axis=1)))


def _records(
    paths: Sequence[str], *, workers: int | None, cache: InspectionCache | None, rule: ReadingRule
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the record of each path once: first those that are known, then those read now."""
    with ExitStack() as stack:
        store = stack.enter_context(cache.opened(_rule_text(rule))) if cache is not None else None
        states = {path: state for path in paths if (state := file_state(path))} if store is not None else {}
        known: set[str] = set()
        for path, record in store.known(states) if store is not None else ():
            known.add(path)
            yield path, record
        unknown = [path for path in dict.fromkeys(paths) if path not in known]
        describe = partial(describe_file, rule=rule)
        fresh: list[tuple[str, FileState, dict[str, Any]]] = []
        try:
            described = map_files(
                describe,
                unknown,
                files=len(set(paths)),  # a file that kills is never known: where it did, it is read in processes again
                workers=workers,
                killed=lambda _: describe_killer(),
                chunksize=_FILES_PER_TASK,
                careful=True,
            )
            for path, record in zip(unknown, described, strict=True):
                if path in states and record["error"] != KILLS_DECODER:  # memory may suffice the next time
                    fresh.append((path, states[path], record))
                if store is not None and len(fresh) >= _FILES_PER_WRITE:
                    store.add(fresh)
                    fresh = []
                yield path, record
        finally:  # stopped half-way, the next time goes on from here
            if store is not None:
                store.add(fresh)


def _rule_text(rule: ReadingRule) -> str:
    """Name everything that a record depends on beside the file."""
    return f"{_FORMAT} Pillow {PIL.__version__} {asdict(rule)}"


def _shared(value: Any) -> Any:
    """Return one object for equal short texts, so that 100,000 rows do not hold ``PNG`` 100,000 times."""
    return sys.intern(value) if isinstance(value, str) and len(value) < 40 else value


def _with_patients(table: ImageTable) -> ImageTable:
    rows = table.readable()
    if table.has_groups or rows.empty or (rows["dicom_patient"] == "").any():
        return table
    return replace(table, frame=table.frame.assign(group=table.frame["dicom_patient"]))


def default_cache(folder: Path | None = None) -> InspectionCache:
    """Return the cache of inspections in the cache folder of the settings, by default the user's own."""
    return InspectionCache(folder or default_cache_folder())
