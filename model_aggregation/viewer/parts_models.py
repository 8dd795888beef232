"""Parts that show several models at once: ROC curves in one figure, tables of differences, thumbnails."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.errors import ResultsError
from model_aggregation.results.leaderboard_rows import plain_records
from model_aggregation.viewer.addresses import image_link, link
from model_aggregation.viewer.colours import SERIES
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name
from model_aggregation.viewer.reading import Leaderboard
from model_aggregation.viewer.reading.comparing import Differences
from model_aggregation.viewer.wording import in_words

MOST_CURVES = 7
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
"""Beside its colour, each curve has its own dashes."""

THUMBNAIL_PIXELS = 128


def short(name: str, length: int) -> str:
    """Return a name cut in the middle: beginnings and ends tell models apart.

    >>> short("timm:vit_base_patch16_224.augreg_in21k", 21)
    'timm:vit_b…greg_in21k'
    """
    if len(name) <= length:
        return name
    half = (length - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def model_names(board: Leaderboard) -> dict[str, str]:
    """Return what to call each run: its model, and the run itself where several runs share a model."""
    models = Counter(row["model"] for row in board.rows)
    return {
        row["run_name"]: row["model"] if row["model"] and models[row["model"]] == 1 else row["run_name"]
        for row in board.rows
    }


def roc_overlay(
    context: Context, group: str, names: Mapping[str, str], class_name: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Return a figure with the ROC curve of each run on the test images, and notes on those without.

    Parameters
    ----------
    names
        What to call the runs, by run; at most ``MOST_CURVES`` are drawn.
    """
    shown = list(names)[:MOST_CURVES]
    traces: list[dict[str, Any]] = []
    notes: list[str] = []
    quiet = {"color": "#868E96", "width": 1, "dash": "dot"}
    for place, run in enumerate(shown):
        try:
            curves = context.reader.curves(group, run, "test", class_name)
        except ResultsError as error:
            notes.append(in_words(context, str(error)))
            continue
        if curves.roc.empty:
            notes += [f"{names[run]}: {in_words(context, note)}" for note in curves.notes]
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": short(names[run], 40),
                "x": curves.roc["FPR"].tolist(),
                "y": curves.roc["TPR"].tolist(),
                "line": {"color": SERIES[context.scheme][place], "dash": DASHES[place], "width": 2},
                "hovertemplate": "%{x:.3f}, %{y:.3f}",
            }
        )
    diagonal = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "line": quiet, "hoverinfo": "skip"}
    traces.append({**diagonal, "name": context.say("models.chance"), "showlegend": False})
    if len(names) > len(shown):
        notes.append(context.say("models.curves_shown", shown=len(shown), total=len(names)))
    axis = {"range": [-0.02, 1.02], "constrain": "domain", "dtick": 0.2}
    layout = {
        "xaxis": {**axis, "title": {"text": context.say("models.false_positive_rate")}},
        "yaxis": {**axis, "title": {"text": context.say("models.true_positive_rate")}, "scaleanchor": "x"},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "font": {"size": 11}},
        "margin": {"l": 56, "r": 8, "t": 8, "b": 40},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}, notes


def p_text(p: float | None) -> str:
    """Return a p value.

    >>> p_text(0.0004), p_text(0.0362), p_text(None)
    ('<0.001', '0.036', '–')
    """
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def difference_text(context: Context, difference: float | None, low: float | None, high: float | None) -> str:
    """Return a difference with its sign and interval, in three decimals."""
    if difference is None:
        return "–"
    if low is None or high is None:
        return _signed(difference)
    return context.say("models.with_interval", value=_signed(difference), low=_signed(low), high=_signed(high))


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return text if float(text.replace("−", "-")) else "0.000"


def differences_table(
    context: Context, group: str, found: Differences, names: Mapping[str, str], *, by_metric: bool = False
) -> Component:
    """Return differences as a table: a row per run, or per metric where they are all of one run."""
    first = "metric" if by_metric else "model"
    titles = [context.say(f"models.{name}") for name in (first, "value", "difference", "p", "p_holm", "method")]
    body = []
    for row in plain_records(found.table):
        run = row["run_name"]
        link_to_run = dmc.Anchor(names.get(run, run), href=link("run", group, run), size="sm", className="name")
        values = f"{_plain(row['value'])} − {_plain(row['reference_value'])}"
        remarks = in_words(context, "; ".join(filter(None, [row["method"], row["reason"]]))) or "–"
        cells = [
            metric_name(context, row["metric"]) if by_metric else link_to_run,
            html.Span(values, className="number"),
            html.Span(difference_text(context, row["difference"], row["low"], row["high"]), className="number"),
            p_text(row["p"]),
            p_text(row["p_holm"]),
            dmc.Text(remarks, size="xs", c="dimmed", span=True),
        ]
        labelled = zip(cells, titles, strict=True)
        body.append(dmc.TableTr([dmc.TableTd(cell, **{"data-label": title}) for cell, title in labelled]))
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(title) for title in titles]))
    table = dmc.Table([head, dmc.TableTbody(body)], verticalSpacing=6, className="cards-on-phone")
    return dmc.Paper(table, withBorder=True, radius="md", className="table-card")


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def thumbnail(group: str, run: str, index: int, alt: str) -> Component:
    """Return a small image of the test set that leads to its page."""
    source = image_link(group, run, "test", index, size=THUMBNAIL_PIXELS)
    picture = html.Img(src=source, alt=alt, title=alt)
    return dcc.Link(picture, href=link("images", group, run, set="test", image=index), className="thumbnail")
