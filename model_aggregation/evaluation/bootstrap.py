"""Stratified resamples as weights: how often each image was drawn.

A metric that accepts weights is computed for a whole block of resamples with one expression. The resamples
depend only on the labels and groups in the order of the ids, the number of resamples and the seed: every model
and every metric of one set of images sees the same ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.intervals import too_few_units
from model_aggregation.evaluation.predictions import Predictions

Values = dict[str, np.ndarray]

BLOCK_VALUES = 250_000  # weights held at once: 2 MB stay in the cache; a metric makes a few copies
FEWEST_PER_BLOCK = 8
TOLERATED_UNDEFINED = 0.05
SAME = 1e-12
"""Values of resamples that differ by no more are the same."""
OUTSIDE = "bias of the bootstrap: the value lies outside its percentile interval"


@dataclass(frozen=True, eq=False)
class Resamples:
    """A plan of stratified resamples (Efron & Tibshirani 1993, chapter 13; Davison & Hinkley 1997, 3.2).

    Units are drawn with replacement within their stratum, as many as it has. The unit is the image, its
    stratum its class; with groups of several images the unit is the group and its stratum the set of classes
    that it holds, so that no class can vanish from a resample.

    Parameters
    ----------
    unit_of_image
        (N,) number of the unit of each image.
    strata
        For each stratum the numbers of its units.

    >>> plan = Resamples.of(Predictions(["a", "b", "c"], [0, 0, 1], [[1, 0], [1, 0], [0, 1]], ("x", "y")), count=4)
    >>> weights = next(plan.blocks())
    >>> weights.shape, weights.sum(axis=0).tolist(), weights[2].tolist()
    ((3, 4), [3.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0])
    """

    unit_of_image: np.ndarray
    strata: tuple[np.ndarray, ...]
    unit: str
    units_per_class: np.ndarray
    count: int
    seed: int

    @classmethod
    def of(cls, predictions: Predictions, *, count: int = 2000, seed: int = 0) -> "Resamples":
        """Plan resamples of predictions that are sorted by id."""
        groups = predictions.unit_index()
        units = np.arange(len(predictions)) if groups is None else groups
        size = int(units.max(initial=-1)) + 1
        holds = np.zeros((size, len(predictions.classes)), dtype=bool)
        holds[units, predictions.labels] = True
        _, kind = np.unique(holds, axis=0, return_inverse=True)
        kind = kind.reshape(-1)
        strata = tuple(np.flatnonzero(kind == number) for number in range(int(kind.max(initial=-1)) + 1))
        unit = "image" if groups is None else "group"
        return cls(units, strata, unit, holds.sum(axis=0), count if len(predictions) else 0, seed)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the weights block by block, (N, b) float64: how often image i is in resample j."""
        generator = np.random.default_rng(self.seed)
        units = sum(len(stratum) for stratum in self.strata)
        step = max(FEWEST_PER_BLOCK, BLOCK_VALUES // max(1, len(self.unit_of_image)))
        for start in range(0, self.count, step):
            size = min(step, self.count - start)
            drawn = np.zeros((units, size))
            for stratum in self.strata:
                drawn[stratum] = _draw(generator, len(stratum), size)
            yield drawn if self.unit == "image" else drawn[self.unit_of_image]

    def apply(self, metrics: Callable[[np.ndarray], Values]) -> Values:
        """Compute metrics of (N, b) weights for all resamples, joined along the last axis.

        >>> table = Predictions(["a", "b", "c"], [0, 0, 1], [[1, 0], [1, 0], [0, 1]], ("x", "y"))
        >>> Resamples.of(table, count=5).apply(lambda weights: {"n": weights.sum(axis=0)})["n"].tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
        """
        parts = [metrics(weights) for weights in self.blocks()]
        return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in (parts[0] if parts else {})}

    @property
    def method(self) -> str:
        """The words that name these resamples beside an interval."""
        unit = "groups, stratified by the classes they hold" if self.unit == "group" else "stratified by class"
        return f"percentile bootstrap, {self.count} resamples, {unit}"

    def objection(self) -> str | None:
        """Return why resampling cannot tell the spread here, or None."""
        if self.count == 0:
            return "no resamples were asked for" if len(self.unit_of_image) else "no image"
        return too_few_units(self.fewest, groups=self.unit == "group")

    @property
    def fewest(self) -> int:
        """Number of units of the rarest class that is present."""
        return int(self.units_per_class[self.units_per_class > 0].min(initial=len(self.unit_of_image)))

    @property
    def degrees(self) -> int | None:
        """Degrees of freedom of Student's t, one less than groups of the rarest class; None: normal quantiles."""
        return self.fewest - 1 if self.unit == "group" else None


