"""The table of predictions: the one input of every evaluation.

A row is an image: its id, its true class, one probability per class, and the group (patient, part, lot) that
it belongs to, if known. What cannot be evaluated is refused here, all problems at once.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from model_aggregation.errors import PredictionsError

UNTOUCHED_ROW_SUM = 1e-6
RENORMALISED_ROW_SUM = 1e-3


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one model for one set of images.

    Parameters
    ----------
    ids
        (N,) str, unique; numpy object array.
    labels
        (N,) int64, the true class as an index into ``classes``.
    probabilities
        (N, C) float64. Row sums within 1e-6 of 1 are left untouched, within 1e-3 renormalised in float64 and
        counted in ``renormalised``; beyond that they are refused. (N, 0) when only ``score`` is known.
    classes
        C names; their order is the order of the columns.
    groups
        (N,) str, the unit that stays together; None when unknown.
    folds
        (N,) int64, the fold of a cross-validation in which each image was tested; None for predictions of one network.
    score
        (N,) float64, a single finite score of any range for two classes, higher meaning ``score_class``. What
        needs probabilities is then null.

    Raises
    ------
    PredictionsError
        Duplicate or missing id, unknown label, missing group, NaN or infinity, probabilities outside [0, 1],
        row sums; up to 20 findings are listed.

    >>> Predictions(["a", "b"], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ("ng", "ok")).score_of("ok")
    array([0.1, 0.8])
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    score: np.ndarray | None = None
    score_class: str | None = None
    renormalised: int = 0
    folds: np.ndarray | None = None

    def __post_init__(self) -> None:
        _set(self, "classes", tuple(str(name) for name in self.classes))
        _set(self, "ids", _as_text(self.ids))
        _set(self, "labels", np.asarray(self.labels, dtype=np.int64).reshape(-1))
        if self.groups is not None:
            _set(self, "groups", _as_text(self.groups))
        if self.folds is not None:
            _set(self, "folds", np.asarray(self.folds, dtype=np.int64).reshape(-1))
        if self.score is not None:
            _set(self, "score", np.asarray(self.score, dtype=np.float64).reshape(-1))
            _set(self, "probabilities", np.empty((len(self.ids), 0)))
        _set(self, "probabilities", np.asarray(self.probabilities, dtype=np.float64))
        _check_shapes(self)
        problems = _id_problems(self.ids) + _label_problems(self) + _group_problems(self) + _number_problems(self)
        if problems:
            raise PredictionsError("The table of predictions cannot be evaluated:", problems)
        _renormalise(self)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_probabilities(self) -> bool:
        """Whether there is a probability per class, not a single score."""
        return self.score is None

    @property
    def counts(self) -> np.ndarray:
        """(C,) int64, the number of images of each class.

        >>> Predictions(["a"], [1], [[0.4, 0.6]], ("ng", "ok")).counts
        array([0, 1])
        """
        return np.bincount(self.labels, minlength=len(self.classes))

    def class_index(self, name: str) -> int:
        """Return the index of a class; PredictionsError names the nearest class when it is unknown."""
        if name in self.classes:
            return self.classes.index(name)
        raise PredictionsError(f"There is no class {name!r}.{_nearest(name, self.classes)}")

    def score_of(self, name: str) -> np.ndarray:
        """Return the (N,) score of a class: its probability, or the single score. Scores are never flipped."""
        index = self.class_index(name)
        if self.score is None:
            return self.probabilities[:, index]
        if name != self.score_class:
            raise PredictionsError(
                f"The score belongs to class {self.score_class!r} and is never flipped: "
                f"choose {self.score_class!r} as the positive class, not {name!r}."
            )
        return self.score

    def sorted_by_id(self) -> "Predictions":
        """Return the same rows in the order of their ids, so that no result depends on the row order."""
        order = np.argsort(self.ids, kind="stable")
        return self if np.array_equal(order, np.arange(len(order))) else self.take(order)

    def take(self, rows: np.ndarray) -> "Predictions":
        """Return the given rows, as indices or as a mask.

        >>> table = Predictions(["a", "b"], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ("ng", "ok"))
        >>> table.take(np.array([1])).ids
        array(['b'], dtype=object)
        """
        return replace(
            self,
            ids=self.ids[rows],
            labels=self.labels[rows],
            probabilities=self.probabilities[rows],
            groups=None if self.groups is None else self.groups[rows],
            score=None if self.score is None else self.score[rows],
            folds=None if self.folds is None else self.folds[rows],
        )

    def unit_index(self) -> np.ndarray | None:
        """Return the (N,) group number of each image, or None when no group holds more than one image."""
        if self.groups is None or len(self) == 0:
            return None
        names, index = np.unique(self.groups, return_inverse=True)
        return index if len(names) < len(self) else None

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        *,
        id_column: str = "path",
        label_column: str = "correct_label",
        group_column: str | None = None,
        score: str | None = None,
        positive: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> "Predictions":
        """Read predictions from a table with true classes by name.

        The class columns are those named by ``classes``; without it all columns behind the label column but
        ``predict_label`` and the group column. ``score`` names one column of finite scores for two classes
        instead, higher meaning ``positive``; ``classes`` then are the two names (default: the labels present).

        >>> table = pd.DataFrame({"path": ["a", "b"], "correct_label": ["ng", "ok"],
        ...                       "ng": [0.9, 0.2], "ok": [0.1, 0.8]})
        >>> Predictions.from_table(table).labels
        array([0, 1])
        """
        table = table.rename(columns=str)
        wanted = [id_column, label_column, group_column, score, *(classes if classes and not score else ())]
        _require_columns(table, [str(name) for name in wanted if name is not None])
        labels = _as_text(table[label_column])
        if score is None:
            skipped = {"predict_label", group_column}
            behind = list(table.columns)[list(table.columns).index(label_column) + 1 :]
            names = tuple(map(str, classes)) if classes else tuple(c for c in behind if c not in skipped)
            numbers, scores = _numbers(table, list(names)), None
        else:
            names = _names_for_score(labels, positive, classes)
            numbers, scores = np.empty((len(table), 0)), _numbers(table, [score])[:, 0]
        positions = {name: index for index, name in enumerate(names)}
        label_index = np.array([positions.get(label, -1) for label in labels], dtype=np.int64)
        unknown = sorted({str(label) for label, at in zip(labels, label_index, strict=True) if at < 0})
        groups = None if group_column is None else _as_text(table[group_column])
        try:
            return cls(_as_text(table[id_column]), label_index, numbers, names, groups, scores, positive)
        except PredictionsError as error:
            if not unknown:
                raise
            named = ", ".join(repr(name) for name in unknown[:20])
            raise PredictionsError(
                f"{error.message} (labels found that are no class: {named}; classes: {', '.join(names)})",
                error.problems,
            ) from None

    def to_table(self) -> pd.DataFrame:
        """Return ``path,correct_label`` and one column per class (or ``score``), as ``<run>_test.csv`` holds it.

        >>> list(Predictions(["a"], [1], [[0.4, 0.6]], ("ng", "ok")).to_table().columns)
        ['path', 'correct_label', 'ng', 'ok']
        """
        labels = np.array(self.classes, dtype=object)[self.labels]
        words = pd.DataFrame({"path": self.ids, "correct_label": labels})
        if self.score is not None:
            return words.assign(score=self.score)
        table = pd.concat([words, pd.DataFrame(self.probabilities)], axis=1)
        table.columns = pd.Index([*words.columns, *self.classes])  # by place: a class may be called "path"
        return table


def _set(predictions: Predictions, name: str, value: object) -> None:
    object.__setattr__(predictions, name, value)


def _as_text(values: object) -> np.ndarray:
    """Return str objects; what is missing (None, NaN) becomes the empty string, which is refused later."""
    column = pd.Series(values, dtype=object).reset_index(drop=True)
    missing = column.isna().to_numpy()
    text = np.array([str(value) for value in column], dtype=object)
    text[missing] = ""
    return text


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(map(str, known))}."


def _require_columns(table: pd.DataFrame, names: list[str]) -> None:
    columns = list(table.columns)
    problems = [f"no column {name!r}.{_nearest(name, columns)}" for name in names if name not in columns]
    problems += [f"column {name!r} appears {columns.count(name)} times" for name in columns if columns.count(name) > 1]
    if problems:
        raise PredictionsError("The table lacks what an evaluation needs:", list(dict.fromkeys(problems)))


def _numbers(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Return float64 columns; text that is no number becomes NaN, which is refused with the image's name."""
    columns = [pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan) for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _names_for_score(labels: np.ndarray, positive: str | None, classes: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(map(str, classes)) if classes else tuple(sorted(set(labels) - {""}))
    if positive is None:
        raise PredictionsError("A single score needs the positive class, the one that high scores mean.")
    if len(names) != 2 or positive not in names:
        raise PredictionsError(
            f"A single score fits two classes, one of them the positive class {positive!r}; "
            f"here the classes are: {', '.join(names)}. Name the two classes if one has no image."
        )
    return names


def _check_shapes(predictions: Predictions) -> None:
    n, c = len(predictions.ids), len(predictions.classes)
    problems = []
    expected = (n, c) if predictions.has_probabilities else (n, 0)
    if predictions.probabilities.shape != expected:
        problems.append(f"probabilities have shape {predictions.probabilities.shape}, expected {expected}")
    for name in ("labels", "groups", "score", "folds"):
        values = getattr(predictions, name)
        if values is not None and len(values) != n:
            problems.append(f"{name} has {len(values)} values for {n} ids")
    if c < 2 or len(set(predictions.classes)) != c:
        problems.append(f"at least two classes with different names are needed, got {predictions.classes}")
    if predictions.score is not None and (c != 2 or predictions.score_class not in predictions.classes):
        problems.append("a single score needs two classes and the name of the one that high scores mean")
    if problems:
        raise PredictionsError("The table of predictions cannot be evaluated:", problems)


def _id_problems(ids: np.ndarray) -> list[str]:
    missing = [f"row {row + 1}: no id" for row in np.flatnonzero(ids == "")]
    names, counts = np.unique(ids, return_counts=True)
    repeated = [f"{name}: {count} rows" for name, count in zip(names, counts, strict=True) if count > 1 and name != ""]
    return missing + repeated


def _label_problems(predictions: Predictions) -> list[str]:
    wrong = (predictions.labels < 0) | (predictions.labels >= len(predictions.classes))
    return [f"{name}: its label is not one of the classes" for name in predictions.ids[wrong]]


def _group_problems(predictions: Predictions) -> list[str]:
    if predictions.groups is None:
        return []
    return [f"{name}: no group" for name in predictions.ids[predictions.groups == ""]]


def _number_problems(predictions: Predictions) -> list[str]:
    if predictions.score is not None:
        return [f"{name}: the score is not finite" for name in predictions.ids[~np.isfinite(predictions.score)]]
    values = predictions.probabilities
    infinite = ~np.isfinite(values).all(axis=1)
    problems = [f"{name}: a probability is not finite" for name in predictions.ids[infinite]]
    outside = ~infinite & ((values < 0) | (values > 1 + UNTOUCHED_ROW_SUM)).any(axis=1)
    problems += [f"{name}: a probability is outside [0, 1]" for name in predictions.ids[outside]]
    sums = np.where(infinite | outside, 1.0, np.where(infinite[:, None], 0.0, values).sum(axis=1))
    off = np.abs(sums - 1) > RENORMALISED_ROW_SUM
    return problems + [
        f"{name}: the probabilities sum to {total:.6g}, not 1"
        for name, total in zip(predictions.ids[off], sums[off], strict=True)
    ]


def _renormalise(predictions: Predictions) -> None:
    if not predictions.has_probabilities or len(predictions) == 0:
        return
    sums = predictions.probabilities.sum(axis=1)
    off = np.abs(sums - 1) > UNTOUCHED_ROW_SUM
    if off.any():
        scaled = predictions.probabilities.copy()
        scaled[off] /= sums[off, None]
        _set(predictions, "probabilities", scaled)
        _set(predictions, "renormalised", int(off.sum()))
