"""``evaluate(predictions) -> Evaluation``: every number of one model on one set of images, as a pure function.

What it does not know: whether the images are independent of those the model learnt from, whether the labels are
right, and whether the prevalence of this set is that of the place where the model will work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from model_aggregation.errors import PredictionsError, SettingsError
from model_aggregation.evaluation.banners import banners
from model_aggregation.evaluation.calibration import net_benefit_table, reliability_table
from model_aggregation.evaluation.cutoff import Cutoff, default_cutoff
from model_aggregation.evaluation.decision import decide
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.folds import FoldCutoffs, means_over_folds
from model_aggregation.evaluation.many_classes import many_class_metrics
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.roc import precision_recall_table, roc_band, roc_table
from model_aggregation.evaluation.two_class_values import DECISION_METRICS
from model_aggregation.evaluation.two_classes import two_class_metrics
from model_aggregation.evaluation.unreadable import counted_as_wrong

Metrics = Mapping[str, Estimate]
COLUMNS = ("class", "metric", "value", "low", "high", "method", "n", "unit", "cutoff_source", "reason")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All numbers of one model on one set of images.

    Parameters
    ----------
    predictions
        The evaluated table, sorted by id; the curves are computed from it.
    positive, cutoff
        Two classes: the positive class and the cutoff that was applied; else None.
    fold_cutoffs
        Predictions pooled over folds, two classes: the cutoff of each fold; ``cutoff`` is then None.
    metrics, class_metrics
        Estimates by name, and by class and name.
    at_half
        Two classes with probabilities: the metrics of the decision at a cutoff of 0.5.
    confusion
        (C, C) int64, rows actual, columns predicted, both over the full class list; None without a decision.
    unit
        What counts as independent: ``image``, or ``group`` when a group holds more than one image.
    argmax_ties
        Three classes and more: images whose largest probability is shared; the lowest index decided.
    unreadable, unreadable_metrics
        Ids of images left out because they could not be read, and the metrics that count them as wrong.
    """

    predictions: Predictions
    options: EvaluationOptions
    positive: str | None
    cutoff: Cutoff | None
    metrics: Metrics
    class_metrics: Mapping[str, Metrics]
    at_half: Metrics
    confusion: np.ndarray | None
    warnings: tuple[str, ...]
    unit: str = "image"
    argmax_ties: int = 0
    unreadable: tuple[str, ...] = ()
    unreadable_metrics: Metrics | None = None
    fold_cutoffs: FoldCutoffs | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.predictions.classes

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.predictions)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        return dict(zip(self.classes, map(int, self.predictions.counts), strict=True))

    @property
    def confusion_percent(self) -> np.ndarray | None:
        """(C, C) percentages of each row of the confusion matrix, NaN for a class without images."""
        if self.confusion is None:
            return None
        rows = self.confusion.sum(axis=1, keepdims=True).astype(np.float64)
        return 100 * np.divide(self.confusion, rows, out=np.full(self.confusion.shape, np.nan), where=rows > 0)

    def roc(self, name: str | None = None) -> pd.DataFrame:
        """Return the ROC curve of the positive class, or of the named class against the rest."""
        return roc_table(self.predictions, self._class(name))

    def roc_band(self, name: str | None = None) -> pd.DataFrame:
        """Return sensitivity over specificity with its bootstrap band."""
        return roc_band(self.predictions, self._class(name), self.options)

    def precision_recall(self, name: str | None = None) -> pd.DataFrame:
        """Return precision over recall of the positive or the named class."""
        return precision_recall_table(self.predictions, self._class(name))

    def reliability(self, name: str | None = None) -> pd.DataFrame:
        """Return predicted and observed shares: of the positive or the named class, else of the top label."""
        bins, level = self.options.calibration_bins, self.options.confidence
        return reliability_table(self.predictions, name or self.positive, bins=bins, confidence=level)

    def net_benefit(self, name: str | None = None) -> pd.DataFrame:
        """Return the decision curve of the positive or the named class."""
        return net_benefit_table(self.predictions, self._class(name))

    def to_dict(self) -> dict[str, object]:
        """Return one set of ``metrics.json``: plain Python values, no NaN, the same order every time."""
        cutoff = self.cutoff or self.fold_cutoffs
        head: dict[str, object] = {
            "n": self.n,
            "unit": self.unit,
            "groups": None if self.predictions.groups is None else len(set(self.predictions.groups)),
            "class_names": list(self.classes),
            "counts": self.counts,
            "positive": self.positive,
            "options": self.options.to_dict(),
            "cutoff": None if cutoff is None else cutoff.to_dict(),
        }
        tail: dict[str, object] = {
            "at_0.5": _plain(self.at_half) if self.at_half else None,
            "classes": {
                name: {"n": self.counts[name]} | _plain(metrics) for name, metrics in self.class_metrics.items()
            },
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "argmax_ties": self.argmax_ties,
            "renormalised": self.predictions.renormalised,
            "unreadable": self._unreadable(),
            "warnings": list(self.warnings),
        }
        return head | _plain(self.metrics) | tail

    def to_table(self) -> pd.DataFrame:
        """Return the tidy table of all estimates, ``metrics.csv``; a class of "" means the whole set.

        A number that belongs to a decision of two classes names the source of its cutoff (``0.5`` for the row
        that is always shown beside it). Further intervals of a number are rows of their own.
        """
        cutoff_used = self.cutoff or self.fold_cutoffs
        source = cutoff_used.source if cutoff_used else ""
        blocks = [("", self.metrics, source), ("", self.at_half, "0.5")]
        blocks += [(name, metrics, source) for name, metrics in self.class_metrics.items()]
        rows = []
        for name, metrics, origin in blocks:
            for metric, estimate in metrics.items():
                cutoff = origin if self.positive and metric in DECISION_METRICS else ""
                rows += [(name, metric, *row, self.unit, cutoff, estimate.reason) for row in _rows(estimate)]
        for metric, estimate in (self.unreadable_metrics or {}).items():
            row = _rows(estimate.marked("unreadable images counted as wrong"))[0]
            rows.append(("", f"{metric}_unreadable_wrong", *row, self.unit, source, estimate.reason))
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        return table.astype(dict.fromkeys(("value", "low", "high"), np.float64))

    def _class(self, name: str | None) -> str:
        chosen = name or self.positive
        if chosen is None:
            raise SettingsError(f"Name the class of the curve: one of {', '.join(self.classes)}.")
        return chosen

    def _unreadable(self) -> dict[str, object] | None:
        if self.unreadable_metrics is None:
            return None
        ids = list(self.unreadable)
        return {"n": len(ids), "ids": ids, "counted_as_wrong": _plain(self.unreadable_metrics)}


