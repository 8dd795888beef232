"""Confusion, curves and the counts behind the cutoff slider, from a set of predictions."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.errors import SettingsError
from model_aggregation.evaluation import (
    EvaluationOptions,
    Predictions,
    precision_recall_table,
    reliability_table,
    roc_band,
    roc_table,
)
from model_aggregation.files import write_csv
from model_aggregation.reporting.curves import corners
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.image_views import Confusion, Curves, CutoffTable, PredictionTable

_CELLS = 1000
"""A thinned curve keeps the first and the last point in each of so many cells along either axis."""


def confusion_of(table: PredictionTable) -> Confusion:
    """Return the counts of actual and predicted labels."""
    count = len(table.labels)
    flat = table.actual.astype(np.int64) * count + table.predicted
    return Confusion(table.labels, np.bincount(flat, minlength=count * count).reshape(count, count), table.notes)


def curves_of(predictions: Predictions, class_name: str, notes: tuple[str, ...]) -> Curves:
    """Return the curves of one class against the rest."""
    reliability = reliability_table(predictions, class_name)
    if predictions.unit_index() is not None:  # Wilson's limits take images as independent
        reliability = reliability.assign(low=np.nan, high=np.nan)
    return Curves(
        class_name,
        roc=_thinned(corners(roc_table(predictions, class_name)), "FPR", "TPR"),
        precision_recall=_thinned(precision_recall_table(predictions, class_name), "Recall", "Precision"),
        reliability=reliability,
        notes=notes,
    )


def _thinned(curve: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return a curve whose points lie as dense as a screen can show; every point is one of the curve."""
    if len(curve) <= 2 * _CELLS:
        return curve.reset_index(drop=True)
    cells = np.floor(curve[[x, y]].to_numpy() * _CELLS)
    moved = (np.diff(cells, axis=0) != 0).any(axis=1)
    return curve[np.append(True, moved) | np.append(moved, True)].reset_index(drop=True)


def band_of(predictions: Predictions, class_name: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the bootstrap band of a ROC curve with the options that the evaluation used; empty where undefined."""
    known = {name: options[name] for name in ("confidence", "resamples", "seed") if name in options}
    try:
        band = roc_band(predictions, class_name, EvaluationOptions(**known))
    except (SettingsError, TypeError):  # options that someone wrote by hand
        band = roc_band(predictions, class_name)
    inside = band[band[["Low", "High"]].notna().all(axis=1)]
    return inside if (inside["High"] > inside["Low"]).any() else inside.head(0)


def cutoff_table(predictions: Predictions, positive: str, stored: float | None, notes: tuple[str, ...]) -> CutoffTable:
    """Count what lies strictly above each cutoff from 0.000 to 1.000, and above the stored one."""
    steps = np.arange(1001) / 1000
    cutoffs = steps if stored is None else np.union1d(steps, [stored])
    score = predictions.score_of(positive)
    truth = predictions.labels == predictions.class_index(positive)
    true_positive, false_positive = (_above(score[part], cutoffs) for part in (truth, ~truth))
    return CutoffTable(
        positive=positive,
        negative=next(name for name in predictions.classes if name != positive),
        cutoffs=cutoffs,
        true_positive=true_positive,
        false_positive=false_positive,
        false_negative=int(truth.sum()) - true_positive,
        true_negative=int((~truth).sum()) - false_positive,
        stored_at=None if stored is None else int(np.searchsorted(cutoffs, stored)),
        notes=notes,
    )


def _above(scores: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
    return len(scores) - np.searchsorted(np.sort(scores), cutoffs, side="right").astype(np.int64)


def kept_band(
    cache: DiskCache, key: str, predictions: Predictions, class_name: str, options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the band from the cache, or compute and keep it."""
    found = cache.find(key, ".csv")
    if found is not None:
        with suppress(OSError, ValueError):
            return pd.read_csv(found)
    band = band_of(predictions, class_name, options)
    cache.keep(key, ".csv", lambda path: write_csv(path, band))
    return band
