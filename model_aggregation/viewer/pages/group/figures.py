"""Figures of a group: the primary metric of all models, and what it costs in time and size."""

import math
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.results.leaderboard import LOWER_IS_BETTER
from model_aggregation.results.leaderboard_rows import Row
from model_aggregation.viewer.colours import SERIES
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.group.rows import metric_text, rank_set_text
from model_aggregation.viewer.parts import figure_card, metric_name, note
from model_aggregation.viewer.parts_models import short
from model_aggregation.viewer.reading import Leaderboard

FOREST_MODELS = 40
CARD_PIXELS = 380
LABELLED = 8
"""So many models of a frontier have their names beside the points; all have them under the pointer."""

MOST_TICKS = 8
BARS = 60
"""With more models the intervals would cover the points."""


def measured(board: Leaderboard) -> list[Row]:
    """Return the models that have the primary metric on the test images, best first by rank."""
    return [row for row in board.rows if row[board.primary_metric] is not None]


def forest(context: Context, board: Leaderboard) -> Component:
    """Return the primary metric of the best models with intervals, and their rank sets beside it."""
    models = measured(board)
    shown = models[:FOREST_MODELS]
    with_sets = any(row["rank_set_low"] is not None for row in shown)
    metric = metric_name(context, board.primary_metric)
    first, second = SERIES[context.scheme][:2]
    places = {row["run_name"]: place for place, row in enumerate(shown)}
    in_top = [row["rank_set_low"] == 1 for row in shown]
    parts = [
        (True, (context.say("group.not_told_apart") if with_sets else metric, first, "circle")),
        (False, (context.say("group.others"), second, "circle-open")),
    ]
    traces = [
        _values(board.primary_metric, found, places, part)
        for top, part in parts
        if (found := [row for row, inside in zip(shown, in_top, strict=True) if (inside or not with_sets) is top])
    ]
    if with_sets:
        traces.append(_rank_sets(context, shown, places))
    figure = {"data": traces, "layout": _forest_layout(context, board, shown, with_sets=with_sets)}
    card = figure_card(
        context,
        "group-forest",
        figure,
        title=context.say("group.forest", metric=metric),
        height=min(1000, max(CARD_PIXELS, 130 + 24 * len(shown))),
        file_name=f"{board.group}_forest",
    )
    return with_note(context, card, len(shown), len(models))


def with_note(context: Context, card: Component, shown: int, total: int) -> Component:
    """Return a card with a line that says how many of all models it shows, if not all."""
    if shown == total:
        return card
    line = dmc.Text(context.say("group.shown_of", shown=shown, total=total), size="xs", c="dimmed", mt=4)
    return html.Div([card, line])


def _values(metric: str, rows: Sequence[Row], places: dict[str, int], part: Sequence[str]) -> dict[str, Any]:
    name, colour, symbol = part
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row[metric] for row in rows],
        "y": [places[row["run_name"]] for row in rows],
        "error_x": _bars(rows, metric, colour),
        "text": [_name(row) for row in rows],
        "customdata": [metric_text(row, metric) for row in rows],
        "hovertemplate": "%{text}<br>%{customdata}<extra></extra>",
        "marker": {"color": colour, "symbol": symbol, "size": 8, "line": {"width": 2, "color": colour}},
    }


def _bars(rows: Sequence[Row], metric: str, colour: str) -> dict[str, Any]:
    """Return error bars; a value without an interval (a mean over seeds) has none."""

    def length(row: Row, end: str) -> float | None:
        limit = row[f"{metric}_{end}"]
        return None if limit is None else abs(row[metric] - limit)

    return {
        "type": "data",
        "symmetric": False,
        "array": [length(row, "high") for row in rows],
        "arrayminus": [length(row, "low") for row in rows],
        "thickness": 1.5,
        "width": 3,
        "color": colour,
    }


def _rank_sets(context: Context, rows: Sequence[Row], places: dict[str, int]) -> dict[str, Any]:
    known = [row for row in rows if row["rank_set_low"] is not None]
    texts = [rank_set_text(row["rank_set_low"], row["rank_set_high"]) for row in known]
    names = [f"{_name(row)}: {text}" for row, text in zip(known, texts, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": context.say("group.rank_set"),
        "xaxis": "x2",
        "x": [limit for row in known for limit in (row["rank_set_low"], row["rank_set_high"], None)],
        "y": [place for row in known for place in [places[row["run_name"]]] * 2 + [None]],
        "text": [text for name in names for text in (name, name, None)],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": SERIES[context.scheme][-1], "width": 3},
        "marker": {"symbol": "line-ns", "size": 9, "line": {"width": 2, "color": SERIES[context.scheme][-1]}},
    }


def _forest_layout(context: Context, board: Leaderboard, rows: Sequence[Row], *, with_sets: bool) -> dict[str, Any]:
    names = [short(_name(row), 26) for row in rows]
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": context.say("group.with_interval", metric=metric_name(context, board.primary_metric))},
            "domain": [0, 0.7] if with_sets else [0, 1],
            "nticks": 4,
        },
        "yaxis": {
            "tickvals": list(range(len(rows))), "ticktext": names, "range": [len(rows) - 0.4, -0.6], "ticks": "",
            "showgrid": False, "zeroline": False,
        },
        "showlegend": with_sets,
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "margin": {"l": 8, "r": 8, "t": 40 if with_sets else 8, "b": 44},
        "hovermode": "closest",
    }  # fmt: skip
    if with_sets:
        layout["xaxis2"] = {"domain": [0.75, 1], "anchor": "y", "nticks": 4, "tickformat": "d"}
    return layout


