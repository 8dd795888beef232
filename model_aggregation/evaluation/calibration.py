"""Do the probabilities mean what they say: calibration and the errors of probabilities."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from model_aggregation.evaluation.decision import decide
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.intervals import proportion_interval, too_few_units, two_sided_quantile
from model_aggregation.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CLIP = 1e-12
LOG_CLIP = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss
NEWTON_STEPS = 100


def log_loss_of(probability: np.ndarray) -> np.ndarray:
    """(N,) −ln of the probability given to the true class, clipped at 2.2e-16 as scikit-learn does.

    >>> log_loss_of(np.array([1.0, 0.5])).round(6).tolist()
    [0.0, 0.693147]
    """
    return np.log(1 / np.clip(probability, LOG_CLIP, 1.0))


def bin_index(probability: np.ndarray, bins: int) -> np.ndarray:
    """(N,) number of the equal-width bin of [0, 1]: left edge included, 1 in the last bin.

    >>> bin_index(np.array([0.0, 0.5, 1.0]), 2).tolist()
    [0, 1, 1]
    """
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def bin_gaps(probability: np.ndarray, happened: np.ndarray, bins: int) -> "csr_array":
    """(bins, N) sparse matrix whose product with weights sums probability − outcome within each bin.

    The expected calibration error (Naeini, Cooper, Hauskrecht 2015, AAAI; Guo et al. 2017, ICML) is the sum of
    the absolute products over the bins, divided by the number of images (L1): Σ_b |Σ_{i in b} (p_i − y_i)| / n.

    >>> gaps = bin_gaps(np.array([0.2, 0.4, 0.9]), np.array([False, True, True]), 2)
    >>> float(np.abs(gaps @ np.ones(3)).sum() / 3)
    0.16666666666666666
    """
    from scipy.sparse import csr_array

    at = (bin_index(probability, bins), np.arange(len(probability)))
    return csr_array((probability - happened, at), shape=(bins, len(probability)))


def reliability_table(
    predictions: Predictions, positive: str | None = None, *, bins: int = 15, confidence: float = 0.95
) -> pd.DataFrame:
    """Return predicted and observed share per equal-width bin, with Wilson limits of the observed one.

    With ``positive`` the probability of that class against its occurrence; without it the largest probability
    against being right (top label). Bins without images are left out. Limits take images as independent.

    >>> table = Predictions(["a", "b"], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ("ng", "ok"))
    >>> reliability_table(table, "ok", bins=2)[["n", "predicted", "observed"]].values.tolist()
    [[1.0, 0.1, 0.0], [1.0, 0.8, 1.0]]
    """
    probability, happened = confidence_and_outcome(predictions, positive)
    index = bin_index(probability, bins)
    rows = []
    for number in np.unique(index):
        inside = index == number
        n, hits = int(inside.sum()), int(happened[inside].sum())
        low, high = proportion_interval(hits, n, confidence=confidence)
        edges = (number / bins, (number + 1) / bins)
        rows.append((*edges, n, float(probability[inside].mean()), hits / n, low, high))
    return pd.DataFrame(rows, columns=["from", "to", "n", "predicted", "observed", "low", "high"])


def confidence_and_outcome(predictions: Predictions, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) probability and whether it came true: of the positive class, or of the top label.

    Without probabilities both are empty.
    """
    if not predictions.has_probabilities or len(predictions) == 0:
        return np.empty(0), np.empty(0, dtype=bool)
    if positive is None:
        right = decide(predictions.probabilities) == predictions.labels
        return predictions.probabilities.max(axis=1), right
    return predictions.score_of(positive), predictions.labels == predictions.class_index(positive)


def net_benefit_table(predictions: Predictions, positive: str, thresholds: np.ndarray | None = None) -> pd.DataFrame:
    """Return the decision curve: TP/n − FP/n · t/(1 − t) for the model, for treating all, and none.

    Vickers & Elkin (2006), Medical Decision Making 26:565. Treated is who scores above t; t is .01 … .99 by
    default, within [0, 1). Empty without probabilities.

    >>> table = Predictions(["a", "b"], [0, 1], [[0.9, 0.1], [0.2, 0.8]], ("ng", "ok"))
    >>> net_benefit_table(table, "ok", np.array([0.5])).values.tolist()
    [[0.5, 0.5, 0.0, 0.0]]
    """
    columns = ["threshold", "model", "all", "none"]
    probability, happened = confidence_and_outcome(predictions, positive)
    if len(probability) == 0:
        return pd.DataFrame(columns=columns, dtype=np.float64)
    t = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    hits = len_above(probability[happened], t) / len(happened)
    alarms = len_above(probability[~happened], t) / len(happened)
    odds, prevalence = t / (1 - t), happened.mean()
    everyone = prevalence - (1 - prevalence) * odds
    return pd.DataFrame(dict(zip(columns, (t, hits - alarms * odds, everyone, np.zeros_like(t)), strict=True)))


