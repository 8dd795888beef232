"""One metric of two models on the same images: difference, interval and p."""

from dataclasses import dataclass

import numpy as np

from model_aggregation.evaluation.bootstrap import OUTSIDE, bootstrap_p, lies_outside
from model_aggregation.evaluation.delong import paired_test
from model_aggregation.evaluation.field import Field
from model_aggregation.evaluation.intervals import mcnemar_mid_p, newcombe_paired_difference
from model_aggregation.evaluation.options import EvaluationOptions

MCNEMAR_METRICS = ("accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class PairedDifference:
    """Difference of a metric, first model less second; None where undefined, with the reason."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    method: str
    n: int
    reason: str | None = None


def compare_metric(field: Field, metric: str, i: int, j: int, options: EvaluationOptions) -> PairedDifference:
    """Compare one metric of models i and j with the method that fits it.

    AUC: paired DeLong. Accuracy, sensitivity, specificity of independent images: McNemar mid-p and Newcombe's
    paired interval. Everything else, and these with groups of several images: paired percentile bootstrap.

    >>> from model_aggregation.evaluation.predictions import Predictions
    >>> p, q = np.array([0.1, 0.4, 0.6, 0.8]), np.array([0.3, 0.7, 0.4, 0.9])
    >>> tables = {name: Predictions(list("abcd"), [0, 0, 1, 1], np.stack([1 - s, s], 1), ("ng", "ok"))
    ...           for name, s in (("one", p), ("two", q))}
    >>> options = EvaluationOptions(resamples=10)
    >>> found = compare_metric(Field.of(tables, "ok", {}, options), "accuracy", 0, 1, options)
    >>> found.difference, found.p, found.method
    (0.5, 0.25, 'McNemar mid-p, Newcombe paired')
    """
    n = len(field.predictions[0])
    if field.value(metric, i) is None or field.value(metric, j) is None:
        return PairedDifference(None, None, None, None, "", n, f"{metric} is undefined for one of the models")
    if metric == "auc" and field.areas is not None:
        test = paired_test(field.areas, i, j, confidence=options.confidence)
        method = "paired DeLong, clustered (Obuchowski)" if field.areas.clustered else "paired DeLong"
        return PairedDifference(test.difference, test.low, test.high, test.p, method, n, test.reason)
    if metric in MCNEMAR_METRICS and field.plan.unit == "image":
        return _mcnemar(field, metric, i, j, options)
    return _bootstrap(field, metric, i, j, options)


def _mcnemar(field: Field, metric: str, i: int, j: int, options: EvaluationOptions) -> PairedDifference:
    labels = field.predictions[0].labels
    rows = np.ones(len(labels), dtype=bool)
    if metric != "accuracy":
        index = field.predictions[0].class_index(str(field.positive))
        rows = (labels == index) if metric == "sensitivity" else (labels != index)
    first, second = field.right[i, rows], field.right[j, rows]
    pairs = ((first & second), (first & ~second), (~first & second), (~first & ~second))
    both, first_only, second_only, neither = (int(cell.sum()) for cell in pairs)
    n = len(first)
    low, high = newcombe_paired_difference(both, first_only, second_only, neither, confidence=options.confidence)
    p = mcnemar_mid_p(first_only, second_only)
    return PairedDifference((first_only - second_only) / n, low, high, p, "McNemar mid-p, Newcombe paired", n)


def _bootstrap(field: Field, metric: str, i: int, j: int, options: EvaluationOptions) -> PairedDifference:
    n, method = len(field.predictions[0]), f"paired {field.plan.method}"
    difference = float(field.point[metric][i] - field.point[metric][j])
    objection = field.plan.objection()
    if objection:
        return PairedDifference(difference, None, None, None, method, n, f"no interval: {objection}")
    drawn = field.drawn[metric][i] - field.drawn[metric][j]
    if difference == 0 and not np.nan_to_num(drawn).any():
        return PairedDifference(0.0, None, None, 1.0, method, n, "both models give the same in every resample")
    if empty := field.empty_cell(metric, (i, j)):
        return PairedDifference(difference, None, None, None, method, n, f"no interval: {empty}")
    found = field.difference_interval(metric, i, j, options.confidence)
    if isinstance(found, str):
        return PairedDifference(difference, None, None, None, method, n, f"no interval: {found}")
    notes = [found[2], OUTSIDE if lies_outside(difference, found[0], found[1]) else ""]
    said = "; ".join(note for note in notes if note) or None
    return PairedDifference(difference, found[0], found[1], bootstrap_p(drawn), method, n, said)
