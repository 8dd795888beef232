"""Sizes and panels of figures for papers: one column of a journal, or its whole page."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_aggregation.reporting.words import shortened
from model_aggregation.results.drawing import new_figure, put_words, unit_square

COLUMN_INCHES = 3.5
PAGE_INCHES = 7.2
PAGE_HEIGHT_INCHES = 9.6
FONT_POINTS = 7.0
SMALL_POINTS = 6.0

_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}


def panels(names: Sequence[str], *, title: str, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with one square panel for each name; a single one has the width of a column.

    ``x`` and ``y`` label the outer panels.
    """
    columns = _COLUMNS.get(len(names), 4)
    rows = -(-len(names) // columns)
    if len(names) == 1:
        figure = new_figure(COLUMN_INCHES, COLUMN_INCHES)
    else:
        width = PAGE_INCHES if columns > 2 else 0.7 * PAGE_INCHES
        figure = new_figure(width, rows * width / columns * 1.08 + 0.4)
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    used = list(grid[: len(names)])
    if len(names) == 1:
        put_words(used[0].set_title, title, fontsize=FONT_POINTS + 0.5)
        used[0].set_xlabel(x)
        used[0].set_ylabel(y)
    else:
        put_words(figure.suptitle, title, fontsize=FONT_POINTS + 1)
        for place, (axes, name) in enumerate(zip(used, names, strict=True)):
            put_words(axes.set_title, shortened(name, 34), fontsize=SMALL_POINTS + 0.5)
            if place + columns >= len(names):
                axes.set_xlabel(x)
            if place % columns == 0:
                axes.set_ylabel(y)
    return figure, used


def panel_with_strip(*, title: str, x: str, y: str) -> tuple[Figure, Axes, Axes]:
    """Return a square panel of the width of a column and below it a low one for counts, with one horizontal axis."""
    figure = new_figure(COLUMN_INCHES, 1.36 * COLUMN_INCHES)
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.18])
    put_words(axes.set_title, title, fontsize=FONT_POINTS + 0.5)
    axes.set_ylabel(y)
    axes.set_box_aspect(1)
    strip.set_box_aspect(0.16)
    strip.set_xlabel(x)
    strip.set_ylabel("images")
    strip.tick_params(labelsize=FONT_POINTS, width=0.6, length=2.5)
    return figure, axes, strip


def square(axes: Axes, alone: bool, *, diagonal: bool = True) -> None:
    """Set a panel up for two shares; one of many has fewer ticks."""
    unit_square(axes, ticks=6 if alone else 3, diagonal=diagonal)
    axes.set_aspect("auto")
    axes.set_box_aspect(1)  # square in any layout, also with a shared axis
    axes.tick_params(labelsize=FONT_POINTS if alone else SMALL_POINTS, width=0.6, length=2.5)