def len_above(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return for each limit how many values lie strictly above it.

    >>> len_above(np.array([0.2, 0.5, 0.9]), np.array([0.5, 0.0])).tolist()
    [1, 3]
    """
    return len(values) - np.searchsorted(np.sort(values), limits, side="right")


def calibration_line(
    probability: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[Estimate, Estimate]:
    """Return calibration slope, and intercept with the slope fixed at 1, with Wald intervals.

    Cox (1958), Biometrika 45:562; Van Calster et al. (2019), BMC Medicine 17:230: logistic regression of the
    outcome on logit(p), p clipped to [1e-12, 1 − 1e-12], and with logit(p) as an offset. Slope 1 and intercept
    0 are perfect; a slope below 1 means probabilities that are too extreme. With groups the Wald variance is
    the cluster-robust one (Liang & Zeger 1986) with Student's t of one degree of freedom less than groups of the
    rarer class; below 5 such groups there is no interval. Null for one class, tied scores and complete or
    quasi-complete separation, where no finite estimate exists.

    >>> slope, intercept = calibration_line(np.array([0.2, 0.4, 0.3, 0.9]), np.array([False, True, False, False]))
    >>> round(slope.value, 3), round(intercept.value, 3)
    (-0.227, -1.367)
    """
    from scipy.special import logit

    x = logit(np.clip(probability, CLIP, 1 - CLIP))
    y = positive.astype(np.float64)
    slope_reason = _no_line(x, positive)
    method = "logistic regression on logit(p), Wald" + (", cluster-robust" if groups is not None else "")
    if slope_reason:
        missing = Estimate(None, method=method, n=len(y), reason=slope_reason)
        return missing, missing
    slope = _fit(np.stack([np.ones_like(x), x], axis=1), np.zeros_like(x), y, groups)
    intercept = _fit(np.ones((len(x), 1)), x, y, groups)
    fewest = _fewest_groups(positive, groups)
    objection = too_few_units(fewest, groups=True) if fewest is not None else None
    quantile = None if objection else two_sided_quantile(confidence, None if fewest is None else fewest - 1)
    reason = f"no interval: {objection}" if objection else None
    lines = ((slope, method), (intercept, f"{method}, slope fixed at 1"))
    found = [_wald(fit, quantile, words, len(y), reason) for fit, words in lines]
    return found[0], found[1]


def _fewest_groups(positive: np.ndarray, groups: np.ndarray | None) -> int | None:
    """Return the number of groups of the rarer class, None without groups."""
    if groups is None:
        return None
    return min(len(np.unique(groups[positive])), len(np.unique(groups[~positive])))


def _no_line(x: np.ndarray, positive: np.ndarray) -> str | None:
    if len(x) == 0:
        return "no image"
    if positive.all() or not positive.any():
        return "only one class has images"
    if np.ptp(x) == 0:
        return "all probabilities are equal"
    high, low = x[positive], x[~positive]
    if low.max() <= high.min() or high.max() <= low.min():
        return "the probabilities separate the classes: no finite estimate exists"
    return None


def _wald(fit: tuple[float, float] | None, quantile: float | None, method: str, n: int, reason: str | None) -> Estimate:
    if fit is None:
        return Estimate(None, method=method, n=n, reason="the regression did not converge")
    value, error = fit
    if quantile is None:
        return Estimate(value, method=method, n=n, reason=reason)
    return Estimate(value, value - quantile * error, value + quantile * error, method, n)


def _fit(
    design: np.ndarray, offset: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> tuple[float, float] | None:
    """Fit a logistic regression by Newton steps with halving; return the last coefficient and its error."""
    from scipy.special import expit

    beta = np.zeros(design.shape[1])
    height = _log_likelihood(design @ beta + offset, y)
    for _ in range(NEWTON_STEPS):
        mean = expit(design @ beta + offset)
        information = design.T @ (design * (mean * (1 - mean))[:, None])
        if not np.linalg.det(information) > 0:
            return None
        gradient = design.T @ (y - mean)
        step = np.linalg.solve(information, gradient)
        gain = float(step @ gradient)  # twice the gain in likelihood: a step of √gain standard errors
        while (tried := _log_likelihood(design @ (beta + step) + offset, y)) < height - 1e-9 * abs(height):
            step /= 2
        beta, height = beta + step, max(height, tried)
        if gain < 1e-13:
            return float(beta[-1]), math.sqrt(_variance(design, y, beta, offset, groups)[-1, -1])
    return None


def _log_likelihood(eta: np.ndarray, y: np.ndarray) -> float:
    return float((y * eta - np.logaddexp(0.0, eta)).sum())


def _variance(
    design: np.ndarray, y: np.ndarray, beta: np.ndarray, offset: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    from scipy.special import expit

    mean = expit(design @ beta + offset)
    inverse = np.linalg.inv(design.T @ (design * (mean * (1 - mean))[:, None]))
    if groups is None:
        return inverse
    parts = design * (y - mean)[:, None]
    sums = np.stack([np.bincount(groups, weights=column) for column in parts.T], axis=1)
    return inverse @ (sums.T @ sums) @ inverse * (len(sums) / max(1, len(sums) - 1))
