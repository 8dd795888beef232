"""The cutoff slider: what every cutoff would give on this set, counted from its images.

The numbers are computed in the browser (``assets/run.js``) from the counts at each cutoff.
"""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.results.records import cutoff_value
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name, note
from model_aggregation.viewer.reading import CutoffTable

MEASURES = ("sensitivity", "specificity", "precision", "npv", "accuracy", "balanced_accuracy")
CELLS = ("tp", "fn", "fp", "tn")
WITHOUT_STORED = 0.5
STEP = 0.001


def cutoff_panel(
    context: Context, table: CutoffTable, values: Mapping[str, Any], set_name: str, asked: Mapping[str, Any]
) -> Component:
    """Return slider, prevalence, numbers and the 2 × 2 table.

    Parameters
    ----------
    asked
        ``cutoff`` and ``prevalence`` to begin with, as they stand in the address.
    """
    stored = None if table.stored_at is None else float(table.cutoffs[table.stored_at])
    start = number_in(asked.get("cutoff"), 0, 1)
    if start is None:
        start = WITHOUT_STORED if stored is None else stored
    data = {
        "cutoffs": table.cutoffs.tolist(), "tp": table.true_positive.tolist(), "fp": table.false_positive.tolist(),
        "positives": int(table.true_positive[0] + table.false_negative[0]),
        "negatives": int(table.false_positive[0] + table.true_negative[0]),
        "stored": stored, "words": _words(context, set_name),
    }  # fmt: skip
    parts = [
        dcc.Store(id="run-cutoff-table", data=data),
        *_sources(context, values),
        _controls(context, table, start, stored, number_in(asked.get("prevalence"), 0, 100)),
        dmc.Text("", id="run-cutoff-kind", size="sm", className="run-kind", **{"aria-live": "polite"}),
        dmc.Grid(
            [
                dmc.GridCol(_measures(context), span={"base": 12, "md": 8}),
                dmc.GridCol(_matrix(context, table), span={"base": 12, "md": 4}),
            ],
            gutter="sm",
        ),
        dmc.Text(context.say("run.cutoff_hint"), size="xs", c="dimmed"),
    ]
    title = dmc.Title(context.say("run.cutoff_title"), order=2, size="h5")
    return dmc.Paper(dmc.Stack([title, *parts], gap="sm"), withBorder=True, radius="md", p="md", className="run-cutoff")


def _words(context: Context, set_name: str) -> dict[str, str]:
    """Return the labels that ``run.js`` chooses from."""
    own = {"val": context.say("run.kind_val"), "test": context.say("run.kind_test")}
    return {
        "stored": context.say("run.kind_stored"),
        "other": own.get(set_name) or context.say("run.kind_external", name=set_name),
        "none": context.say("words.none_predicted_positive"),
        "noneNegative": context.say("words.none_predicted_negative"),
    }


def _sources(context: Context, values: Mapping[str, Any]) -> list[Component]:
    """Say where the stored cutoff comes from, or that each fold has its own."""
    cutoff = values.get("cutoff")
    if not isinstance(cutoff, Mapping):
        return []
    folds, value = cutoff.get("folds"), cutoff_value(cutoff)
    if value is None and isinstance(folds, list):
        each = context.say("run.list_comma").join(
            context.say("run.fold_cutoff", fold=fold.get("fold"), value=f"{fold.get('value'):.3f}") for fold in folds
        )
        return [note(context.say("run.fold_cutoffs"), context.say("run.fold_cutoffs_text", cutoffs=each), kind="hint")]
    sources = {fold.get("source") for fold in folds} if isinstance(folds, list) else {cutoff.get("source")}
    source = str(sources.pop() if len(sources) == 1 else cutoff.get("source"))
    known = f"run.source_{source}"
    words = context.say(known) if source in ("validation", "test", "fixed", "default") else source
    interval = cutoff.get("interval")
    around = ""
    if isinstance(interval, Mapping):
        around = context.say("run.cutoff_interval", low=f"{interval['low']:.3f}", high=f"{interval['high']:.3f}")
    text = context.say("run.cutoff_source", value="–" if value is None else f"{value:.4g}", source=words, around=around)
    return [dmc.Text(text, size="sm", c="dimmed")]


def _controls(
    context: Context, table: CutoffTable, start: float, stored: float | None, prevalence: float | None
) -> Component:
    marks = [{"value": 0, "label": "0"}, {"value": 1, "label": "1"}]
    if stored is not None:
        marks = [mark for mark in marks if abs(float(str(mark["value"])) - stored) > 0.1]
        marks.append({"value": stored, "label": f"{stored:.3f} ({context.say('run.stored')})"})
    slider = dmc.Slider(
        id="run-cutoff", value=start, min=0, max=1, step=STEP, precision=3, updatemode="drag", marks=marks, label=None,
        thumbLabel=context.say("run.cutoff_label"), size="md", mb="lg",
    )  # fmt: skip
    shown = dmc.Text(
        [f"{context.say('run.cutoff')} ", html.Span("", id="run-cutoff-value", className="number run-large")], size="sm"
    )
    back = dmc.Button(
        context.say("run.back_to_stored"), id="run-cutoff-back", size="compact-sm", variant="light",
        disabled=stored is None,
    )  # fmt: skip
    share = table.true_positive[0] + table.false_negative[0], table.false_positive[0] + table.true_negative[0]
    percent = f"{100 * share[0] / sum(share):.1f}" if sum(share) else "–"
    field = dmc.NumberInput(
        id="run-prevalence", value="" if prevalence is None else prevalence, min=0, max=100, step=1, decimalScale=4,
        suffix=" %", label=context.say("run.prevalence_label"), size="sm", w=260,
        placeholder=context.say("run.prevalence_own", percent=percent), clampBehavior="strict", allowNegative=False,
    )  # fmt: skip
    top = dmc.Group([shown, back], justify="space-between")
    return html.Div([top, html.Div(slider, className="run-slider"), field])


def _measures(context: Context) -> Component:
    tiles = [
        dmc.Paper(
            [
                dmc.Text(
                    context.say("run.ppv") if name == "precision" else metric_name(context, name), size="xs", c="dimmed"
                ),
                dmc.Text("–", id=f"run-at-{name}", className="run-large number"),
            ],
            withBorder=True, radius="md", p="xs",
        )
        for name in MEASURES
    ]  # fmt: skip
    return dmc.SimpleGrid(tiles, cols={"base": 2, "sm": 3}, spacing="xs")


def _matrix(context: Context, table: CutoffTable) -> Component:
    """Return the 2 × 2 table, actual classes in rows."""
    names = (table.positive, table.negative)
    head = html.Tr([html.Th(context.say("run.actual_predicted"))] + [html.Th(name, scope="col") for name in names])
    rows = [
        html.Tr(
            [html.Th(name, scope="row")] + [html.Td("", id=f"run-cell-{cell}", className="number") for cell in cells]
        )
        for name, cells in zip(names, (CELLS[:2], CELLS[2:]), strict=True)
    ]
    return html.Table([html.Thead(head), html.Tbody(rows)], className="run-matrix")


def number_in(text: Any, low: float, high: float) -> float | None:
    """Return a number of an address, None where it is none or outside.

    >>> [number_in(text, 0, 1) for text in ("0.25", "x", None, "7", "nan")]
    [0.25, None, None, None, None]
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if low <= value <= high else None
