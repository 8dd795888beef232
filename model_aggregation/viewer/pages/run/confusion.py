"""The confusion matrix: a figure to download, and over its cells links to the images behind each count."""

from html import escape
from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.colours import SEQUENTIAL
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import figure_card
from model_aggregation.viewer.parts_models import short
from model_aggregation.viewer.reading import Confusion

MOST_LINKED = 20
"""With more classes the cells are too small to hit: the most frequent confusions are links, and a click is enough."""

MOST_WITH_TEXT = 12
LISTED = 10
LETTERS = 16
LETTER_PIXELS = 8


def confusion_card(context: Context, found: Confusion, group: str, run: str, set_name: str) -> Component:
    """Return counts and row percentages; a cell leads to its images."""
    labels = found.labels
    names = [escape(short(label, LETTERS), quote=False) for label in labels]  # plotly reads a little markup
    left = 40 + LETTER_PIXELS * max(_width(short(label, LETTERS)) for label in labels)
    margins = {"l": left, "r": 8, "t": 8, "b": 56 if len(labels) <= MOST_WITH_TEXT else 40 + left // 2}
    card = figure_card(
        context, "run-confusion", _figure(context, found, names, margins), title=context.say("run.confusion"),
        height=420, file_name=f"{run}_{set_name}_confusion",
    )  # fmt: skip
    if len(labels) <= MOST_LINKED:
        cells = [
            _cell(context, found, (i, j), link("images", group, run, set=set_name, actual=actual, predicted=predicted))
            for i, actual in enumerate(labels)
            for j, predicted in enumerate(labels)
        ]
        inset = f"{margins['t']}px {margins['r']}px {margins['b']}px {margins['l']}px"
        columns = f"repeat({len(labels)}, 1fr)"
        style = {"inset": inset, "gridTemplateColumns": columns, "gridTemplateRows": columns}
        over = html.Div(cells, className="run-cells", style=style)
        card.children = [card.children[0], html.Div([card.children[1], over], className="run-cells-place")]
    parts = [card]
    if len(labels) > 2:
        parts.append(_most_frequent(context, found, group, run, set_name))
    return html.Div(parts)


def _width(name: str) -> int:
    """Return about how many Latin letters wide a name is: Japanese letters are twice as wide."""
    return sum(1 if letter.isascii() else 2 for letter in name)


def _figure(context: Context, found: Confusion, names: list[str], margins: dict[str, int]) -> dict[str, Any]:
    percent = found.row_percent
    texts = [[_text(found.counts[i, j], percent[i, j]) for j in range(len(names))] for i in range(len(names))]
    heat = {
        "type": "heatmap", "z": np.nan_to_num(percent).tolist(), "zmin": 0, "zmax": 100, "showscale": False,
        "colorscale": SEQUENTIAL[context.scheme], "xgap": 2, "ygap": 2, "name": context.say("run.row_percent"),
        "text": texts, "texttemplate": "%{text}" if len(names) <= MOST_WITH_TEXT else "",
        "customdata": found.counts.tolist(), "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    ticks = {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "automargin": False,
        "ticks": "",
    }
    layout = {
        "xaxis": {**ticks, "title": {"text": context.say("run.predicted")}, "showgrid": False, "zeroline": False},
        "yaxis": {
            **ticks, "title": {"text": context.say("run.actual")}, "autorange": "reversed", "showgrid": False,
            "zeroline": False,
        },
        "margin": margins,
    }  # fmt: skip
    return {"data": [heat], "layout": layout}


def _text(count: int, percent: float) -> str:
    return f"{count:,}" if np.isnan(percent) else f"{count:,}<br>{percent:.1f} %"


def _cell(context: Context, found: Confusion, place: tuple[int, int], href: str) -> Component:
    words = _words(context, found, *place)
    return dmc.Anchor(
        "", href=href, className="run-cell", underline="never", **{"aria-label": words, "data-tip": words}
    )


def _words(context: Context, found: Confusion, i: int, j: int) -> str:
    percent = found.row_percent[i, j]
    return context.say(
        "run.cell", actual=found.labels[i], predicted=found.labels[j], count=f"{found.counts[i, j]:,}",
        percent="–" if np.isnan(percent) else f"{percent:.1f}",
    )  # fmt: skip


def _most_frequent(context: Context, found: Confusion, group: str, run: str, set_name: str) -> Component:
    """Return the most frequent confusions as links, most first."""
    wrong = found.counts.copy()
    np.fill_diagonal(wrong, 0)
    order = [np.unravel_index(k, wrong.shape) for k in np.argsort(-wrong, axis=None, kind="stable")[:LISTED]]
    items = [
        html.Li(
            dcc.Link(
                _words(context, found, i, j),
                href=link("images", group, run, set=set_name, actual=found.labels[i], predicted=found.labels[j]),
            )
        )
        for i, j in order
        if wrong[i, j]
    ]
    if not items:
        return dmc.Text(context.say("run.no_confusions"), size="sm", c="dimmed")
    title = dmc.Text(context.say("run.most_frequent"), size="sm", fw=600)
    return dmc.Paper([title, html.Ul(items, className="run-list")], withBorder=True, p="sm", radius="md", mt="sm")
