"""The evaluation of three classes and more: every metric with its interval, or the reason why it has none."""

import numpy as np

from model_aggregation.evaluation.bootstrap import Resamples, Values, bootstrap_estimate
from model_aggregation.evaluation.delong import auc_estimate, delong
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.intervals import PROPORTION_METHODS, proportion_interval
from model_aggregation.evaluation.many_class_values import (
    CLASS_METRICS,
    OVER_PRESENT_METRICS,
    OVERALL_METRICS,
    ManyClassTask,
    many_class_values,
)
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions

Metrics = dict[str, Estimate]


def many_class_metrics(
    predictions: Predictions, options: EvaluationOptions
) -> tuple[Metrics, dict[str, Metrics], ManyClassTask]:
    """Compute the metrics, the metrics per class, and the prepared task, of predictions sorted by id.

    >>> table = Predictions(list("abc"), [0, 1, 1], [[.8, .1, .1], [.1, .7, .2], [.5, .3, .2]], ("x", "y", "z"))
    >>> metrics, *_ = many_class_metrics(table, EvaluationOptions(resamples=10))
    >>> metrics["accuracy"].text(), metrics["balanced_accuracy"].reason
    ('0.667 (0.208–0.939)', "no image of class 'z'")
    """
    task = ManyClassTask.of(
        predictions, bins=options.calibration_bins, top_k=options.top_k, ordered=options.ordered_classes
    )
    plan = Resamples.of(predictions, count=options.resamples, seed=options.seed)
    values = many_class_values(task, np.ones((len(predictions), 1)))
    drawn = plan.apply(lambda weights: many_class_values(task, weights))
    metrics = _overall(predictions, values, drawn, plan, options)
    return metrics, _per_class(predictions, task, values, drawn=drawn, plan=plan, options=options), task


def _overall(
    predictions: Predictions, values: Values, drawn: Values, plan: Resamples, options: EvaluationOptions
) -> Metrics:
    n = len(predictions)
    absent = [name for name, count in zip(predictions.classes, predictions.counts, strict=True) if count == 0]
    reason = "no image" if n == 0 else "only one class is present or predicted"
    names = [*OVERALL_METRICS, *(f"{name}_present" for name in OVER_PRESENT_METRICS if absent)]
    names += [name for name in ("quadratic_kappa", "top_k_accuracy") if name in values]
    metrics = {}
    for name in names:
        missing = f"no image of {_named(absent)}" if name in OVER_PRESENT_METRICS and absent and n else reason
        metrics[name] = bootstrap_estimate(
            float(values[name][0]),
            drawn.get(name),
            plan,
            confidence=options.confidence,
            n=n,
            reason=missing,
            note=_note(name, options),
        )
    for name in ("accuracy", "top_k_accuracy"):
        if name in metrics:
            metrics[name] = _proportion(values[name][0], n, metrics[name], plan, options)
    largest = int(predictions.counts.max()) / n if n else None
    baseline = Estimate(
        largest, method="accuracy of always naming the largest class", n=n, reason=None if n else "no image"
    )
    return metrics | {"majority_baseline": baseline}


def _per_class(
    predictions: Predictions,
    task: ManyClassTask,
    values: Values,
    *,
    drawn: Values,
    plan: Resamples,
    options: EvaluationOptions,
) -> dict[str, Metrics]:
    actual, called = predictions.counts, np.bincount(task.decision, minlength=task.classes)
    groups = predictions.unit_index()
    result = {}
    for k, name in enumerate(predictions.classes):
        own = int(actual[k])
        n_of = {"sensitivity": own, "specificity": len(predictions) - own, "precision": int(called[k])}
        missing = f"no image of class {name!r}" if own == 0 else f"no image of another class than {name!r}"
        metrics = {}
        for metric in CLASS_METRICS[:-1]:
            key = f"class_{metric}"
            value = float(values[key][k, 0]) if own else np.nan  # an absent class has no row at all
            resampled = drawn[key][k] if key in drawn else None
            n = n_of.get(metric, len(predictions))
            reason = f"class {name!r} is never predicted" if metric == "precision" and own else missing
            estimate = bootstrap_estimate(value, resampled, plan, confidence=options.confidence, n=n, reason=reason)
            metrics[metric] = estimate if metric == "f1" else _proportion(value, n, estimate, plan, options)
        metrics["auc"] = _one_vs_rest(task, k, missing, groups, options)
        result[name] = metrics
    return result


def _one_vs_rest(
    task: ManyClassTask, k: int, missing: str, groups: np.ndarray | None, options: EvaluationOptions
) -> Estimate:
    truth = task.labels == k
    if truth.all() or not truth.any():
        return Estimate(None, method="DeLong, logit scale, one-vs-rest", n=len(truth), reason=missing)
    areas = delong(truth, task.probabilities[:, k][None], groups)
    return auc_estimate(areas, 0, confidence=options.confidence).marked("one-vs-rest")


def _proportion(value: float, n: int, estimate: Estimate, plan: Resamples, options: EvaluationOptions) -> Estimate:
    """Replace the bootstrap interval of a proportion by its closed form, unless images come in groups."""
    if plan.unit == "group":
        return estimate
    method = options.proportion_interval
    if estimate.value is None:
        return Estimate(None, method=PROPORTION_METHODS[method], n=n, reason=estimate.reason)
    limits = proportion_interval(round(value * n), n, confidence=options.confidence, method=method)
    return Estimate(float(value), *limits, PROPORTION_METHODS[method], n)


def _named(classes: list[str]) -> str:
    names = ", ".join(repr(name) for name in classes[:20]) + (" …" if len(classes) > 20 else "")
    return f"class {names}" if len(classes) == 1 else f"classes {names}"


def _note(name: str, options: EvaluationOptions) -> str:
    return {
        "balanced_accuracy": "mean sensitivity of all classes",
        "macro_f1": "mean F1 of all classes",
        "weighted_f1": "mean F1 weighted by the images of each class",
        "macro_auc": "mean one-vs-rest AUC of all classes",
        "quadratic_kappa": "quadratic weights, classes in the order given",
        "brier": "scale 0–2, 0 is perfect",
        "ece": f"top label, {options.calibration_bins} equal-width bins, L1; resamples lie above the value on average",
        "top_k_accuracy": f"k = {options.top_k}",
    }.get(name, "over the classes present" if name.endswith("_present") else "")