def _name(row: Row) -> str:
    return row["model"] or row["run_name"]


def trade_off(context: Context, board: Leaderboard, cost: str) -> Component:
    """Return the primary metric against ``test_images_per_second`` or ``parameters``, the frontier marked."""
    found = [row for row in measured(board) if (row[cost] or 0) > 0]
    kind = "speed" if cost == "test_images_per_second" else "size"
    metric = metric_name(context, board.primary_metric)
    if not found:
        return note(context.say(f"group.against_{kind}", metric=metric), context.say("group.not_measured"), kind="hint")
    best = frontier(found, board.primary_metric, cost)
    others = [row for row in found if row not in best]
    first, second = SERIES[context.scheme][:2]
    with_bars = len(found) <= BARS
    plain = _points(board, cost, others, context.say("group.others"), second, with_bars=with_bars)
    marked = _points(board, cost, best, context.say("group.frontier"), first, with_bars=with_bars)
    marked |= {
        "mode": "lines+markers+text" if len(best) <= LABELLED else "lines+markers",
        "textposition": _beside([row[cost] for row in best], [row[cost] for row in found]),
        "textfont": {"size": 10},
        "cliponaxis": False,
        "line": {"color": first, "width": 1, "dash": "dot"},
        "marker": {"color": first, "size": 9, "symbol": "diamond"},
    }
    layout = {
        "xaxis": {
            "title": {"text": context.say(f"group.{cost}")},
            "type": "log",
            **_ticks([row[cost] for row in found]),
        },
        "yaxis": {"title": {"text": metric}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "margin": {"l": 56, "r": 24, "t": 36, "b": 48},
        "hovermode": "closest",
    }
    figure = {"data": [plain, marked], "layout": layout}
    title = context.say(f"group.against_{kind}", metric=metric)
    return figure_card(context, f"group-{kind}", figure, title=title, height=340, file_name=f"{board.group}_{kind}")


def _ticks(values: Sequence[float]) -> dict[str, Any]:
    """Return range and ticks of a logarithmic axis at 1, 2 and 5 times the powers of ten: plotly's own are too few."""
    low, high = min(values) / 1.4, max(values) * 1.4
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    if len(ticks) < 3:
        step = 10.0 ** math.floor(math.log10((high - low) / 2))
        step *= 2 if (high - low) / step > MOST_TICKS else 1
        ticks = [step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
    kept = ticks if len(ticks) <= MOST_TICKS else [tick for tick in ticks if f"{tick:e}".startswith("1.")]
    return {
        "range": [math.log10(low), math.log10(high)],
        "tickvals": kept,
        "ticktext": [_amount(tick) for tick in kept],
    }


def _amount(value: float) -> str:
    return f"{value / 1e6:.4g} M" if value >= 1e6 else f"{value / 1e3:.4g} k" if value >= 1e3 else f"{value:.4g}"


def _beside(values: Sequence[float], among: Sequence[float]) -> list[str]:
    """Return where the name of each point stands: towards the middle, and by turns below and above the line."""
    middle = math.sqrt(min(among) * max(among))
    sides = ["right" if value <= middle else "left" for value in values]
    return [f"{('bottom', 'top')[place % 2]} {side}" for place, side in enumerate(sides)]


def _points(
    board: Leaderboard, cost: str, rows: Sequence[Row], name: str, colour: str, *, with_bars: bool
) -> dict[str, Any]:  # fmt: skip
    metric = board.primary_metric
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row[cost] for row in rows],
        "y": [row[metric] for row in rows],
        "text": [short(_name(row), 24) for row in rows],
        "customdata": [f"{_name(row)}<br>{metric_text(row, metric)}" for row in rows],
        "hovertemplate": "%{customdata}<br>%{x:,.4g}<extra></extra>",
        "marker": {"color": colour, "size": 8, "symbol": "circle-open", "line": {"width": 2}},
        **({"error_y": {**_bars(rows, metric, colour), "thickness": 1}} if with_bars else {}),
    }


def frontier(rows: Sequence[Row], metric: str, cost: str) -> list[Row]:
    """Return the models that no other one beats in both: cheapest first, each next one is better.

    More images per second are better, fewer parameters are.
    """
    sign = -1 if metric in LOWER_IS_BETTER else 1
    cheap = -1 if cost == "test_images_per_second" else 1
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (cheap * row[cost], -sign * row[metric])):
        if not best or sign * row[metric] > sign * best[-1][metric]:
            best.append(row)
    return best