def evaluate(
    predictions: Predictions,
    *,
    positive: str | None = None,
    cutoff: Cutoff | FoldCutoffs | None = None,
    options: EvaluationOptions | None = None,
    unreadable: Mapping[str, str] | Sequence[str] | None = None,
) -> Evaluation:
    """Evaluate predictions of two classes or of many.

    Parameters
    ----------
    positive
        The positive class, required for two classes; for more it is not used, and a warning says so.
    cutoff
        From ``choose_cutoff`` on validation predictions; of predictions with folds one for each. Without it 0.5 is
        applied and the reason said; for a single score without probabilities the metrics of a decision are then null.
    unreadable
        Test images that could not be read: id and true class, or the ids alone, which leaves only the accuracy
        to tell. They are reported twice: left out everywhere, and counted as wrong in metrics of their own.

    Raises
    ------
    SettingsError
        Two classes without a positive class, or a cutoff chosen for another class.
    PredictionsError
        An unreadable image that is among the predictions or of an unknown class, or a fold without a cutoff.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> result = evaluate(table, positive="ok", options=EvaluationOptions(resamples=100))
    >>> result.metrics["specificity"].text(), result.confusion.tolist(), result.cutoff.source
    ('1.000 (0.342–1.000)', [[2, 0], [1, 1]], 'default')
    """
    options, predictions = options or EvaluationOptions(), predictions.sorted_by_id()
    lost = _checked_unreadable(predictions, unreadable)
    two = len(predictions.classes) == 2
    evaluation = (_evaluate_two if two else _evaluate_many)(predictions, positive, cutoff, options)
    if predictions.folds is not None:
        means = means_over_folds(predictions, evaluation.positive, options)
        evaluation = replace(evaluation, metrics={**evaluation.metrics, **means})
    if not lost:
        return evaluation
    wrong = counted_as_wrong(predictions, evaluation.confusion, lost, evaluation.positive, options)
    return replace(evaluation, unreadable=tuple(lost), unreadable_metrics=wrong)


