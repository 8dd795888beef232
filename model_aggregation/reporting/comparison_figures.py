"""Models side by side: a forest plot with rank sets, and their ROC curves in one picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from model_aggregation.evaluation import Comparison, Estimate, Evaluation
from model_aggregation.reporting.curves import MOST_PANELS, corners
from model_aggregation.reporting.layout import (
    COLUMN_INCHES,
    FONT_POINTS,
    PAGE_HEIGHT_INCHES,
    PAGE_INCHES,
    SMALL_POINTS,
    panels,
    square,
)
from model_aggregation.reporting.words import metric_name, shortened
from model_aggregation.results.drawing import (
    AMBER,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    font_families,
    new_figure,
    put_words,
    say,
    set_tick_words,
)
from model_aggregation.results.tables import plain_rows

LONGEST_NAME = 44
_SHOWN = ("model", "selected", "rank_low", "rank_high", "top_group")
MOST_LINES = 6
"""Models whose ROC curves have a colour; the others are thin and grey."""

# each line differs from the others in its dashes too, for eyes and printers that see no colour
_LINES: tuple[dict[str, Any], ...] = (
    {"color": ORANGE, "linestyle": "-"},
    {"color": BLUE, "linestyle": "--"},
    {"color": GREEN, "linestyle": "-."},
    {"color": PURPLE, "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": AMBER, "linestyle": ":"},
    {"color": BLACK, "linestyle": (0, (1, 1))},
)


@dataclass(frozen=True)
class _Row:
    """What a line of the forest plot shows."""

    model: str
    estimate: Estimate
    selected: bool
    rank_low: Any
    rank_high: Any
    top: bool | None


def forest_figure(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> Figure:
    """Draw the primary metric of all models with intervals, in the order of the test score, and their rank sets."""
    rows = _rows(comparison, evaluations)
    height = min(PAGE_HEIGHT_INCHES, 1.15 + 0.17 * len(rows))
    figure = new_figure(PAGE_INCHES, max(1.9, height))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    level = 100 * next(iter(evaluations.values())).options.confidence
    places = list(range(len(rows)))
    for axes in (left, right):
        axes.set_ylim(len(rows) - 0.4, -0.6)  # the best on top
        axes.grid(axis="x", color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=FONT_POINTS, width=0.6, length=2.5)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    _draw_values(left, rows)
    names = [shortened(row.model, LONGEST_NAME) + (" (selected)" if row.selected else "") for row in rows]
    size = FONT_POINTS if len(rows) <= 40 else SMALL_POINTS
    set_tick_words(left, "y", places, names, fontsize=size)
    left.set_xlabel(f"{metric_name(comparison.primary)} ({level:g}% CI)")
    set_tick_words(right, "y", places, [_value_words(row.estimate) for row in rows], fontsize=size)
    _draw_ranks(right, rows, comparison)
    put_words(figure.suptitle, comparison.sentence[:1].upper() + comparison.sentence[1:], fontsize=FONT_POINTS + 0.5)
    _forest_legend(figure, rows)
    return figure


def _rows(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> list[_Row]:
    rows = []
    for model, selected, *ranks in plain_rows(comparison.ranking[list(_SHOWN)]):
        estimate = evaluations[model].metrics[comparison.primary]
        rows.append(_Row(model, estimate, selected, *ranks))
    return rows


def _style(row: _Row) -> dict[str, Any]:
    colour = ORANGE if row.selected else BLUE if row.top else GREY
    filled = colour if row.top or row.top is None else "white"
    return {"color": colour, "marker": "D" if row.selected else "o", "markerfacecolor": filled, "markersize": 4}


def _draw_values(axes: Axes, rows: Sequence[_Row]) -> None:
    for place, row in enumerate(rows):
        style = _style(row)
        value, low, high = row.estimate.value, row.estimate.low, row.estimate.high
        if value is None:
            words = shortened(f"not defined: {row.estimate.reason}", 60)
            axes.text(0.5, place, words, transform=axes.get_yaxis_transform(), ha="center", va="center",
                      fontsize=SMALL_POINTS, color=GREY, family=font_families(words))  # fmt: skip
            continue
        if low is not None and high is not None:
            axes.hlines(place, low, high, color=style["color"], linewidth=1.2, zorder=2)
        axes.plot(value, place, linestyle="none", zorder=3, **style)
        if row.selected:
            axes.axvline(value, color=ORANGE, linewidth=0.7, linestyle=":", zorder=1)


def _draw_ranks(axes: Axes, rows: Sequence[_Row], comparison: Comparison) -> None:
    axes.set_xlabel("rank set (1 = best)")
    axes.set_xlim(0.5, len(rows) + 0.5)
    step = max(1, -(-len(rows) // 10))
    axes.set_xticks([1, *range(step, len(rows) + 1, step)] if step > 1 else range(1, len(rows) + 1))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color("0.8")
    if rows[0].rank_low is None:
        reason = next((str(text) for text in comparison.ranking["reason"].dropna()), "not known")
        say(axes, f"No rank sets: {reason}", letters_per_line=30, fontsize=SMALL_POINTS)
        return
    for place, row in enumerate(rows):
        colour = _style(row)["color"]
        axes.hlines(place, row.rank_low, row.rank_high, color=colour, linewidth=2.5, zorder=2)
        if row.rank_low == row.rank_high:
            axes.plot(row.rank_low, place, marker="s", markersize=2.5, color=colour, zorder=2)


def _value_words(estimate: Estimate) -> str:
    if estimate.value is not None and estimate.method.startswith("one-sided") and estimate.low is not None:
        bound = f"≥ {estimate.low:.3f}" if estimate.value == 1 else f"≤ {estimate.high:.3f}"
        return f"{estimate.value:.3f} (bound {bound})"
    return "–" if estimate.value is None else estimate.text().replace("-", "−")


def _forest_legend(figure: Figure, rows: Sequence[_Row]) -> None:
    kinds = {
        "selected on validation images": next((row for row in rows if row.selected), None),
        "not distinguished from the best": next((row for row in rows if row.top and not row.selected), None),
        "below the best": next((row for row in rows if row.top is False and not row.selected), None),
    }
    handles = [
        Line2D([], [], linewidth=1.2, label=words, **_style(row)) for words, row in kinds.items() if row is not None
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL_POINTS, frameon=False)


def roc_overlay_figure(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> Figure:
    """Draw the ROC curves of all models: the selected one and the first by test score in colour, the others grey.

    More than two classes have a panel for each class against the rest.
    """
    names = [str(name) for name in comparison.ranking["model"]]
    first = next(iter(evaluations.values()))
    marked = _marked(names, comparison.selected)
    classes = [first.positive] if first.positive is not None else list(first.classes)
    title = f"positive class {first.positive}" if first.positive is not None else "each class against the rest"
    if len(classes) > MOST_PANELS:
        figure, (axes,) = panels([""], title="", x="1 − specificity", y="sensitivity")
        say(axes, f"{len(classes)} classes are too many to draw", letters_per_line=34)
        return figure
    figure, all_axes = panels(classes, title=f"{len(names)} models: {title}", x="1 − specificity", y="sensitivity")
    if len(classes) == 1:
        figure.set_size_inches(COLUMN_INCHES, COLUMN_INCHES + 0.16 * (len(marked) + 1))
    for axes, name in zip(all_axes, classes, strict=True):
        square(axes, alone=len(classes) == 1)
        _draw_overlay(axes, name, names, evaluations, marked)
    _overlay_legend(figure, marked, len(names) - len(marked), evaluations, alone=len(classes) == 1)
    return figure


def _marked(names: Sequence[str], selected: str | None) -> list[str]:
    first = [selected] if selected is not None else []
    return [*first, *(name for name in names if name != selected)][:MOST_LINES]


def _draw_overlay(
    axes: Axes, name: str, names: Sequence[str], evaluations: Mapping[str, Evaluation], marked: Sequence[str]
) -> None:
    curves = {model: corners(evaluations[model].roc(name)) for model in names}
    if any(curve.empty for curve in curves.values()):
        metrics = evaluations[names[0]]
        auc = metrics.metrics["auc"] if "auc" in metrics.metrics else metrics.class_metrics[name]["auc"]
        say(axes, f"No ROC curve: {auc.reason}", letters_per_line=22)
        return
    for model, curve in curves.items():
        if model in marked:
            at = marked.index(model)
            axes.plot(curve["FPR"], curve["TPR"], linewidth=1.4 if at == 0 else 1.1, zorder=4 - 0.1 * at, **_LINES[at])
        else:
            axes.plot(curve["FPR"], curve["TPR"], linewidth=0.5, color="0.7", zorder=2.5)


def _overlay_legend(
    figure: Figure, marked: Sequence[str], others: int, evaluations: Mapping[str, Evaluation], *, alone: bool
) -> None:
    handles = [
        Line2D([], [], linewidth=1.3, label=_overlay_words(model, evaluations[model]), **_LINES[at])
        for at, model in enumerate(marked)
    ]
    if others:
        handles.append(Line2D([], [], linewidth=0.5, color="0.7", label=f"{others} other{'s' if others > 1 else ''}"))
    family = font_families("".join(str(handle.get_label()) for handle in handles))
    style: dict[str, Any] = {"frameon": False, "handlelength": 2.6, "labelspacing": 0.3, "ncols": 1 if alone else 2}
    figure.legend(handles=handles, loc="outside lower center", prop={"family": family, "size": SMALL_POINTS}, **style)


def _overlay_words(model: str, evaluation: Evaluation) -> str:
    name = "auc" if "auc" in evaluation.metrics else "macro_auc"
    words = _value_words(evaluation.metrics[name])
    return f"{shortened(model, 34)}: {metric_name(name) if name != 'auc' else 'AUC'} {words}"
