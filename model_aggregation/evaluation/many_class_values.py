"""All metrics of three classes and more as functions of weights, as ``two_class_values`` for two.

Metrics over all classes are (b,) arrays, metrics per class (C, b), NaN where undefined.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model_aggregation.evaluation.bootstrap import Values
from model_aggregation.evaluation.calibration import bin_gaps, log_loss_of
from model_aggregation.evaluation.decision import decide
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.ranked_scores import PairwiseAreas
from model_aggregation.evaluation.two_class_values import Losses, probability_values, ratio

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TOP_K_FROM_CLASSES = 10

OVERALL_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "kappa",
    "macro_auc",
    "hand_till_auc",
    "brier",
    "log_loss",
    "ece",
)
OVER_PRESENT_METRICS = ("balanced_accuracy", "macro_f1", "macro_auc", "hand_till_auc")
KEPT_RANKS = 2_000_000
"""Scores of a table whose ranking is kept between the blocks of resamples: 60 MB at most."""

CLASS_METRICS = ("sensitivity", "specificity", "precision", "f1", "auc")


@dataclass(frozen=True, eq=False)
class ManyClassTask:
    """What the metrics of many classes need, prepared once.

    The decision is the largest probability, ties to the lowest index; ``ties`` counts them. ``losses`` are
    those of the Brier score (0 … 2), the log loss and the top-label ECE.
    """

    labels: np.ndarray
    decision: np.ndarray
    probabilities: np.ndarray
    losses: Losses
    in_top: np.ndarray | None
    ties: int
    ordered: bool
    _areas: dict[int, PairwiseAreas] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: Predictions, *, bins: int, top_k: int, ordered: bool) -> "ManyClassTask":
        """Prepare predictions that are sorted by id."""
        p, labels = predictions.probabilities, predictions.labels
        decision, top = decide(p), p.max(axis=1, initial=0.0)
        given = p[np.arange(len(p)), labels]
        squared = np.einsum("nc,nc->n", p, p) - 2 * given + 1
        losses = Losses(np.stack([squared.clip(min=0), log_loss_of(given)]), bin_gaps(top, decision == labels, bins))
        in_top = None
        if p.shape[1] >= TOP_K_FROM_CLASSES:  # ties go to the lowest index, as for the decision
            earlier = np.arange(p.shape[1]) < labels[:, None]
            in_top = ((p > given[:, None]) | ((p == given[:, None]) & earlier)).sum(axis=1) < top_k
        ties = int(((p == top[:, None]).sum(axis=1) > 1).sum())
        return cls(labels, decision, p, losses, in_top, ties, ordered)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    def areas_of(self, own: int) -> PairwiseAreas:
        """Return the ranking of a class's scores; those of a large table are made again each time, to save memory."""
        found = self._areas.get(own)
        if found is None:
            found = PairwiseAreas.of(self.probabilities[:, own], self.labels, own=own, classes=self.classes)
            if self.probabilities.size <= KEPT_RANKS:
                self._areas[own] = found
        return found


def many_class_values(task: ManyClassTask, weights: np.ndarray) -> Values:
    """Compute every metric for each column of the (N, b) weights; per-class metrics begin with ``class_``.

    >>> table = Predictions(list("abc"), [0, 1, 2], np.eye(3), ("a", "b", "c"))
    >>> task = ManyClassTask.of(table, bins=15, top_k=5, ordered=False)
    >>> float(many_class_values(task, np.ones((3, 1)))["hand_till_auc"][0])
    1.0
    """
    values = count_values(task, weights) | probability_values(task.losses, weights) | area_values(task, weights)
    if task.in_top is not None:
        values["top_k_accuracy"] = ratio(task.in_top.astype(np.float64) @ weights, weights.sum(axis=0))
    return values


def many_class_value(task: ManyClassTask, weights: np.ndarray, name: str) -> np.ndarray:
    """Compute one metric of ``many_class_values`` without those of other kinds."""
    kinds = (
        (count_values, ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "kappa")),
        (area_values, ("macro_auc", "hand_till_auc")),
    )
    values = next((kind for kind, names in kinds if name in names), many_class_values)
    return values(task, weights)[name]