def _evaluate_two(
    predictions: Predictions, positive: str | None, cutoff: Cutoff | FoldCutoffs | None, options: EvaluationOptions
) -> Evaluation:
    positive = _checked_positive(predictions, positive, cutoff)
    if cutoff is None and predictions.has_probabilities:
        cutoff = default_cutoff("no cutoff was chosen on validation images")
    metrics, at_half, per_class = two_class_metrics(predictions, positive, cutoff, options)
    return Evaluation(
        predictions=predictions,
        options=options,
        positive=positive,
        cutoff=None if isinstance(cutoff, FoldCutoffs) else cutoff,
        fold_cutoffs=cutoff if isinstance(cutoff, FoldCutoffs) else None,
        metrics=metrics,
        class_metrics=per_class,
        at_half=at_half,
        confusion=_confusion(predictions, predictions.class_index(positive), cutoff),
        warnings=banners(predictions, metrics, per_class, cutoff, 0),
        unit=_unit(predictions),
    )


def _evaluate_many(
    predictions: Predictions, positive: str | None, cutoff: Cutoff | FoldCutoffs | None, options: EvaluationOptions
) -> Evaluation:
    metrics, per_class, task = many_class_metrics(predictions, options)
    unused = _unused(predictions, positive, cutoff)
    return Evaluation(
        predictions=predictions,
        options=options,
        positive=None,
        cutoff=None,
        metrics=metrics,
        class_metrics=per_class,
        at_half={},
        confusion=_confusion(predictions, None, None),
        warnings=(*unused, *banners(predictions, metrics, per_class, None, task.ties)),
        unit=_unit(predictions),
        argmax_ties=task.ties,
    )


def _unit(predictions: Predictions) -> str:
    return "image" if predictions.unit_index() is None else "group"


def _checked_positive(predictions: Predictions, positive: str | None, cutoff: Cutoff | FoldCutoffs | None) -> str:
    names = ", ".join(predictions.classes)
    if positive is None:
        raise SettingsError(f"Two classes need a positive class; name one of: {names}.")
    predictions.score_of(positive)
    if cutoff is not None and cutoff.positive not in (None, positive):
        raise SettingsError(f"The cutoff was chosen for class {cutoff.positive!r}, the positive class is {positive!r}.")
    return positive


def _unused(predictions: Predictions, positive: str | None, cutoff: Cutoff | FoldCutoffs | None) -> list[str]:
    given = {"a positive class": positive, "a cutoff": cutoff}
    c = len(predictions.classes)
    return [f"{what} has no meaning for {c} classes and is not used" for what, value in given.items() if value]


def _checked_unreadable(
    predictions: Predictions, unreadable: Mapping[str, str] | Sequence[str] | None
) -> dict[str, str | None]:
    lost: dict[str, str | None] = dict(unreadable) if isinstance(unreadable, Mapping) else {}
    if unreadable is not None and not isinstance(unreadable, Mapping):
        lost = dict.fromkeys(unreadable)
    known = set(predictions.ids)
    problems = [f"{name}: is among the predictions" for name in lost if name in known]
    problems += [
        f"{name}: {label!r} is not a class"
        for name, label in lost.items()
        if label is not None and label not in predictions.classes
    ]
    if problems:
        raise PredictionsError("The list of unreadable images does not fit the predictions:", problems)
    return dict(sorted(lost.items()))


def _confusion(
    predictions: Predictions, positive: int | None, cutoff: Cutoff | FoldCutoffs | None
) -> np.ndarray | None:
    """Count (C, C) decisions; None for two classes without a cutoff."""
    c = len(predictions.classes)
    if positive is None:
        called = decide(predictions.probabilities)
    elif cutoff is None:
        return None
    else:
        above = predictions.score_of(predictions.classes[positive]) > cutoff.of_images(predictions)
        called = np.where(above, positive, 1 - positive)
    return np.bincount(predictions.labels * c + called, minlength=c * c).reshape(c, c)


def _plain(metrics: Metrics) -> dict[str, object]:
    return {name: estimate.to_dict() for name, estimate in metrics.items()}


def _rows(estimate: Estimate) -> list[tuple[float | None, float | None, float | None, str, int]]:
    rows = [(estimate.value, estimate.low, estimate.high, estimate.method, estimate.n)]
    return rows + [(estimate.value, low, high, name, estimate.n) for name, (low, high) in estimate.others.items()]
