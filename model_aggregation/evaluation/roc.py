"""Curves as tables: ROC, its bootstrap band, precision and recall."""

import numpy as np
import pandas as pd

from model_aggregation.evaluation.bootstrap import Resamples
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.ranked_scores import RankedScores, WeightedCurve

ROC_COLUMNS = ["CutOff", "TPR", "FPR", "Balanced Accuracy"]
PRECISION_RECALL_COLUMNS = ["CutOff", "Recall", "Precision"]
BAND_COLUMNS = ["Specificity", "Sensitivity", "Low", "High"]


def roc_table(predictions: Predictions, positive: str) -> pd.DataFrame:
    """Return the ROC curve at every distinct score, ascending, strictly above counted as positive.

    The first row is ``-inf, 1, 1, 0.5``: everything positive. Empty when a class has no image.

    >>> table = Predictions(list("abc"), [0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], ("ng", "ok"))
    >>> roc_table(table, "ok").values.tolist()
    [[-inf, 1.0, 1.0, 0.5], [0.1, 1.0, 0.0, 1.0], [0.4, 0.5, 0.0, 0.75], [0.8, 0.0, 0.0, 0.5]]
    """
    if _ranked(predictions, positive) is None:
        return pd.DataFrame(columns=ROC_COLUMNS, dtype=np.float64)
    cutoffs, hits, alarms = _points(predictions, positive)
    tpr, fpr = hits / hits[0], alarms / alarms[0]
    return pd.DataFrame(dict(zip(ROC_COLUMNS, (cutoffs, tpr, fpr, (tpr + 1 - fpr) / 2), strict=True)))


def precision_recall_table(predictions: Predictions, positive: str) -> pd.DataFrame:
    """Return precision over recall at every distinct score but the highest, preceded by ``-inf``.

    Strictly above the highest score nothing is predicted positive and precision is undefined: no row. Empty
    when the positive class has no image.

    >>> table = Predictions(list("abc"), [0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], ("ng", "ok"))
    >>> precision_recall_table(table, "ok")["Recall"].tolist()
    [1.0, 1.0, 0.5]
    """
    if not (predictions.labels == predictions.class_index(positive)).any():
        return pd.DataFrame(columns=PRECISION_RECALL_COLUMNS, dtype=np.float64)
    cutoffs, hits, alarms = (values[:-1] for values in _points(predictions, positive))
    columns = (cutoffs, hits / hits[0], hits / (hits + alarms))
    return pd.DataFrame(dict(zip(PRECISION_RECALL_COLUMNS, columns, strict=True)))


def roc_band(
    predictions: Predictions,
    positive: str,
    options: EvaluationOptions | None = None,
    *,
    specificities: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return sensitivity over specificity with a pointwise bootstrap band.

    As R's ``ci.se`` (Robin et al. 2011, BMC Bioinformatics 12:77): sensitivity at each specificity (0, .01, …,
    1 by default), linear between points, percentiles over the stratified resamples. It is pointwise: the whole
    curve lies inside less often than the confidence says. Low and High are missing where resamples cannot tell.

    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> roc_band(table, "ok", specificities=np.array([0.5]))["Sensitivity"].tolist()
    [1.0]
    """
    options = options or EvaluationOptions()
    predictions = predictions.sorted_by_id()
    ranked = _ranked(predictions, positive)
    if ranked is None:
        return pd.DataFrame(columns=BAND_COLUMNS, dtype=np.float64)
    grid = np.linspace(0, 1, 101) if specificities is None else np.asarray(specificities, dtype=np.float64)
    value = _heights(ranked.curve(np.ones((len(predictions), 1))), grid)[:, 0]
    low = high = np.full(len(grid), np.nan)
    plan = Resamples.of(predictions, count=options.resamples, seed=options.seed)
    if plan.objection() is None:
        drawn = np.concatenate([_heights(ranked.curve(weights), grid) for weights in plan.blocks()], axis=1)
        low, high = np.quantile(drawn, [0.5 - options.confidence / 2, 0.5 + options.confidence / 2], axis=1)
    return pd.DataFrame(dict(zip(BAND_COLUMNS, (grid, value, low, high), strict=True)))


def _heights(curve: WeightedCurve, specificities: np.ndarray) -> np.ndarray:
    """(G, b) sensitivities at the specificities: one sorted search over all resamples at once.

    Counts are whole numbers, so shifting each resample's counts by its own multiple keeps them exact.
    """
    x, y = curve.false_positives, curve.true_positives
    points, b = x.shape
    stride = x[-1].max() + 2
    shift = np.arange(b) * stride
    flat_x, flat_y = (x + shift).T.ravel(), y.T.ravel()
    limit = (1 - specificities)[:, None] * x[-1]
    at = np.searchsorted(flat_x, limit + shift + 1e-7, side="right") - 1
    after = np.minimum(at + 1, (np.arange(b) + 1) * points - 1)
    width = flat_x[after] - flat_x[at]
    along = np.divide(limit + shift - flat_x[at], width, out=np.zeros_like(limit), where=width > 0).clip(0, 1)
    return (flat_y[at] + along * (flat_y[after] - flat_y[at])) / y[-1]


def _ranked(predictions: Predictions, positive: str) -> RankedScores | None:
    truth = predictions.labels == predictions.class_index(positive)
    if truth.all() or not truth.any():
        return None
    return RankedScores.of(predictions.score_of(positive), truth)


def _points(predictions: Predictions, positive: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cutoffs ascending from −inf, and how many positives and negatives lie strictly above each."""
    truth = predictions.labels == predictions.class_index(positive)
    ranked = RankedScores.of(predictions.score_of(positive), truth)
    curve = ranked.curve(np.ones((len(predictions), 1)))
    cutoffs = np.append(ranked.distinct, -np.inf)[::-1]
    return cutoffs, curve.true_positives[::-1, 0], curve.false_positives[::-1, 0]