def count_values(task: ManyClassTask, weights: np.ndarray) -> Values:
    """Compute what the confusion matrix holds, from its diagonal and margins.

    MCC of many classes: Gorodkin (2004), Computational Biology and Chemistry 28:367. Quadratic kappa: Cohen
    (1968), Psychological Bulletin 70:213. A class that is present but never predicted has an F1 of 0: leaving
    it out of the macro mean would reward the model for it.

    >>> table = Predictions(list("abc"), [0, 1, 2], [[1, 0, 0], [0, 1, 0], [0, 1, 0]], ("a", "b", "c"))
    >>> values = count_values(ManyClassTask.of(table, bins=15, top_k=5, ordered=False), np.ones((3, 1)))
    >>> values["class_f1"][:, 0].round(4).tolist(), round(float(values["mcc"][0]), 4)
    ([1.0, 0.6667, 0.0], 0.6124)
    """
    right = _per_class(task.labels, task.classes, task.labels == task.decision) @ weights
    actual = _per_class(task.labels, task.classes) @ weights
    called = _per_class(task.decision, task.classes) @ weights
    total = weights.sum(axis=0)
    recall, f1 = ratio(right, actual), ratio(2 * right, actual + called, actual > 0)
    spread_actual, spread_called = total**2 - (actual**2).sum(axis=0), total**2 - (called**2).sum(axis=0)
    both_vary = (spread_actual > 0) & (spread_called > 0)
    covariance = total * right.sum(axis=0) - (actual * called).sum(axis=0)
    values = {
        "accuracy": ratio(right.sum(axis=0), total),
        "balanced_accuracy": recall.mean(axis=0),
        "balanced_accuracy_present": _mean_present(recall),
        "macro_f1": f1.mean(axis=0),
        "macro_f1_present": _mean_present(f1),
        "weighted_f1": ratio(np.nansum(f1 * actual, axis=0), total),
        "mcc": ratio(covariance, np.sqrt(spread_actual) * np.sqrt(spread_called), both_vary).clip(-1, 1),
        "kappa": ratio(covariance, total**2 - (actual * called).sum(axis=0), both_vary),
        "class_sensitivity": recall,
        "class_specificity": ratio(total - actual - called + right, total - actual),
        "class_precision": ratio(right, called),
        "class_f1": f1,
    }
    if task.ordered:
        values["quadratic_kappa"] = _quadratic_kappa(task, weights, actual, called, both_vary)
    return values


def _quadratic_kappa(
    task: ManyClassTask, weights: np.ndarray, actual: np.ndarray, called: np.ndarray, defined: np.ndarray
) -> np.ndarray:
    grade = np.arange(task.classes, dtype=np.float64)
    observed = ((task.labels - task.decision) ** 2).astype(np.float64) @ weights
    total = weights.sum(axis=0)
    expected = total * (grade**2 @ actual + grade**2 @ called) - 2 * (grade @ actual) * (grade @ called)
    return 1 - ratio(observed * total, expected, defined)


def area_values(task: ManyClassTask, weights: np.ndarray) -> Values:
    """Compute one-vs-rest areas, their macro mean, and the area of Hand & Till (2001), Machine Learning 45:171.

    Hand & Till: the mean over all pairs of classes of ½ (A(i|j) + A(j|i)).

    >>> table = Predictions(list("abc"), [0, 1, 2], [[.8, .1, .1], [.2, .7, .1], [.1, .5, .4]], ("a", "b", "c"))
    >>> values = area_values(ManyClassTask.of(table, bins=15, top_k=5, ordered=False), np.ones((3, 1)))
    >>> float(values["macro_auc"][0]), float(values["hand_till_auc"][0])
    (1.0, 1.0)
    """
    c, b = task.classes, weights.shape[1]
    size = _per_class(task.labels, c) @ weights
    own = np.full((c, b), np.nan)
    pair_sum, pairs = np.zeros(b), np.zeros(b)
    for k in np.flatnonzero(np.bincount(task.labels, minlength=c)):
        above = task.areas_of(int(k)).above(weights)
        others = np.arange(c) != k
        own[k] = ratio(above[others].sum(axis=0), size[k] * (size.sum(axis=0) - size[k]))
        against = ratio(above[others], size[k] * size[others])
        pair_sum += np.nansum(against, axis=0)
        pairs += (~np.isnan(against)).sum(axis=0)
    present = ratio(pair_sum, pairs)
    return {
        "class_auc": own,
        "macro_auc": own.mean(axis=0),
        "macro_auc_present": _mean_present(own),
        "hand_till_auc": np.where(pairs == c * (c - 1), present, np.nan),
        "hand_till_auc_present": present,
    }


def _per_class(index: np.ndarray, classes: int, counted: np.ndarray | None = None) -> "csr_array":
    """Return the sparse (C, N) matrix that sums weights by class; only ``counted`` images if given."""
    from scipy.sparse import csr_array

    ones = np.ones(len(index)) if counted is None else counted.astype(np.float64)
    return csr_array((ones, (index, np.arange(len(index)))), shape=(classes, len(index)))


def _mean_present(values: np.ndarray) -> np.ndarray:
    """Mean over the classes whose (C, b) value is defined, NaN when none is."""
    return ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0).astype(np.float64))
