"""From the CSV files of a set of predictions to the two Arrow tables that are kept in the cache.

The *numbers* belong to one run: codes of the labels and all probabilities. The *words* belong to the images (id, path,
group, metadata) and are shared by all runs that predicted the same images in the same order.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_aggregation.errors import ResultsError
from model_aggregation.results.tables import LABEL, PATH, PREDICTED
from model_aggregation.viewer.reading.arrow_tables import read_csv

_OWN_COLUMNS = frozenset({"id", "path", "label", "split", "group", "readable", "content_hash", "pixel_hash"})
_FACTS = b"facts"
IMAGE_COLUMNS = ("id", "path", "label", "split")


@dataclass(frozen=True)
class SetFiles:
    """The files of one set: probabilities, the same with decisions, and the images; each may be missing."""

    probabilities: Path
    decisions: Path
    images: Path

    @property
    def source(self) -> Path:
        """The file with the probabilities; the earlier program may have left the decisions alone."""
        alone = self.decisions.is_file() and not self.probabilities.is_file()
        return self.decisions if alone else self.probabilities


def read_numbers(files: SetFiles) -> tuple[pa.Table, pa.Array]:
    """Return the numbers of a set, and the paths of its images.

    The numbers have the columns ``actual`` and, where decisions were written, ``decided`` (int32, codes of ``labels``),
    and ``probabilities`` (lists of C float64); :func:`facts_of` gives ``classes``, ``labels`` and ``notes``.

    Raises
    ------
    ResultsError
        If the file is missing, damaged or no table of predictions.
    """
    words = 2 if files.source == files.probabilities else 3
    header, table = read_csv(files.source, words=words)
    if header[:2] != [PATH, LABEL] or len(header) <= words or (words == 3 and header[2] != PREDICTED):
        raise ResultsError(
            f"{files.source} should begin with the columns {PATH},{LABEL} and then one per class; it begins with "
            f"{','.join(header[:4])!r}."
        )
    paths = _array(table, 0)
    decided, notes = _decisions(files, paths, table if words == 3 else None)
    classes = header[words:]
    actual = _array(table, 1)
    labels = _labels(classes, actual, decided)
    columns = {"actual": _codes(actual, labels)}
    if decided is not None:
        columns["decided"] = _codes(decided, labels)
    scores = [table.column(place).to_numpy() for place in range(words, len(header))]
    flat = pa.array(np.stack(scores, axis=1).ravel())
    columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(classes))
    return _with_facts(pa.table(columns), classes=classes, labels=labels, notes=notes), paths


def _array(table: pa.Table, place: int) -> pa.Array:
    return table.column(place).combine_chunks()


def _decisions(files: SetFiles, paths: pa.Array, table: pa.Table | None) -> tuple[pa.Array | None, list[str]]:
    """Return the written decision for each path; a file that does not fit is a note."""
    if table is None:
        if not files.decisions.is_file():
            return None, []
        try:
            table = read_csv(files.decisions, words=3, only=(0, 1, 2))[1]
        except ResultsError as error:
            return None, [str(error)]
    named, words = _array(table, 0), pc.replace_substring_regex(_array(table, 2), r"_p\z", "")
    if named.equals(paths):
        return words, []
    place = pc.index_in(paths, value_set=named)
    if place.null_count or len(named) != len(paths):
        return None, [f"{files.decisions.name} and {files.probabilities.name} list different images."]
    return words.take(place), []


def _labels(classes: list[str], *columns: pa.Array | None) -> list[str]:
    found = {name for column in columns if column is not None for name in column.unique().to_pylist()}
    return [*classes, *sorted(found - set(classes))]


def _codes(column: pa.Array, labels: list[str]) -> pa.Array:
    return pc.index_in(column, value_set=pa.array(labels, type=pa.string())).cast(pa.int32())


def read_words(images: Path, paths: pa.Array) -> pa.Table:
    """Return id, path and group of the images at the paths, and their metadata columns as ``m0, m1, …``.

    :func:`facts_of` gives ``metadata``, the names of those columns, and ``notes``. Without a table of images the path
    is the id, and there are no groups.
    """
    nothing = pa.array([""] * len(paths), type=pa.string())
    if not images.is_file():
        table = pa.table({"id": paths, "path": paths, "group": nothing})
        return _with_facts(table, metadata=[], notes=[])
    try:
        header, table = read_image_rows(images)
    except ResultsError as error:
        table = pa.table({"id": paths, "path": paths, "group": nothing})
        return _with_facts(table, metadata=[], notes=[str(error)])
    place = pc.index_in(paths, value_set=_array(table, header.index("path")))
    known = {name: _array(table, number).take(place) for number, name in enumerate(header)}
    metadata = [name for name in header if name not in _OWN_COLUMNS]
    columns = {"id": pc.coalesce(known["id"], paths), "path": paths, "group": known.get("group", nothing)}
    columns |= {f"m{number}": known[name] for number, name in enumerate(metadata)}
    filled = {name: pc.fill_null(column, "") for name, column in columns.items()}
    notes = [f"{place.null_count} images are not in {images.name}."] if place.null_count else []
    return _with_facts(pa.table(filled), metadata=metadata, notes=notes)


def read_image_rows(images: Path, needed: Sequence[str] = IMAGE_COLUMNS) -> tuple[list[str], pa.Table]:
    """Return the header and the rows of a table of images, every value as text."""
    header, table = read_csv(images)
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise ResultsError(f"{images} has no column {', '.join(lacking)}.")
    return header, table


def words_key(images: Path, paths: pa.Array) -> str:
    """Return a key that two sets share when their images are the same, in the same order, with the same facts."""
    digest = hashlib.sha256()
    for buffer in pa.concat_arrays([paths]).buffers()[1:]:
        digest.update(buffer or b"")
    try:
        digest.update(images.read_bytes())
    except OSError:
        digest.update(b"no images")
    return digest.hexdigest()


def _with_facts(table: pa.Table, **facts: Any) -> pa.Table:
    return table.replace_schema_metadata({_FACTS: json.dumps(facts)})


def with_more_facts(table: pa.Table, **facts: Any) -> pa.Table:
    """Return the table with further facts."""
    return _with_facts(table, **facts_of(table), **facts)


def facts_of(table: pa.Table) -> dict[str, Any]:
    """Return what was noted in a table of this module."""
    return dict(json.loads(table.schema.metadata[_FACTS]))
