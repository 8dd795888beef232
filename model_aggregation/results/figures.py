"""The ROC curve of a run as a file, drawn without a window and without the user's matplotlib settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_aggregation.results.drawing import (
    BLUE,
    ORANGE,
    auc_words,
    new_figure,
    plain_style,
    put_words,
    save_figure,
    say,
    show_legend,
    unit_square,
)
from model_aggregation.results.plot_settings import PlotSettings

FIGURE_SIZE_INCHES = 5.0
DOTS_PER_INCH = 160


def write_roc_figure(path: Path, roc: pd.DataFrame | None, metrics: Mapping[str, Any], plot: PlotSettings) -> None:
    """Draw :func:`roc_figure` and write it as PNG, whole or absent."""
    with plain_style():
        save_figure(roc_figure(roc, metrics, plot), path, dots_per_inch=DOTS_PER_INCH)


def roc_figure(roc: pd.DataFrame | None, metrics: Mapping[str, Any], plot: PlotSettings) -> Figure:
    """Return the ROC curve of two classes with its AUC, the interval and the cutoff marked.

    Parameters
    ----------
    roc
        ``CutOff, TPR, FPR, Balanced Accuracy`` by rising cutoff; None when a class is missing, and then
        the figure says why.
    metrics
        The object of this set in ``metrics.json``; ``auc`` and ``cutoff`` are read.
    plot
        Title and labels, taken literally.
    """
    figure = new_figure(FIGURE_SIZE_INCHES, FIGURE_SIZE_INCHES)
    axes = figure.add_subplot()
    unit_square(axes)
    put_words(axes.set_title, plot.title)
    put_words(axes.set_xlabel, plot.xlabel)
    put_words(axes.set_ylabel, plot.ylabel)
    auc = metrics.get("auc") or {}
    if auc.get("value") is None or roc is None or not _defined(roc):
        say(axes, f"No ROC curve: {auc.get('reason') or 'it is not defined for these images'}")
        return figure
    axes.plot(roc["FPR"], roc["TPR"], color=BLUE, linewidth=2, zorder=3, label=auc_words(auc))
    _mark_cutoff(axes, roc, metrics.get("cutoff") or {})
    show_legend(axes, size=9, loc="lower right")
    return figure


def _defined(roc: pd.DataFrame) -> bool:
    return len(roc) > 1 and bool(np.isfinite(roc[["TPR", "FPR"]].to_numpy(dtype=np.float64)).all())


def _mark_cutoff(axes: Axes, roc: pd.DataFrame, cutoff: Mapping[str, Any]) -> None:
    """Mark the point of the curve at the cutoff."""
    value = cutoff.get("value")
    if value is None:
        return
    row = roc[roc["CutOff"] <= value].iloc[-1]  # strictly above is positive: constant up to the next score
    source = f", {cutoff['source']}" if cutoff.get("source") else ""
    source += " (exploratory)" if cutoff.get("exploratory") else ""
    words = f"cutoff {value:.3f}{source}\nTPF {row['TPR']:.3f}, FPF {row['FPR']:.3f}"
    style: dict[str, Any] = {
        "marker": "o",
        "markersize": 9,
        "color": ORANGE,
        "markeredgecolor": "white",
        "linestyle": "none",
    }
    axes.plot(row["FPR"], row["TPR"], zorder=4, label=words, **style)
