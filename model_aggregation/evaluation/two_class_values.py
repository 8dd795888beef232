"""All metrics of two classes as functions of weights: the same code gives the value and its resamples.

Weights are (N, b); every metric is a (b,) array, NaN where it is undefined. Weights of one give the value itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_aggregation.evaluation.bootstrap import Values
from model_aggregation.evaluation.calibration import bin_gaps, log_loss_of
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.ranked_scores import RankedScores, corrected_partial_area

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FIXED_RATES = (0.90, 0.95)
PARTIAL_SHARE = 0.1  # specificity (sensitivity) from 0.90 to 1

DECISION_METRICS = (
    "sensitivity",
    "specificity",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "npv",
    "f1",
    "mcc",
    "kappa",
    "lr_positive",
    "lr_negative",
)
RANK_METRICS = (
    "auc",
    "average_precision",
    "partial_auc_specificity_90",
    "partial_auc_specificity_90_corrected",
    "partial_auc_sensitivity_90",
    "partial_auc_sensitivity_90_corrected",
    "sensitivity_at_specificity_90",
    "sensitivity_at_specificity_95",
    "specificity_at_sensitivity_90",
    "specificity_at_sensitivity_95",
)
LIKELIHOOD_RATIOS = ("lr_positive", "lr_negative")
PROBABILITY_METRICS = ("brier", "log_loss", "ece")


@dataclass(frozen=True, eq=False)
class Losses:
    """Rows whose products with weights give Brier score and log loss, (2, N), and ECE, sparse (bins, N)."""

    means: np.ndarray
    gaps: "csr_array"


@dataclass(frozen=True, eq=False)
class TwoClassTask:
    """What the metrics of two classes need: truth, score, and the losses if there are probabilities."""

    positive: np.ndarray
    score: np.ndarray
    ranked: RankedScores
    losses: Losses | None

    @classmethod
    def of(cls, predictions: Predictions, positive: str, bins: int) -> "TwoClassTask":
        """Prepare predictions (sorted by id) with a named positive class."""
        score = predictions.score_of(positive)
        truth = predictions.labels == predictions.class_index(positive)
        losses = None
        if predictions.has_probabilities:
            given = predictions.probabilities[np.arange(len(truth)), predictions.labels]
            squared = (score - truth) ** 2
            losses = Losses(np.stack([squared, log_loss_of(given)]), bin_gaps(score, truth, bins))
        return cls(truth, score, RankedScores.of(score, truth), losses)


def two_class_values(task: TwoClassTask, cutoff: float | np.ndarray | None, weights: np.ndarray) -> Values:
    """Compute every metric of two classes for each column of the (N, b) weights; one cutoff, or (N,) of them.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> values = two_class_values(TwoClassTask.of(table, "ok", 15), 0.5, np.ones((4, 1)))
    >>> float(values["auc"][0]), float(values["sensitivity"][0]), float(values["specificity"][0])
    (0.75, 0.5, 1.0)
    """
    values = rank_values(task, weights)
    if task.losses is not None:
        values |= probability_values(task.losses, weights)
    if cutoff is not None:
        values |= decision_values(task.positive, task.score > cutoff, weights)
    return values


def two_class_value(
    task: TwoClassTask, cutoff: float | np.ndarray | None, weights: np.ndarray, name: str
) -> np.ndarray:
    """Compute one metric of ``two_class_values`` without the others."""
    if name in PROBABILITY_METRICS and task.losses is not None:
        return probability_values(task.losses, weights)[name]
    if name in DECISION_METRICS and cutoff is not None:
        return decision_values(task.positive, task.score > cutoff, weights)[name]
    if name == "auc" and task.positive.any() and not task.positive.all():
        return task.ranked.curve(weights).auc()
    return rank_values(task, weights)[name]


def decision_values(positive: np.ndarray, called: np.ndarray, weights: np.ndarray) -> Values:
    """Compute the metrics of the four cells from (N,) truth and (N,) decision.

    Kappa: Cohen (1960), Educational and Psychological Measurement 20:37. MCC: Matthews (1975), BBA 405:442.
    F1, MCC and kappa are undefined when a margin they need is empty.

    >>> truth, called = np.array([True, True, False, False]), np.array([True, False, False, False])
    >>> round(float(decision_values(truth, called, np.ones((4, 1)))["mcc"][0]), 4)
    0.5774
    """
    cells = np.stack([positive & called, positive & ~called, ~positive & called, ~positive & ~called])
    tp, fn, fp, tn = cells.astype(np.float64) @ weights
    p, n, above, below = tp + fn, fp + tn, tp + fp, fn + tn
    total = p + n
    full = (p > 0) & (n > 0) & (above > 0) & (below > 0)
    sensitivity, specificity = ratio(tp, p), ratio(tn, n)
    chance = ratio(p * above + n * below, total * total)
    agreement = ratio(tp + tn, total)
    product = np.sqrt(p * n) * np.sqrt(above * below)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": agreement,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "precision": ratio(tp, above),
        "npv": ratio(tn, below),
        "f1": ratio(2 * tp, p + above, (p > 0) & (above > 0)),
        "f1_negative": ratio(2 * tn, n + below, (n > 0) & (below > 0)),
        "mcc": ratio(tp * tn - fp * fn, product, full).clip(-1, 1),
        "kappa": ratio(agreement - chance, 1 - chance, full),
        "lr_positive": ratio(tp * n, p * fp, (tp > 0) & (fp > 0)),
        "lr_negative": ratio(fn * n, p * tn, (fn > 0) & (tn > 0)),
    }


def rank_values(task: TwoClassTask, weights: np.ndarray) -> Values:
    """Compute the metrics of the order of the scores.

    Partial areas and rates at a fixed rate follow R's pROC: linear between the points of the curve, at a
    vertical step its top; the corrected areas are McClish's.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> values = rank_values(TwoClassTask.of(table, "ok", 15), np.ones((4, 1)))
    >>> float(values["sensitivity_at_specificity_90"][0]), round(float(values["average_precision"][0]), 4)
    (0.5, 0.8333)
    """
    if task.positive.all() or not task.positive.any():
        return {name: np.full(weights.shape[1], np.nan) for name in RANK_METRICS}
    curve = task.ranked.curve(weights)
    turned = curve.turned()
    values = {"auc": curve.auc(), "average_precision": curve.average_precision()}
    for one, rate, other in ((curve, "specificity", "sensitivity"), (turned, "sensitivity", "specificity")):
        area = one.area_up_to(PARTIAL_SHARE)
        values[f"partial_auc_{rate}_90"] = area
        values[f"partial_auc_{rate}_90_corrected"] = corrected_partial_area(area, PARTIAL_SHARE)
        for fixed in FIXED_RATES:
            values[f"{other}_at_{rate}_{round(100 * fixed)}"] = one.height_at(1 - fixed)
    return values


def probability_values(losses: Losses, weights: np.ndarray) -> Values:
    """Compute Brier score (1950, Monthly Weather Review 78:1), log loss and ECE from prepared rows.

    Brier: mean (p − y)²; log loss: mean −ln p of the true class; ECE: see ``bin_gaps``.

    >>> table = Predictions(["a", "b"], [0, 1], [[0.5, 0.5], [0.0, 1.0]], ("ng", "ok"))
    >>> losses = TwoClassTask.of(table, "ok", 15).losses
    >>> {name: round(float(value[0]), 4) for name, value in probability_values(losses, np.ones((2, 1))).items()}
    {'brier': 0.125, 'log_loss': 0.3466, 'ece': 0.25}
    """
    brier, log_loss = losses.means @ weights
    total = weights.sum(axis=0)
    return {
        "brier": ratio(brier, total),
        "log_loss": ratio(log_loss, total),
        "ece": ratio(np.abs(losses.gaps @ weights).sum(axis=0), total),
    }


def ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray | bool = True) -> np.ndarray:
    """Divide, NaN where the whole is 0 or the ratio is not defined.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=(whole > 0) & defined)