def _draw(generator: np.random.Generator, units: int, size: int) -> np.ndarray:
    """Return (units, size): how often each unit was drawn in each of ``size`` resamples."""
    index = generator.integers(0, units, size=(units, size)) * size
    index += np.arange(size)
    return np.bincount(index.ravel(), minlength=units * size).reshape(units, size)


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float, str] | str:
    """Return ``(low, high, note)`` of the (B,) resampled values, or the reason why there is no interval.

    Efron (1979): the α/2 and 1 − α/2 quantiles. Undefined resamples (NaN) are left out and counted in the
    note; above 5 % of them there is no interval. Nor is there one when all resamples agree: a width of 0
    would claim certainty.

    >>> low, high, note = percentile_interval(np.arange(101.0))
    >>> round(low, 6), round(high, 6), note
    (2.5, 97.5, '')
    >>> percentile_interval(np.ones(100))
    'every resample gives the same value'
    """
    defined = values[~np.isnan(values)]
    missing = len(values) - len(defined)
    if len(defined) == 0 or missing > TOLERATED_UNDEFINED * len(values):
        return f"undefined in {missing} of {len(values)} resamples"
    if np.ptp(defined) <= SAME:
        return "every resample gives the same value"
    low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high), f"{missing} undefined resamples left out" if missing else ""


def bootstrap_estimate(
    value: float,
    drawn: np.ndarray | None,
    plan: Resamples,
    *,
    confidence: float,
    n: int,
    reason: str | None = None,
    note: str = "",
) -> Estimate:
    """Join a value with the percentile interval of its resamples; ``reason`` says why a NaN value is undefined.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[1, 0], [1, 0], [0, 1], [0, 1]], ("x", "y"))
    >>> plan = Resamples.of(table, count=101)
    >>> bootstrap_estimate(0.5, np.arange(101) / 100, plan, confidence=0.9, n=4).text()
    '0.500 (0.050–0.950)'
    """
    method = f"{plan.method}; {note}" if note else plan.method
    if np.isnan(value):
        return Estimate(None, method=method, n=n, reason=reason or "undefined here")
    objection = plan.objection()
    found = objection if objection or drawn is None else percentile_interval(drawn, confidence)
    if found is None or isinstance(found, str):
        return Estimate(float(value), method=method, n=n, reason=f"no interval: {found}")
    low, high, undefined = found
    biased = OUTSIDE if lies_outside(value, low, high) else None
    return Estimate(float(value), low, high, f"{method}; {undefined}" if undefined else method, n, biased)


def lies_outside(value: float, low: float, high: float) -> bool:
    """Return whether a value is not within its limits, rounding aside.

    >>> lies_outside(0.352, 0.357, 0.366), lies_outside(0.36, 0.357, 0.366)
    (True, False)
    """
    return not low - SAME <= value <= high + SAME


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p of the (B,) resampled differences: twice the smaller share on either side of 0.

    Davison & Hinkley (1997), 4.2: counts start at 1, so p is never 0; B = 2000 cannot tell below .001.

    >>> bootstrap_p(np.zeros(100)), round(bootstrap_p(np.ones(99)), 3)
    (1.0, 0.02)
    """
    defined = differences[~np.isnan(differences)]
    below, above = int((defined <= 0).sum()), int((defined >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(defined) + 1))
