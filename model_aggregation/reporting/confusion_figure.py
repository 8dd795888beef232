"""The confusion matrix as a figure: counts, and percentages of each row."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_aggregation.evaluation import Evaluation
from model_aggregation.reporting.curves import MOST_PANELS
from model_aggregation.reporting.layout import COLUMN_INCHES, FONT_POINTS, PAGE_INCHES, SMALL_POINTS
from model_aggregation.reporting.words import shortened
from model_aggregation.results.drawing import new_figure, put_words, say, set_tick_words

MOST_NAMES = 60
"""Classes whose names are still readable beside the matrix."""


def confusion_figure(evaluation: Evaluation, set_name: str) -> Figure:
    """Draw counts with row percentages; above 20 classes colours only, above 60 without names."""
    classes = evaluation.classes
    width = float(np.clip(1.2 + 0.42 * len(classes), COLUMN_INCHES, PAGE_INCHES))
    figure = new_figure(width, width if len(classes) > 3 else 0.86 * width)
    axes = figure.add_subplot()
    cutoff = "" if evaluation.cutoff is None else f", cutoff {evaluation.cutoff.value:.3f}"
    put_words(axes.set_title, f"{set_name}: {evaluation.n:,} images{cutoff}", fontsize=FONT_POINTS + 0.5)
    counts, percent = evaluation.confusion, evaluation.confusion_percent
    if counts is None or percent is None or evaluation.n == 0:
        reason = "no image" if evaluation.n == 0 else "no cutoff was given for this score"
        axes.set_xticks([])
        axes.set_yticks([])
        say(axes, f"No confusion matrix: {reason}", letters_per_line=34)
        return figure
    image = axes.imshow(np.nan_to_num(percent), cmap="Blues", vmin=0, vmax=100, aspect="auto")
    _name_classes(axes, classes)
    if len(classes) <= MOST_PANELS:
        _write_cells(axes, counts, percent)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("% of the actual class", fontsize=SMALL_POINTS)
    bar.ax.tick_params(labelsize=SMALL_POINTS, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    return figure


def _name_classes(axes: Axes, classes: tuple[str, ...]) -> None:
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(classes) > MOST_NAMES:
        return
    places = list(range(len(classes)))
    names = [shortened(name, 24) for name in classes]
    size = FONT_POINTS if len(classes) <= MOST_PANELS else 4.5
    upright = max(map(len, names)) * len(names) > 28
    set_tick_words(axes, "x", places, names, fontsize=size, rotation=90 if upright else 0)
    set_tick_words(axes, "y", places, names, fontsize=size)
    axes.tick_params(width=0.6, length=2)


def _write_cells(axes: Axes, counts: np.ndarray, percent: np.ndarray) -> None:
    many = len(counts) > 8
    size = 5.5 if len(counts) > 12 else SMALL_POINTS + 0.5 if many else FONT_POINTS + 0.5
    for (row, column), count in np.ndenumerate(counts):
        share = percent[row, column]
        if many and count == 0:
            continue  # an empty cell of a large matrix reads as 0
        words = f"{count:,}\n{'–' if np.isnan(share) else f'{share:.0f}%' if many else f'{share:.1f}%'}"
        colour = "white" if share > 55 else "black"
        axes.text(column, row, words, ha="center", va="center", fontsize=size, color=colour, linespacing=1.05)
