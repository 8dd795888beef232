"""Metrics that depend on the order of the scores, for many weightings of the images at once.

Weights are (N, b): column j says how often each image counts. A ROC curve is held in counts, (D + 1, b) for
the D distinct scores: how many positives and negatives lie strictly above each cutoff.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COUNT_TOLERANCE = 1e-9  # counts are whole numbers; a limit such as 0.1 · 30 is not quite


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Images in descending order of their score.

    >>> ranked = RankedScores.of(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> ranked.distinct.tolist(), float(ranked.curve(np.ones((4, 1))).auc()[0])
    ([0.8, 0.4, 0.35, 0.1], 0.75)
    """

    order: np.ndarray  # (N,)
    ends: np.ndarray  # (D,) position of the last image of each run of equal scores
    positive: np.ndarray  # (N,) in this order
    distinct: np.ndarray  # (D,) descending

    @classmethod
    def of(cls, score: np.ndarray, positive: np.ndarray) -> "RankedScores":
        """Rank (N,) scores; ``positive`` is (N,) bool."""
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], np.ones(min(1, len(ranked)), dtype=bool)))
        return cls(order, ends, positive[order], ranked[ends])

    def curve(self, weights: np.ndarray) -> "WeightedCurve":
        """Return the ROC curve of each column of the (N, b) weights, from (0, 0) to (all, all)."""
        hits = self.positive
        passed = np.append(0, self.ends + 1)  # images down to each point of the curve
        positives = np.append(0, np.cumsum(hits))[passed]
        return WeightedCurve(
            _running(weights, self.order[~hits])[passed - positives], _running(weights, self.order[hits])[positives]
        )


@dataclass(frozen=True, eq=False)
class WeightedCurve:
    """ROC curves in counts: (D + 1, b) false positives and true positives from the highest cutoff down."""

    false_positives: np.ndarray
    true_positives: np.ndarray

    def auc(self) -> np.ndarray:
        """(b,) area by the trapezoidal rule, which equals Mann–Whitney with ties ½ (Bamber 1975)."""
        width = np.diff(self.false_positives, axis=0)
        area = np.einsum("db,db->b", width, self.true_positives[1:] + self.true_positives[:-1]) / 2
        return _share(area, self.false_positives[-1] * self.true_positives[-1])

    def average_precision(self) -> np.ndarray:
        """(b,) Σ (R_k − R_{k−1}) P_k over the distinct scores, without interpolation (as scikit-learn)."""
        gained = np.diff(self.true_positives, axis=0)
        hits = self.true_positives[1:]
        precision = np.divide(hits, hits + self.false_positives[1:], out=np.zeros_like(hits), where=hits > 0)
        return _share(np.einsum("db,db->b", gained, precision), self.true_positives[-1])

    def turned(self) -> "WeightedCurve":
        """Return the curve with specificity over (1 − sensitivity): the roles of the classes exchanged."""
        missed = self.true_positives[-1] - self.true_positives[::-1]
        rejected = self.false_positives[-1] - self.false_positives[::-1]
        return WeightedCurve(missed, rejected)

    def height_at(self, share: float) -> np.ndarray:
        """(b,) sensitivity where 1 − specificity = ``share``: linear between points, top of a vertical step.

        >>> ranked = RankedScores.of(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False]))
        >>> float(ranked.curve(np.ones((4, 1))).height_at(0.25)[0])
        0.5
        """
        _, _, height = self._reach(share)
        return _share(height, self.true_positives[-1])

    def area_up_to(self, share: float) -> np.ndarray:
        """(b,) area under the curve for 1 − specificity in [0, share], as a share of the unit square.

        McClish (1989), Medical Decision Making 9:190; R's ``auc(partial.auc = c(1, 1 − share))``.
        """
        limit, at, height = self._reach(share)
        x, y = self.false_positives, self.true_positives
        pieces = np.diff(x, axis=0) * (y[1:] + y[:-1])
        pieces[np.arange(len(pieces))[:, None] >= at] = 0
        columns = np.arange(x.shape[1])
        rest = (limit - x[at, columns]).clip(min=0) * (y[at, columns] + height)
        return _share((pieces.sum(axis=0) + rest) / 2, x[-1] * y[-1])

    def _reach(self, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the limit in counts, the last point not beyond it, and the height there in counts."""
        x, y = self.false_positives, self.true_positives
        limit = share * x[-1]
        at = np.count_nonzero(x <= limit + COUNT_TOLERANCE, axis=0) - 1
        after = np.minimum(at + 1, len(x) - 1)
        columns = np.arange(x.shape[1])
        width = x[after, columns] - x[at, columns]
        along = np.divide(limit - x[at, columns], width, out=np.zeros(len(columns)), where=width > 0).clip(0, 1)
        return limit, at, y[at, columns] + along * (y[after, columns] - y[at, columns])


def corrected_partial_area(area: np.ndarray, share: float) -> np.ndarray:
    """McClish's standardised partial area: ½ (1 + (A − min)/(max − min)), min = share²/2, max = share.

    0.5 is a useless score, 1 a perfect one.

    >>> float(corrected_partial_area(np.array([0.1]), 0.1)[0])
    1.0
    """
    least = share**2 / 2
    return (1 + (area - least) / (share - least)) / 2


@dataclass(frozen=True, eq=False)
class PairwiseAreas:
    """How often an image of one class scores above one of each other class, ranked once for all weightings.

    >>> areas = PairwiseAreas.of(np.array([0.7, 0.4, 0.4, 0.1]), np.array([0, 0, 1, 2]), own=0, classes=3)
    >>> areas.above(np.ones((4, 1)))[:, 0].tolist()[1:]
    [1.5, 2.0]
    """

    ranked: RankedScores
    by_class: "csr_array"  # (C, N) sums images in the order of their scores by class
    run: np.ndarray | None  # (N,) which run of equal scores each image is in; None without ties

    @classmethod
    def of(cls, score: np.ndarray, labels: np.ndarray, *, own: int, classes: int) -> "PairwiseAreas":
        """Rank the (N,) scores of class ``own``; labels are (N,) from 0 to classes - 1."""
        from scipy.sparse import csr_array

        ranked = RankedScores.of(score, labels == own)
        place = (labels[ranked.order], np.arange(len(score)))
        by_class = csr_array((np.ones(len(score)), place), shape=(classes, len(score)))
        ties = len(ranked.ends) < len(score)
        return cls(ranked, by_class, np.searchsorted(ranked.ends, np.arange(len(score))) if ties else None)

    def above(self, weights: np.ndarray) -> np.ndarray:
        """Return (C, b) for (N, b) weights, in weighted pairs; ties count ½.

        Divided by the product of the two class weights it is A(own | other) of Hand & Till (2001), Machine Learning
        45:171; summed over the others it is the one-vs-rest area.
        """
        drawn = weights[self.ranked.order]
        hits = np.where(self.ranked.positive[:, None], drawn, 0.0)
        np.cumsum(hits, axis=0, out=hits)
        if self.run is not None:
            through = hits[self.ranked.ends]
            before = np.concatenate([np.zeros((1, weights.shape[1])), through[:-1]])
            hits = ((before + through) / 2)[self.run]
        hits *= drawn
        return np.asarray(self.by_class @ hits)


def _running(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (len(rows) + 1, b): the weights of the first 0, 1, … of the rows."""
    total = np.zeros((len(rows) + 1, weights.shape[1]))
    np.cumsum(weights[rows], axis=0, out=total[1:])
    return total


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
