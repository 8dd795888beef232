"""The area under the ROC curve, its variance, and the paired comparison of several scores.

DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837, by mid-ranks in O(n log n) as in Sun & Xu (2014),
IEEE Signal Processing Letters 21:1389; with groups of several images the clustered variance of Obuchowski
(1997), Biometrics 53:567. Ranks are float64, so scores that float32 cannot tell apart keep their order.
"""

import math
from dataclasses import dataclass

import numpy as np

from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.intervals import too_few_units, two_sided_quantile


@dataclass(frozen=True, eq=False)
class DeLong:
    """Areas of K scores for the same images, with what their covariance is made of.

    Parameters
    ----------
    auc
        (K,) area, P(score of a positive > score of a negative) + ½ P(equal).
    positive_residuals, negative_residuals
        (K, I) sums over each unit of (placement − auc), for its positive and for its negative images.
    m, n
        Number of positive and negative images.
    positive_units, negative_units, units
        Number of units with a positive, with a negative image, and altogether. A unit is an image or a group.
    """

    auc: np.ndarray
    positive_residuals: np.ndarray
    negative_residuals: np.ndarray
    m: int
    n: int
    positive_units: int
    negative_units: int
    units: int
    clustered: bool

    @property
    def fewest(self) -> int:
        """Number of units of the rarer class."""
        return min(self.positive_units, self.negative_units)

    @property
    def degrees(self) -> int | None:
        """Degrees of freedom of Student's t, one less than groups of the rarer class; None: normal quantiles."""
        return self.fewest - 1 if self.clustered else None

    def objection(self) -> str | None:
        """Return why no variance can be estimated, or None."""
        return too_few_units(self.fewest, groups=self.clustered)

    def covariance(self) -> np.ndarray:
        """Return the (K, K) covariance of the areas; it needs two units of either class.

        DeLong: S10/m + S01/n. Obuchowski adds S11, the covariance within units that hold both classes.

        >>> one = delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8]])
        >>> one.auc, one.covariance().round(6)
        (array([0.75]), array([[0.125]]))
        """
        return self._product(self.positive_residuals, self.negative_residuals)

    def variance_of_difference(self, i: int, j: int) -> float:
        """Return the variance of auc[i] − auc[j], exactly 0 for equal placements.

        Made of the differences themselves: a difference of covariances would lose the digits.
        """
        positive = self.positive_residuals[i] - self.positive_residuals[j]
        negative = self.negative_residuals[i] - self.negative_residuals[j]
        return max(0.0, float(self._product(positive, negative)))

    def _product(self, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
        a, b = positive / self.m, negative / self.n
        first = self.positive_units / (self.positive_units - 1)
        second = self.negative_units / (self.negative_units - 1)
        total = first * (a @ a.T) + second * (b @ b.T)
        cross = a @ b.T + b @ a.T if self.clustered else 0.0
        return total + (self.units / (self.units - 1)) * cross


def delong(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray | None = None) -> DeLong:
    """Compute the areas of K scores and the parts of their covariance.

    Parameters
    ----------
    labels
        (N,) true for positive. Both classes must be present.
    scores
        (K, N) float64, higher meaning positive.
    groups
        (N,) number of the group of each image, or None for independent images.

    >>> float(delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8]]).auc[0])
    0.75
    """
    from scipy.stats import rankdata

    positive = np.asarray(labels, dtype=bool)
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        raise ValueError("an area under the ROC curve needs images of both classes")
    everywhere = rankdata(scores, axis=1)
    above = (everywhere[:, positive] - rankdata(scores[:, positive], axis=1)) / n  # (K, m) placements
    below = 1 - (everywhere[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m  # (K, n)
    auc = above.mean(axis=1)
    positive_residuals, negative_residuals = above - auc[:, None], below - auc[:, None]
    if groups is None:
        return DeLong(auc, positive_residuals, negative_residuals, m, n, m, n, m + n, clustered=False)
    names, group = np.unique(groups, return_inverse=True)
    units = len(names)
    return DeLong(
        auc,
        _sum_by(positive_residuals, group[positive], units),
        _sum_by(negative_residuals, group[~positive], units),
        m,
        n,
        len(np.unique(group[positive])),
        len(np.unique(group[~positive])),
        units,
        clustered=True,
    )


def logit_interval(
    auc: float, variance: float, confidence: float = 0.95, degrees: int | None = None
) -> tuple[float, float]:
    """Interval on the logit scale: expit(logit(A) ± q √V / (A(1 − A))), for 0 < A < 1.

    Pepe (2003), The Statistical Evaluation of Medical Tests, 5.2; it stays inside (0, 1) and keeps its
    coverage for small samples with high areas, where the plain interval falls to .7.

    >>> [round(limit, 4) for limit in logit_interval(0.9, 0.0016)]
    [0.7902, 0.9556]
    """
    from scipy.special import expit, logit

    half = two_sided_quantile(confidence, degrees) * math.sqrt(variance) / (auc * (1 - auc))
    centre = logit(auc)
    return float(expit(centre - half)), float(expit(centre + half))


def plain_interval(
    auc: float, variance: float, confidence: float = 0.95, degrees: int | None = None
) -> tuple[float, float]:
    """Interval A ± q √V, cut at 0 and 1, as R's pROC gives it.

    >>> [round(limit, 4) for limit in plain_interval(0.9, 0.0016)]
    [0.8216, 0.9784]
    """
    half = two_sided_quantile(confidence, degrees) * math.sqrt(variance)
    return max(0.0, float(auc - half)), min(1.0, float(auc + half))


def perfect_interval(auc: float, units: int, confidence: float = 0.95) -> tuple[float, float]:
    """One-sided bound for an area of exactly 1 (or, mirrored, 0), where DeLong's variance is 0.

    With k units of the rarer class the bound is (α/2)^(1/k): below it, k units in a row would all be on the
    right side with a probability of less than α/2 (the exact bound of a proportion k of k).

    >>> [round(limit, 4) for limit in perfect_interval(1.0, 30)]
    [0.8843, 1.0]
    """
    bound = (0.5 - confidence / 2) ** (1 / units)
    return (bound, 1.0) if auc == 1 else (0.0, 1 - bound)


def auc_estimate(areas: DeLong, k: int, *, confidence: float = 0.95) -> Estimate:
    """Return one area with its logit interval and, under ``delong``, the plain one.

    An area of exactly 1 or 0 gets a one-sided bound, flagged in ``reason``; one image or fewer than 5 groups in a
    class, or a variance of 0 (all scores tied), gets no interval. With groups the quantiles are Student's t.

    >>> auc_estimate(delong([0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8]]), 0).text()
    '0.750 (0.069–0.992)'
    >>> auc_estimate(delong([0, 0, 1, 1], [[0.5, 0.5, 0.5, 0.5]]), 0).reason
    'no interval: the variance is 0'
    """
    auc, n = float(areas.auc[k]), areas.m + areas.n
    name = "DeLong, clustered (Obuchowski)" if areas.clustered else "DeLong"
    method = f"{name}, logit scale" + (f", t with {areas.degrees} df" if areas.clustered else "")
    if objection := areas.objection():
        return Estimate(auc, method=method, n=n, reason=f"no interval: {objection}")
    if auc in (0.0, 1.0):
        low, high = perfect_interval(auc, areas.fewest, confidence)
        reason = f"the area is exactly {auc:.0f}, where DeLong's variance is 0: the interval is a one-sided bound"
        return Estimate(auc, low, high, f"one-sided bound from {areas.fewest} units of the rarer class", n, reason)
    residuals = areas.positive_residuals[k], areas.negative_residuals[k]
    variance = max(0.0, float(areas._product(*residuals)))
    if variance == 0:
        return Estimate(auc, method=method, n=n, reason="no interval: the variance is 0")
    plain = plain_interval(auc, variance, confidence, areas.degrees)
    limits = logit_interval(auc, variance, confidence, areas.degrees)
    return Estimate(auc, *limits, method, n, others={"delong": plain})


@dataclass(frozen=True)
class PairedTest:
    """Difference of two areas: value, interval, z and two-sided p; None where undefined, with the reason."""

    difference: float
    low: float | None
    high: float | None
    z: float | None
    p: float | None
    reason: str | None = None


def paired_test(areas: DeLong, i: int, j: int, *, confidence: float = 0.95) -> PairedTest:
    """Test whether two areas on the same images differ: z = (A_i − A_j) / √Var(A_i − A_j), normal or Student's t.

    A score against itself has difference 0, z = 0 and p = 1.

    >>> scores = [[0.1, 0.4, 0.35, 0.8], [0.1, 0.4, 0.35, 0.8]]
    >>> paired_test(delong([0, 0, 1, 1], scores), 0, 1).p
    1.0
    """
    from scipy.special import ndtr, stdtr

    difference = float(areas.auc[i] - areas.auc[j])
    if objection := areas.objection():
        return PairedTest(difference, None, None, None, None, objection)
    variance = areas.variance_of_difference(i, j)
    if variance == 0 and difference == 0:
        return PairedTest(0.0, None, None, 0.0, 1.0, "both scores rank the images alike")
    if variance == 0:
        return PairedTest(difference, None, None, None, None, "the variance of the difference is 0")
    sd = math.sqrt(variance)
    half, z = two_sided_quantile(confidence, areas.degrees) * sd, difference / sd
    tail = ndtr(-abs(z)) if areas.degrees is None else stdtr(areas.degrees, -abs(z))
    return PairedTest(difference, max(-1.0, difference - half), min(1.0, difference + half), z, 2 * float(tail))


def _sum_by(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Sum the columns of (K, N) values within each group, giving (K, groups)."""
    return np.stack([np.bincount(group, weights=row, minlength=groups) for row in values])
