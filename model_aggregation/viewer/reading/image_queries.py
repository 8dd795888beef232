"""Filter, sort and page the images of a set."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError
from model_aggregation.viewer.reading.image_views import Column, ImageQuery, ModelsView, PredictionTable, SortKey
from model_aggregation.viewer.reading.memory import Memory

MODELS_WRONG = Column("models_wrong", "number", "models wrong")


class ImageSorter:
    """Answers queries; the order of words, slow to find, is remembered."""

    def __init__(self) -> None:
        self._ranks = Memory(32)

    def answer(self, table: PredictionTable, query: ImageQuery, compared: "ComparedImages | None") -> np.ndarray:
        """Return the indices of the images that a query asks for, in its order; (n,) int64."""
        found = np.flatnonzero(_wanted(table, query, compared))
        keys = [self._sort_values(table, key, compared)[found] for key in query.sort]
        return found[np.lexsort(keys[::-1])] if keys else found

    def _sort_values(self, table: PredictionTable, key: SortKey, compared: "ComparedImages | None") -> np.ndarray:
        if key.column in ("index", "actual", "predicted", "correct", "confidence"):
            values = np.arange(len(table)) if key.column == "index" else getattr(table, key.column)
        elif key.column == MODELS_WRONG.key and compared is not None:
            values = compared.models_wrong
        elif key.column in table.words.column_names:
            values = self._ranks.get((table.key, key.column), (), lambda: _ranks(table.words.column(key.column)))
        else:
            values = probabilities_of(table, key.column)
        values = values.astype(np.float64) if values.dtype.kind in "bf" else values
        return -values if key.descending else values  # NaN comes last either way


class ComparedImages:
    """What other models say about the images of a table: (N,) how many are wrong, and whether they disagree.

    Images that the others did not predict count as agreed on, with 0 models wrong.
    """

    def __init__(self, table: PredictionTable, view: ModelsView) -> None:
        if view.table is None:
            place = np.full(len(table), -1)
        elif view.table.key == table.key:
            place = np.arange(len(table))
        else:
            ids = view.table.words.column("id").combine_chunks()
            place = pc.fill_null(pc.index_in(table.words.column("id").combine_chunks(), value_set=ids), -1).to_numpy()
        known = place >= 0
        self.models_wrong = np.where(known, _at(view.models_wrong, place), 0)
        self.disagree = np.where(known, _at(view.disagree, place), False)


def _at(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    return values[place] if len(values) else np.zeros(len(place), dtype=values.dtype)


def _ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Return the place of each value among the distinct ones, (N,) int64."""
    return pc.rank(column, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)


def probabilities_of(table: PredictionTable, key: str) -> np.ndarray:
    """Return the probabilities of the class with this key (``p0``, …); ResultsError for any other key."""
    for number in range(len(table.classes)):
        if key == f"p{number}":
            return table.probabilities[:, number]
    known = [column.key for column in table.columns]
    raise ResultsError(f"There is no column '{key}' in this table; {nearest(key, known)}")


def _wanted(table: PredictionTable, query: ImageQuery, compared: ComparedImages | None) -> np.ndarray:
    wanted = np.ones(len(table), dtype=bool)
    if query.errors_only:
        wanted &= ~table.correct
    for name, codes in ((query.actual, table.actual), (query.predicted, table.predicted)):
        if name is not None:
            wanted &= codes == (table.labels.index(name) if name in table.labels else -1)
    wanted &= _between(table.confidence, query.lowest_confidence, query.highest_confidence)
    for key, (low, high) in query.numbers.items():
        wanted &= _between(probabilities_of(table, key), low, high)
    if query.text:
        wanted &= _has_text(table, query.text)
    words = {**query.metadata, **({} if query.group is None else {"group": query.group})}
    for key, value in words.items():
        if key not in table.words.column_names:
            raise ResultsError(f"There is no column '{key}' in this table; {nearest(key, table.words.column_names)}")
        wanted &= pc.equal(table.words.column(key), value).to_numpy()
    if query.only is not None:
        wanted &= np.isin(np.arange(len(table)), query.only)
    if compared is not None and query.disagreement:
        wanted &= compared.disagree
    if compared is not None:
        wanted &= compared.models_wrong >= query.models_wrong
    return wanted


def _between(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    inside = np.ones(len(values), dtype=bool)
    if low is not None:
        inside &= values >= low
    if high is not None:
        inside &= values <= high
    return inside


def _has_text(table: PredictionTable, text: str) -> np.ndarray:
    """Paths are as the disk has them, ids in composed letters, as a keyboard writes."""
    composed = unicodedata.normalize("NFC", text)
    found = pc.or_(
        pc.match_substring(table.words.column("path"), text, ignore_case=True),
        pc.match_substring(table.words.column("id"), composed, ignore_case=True),
    )
    return found.to_numpy()


def rows_at(table: PredictionTable, indices: np.ndarray, compared: ComparedImages | None) -> list[Mapping[str, Any]]:
    """Return a dict per image by column key, of plain Python values; an unknown number is None."""
    words = table.words.take(pa.array(indices)).to_pydict()
    values: dict[str, list[Any]] = {
        "index": indices.tolist(),
        "id": words.pop("id"),
        "path": words.pop("path"),
        "actual": [table.labels[code] for code in table.actual[indices]],
        "predicted": [table.labels[code] for code in table.predicted[indices]],
        "correct": table.correct[indices].tolist(),
        "confidence": _plain(table.confidence[indices]),
        **{f"p{k}": _plain(column) for k, column in enumerate(table.probabilities[indices].T)},
        **words,
    }
    if compared is not None:
        values[MODELS_WRONG.key] = compared.models_wrong[indices].tolist()
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _plain(numbers: np.ndarray) -> list[float | None]:
    return [value if value == value else None for value in numbers.tolist()]  # noqa: PLR0124 - NaN


def download_table(table: PredictionTable, indices: np.ndarray, compared: ComparedImages | None) -> pd.DataFrame:
    """Return rows with titles as column names; two may be equal."""
    columns = [*table.columns, *([] if compared is None else [MODELS_WRONG])]
    frame = pd.DataFrame(rows_at(table, indices, compared), columns=[column.key for column in columns])
    frame.columns = pd.Index([column.title for column in columns])
    return frame
