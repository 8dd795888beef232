"""How far a ranking of models by their test scores can be believed."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model_aggregation.evaluation.bootstrap import SAME, percentile_interval

DRAWS = 20_000
PAIRS_AT_ONCE = 2_000_000


class Spread(NamedTuple):
    """(K, K) covariance of values, (K, K) deviations of their differences, degrees of freedom of Student's t."""

    covariance: np.ndarray
    deviations: np.ndarray
    degrees: int | None = None


@dataclass(frozen=True, eq=False)
class RankSets:
    """Simultaneous confidence sets of the ranks of K models, 1 the best; None with a reason when unknown.

    ``top`` marks the models whose set contains 1: those that cannot be distinguished from the best.
    """

    low: np.ndarray | None
    high: np.ndarray | None
    critical: float | None = None
    reason: str | None = None

    @property
    def top(self) -> np.ndarray | None:
        """(K,) bool, whether rank 1 is in the set."""
        return None if self.low is None else self.low == 1


def rank_sets(
    values: np.ndarray,
    spread: Spread,
    *,
    decided: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> RankSets:
    """Compute rank sets by simultaneous comparison of all pairs.

    Mogstad, Romano, Shaikh, Wilhelm (2024), Review of Economic Studies 91:476: draw Z ~ N(0, Σ) 20 000 times (from a
    multivariate t where degrees of freedom are given), c = the quantile of max |Z_i − Z_j| / sd_ij; i beats j when
    θ_i − θ_j > c · sd_ij; the set of i is [1 + number that beat i, K − number i beats].

    Parameters
    ----------
    values
        (K,) θ, larger is better.
    spread
        Of the values and their differences. A pair whose deviation is 0 and whose values are equal is a tie.
    decided
        (K, K) bool, whether i beats j in the resamples: it decides pairs whose sd_ij is 0 and values differ.

    >>> far = rank_sets(np.array([0.9, 0.5]), Spread(np.eye(2) * 1e-4, np.sqrt(np.array([[0, 2e-4], [2e-4, 0]]))))
    >>> far.low.tolist(), far.high.tolist(), far.top.tolist()
    ([1, 2], [1, 2], [True, False])
    """
    deviations = spread.deviations
    difference = values[:, None] - values[None, :]
    stuck = (deviations == 0) & (difference != 0)
    if stuck.any() and decided is None:
        return RankSets(None, None, reason="two models differ, but the spread of their difference is 0")
    critical = _critical_value(spread, confidence, seed)
    beats = difference > critical * deviations
    if stuck.any() and decided is not None:
        beats = np.where(stuck, decided, beats)
    return RankSets(1 + beats.sum(axis=0), len(values) - beats.sum(axis=1), critical)


def _critical_value(spread: Spread, confidence: float, seed: int) -> float:
    covariance, deviations, degrees = spread
    first, second = np.nonzero(np.triu(deviations > 0, k=1))
    if len(first) == 0:
        return 0.0
    size, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(size.clip(min=0))
    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal((DRAWS, len(size))) @ root.T
    if degrees is not None:
        drawn /= np.sqrt(generator.chisquare(degrees, size=(DRAWS, 1)) / degrees)
    weight = 1 / deviations[first, second]
    step = max(1, PAIRS_AT_ONCE // len(first))
    largest = [
        (np.abs(part[:, first] - part[:, second]) * weight).max(axis=1)
        for part in (drawn[start : start + step] for start in range(0, DRAWS, step))
    ]
    return float(np.quantile(np.concatenate(largest), confidence))


@dataclass(frozen=True)
class BiasCorrected:
    """The best test score, and what is left of it once choosing by it is paid for."""

    model: str
    apparent: float
    value: float | None
    low: float | None
    high: float | None
    method: str
    reason: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain Python values."""
        return dict(vars(self))


def bias_corrected_best(
    names: list[str],
    apparent: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    *,
    larger_is_better: bool = True,
    confidence: float = 0.95,
) -> BiasCorrected:
    """Correct the best of K test scores for having been chosen by the test score.

    Bootstrap bias correction, Tsamardinos, Greasidou, Borboudakis (2018), Machine Learning 107:1895: in each
    resample the best model by the images drawn is scored by the images left out; the mean of these is the
    corrected value, their percentiles the interval. Ties go to the earlier name. Null when the images left out score
    better than all images, which corrects nothing; no interval when all resamples agree.

    Parameters
    ----------
    apparent
        (K,) scores on all images.
    inside, outside
        (K, B) scores on the images drawn and on those left out; NaN where undefined.

    >>> inside, outside = np.array([[0.9, 0.8], [0.7, 0.9]]), np.array([[0.6, 0.7], [0.7, 0.8]])
    >>> bias_corrected_best(["a", "b"], np.array([0.9, 0.8]), inside, outside).value
    0.7
    """
    sign = 1.0 if larger_is_better else -1.0
    best = int(np.argmax(sign * apparent))
    usable = ~np.isnan(inside).any(axis=0)
    chosen = np.argmax(np.where(usable, sign * inside, 0.0), axis=0)
    scores = outside[chosen, np.arange(outside.shape[1])][usable]
    scores = scores[~np.isnan(scores)]
    method = f"bootstrap bias correction (BBC), {len(scores)} of {inside.shape[1]} resamples"
    if len(scores) < 0.5 * max(1, inside.shape[1]):
        reason = "the images left out of a resample seldom hold every class" if inside.shape[1] else "no resamples"
        return BiasCorrected(names[best], float(apparent[best]), None, None, None, method, reason)
    value, shown = float(scores.mean()), float(apparent[best])
    if sign * (value - shown) > SAME:
        reason = "the images left out of a resample score better than all images: nothing is corrected"
        return BiasCorrected(names[best], shown, None, None, None, method, reason)
    found = percentile_interval(scores, confidence)
    if isinstance(found, str):
        return BiasCorrected(names[best], shown, value, None, None, method, f"no interval: {found}")
    return BiasCorrected(names[best], shown, value, found[0], found[1], method)
