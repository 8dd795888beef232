"""The ROC curve of a run as a file, drawn without a window and without the user's matplotlib settings."""

import textwrap
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model_aggregation.files import whole_or_absent
from model_aggregation.results.plot_settings import PlotSettings

FIGURE_SIZE_INCHES = 5.0
DOTS_PER_INCH = 160

_LETTERS_PER_LINE = 40

# Okabe and Ito's palette, told apart with every kind of colour vision
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#767676"

_BASE_FONT = "DejaVu Sans"  # comes with matplotlib
_JAPANESE_FONTS = (
    "Yu Gothic", "Meiryo", "BIZ UDGothic", "MS Gothic", "Hiragino Sans", "Hiragino Kaku Gothic ProN",
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic", "IPAPGothic",
    "TakaoGothic", "TakaoPGothic", "VL Gothic", "M+ 1p",
)  # fmt: skip
_REGULAR_WEIGHTS = (400, 500, "normal", "regular", "book", "medium")


def write_roc_figure(path: Path, roc: pd.DataFrame | None, metrics: Mapping[str, Any], plot: PlotSettings) -> None:
    """Draw :func:`roc_figure` and write it as PNG, whole or absent."""
    with mpl.style.context("default"):
        figure = roc_figure(roc, metrics, plot)
        with warnings.catch_warnings(), whole_or_absent(path) as temporary:
            # a letter that no installed font has is drawn as a box; that is no reason to talk about it
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)


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
    figure = Figure(figsize=(FIGURE_SIZE_INCHES, FIGURE_SIZE_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_frame(axes, plot)
    auc = metrics.get("auc") or {}
    if auc.get("value") is None or roc is None or not _defined(roc):
        _say(axes, f"No ROC curve: {auc.get('reason') or 'it is not defined for these images'}")
        return figure
    axes.plot(roc["FPR"], roc["TPR"], color=_BLUE, linewidth=2, zorder=3, label=_auc_words(auc))
    _mark_cutoff(axes, roc, metrics.get("cutoff") or {})
    _legend(axes)
    return figure


def _draw_frame(axes: Axes, plot: PlotSettings) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", zorder=2)
    for put, text in (
        (axes.set_title, plot.title),
        (axes.set_xlabel, plot.xlabel),
        (axes.set_ylabel, plot.ylabel),
    ):
        put(text, family=font_families(text), parse_math=False)


def _defined(roc: pd.DataFrame) -> bool:
    return len(roc) > 1 and bool(np.isfinite(roc[["TPR", "FPR"]].to_numpy(dtype=np.float64)).all())


def _auc_words(auc: Mapping[str, Any]) -> str:
    words = f"AUC {auc['value']:.3f}"
    low, high = auc.get("low"), auc.get("high")
    if low is not None and high is not None:
        return f"{words} (95% CI {low:.3f}–{high:.3f})"
    if low is not None or high is not None:
        bound = f"≥ {low:.3f}" if low is not None else f"≤ {high:.3f}"
        return f"{words} (one-sided bound {bound})"
    return f"{words} (no interval)"


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
        "color": _ORANGE,
        "markeredgecolor": "white",
        "linestyle": "none",
    }
    axes.plot(row["FPR"], row["TPR"], zorder=4, label=words, **style)


def _legend(axes: Axes) -> None:
    labels = "".join(str(line.get_label()) for line in axes.lines)
    legend = axes.legend(loc="lower right", prop={"family": font_families(labels), "size": 9})
    for text in legend.get_texts():
        text.set_parse_math(False)


def _say(axes: Axes, words: str) -> None:
    lines = textwrap.fill(words, _LETTERS_PER_LINE)
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.85"}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, lines, family=font_families(lines), bbox=box, parse_math=False, **place)


def font_families(text: str) -> list[str]:
    """Return installed font families that together hold every letter of ``text``, as far as any does.

    >>> font_families("ROC")
    ['DejaVu Sans']
    """
    missing = frozenset(character for character in text if not character.isspace()) - _letters(_BASE_FONT)
    families = [_BASE_FONT]
    for family in _installed() if missing else ():
        if missing & _letters(family):
            families.append(family)
            missing -= _letters(family)
        if not missing:
            break
    return families


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """Return the upright regular font file of each family, known Japanese families first."""
    regular = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and font.weight in _REGULAR_WEIGHTS and "Last Resort" not in font.name
    }
    order = [name for name in _JAPANESE_FONTS if name in regular] + sorted(regular)
    return {name: regular[name] for name in dict.fromkeys(order)}


@lru_cache(maxsize=256)
def _letters(family: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, font_manager.get_font(_installed()[family]).get_charmap()))
    except (KeyError, OSError, RuntimeError):  # a font that went away or is broken
        return frozenset()
