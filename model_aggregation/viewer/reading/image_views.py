"""What a :class:`LogReader` returns of images and their predictions: plain frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from model_aggregation.viewer.reading.views import Notes

ColumnKind = Literal["word", "number", "flag", "probability", "metadata"]


@dataclass(frozen=True)
class Column:
    """A column of a prediction table: ``key`` in rows, sorts and filters; ``title`` is the class or column name.

    Own columns: ``index, id, path, actual, predicted, correct, confidence, group``; probabilities ``p0, p1, …`` in
    the order of the classes; metadata columns ``m0, m1, …``. Keys never come from a file, so nothing clashes.
    """

    key: str
    kind: ColumnKind
    title: str


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """All images of a set and what was predicted; row i is the image with ``index`` i.

    Parameters
    ----------
    classes
        C names, in the order of the probabilities.
    labels
        The classes, then labels in the files that are none of them; ``actual`` and ``predicted`` point into it.
    actual, predicted
        (N,) int32.
    probabilities
        (N, C) float64, as written in the file.
    words
        Arrow table of N rows: ``id``, ``path``, ``group``, then ``m0, m1, …``.
    metadata
        The names of the columns ``m0, m1, …``.
    key
        The same for two tables whenever their images are the same in the same order.
    """

    group: str
    run: str
    set_name: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    positive: str | None
    cutoff: float | None
    actual: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    words: pa.Table
    metadata: tuple[str, ...]
    key: str
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.actual)

    @cached_property
    def correct(self) -> np.ndarray:
        """(N,) bool."""
        return self.actual == self.predicted

    @cached_property
    def confidence(self) -> np.ndarray:
        """(N,) probability of the predicted class; NaN where the predicted label is no class."""
        if not self.classes:
            return np.full(len(self), np.nan)
        known = self.predicted < len(self.classes)
        at = np.where(known, self.predicted, 0)
        return np.where(known, np.take_along_axis(self.probabilities, at[:, None], axis=1)[:, 0], np.nan)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Every column in the order to show."""
        own = [Column("index", "number", "index"), *(Column(name, "word", name) for name in ("id", "path"))]
        own += [Column("actual", "word", "actual"), Column("predicted", "word", "predicted")]
        own += [Column("correct", "flag", "correct"), Column("confidence", "number", "confidence")]
        own += [Column(f"p{k}", "probability", name) for k, name in enumerate(self.classes)]
        own += [Column("group", "word", "group")]
        return (*own, *(Column(f"m{k}", "metadata", name) for k, name in enumerate(self.metadata)))


@dataclass(frozen=True)
class SortKey:
    """Sort by the column with this key (see :class:`Column`, and ``models_wrong``)."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class ImageQuery:
    """Which images of a set to show, and in which order; all conditions hold at once.

    Parameters
    ----------
    actual, predicted
        Names of classes.
    lowest_confidence, highest_confidence
        Both ends belong to the range.
    text
        Part of the path or id, upper and lower case alike.
    metadata
        Wanted values by key (``m0``, …).
    numbers
        Range (low, high), either may be None, by key of a probability (``p0``, …).
    compared_runs
        Runs of the group for ``disagreement`` and ``models_wrong``; empty: the best 20.
    disagreement
        Only images that the compared runs predict differently.
    models_wrong
        At least so many of the compared runs are wrong; sorting by ``models_wrong`` is possible too.
    only
        Only images with these indices (a marked list); None is no condition.
    """

    errors_only: bool = False
    actual: str | None = None
    predicted: str | None = None
    lowest_confidence: float | None = None
    highest_confidence: float | None = None
    text: str = ""
    group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    compared_runs: tuple[str, ...] = ()
    disagreement: bool = False
    models_wrong: int = 0
    only: tuple[int, ...] | None = None
    sort: tuple[SortKey, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether other runs are needed to answer."""
        return self.disagreement or self.models_wrong > 0 or any(key.column == "models_wrong" for key in self.sort)


@dataclass(frozen=True)
class ImagePage:
    """Some rows of a query's answer: a dict per image by column key, ``total`` of all pages."""

    rows: tuple[Mapping[str, Any], ...]
    total: int
    columns: tuple[Column, ...]
    notes: Notes = ()


@dataclass(frozen=True)
class Neighbours:
    """The indices before and after an image in the order of a query, its place (from 0) and the total."""

    previous: int | None
    following: int | None
    place: int | None
    total: int


@dataclass(frozen=True, eq=False)
class Confusion:
    """(C, C) int64 counts, rows actual, columns predicted, both in the order of ``labels``."""

    labels: tuple[str, ...]
    counts: np.ndarray
    notes: Notes = ()

    @cached_property
    def row_percent(self) -> np.ndarray:
        """Percentages of each row, NaN for a class without images."""
        rows = self.counts.sum(axis=1, keepdims=True)
        return np.divide(100.0 * self.counts, rows, out=np.full(self.counts.shape, np.nan), where=rows > 0)


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of one class against the rest (two classes: of the positive one); empty tables where undefined.

    Columns: ``roc`` ``CutOff, TPR, FPR, Balanced Accuracy``, only the corners of the curve (the straight lines
    between them are the curve); ``precision_recall`` ``CutOff, Recall, Precision``, thinned to what a screen can
    show; ``reliability`` ``from, to, n, predicted, observed, low, high``.
    """

    class_name: str
    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    reliability: pd.DataFrame
    notes: Notes = ()


@dataclass(frozen=True, eq=False)
class CutoffTable:
    """The four counts at each cutoff (two classes): score > cutoff is positive; counts are int64.

    ``cutoffs`` ascends from 0.000 to 1.000 in steps of 0.001 with the stored cutoff among them, at ``stored_at``.
    """

    positive: str
    negative: str
    cutoffs: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray
    true_negative: np.ndarray
    stored_at: int | None
    notes: Notes = ()


@dataclass(frozen=True, eq=False)
class ModelsView:
    """What the runs of a group predict for the same images.

    Parameters
    ----------
    runs
        R names, best first; those left out (other images, no predictions) are named in ``notes``.
    predicted
        (R, N) int32, pointing into ``labels``.
    actual
        (N,) int32.
    table
        The prediction table of the first run, which gives the images their ``index``, id and path.
    """

    runs: tuple[str, ...]
    models: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: np.ndarray
    actual: np.ndarray
    table: PredictionTable | None
    notes: Notes = ()

    @cached_property
    def wrong(self) -> np.ndarray:
        """(R, N) bool: the run is wrong about the image."""
        return self.predicted != self.actual

    @cached_property
    def models_wrong(self) -> np.ndarray:
        """(N,) int64: how many of the runs are wrong about the image."""
        return self.wrong.sum(axis=0)

    @cached_property
    def disagree(self) -> np.ndarray:
        """(N,) bool: not all runs predict the same class."""
        if not len(self.runs):
            return np.zeros(len(self.actual), dtype=bool)
        return (self.predicted != self.predicted[0]).any(axis=0)


@dataclass(frozen=True, eq=False)
class ImageAcrossModels:
    """One image in every run: a row per run, ``run, model, predicted, correct, confidence, p0, p1, …``.

    ``unread`` counts the runs that could not be opened in time; asking again goes on with them.
    """

    image_id: str
    actual: str | None
    classes: tuple[str, ...]
    table: pd.DataFrame
    notes: Notes = ()
    unread: int = 0
