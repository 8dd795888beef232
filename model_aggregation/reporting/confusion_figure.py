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

LONGEST_NAME = 24
"""Letters of a name beside the matrix; a longer one is cut in its middle, and the tables have it whole."""


def confusion_figure(evaluation: Evaluation, set_name: str) -> Figure:
    """Draw counts with row percentages; above 20 classes colours only, above 60 without names."""
    classes = evaluation.classes
    figure = new_figure(*_size_inches(classes))
    axes = figure.add_subplot()
    cutoff = "" if evaluation.cutoff is None else f", cutoff {evaluation.cutoff.value:.3f}"
    if evaluation.fold_cutoffs is not None:
        cutoff = ", cutoff of each fold"
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
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label("% of the actual class", fontsize=SMALL_POINTS)
    bar.ax.tick_params(labelsize=SMALL_POINTS, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    return figure


def _size_inches(classes: tuple[str, ...]) -> tuple[float, float]:
    """Return width and height with room for the names and cells that are nearly square."""
    names = [_letters(shortened(name, LONGEST_NAME)) for name in classes] if len(classes) <= MOST_NAMES else [0]
    beside = 0.07 * max(names)
    below = beside if _upright(classes) else 0.1
    cells = float(np.clip(0.46 * len(classes), 1.8, PAGE_INCHES))
    width = float(np.clip(beside + cells + 0.8, COLUMN_INCHES, PAGE_INCHES))
    return width, width - beside - 0.8 + below + 0.6


def _letters(name: str) -> int:
    """Return the width of a name in Latin letters; Japanese ones are about twice as wide."""
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in name)


def _upright(classes: tuple[str, ...]) -> bool:
    return max(_letters(shortened(name, LONGEST_NAME)) for name in classes) * len(classes) > 28


def _name_classes(axes: Axes, classes: tuple[str, ...]) -> None:
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(classes) > MOST_NAMES:
        return
    places = list(range(len(classes)))
    names = [shortened(name, LONGEST_NAME) for name in classes]
    size = FONT_POINTS if len(classes) <= MOST_PANELS else 4.5
    set_tick_words(axes, "x", places, names, fontsize=size, rotation=90 if _upright(classes) else 0)
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
