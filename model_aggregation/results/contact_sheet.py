"""A contact sheet: pictures in rows, with words above the columns, beside the rows and below single pictures."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_aggregation.errors import SettingsError
from model_aggregation.results.drawing import PAPER_FORMATS, new_figure, plain_style, put_words, save_figure

_PICTURE_INCHES = 1.5
_WORDS_INCHES = 0.3  # of a caption, and of each line of the title
_DOTS_PER_INCH = 150


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels (H, W, 1 or 3) uint8, and what stands below them."""

    pixels: np.ndarray
    caption: str = ""


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures beside each other, and what stands beside them: a name, and a smaller line."""

    name: str
    detail: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """Rows of equally many pictures, the words above each column, the title and the lines below it."""

    title: str
    notes: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[PictureRow, ...]


def write_contact_sheet(sheet: ContactSheet, path: Path) -> None:
    """Draw a sheet and write it, whole or absent, in the format that the suffix names.

    Raises
    ------
    SettingsError
        If the suffix names no format that figures are written in.
    """
    if path.suffix.lower().removeprefix(".") not in PAPER_FORMATS:
        known = ", ".join(f".{form}" for form in PAPER_FORMATS)
        raise SettingsError(f"A contact sheet is written as {known}, but {path} was given.")
    with plain_style():
        save_figure(contact_sheet_figure(sheet), path.with_suffix(path.suffix.lower()), dots_per_inch=_DOTS_PER_INCH)


def contact_sheet_figure(sheet: ContactSheet) -> Figure:
    """Return the sheet as a figure."""
    width = _PICTURE_INCHES * (len(sheet.headings) + 0.6)
    heading = [sheet.title, *(line for note in sheet.notes for line in textwrap.wrap(note, int(13 * width)))]
    captions = any(picture.caption for row in sheet.rows for picture in row.pictures)
    each = _PICTURE_INCHES + _WORDS_INCHES * captions
    figure = new_figure(width, each * len(sheet.rows) + _WORDS_INCHES * (len(heading) + 1))
    grid = figure.subplots(len(sheet.rows), len(sheet.headings), squeeze=False)
    put_words(figure.suptitle, "\n".join(heading), fontsize=9, ha="left", x=0.01)
    for axes, words in zip(grid[0], sheet.headings, strict=True):
        put_words(axes.set_title, words, fontsize=8)
    for row, places in zip(sheet.rows, grid, strict=True):
        put_words(places[0].set_ylabel, f"{_lines(row.name, 20)}\n{_lines(row.detail, 24)}", fontsize=7)
        for axes, picture in zip(places, row.pictures, strict=True):
            _show(axes, picture)
    return figure


def _show(axes: Axes, picture: Picture) -> None:
    """Put a picture into the middle of a square."""
    height, width, channels = picture.pixels.shape
    pixels = picture.pixels[:, :, 0] if channels == 1 else picture.pixels
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    half = max(height, width) / 2
    axes.set_xlim(width / 2 - half - 0.5, width / 2 + half - 0.5)
    axes.set_ylim(height / 2 + half - 0.5, height / 2 - half - 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    put_words(axes.set_xlabel, "\n".join(_lines(line, 30, 1) for line in picture.caption.split("\n")), fontsize=6)


def _lines(text: str, letters: int, most: int = 2) -> str:
    """Return a name on one or two lines, its end left out where it is longer."""
    pieces: Sequence[str] = [text[start : start + letters] for start in range(0, len(text), letters)]
    return "\n".join(pieces[:most]) + ("…" if len(pieces) > most else "")
