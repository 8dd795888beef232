"""What all figures share: palette, fonts that hold every letter, frames, words inside a figure, and saving.

Figures are drawn without a window and without the user's matplotlib settings, and the same numbers give the same
bytes on the same machine.
"""

import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model_aggregation.files import whole_or_absent

# Okabe and Ito's palette, told apart with every kind of colour vision; its yellow is too pale for lines on white
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
GREY = "#767676"

PAPER_FORMATS = ("png", "svg", "pdf")
PAPER_DOTS_PER_INCH = 300

_BASE_FONT = "DejaVu Sans"  # comes with matplotlib
_JAPANESE_FONTS = (
    "Yu Gothic", "Meiryo", "BIZ UDGothic", "MS Gothic", "Hiragino Sans", "Hiragino Kaku Gothic ProN",
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic", "IPAPGothic",
    "TakaoGothic", "TakaoPGothic", "VL Gothic", "M+ 1p",
)  # fmt: skip
_REGULAR_WEIGHTS = (400, 500, "normal", "regular", "book", "medium")

# SVG keeps text as text, PDF holds TrueType fonts, neither holds anything random, and $ means a dollar
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "model_aggregation", "pdf.fonttype": 42, "text.parse_math": False,
}  # fmt: skip
_NO_DATE: Mapping[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def plain_style(font_size: float | None = None) -> Iterator[None]:
    """Draw with matplotlib's own settings, whatever the user's are; ``font_size`` in points."""
    sizes: Any = {} if font_size is None else {"font.size": font_size, "axes.linewidth": 0.6}
    with mpl.style.context("default"), mpl.rc_context({**_STYLE, **sizes}):
        yield


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Return an empty figure that needs no window."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, *, dots_per_inch: int = PAPER_DOTS_PER_INCH) -> None:
    """Write a figure in the format that the suffix of ``path`` names, whole or absent."""
    form = path.suffix.removeprefix(".")
    with _any_letter(), whole_or_absent(path) as temporary:
        figure.savefig(temporary, format=form, dpi=dots_per_inch, metadata=_NO_DATE[form])


@contextmanager
def _any_letter() -> Iterator[None]:
    """Draw a letter that no installed font has as a box; that is no reason to talk about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save_for_paper(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG with 300 dots per inch, SVG and PDF, each whole or absent; its layout is settled first."""
    figure.set_dpi(PAPER_DOTS_PER_INCH)  # small letters are narrower at a low resolution
    with _any_letter():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")  # else it would be solved again for each format, and differ
    for form in PAPER_FORMATS:
        save_figure(figure, folder / f"{name}.{form}")


def unit_square(axes: Axes, *, ticks: int = 6, diagonal: bool = True) -> None:
    """Set axes up for two shares from 0 to 1, with the line where both are equal."""
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, ticks))
    axes.set_yticks(np.linspace(0, 1, ticks))
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", zorder=2)


def put_words(put: Callable[..., Any], text: str, **style: Any) -> Any:
    """Call a text setter of matplotlib with fonts that hold every letter."""
    return put(text, family=font_families(text), **style)


def show_legend(axes: Axes, *, size: float, **place: Any) -> None:
    """Add a legend of what carries a label."""
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        axes.legend(prop={"family": font_families("".join(map(str, labels))), "size": size}, **place)


def say(axes: Axes, words: str, *, letters_per_line: int = 40, **style: Any) -> None:
    """Write words into the middle of the axes, as where there is nothing to draw."""
    lines = textwrap.fill(words, letters_per_line)
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.85"}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center", "zorder": 5}
    axes.text(0.5, 0.5, lines, family=font_families(lines), bbox=box, **place, **style)


def auc_words(auc: Mapping[str, Any], confidence: float = 0.95) -> str:
    """Return an area with its interval, as it stands in ``metrics.json``, for a legend.

    >>> auc_words({"value": 0.9, "low": 0.8, "high": 0.95})
    'AUC 0.900 (95% CI 0.800–0.950)'
    """
    words = f"AUC {auc['value']:.3f}"
    low, high = auc.get("low"), auc.get("high")
    if low is not None and high is not None:
        return f"{words} ({100 * confidence:g}% CI {low:.3f}–{high:.3f})"
    if low is not None or high is not None:
        bound = f"≥ {low:.3f}" if low is not None else f"≤ {high:.3f}"
        return f"{words} (one-sided bound {bound})"
    return f"{words} (no interval)"


def set_tick_words(axes: Axes, axis: str, places: Sequence[float], words: Sequence[str], **style: Any) -> None:
    """Name places of the ``x`` or ``y`` axis, every letter drawn."""
    (axes.set_xticks if axis == "x" else axes.set_yticks)(places, labels=list(words), **style)
    for label, text in zip((axes.get_xticklabels if axis == "x" else axes.get_yticklabels)(), words, strict=True):
        label.set_fontfamily(font_families(text))


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
