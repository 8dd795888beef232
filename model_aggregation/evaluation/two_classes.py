"""The evaluation of two classes: every metric with its interval, or the reason why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_aggregation.evaluation.bootstrap import Resamples, Values, bootstrap_estimate
from model_aggregation.evaluation.calibration import calibration_line
from model_aggregation.evaluation.cutoff import DEFAULT_CUTOFF, Cutoff
from model_aggregation.evaluation.delong import auc_estimate, delong
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.evaluation.intervals import (
    PROPORTION_METHODS,
    balanced_accuracy_interval,
    likelihood_ratio_interval,
    proportion_interval,
)
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.two_class_values import (
    DECISION_METRICS,
    LIKELIHOOD_RATIOS,
    PROBABILITY_METRICS,
    RANK_METRICS,
    TwoClassTask,
    decision_values,
    two_class_values,
)

Metrics = dict[str, Estimate]
EMPTY_CELL = "a cell of the table is 0"
NO_CUTOFF = "no cutoff was given for this score"
NO_PROBABILITIES = "needs probabilities, and only a score is known"

# the margins that must not be empty: actual positives, actual negatives, predicted positives, predicted negatives
MARGINS = {
    "sensitivity": (0,),
    "specificity": (1,),
    "balanced_accuracy": (0, 1),
    "precision": (2,),
    "npv": (3,),
    "f1": (0, 2),
    "f1_negative": (1, 3),
    "lr_positive": (0, 1),
    "lr_negative": (0, 1),
}

# per class: the name of its metric when it is the positive class, and when it is the other one
CLASS_METRICS = {
    "sensitivity": ("sensitivity", "specificity"),
    "specificity": ("specificity", "sensitivity"),
    "precision": ("precision", "npv"),
    "f1": ("f1", "f1_negative"),
    "auc": ("auc", "auc"),
}


@dataclass(frozen=True, eq=False)
class Decision:
    """What one cutoff decides: the cell counts and the values behind the metrics, drawn and as they are."""

    tp: int
    fn: int
    fp: int
    tn: int
    values: Values
    drawn: Values

    @classmethod
    def of(cls, positive: np.ndarray, called: np.ndarray, drawn: Values) -> "Decision":
        """Count the cells of (N,) truth and decision."""
        tp, fn = int((positive & called).sum()), int((positive & ~called).sum())
        fp, tn = int((~positive & called).sum()), int((~positive & ~called).sum())
        return cls(tp, fn, fp, tn, decision_values(positive, called, np.ones((len(positive), 1))), drawn)

    def undefined(self, name: str) -> str:
        """Say why a metric is undefined."""
        sizes = {
            "the positive class has no image": self.tp + self.fn,
            "the negative class has no image": self.fp + self.tn,
            "no image is predicted positive": self.tp + self.fp,
            "no image is predicted negative": self.fn + self.tn,
        }
        if not any(sizes.values()):
            return "no image"
        needed = MARGINS.get(name, (0, 1, 2, 3))
        empty = [reason for place, (reason, size) in enumerate(sizes.items()) if place in needed and size == 0]
        return empty[0] if empty else EMPTY_CELL

    def proportion(self, name: str) -> tuple[int, int] | None:
        """Return (successes, n) of a metric that is a proportion, None for the others."""
        tp, fn, fp, tn = self.tp, self.fn, self.fp, self.tn
        return {
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, fp + tn),
            "accuracy": (tp + tn, tp + fn + fp + tn),
            "precision": (tp, tp + fp),
            "npv": (tn, fn + tn),
        }.get(name)

    def closed_interval(self, name: str, options: EvaluationOptions) -> tuple[float, float, str] | None:
        """Return the closed-form interval of a metric with its name, None when the bootstrap is its way."""
        proportion, level = self.proportion(name), options.confidence
        positives, negatives = self.tp + self.fn, self.fp + self.tn
        if proportion is not None:
            method = options.proportion_interval
            return *proportion_interval(*proportion, confidence=level, method=method), PROPORTION_METHODS[method]
        if name == "balanced_accuracy":
            rates = (self.tp, positives), (self.tn, negatives)
            return *balanced_accuracy_interval(*rates, confidence=level), "Newcombe via J = Se + Sp − 1"
        if name in LIKELIHOOD_RATIOS:
            first, second = (self.tp, self.fp) if name == "lr_positive" else (self.fn, self.tn)
            limits = likelihood_ratio_interval((first, positives), (second, negatives), confidence=level)
            return *limits, "Simel, logarithmic"
        return None


def two_class_metrics(
    predictions: Predictions, positive: str, cutoff: Cutoff | FoldCutoffs | None, options: EvaluationOptions
) -> tuple[Metrics, Metrics, dict[str, Metrics]]:
    """Compute the metrics, those at a cutoff of 0.5, and the metrics per class, of predictions sorted by id.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> metrics, *_ = two_class_metrics(table, "ok", None, EvaluationOptions(resamples=10))
    >>> metrics["auc"].text(), metrics["sensitivity"].reason
    ('0.750 (0.069–0.992)', 'no cutoff was given for this score')
    """
    task = TwoClassTask.of(predictions, positive, options.calibration_bins)
    plan = Resamples.of(predictions, count=options.resamples, seed=options.seed)
    value = None if cutoff is None else cutoff.of_images(predictions)
    half = DEFAULT_CUTOFF if predictions.has_probabilities else None

    def both(weights: np.ndarray) -> Values:
        values = two_class_values(task, value, weights)
        at_half = {} if half is None else decision_values(task.positive, task.score > half, weights)
        return values | {f"{name} at 0.5": drawn for name, drawn in at_half.items()}

    drawn = plan.apply(both)
    metrics = _score_metrics(predictions, task, drawn, plan, options)
    decided = _decision_metrics(task, value, drawn, plan, options)
    if cutoff is not None and cutoff.exploratory:
        decided = {
            name: estimate.marked("exploratory: cutoff chosen on these images") for name, estimate in decided.items()
        }
    marked = {name.removesuffix(" at 0.5"): values for name, values in drawn.items() if name.endswith(" at 0.5")}
    at_half = {} if half is None else _decision_metrics(task, half, marked, plan, options)
    at_half.pop("f1_negative", None)
    per_class = _class_metrics(predictions, positive, metrics | decided)
    decided.pop("f1_negative")
    return decided | metrics, at_half, per_class


def _decision_metrics(
    task: TwoClassTask, cutoff: float | np.ndarray | None, drawn: Values, plan: Resamples, options: EvaluationOptions
) -> Metrics:
    names = (*DECISION_METRICS, "f1_negative")
    if cutoff is None:
        return {name: Estimate(None, n=len(task.positive), reason=NO_CUTOFF) for name in names}
    decision = Decision.of(task.positive, task.score > cutoff, drawn)
    return {name: _decision_estimate(decision, name, plan, options) for name in names}


def _decision_estimate(decision: Decision, name: str, plan: Resamples, options: EvaluationOptions) -> Estimate:
    value = float(decision.values[name][0])
    proportion = decision.proportion(name)
    n = proportion[1] if proportion else decision.tp + decision.fn + decision.fp + decision.tn
    if np.isnan(value):
        return Estimate(None, n=n, reason=decision.undefined(name))
    if name in LIKELIHOOD_RATIOS and 0 in (decision.tp, decision.fn, decision.fp, decision.tn):
        # one of the two rates is 1: its part of the variance is 0, and the interval too narrow
        return Estimate(value, n=n, reason=f"no interval: {EMPTY_CELL}")
    closed = decision.closed_interval(name, options) if plan.unit == "image" else None
    if closed is not None:
        return Estimate(value, *closed, n)
    return bootstrap_estimate(value, decision.drawn.get(name), plan, confidence=options.confidence, n=n)


def _score_metrics(
    predictions: Predictions,
    task: TwoClassTask,
    drawn: Values,
    plan: Resamples,
    options: EvaluationOptions,
) -> Metrics:
    """Compute what needs no cutoff."""
    n, level = len(predictions), options.confidence
    values = two_class_values(task, None, np.ones((n, 1)))
    groups = predictions.unit_index()
    if task.positive.any() and not task.positive.all():
        metrics = {"auc": auc_estimate(delong(task.positive, task.score[None], groups), 0, confidence=level)}
    else:
        metrics = {"auc": Estimate(None, method="DeLong, logit scale", n=n, reason=_missing_class(task))}
    notes = _notes(options)
    for name in (*RANK_METRICS[1:], *PROBABILITY_METRICS):
        value = float(values[name][0]) if name in values else np.nan
        reason = _missing_class(task) if name in RANK_METRICS else "no image" if not n else NO_PROBABILITIES
        metrics[name] = bootstrap_estimate(
            value, drawn.get(name), plan, confidence=level, n=n, reason=reason, note=notes.get(name, "")
        )
    if predictions.has_probabilities:
        slope, intercept = calibration_line(task.score, task.positive, groups, confidence=level)
    else:
        slope = intercept = Estimate(None, n=n, reason=NO_PROBABILITIES)
    return metrics | {"calibration_slope": slope, "calibration_intercept": intercept} | _baselines(task)


def _notes(options: EvaluationOptions) -> Mapping[str, str]:
    partial = "share of the unit square, at most 0.1, linear between points"
    corrected = "standardised by McClish, 0.5 is useless"
    return {
        "partial_auc_specificity_90": f"specificity 0.90–1, {partial}",
        "partial_auc_sensitivity_90": f"sensitivity 0.90–1, {partial}",
        "partial_auc_specificity_90_corrected": f"specificity 0.90–1, {corrected}",
        "partial_auc_sensitivity_90_corrected": f"sensitivity 0.90–1, {corrected}",
        "average_precision": "step sum, a useless score has the prevalence",
        "brier": "scale 0–1, 0 is perfect",
        "ece": f"{options.calibration_bins} equal-width bins, L1; resamples lie above the value on average",
    }


def _baselines(task: TwoClassTask) -> Metrics:
    n = len(task.positive)
    if n == 0:
        missing = Estimate(None, reason="no image")
        return {"prevalence": missing, "majority_baseline": missing}
    share = float(task.positive.mean())
    return {
        "prevalence": Estimate(share, method="share of positive images in this set", n=n),
        "majority_baseline": Estimate(max(share, 1 - share), method="accuracy of always naming the larger class", n=n),
    }


def _missing_class(task: TwoClassTask) -> str:
    if len(task.positive) == 0:
        return "no image"
    return "the negative class has no image" if task.positive.all() else "the positive class has no image"


def _class_metrics(predictions: Predictions, positive: str, metrics: Metrics) -> dict[str, Metrics]:
    return {
        name: {own: metrics[pair[0 if name == positive else 1]] for own, pair in CLASS_METRICS.items()}
        for name in predictions.classes
    }
