"""What must be read beside the numbers."""

from collections.abc import Mapping

import numpy as np

from model_aggregation.evaluation.cutoff import Cutoff
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.evaluation.predictions import Predictions

TOO_FEW = 10
IMPRECISE = 30
NAMED = 10


def banners(
    predictions: Predictions,
    metrics: Mapping[str, Estimate],
    class_metrics: Mapping[str, Mapping[str, Estimate]],
    cutoff: Cutoff | FoldCutoffs | None,
    argmax_ties: int,
) -> tuple[str, ...]:
    """Return the warnings of an evaluation: missing and small classes, cutoff, groups, ties, class order.

    >>> table = Predictions(["a"], [0], [[0.9, 0.1]], ("ng", "ok"))
    >>> banners(table, {}, {}, None, 0)[0]
    'no image of: ok'
    """
    lines = count_banners(predictions) + _cutoff(cutoff) + _groups(predictions) + _order(metrics, class_metrics)
    if argmax_ties:
        lines.append(f"{argmax_ties} images share their largest probability between classes: the first class decided")
    if predictions.renormalised:
        lines.append(f"{predictions.renormalised} rows of probabilities were renormalised to a sum of 1")
    return tuple(lines)


def count_banners(predictions: Predictions) -> list[str]:
    """Return the warnings about missing and small classes.

    >>> count_banners(Predictions(["a"], [0], [[0.9, 0.1]], ("ng", "ok")))[1]
    'too few to conclude, fewer than 10 images of: ng (1)'
    """
    counts = dict(zip(predictions.classes, map(int, predictions.counts), strict=True))
    lines = []
    if len(predictions) == 0:
        return ["there is no image to evaluate"]
    if missing := [name for name, count in counts.items() if count == 0]:
        lines.append(f"no image of: {_names(missing)}")
    unit, held = _units(predictions)
    counts = dict(zip(predictions.classes, held, strict=True))
    if few := [f"{name} ({count})" for name, count in counts.items() if 0 < count < TOO_FEW]:
        lines.append(f"too few to conclude, fewer than {TOO_FEW} {unit} of: {_names(few)}")
    if some := [f"{name} ({count})" for name, count in counts.items() if TOO_FEW <= count < IMPRECISE]:
        lines.append(f"imprecise, fewer than {IMPRECISE} {unit} of: {_names(some)}")
    return lines


def _units(predictions: Predictions) -> tuple[str, list[int]]:
    """Return what counts as independent, and how many of them each class has."""
    groups = predictions.unit_index()
    if groups is None:
        return "images", [int(count) for count in predictions.counts]
    pairs = np.unique(np.stack([groups, predictions.labels]), axis=1)
    return "groups", [int(count) for count in np.bincount(pairs[1], minlength=len(predictions.classes))]


def _cutoff(cutoff: Cutoff | FoldCutoffs | None) -> list[str]:
    if cutoff is None:
        return []
    if cutoff.exploratory:
        return ["exploratory: the cutoff was chosen on the images it is applied to, so its numbers are too high"]
    if isinstance(cutoff, FoldCutoffs):
        return [f"in fold {fold} {line}" for fold, own in sorted(cutoff.cutoffs.items()) for line in _cutoff(own)]
    if cutoff.source == "default":
        return [f"the cutoff is {cutoff.value}: {cutoff.reason}"]
    if cutoff.limit_active:
        return [f"the cutoff {cutoff.value} is a limit of the range it was sought in"]
    return []


def _groups(predictions: Predictions) -> list[str]:
    if predictions.groups is None and len(predictions):
        return [
            "no groups known: intervals take every image as independent; several images of one patient or part are not"
        ]
    return []


def _order(metrics: Mapping[str, Estimate], class_metrics: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Warn of areas that lie below 0.5 altogether; scores are never flipped."""
    areas = {"AUC": metrics["auc"]} if "auc" in metrics else {}
    if not areas:
        areas = {f"AUC of {name}": own["auc"] for name, own in class_metrics.items() if "auc" in own}
    below = [name for name, area in areas.items() if area.high is not None and area.high < 0.5]
    if not below:
        return []
    return [f"below 0.5 with its whole interval: {_names(below)}; check the order of the classes"]


def _names(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
