"""Images that could not be read, counted as wrong: the second of the two reports about them."""

from collections.abc import Mapping

import numpy as np

from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.intervals import (
    PROPORTION_METHODS,
    balanced_accuracy_interval,
    proportion_interval,
)
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions


def counted_as_wrong(
    predictions: Predictions,
    confusion: np.ndarray | None,
    unreadable: Mapping[str, str | None],
    positive: str | None,
    options: EvaluationOptions,
) -> dict[str, Estimate]:
    """Compute accuracy, balanced accuracy and, for two classes, both rates with every unreadable image wrong.

    ``unreadable`` gives the true class of each id, ``confusion`` the (C, C) counts of the readable ones. If a
    true class is not known (None), only the accuracy can be told.
    Intervals are Wilson's and Newcombe's; there are none with groups of several images, since the group of an
    unreadable image is not known here, nor for the balanced accuracy of three classes and more.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> wrong = counted_as_wrong(table, np.array([[2, 0], [1, 1]]), {"e": "ok"}, "ok", EvaluationOptions())
    >>> wrong["accuracy"].value, round(wrong["sensitivity"].value, 4), wrong["specificity"].value
    (0.6, 0.3333, 1.0)
    """
    names = ["accuracy", "balanced_accuracy", *(["sensitivity", "specificity"] if positive else [])]
    if confusion is None:
        return {name: Estimate(None, reason="no cutoff was given for this score") for name in names}
    right = np.diag(confusion)
    grouped = predictions.unit_index() is not None
    if None in unreadable.values():
        unknown = Estimate(None, reason="the true classes of the unreadable images are not known")
        total = len(predictions) + len(unreadable)
        return dict.fromkeys(names, unknown) | {"accuracy": _proportion(int(right.sum()), total, grouped, options)}
    lost = np.array([sum(label == name for label in unreadable.values()) for name in predictions.classes])
    n = confusion.sum(axis=1) + lost
    rates = {"accuracy": (int(right.sum()), int(n.sum()))}
    if positive:
        index = predictions.class_index(positive)
        rates |= {"sensitivity": (int(right[index]), int(n[index]))}
        rates |= {"specificity": (int(right[1 - index]), int(n[1 - index]))}
    metrics = {name: _proportion(*rate, grouped, options) for name, rate in rates.items()}
    metrics["balanced_accuracy"] = _balanced(predictions, right, n, grouped or not positive, options)
    return {name: metrics[name] for name in names}


def _proportion(successes: int, n: int, grouped: bool, options: EvaluationOptions) -> Estimate:
    if n == 0:
        return Estimate(None, reason="the class has no image")
    if grouped:
        return Estimate(successes / n, n=n, reason="no interval: the groups of the unreadable images are not known")
    method = options.proportion_interval
    limits = proportion_interval(successes, n, confidence=options.confidence, method=method)
    return Estimate(successes / n, *limits, PROPORTION_METHODS[method], n)


def _balanced(
    predictions: Predictions, right: np.ndarray, n: np.ndarray, no_interval: bool, options: EvaluationOptions
) -> Estimate:
    absent = [name for name, count in zip(predictions.classes, n, strict=True) if count == 0]
    if absent:
        return Estimate(None, n=int(n.sum()), reason=f"no image of class {absent[0]!r}")
    value, total = float((right / n).mean()), int(n.sum())
    if no_interval:
        return Estimate(value, n=total, reason="no interval with unreadable images counted as wrong")
    pairs = [(int(right[k]), int(n[k])) for k in (0, 1)]
    low, high = balanced_accuracy_interval(pairs[0], pairs[1], confidence=options.confidence)
    return Estimate(value, low, high, "Newcombe via J = Se + Sp − 1", total)
