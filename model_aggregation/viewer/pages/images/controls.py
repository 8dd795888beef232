"""The choices above the images: view, filters, order, the list that marks go into."""

from typing import Any

import dash_mantine_components as dmc
import pyarrow.compute as pc
from dash import ALL, Input, html
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images.choices import (
    FIRST_LIST,
    VIEWS,
    Choices,
    Place,
    title_of,
    word_columns,
)
from model_aggregation.viewer.reading import PredictionTable
from model_aggregation.viewer.reading.image_queries import MODELS_WRONG

MOST_OPTIONS = 500
"""A column with more values is filtered by typing one."""

CONTROLS = {
    "view": Input("images-view", "value"),
    "wrong": Input("images-wrong", "checked"),
    "actual": Input("images-actual", "value"),
    "predicted": Input("images-predicted", "value"),
    "text": Input("images-text", "value"),
    "sort": Input("images-sort", "value"),
    "descending": Input("images-descending", "checked"),
    "of": Input("images-of", "value"),
    "from": Input("images-from", "value"),
    "to": Input("images-to", "value"),
    "disagree": Input("images-disagree", "checked"),
    "models_wrong": Input("images-models-wrong", "value"),
    "marked": Input("images-marked-only", "checked"),
    "list": Input("images-list", "value"),
    "page": Input("images-page", "value"),
}
"""The controls by their names in the address."""

WORDS = Input({"part": "images-word", "key": ALL}, "value")


def top_row(context: Context, heading: Component, choices: Choices) -> Component:
    """Return the heading, the switch between the views, and the list that marks go into."""
    views = dmc.SegmentedControl(
        id="images-view",
        data=[{"value": view, "label": context.say(f"images.view_{view}")} for view in VIEWS],
        value=choices.get("view", "gallery") if choices.get("view") in VIEWS else "gallery",
        **{"aria-label": context.say("images.view")},
    )
    lists = dmc.Autocomplete(
        id="images-list",
        label=context.say("images.list"),
        value=choices.get("list", FIRST_LIST),
        data=[found.name for found in context.reader.marked_lists()],
        debounce=300,
        persistence=True,
        size="xs",
        className="images-list",
    )
    return dmc.Group([heading, views, lists], justify="space-between", gap="sm", align="end")


def filters(context: Context, place: Place, table: PredictionTable, choices: Choices) -> Component:
    """Return the filters and the order; rarer filters are folded away unless one is in use."""
    labels = [{"value": name, "label": name} for name in table.labels]
    first = [
        dmc.Checkbox(
            id="images-wrong", label=context.say("images.errors_only"), checked="wrong" in choices, size="sm"
        ),
        _select(context, "actual", labels, choices.get("actual")),
        _select(context, "predicted", labels, choices.get("predicted")),
        dmc.TextInput(
            id="images-text", label=context.say("images.text"), value=choices.get("text", ""), debounce=300, size="xs",
        ),
        *_order(context, place, table, choices),
        dmc.Button(context.say("images.reset"), id="images-reset", variant="default", size="xs"),
    ]  # fmt: skip
    folded = _more(context, place, table, choices)
    in_use = {"from", "to", "disagree", "models_wrong", "marked", *word_columns(table)} & choices.keys()
    more = html.Details(
        [html.Summary(context.say("images.more")), html.Div(folded, className="images-filters")], open=bool(in_use)
    )
    return html.Div([html.Div(first, className="images-filters"), more], className="images-not-marks")


def _select(context: Context, name: str, options: list[Any], value: str | None, *, label: str = "") -> Component:
    return dmc.Select(
        id=f"images-{name}",
        label=label or context.say(f"images.column_{name}"),
        data=options,
        value=value,
        placeholder=context.say("images.any"),
        searchable=True,
        clearable=True,
        limit=200,
        size="xs",
    )


def _order(context: Context, place: Place, table: PredictionTable, choices: Choices) -> list[Component]:
    columns = [column for column in table.columns if column.key != "index"]
    columns += [MODELS_WRONG] if place.group != SINGLE else []
    options = [{"value": column.key, "label": title_of(context, column)} for column in columns]
    sort = choices.get("sort", "")
    select = dmc.Select(
        id="images-sort", label=context.say("images.sort"), data=options, value=sort.removeprefix("-") or None,
        placeholder=context.say("images.sort_none"), searchable=True, clearable=True, limit=200, size="xs",
    )  # fmt: skip
    descending = dmc.Checkbox(
        id="images-descending", label=context.say("images.descending"), checked=sort.startswith("-"), size="sm"
    )
    return [select, descending]


def _more(context: Context, place: Place, table: PredictionTable, choices: Choices) -> list[Component]:
    numbers = [column for column in table.columns if column.key == "confidence" or column.kind == "probability"]
    options = [{"value": column.key, "label": title_of(context, column)} for column in numbers]
    limits: dict[str, Any] = {"min": 0, "max": 1, "step": 0.05, "decimalScale": 6, "debounce": 300, "size": "xs"}
    parts: list[Component] = [
        dmc.Select(
            id="images-of", label=context.say("images.range"), data=options, value=choices.get("of", "confidence"),
            allowDeselect=False, searchable=True, size="xs",
        ),
        dmc.NumberInput(id="images-from", label=context.say("images.from"), value=choices.get("from", ""), **limits),
        dmc.NumberInput(id="images-to", label=context.say("images.to"), value=choices.get("to", ""), **limits),
    ]  # fmt: skip
    parts += [_word(context, table, key, choices.get(key)) for key in word_columns(table) if distinct(table, key)]
    alone = {"display": "none"} if place.group == SINGLE else {}
    parts += [
        dmc.NumberInput(
            id="images-models-wrong", label=context.say("images.models_wrong"), min=0, allowDecimal=False,
            value=choices.get("models_wrong", ""), debounce=300, size="xs", style=alone,
        ),
        dmc.Checkbox(
            id="images-disagree", label=context.say("images.disagree"), checked="disagree" in choices, size="sm",
            style=alone,
        ),
        dmc.Checkbox(
            id="images-marked-only", label=context.say("images.marked_only"), checked="marked" in choices, size="sm"
        ),
    ]  # fmt: skip
    return parts


def distinct(table: PredictionTable, key: str) -> list[str]:
    """Return the values of a group or metadata column, without the empty one."""
    return sorted(value for value in pc.unique(table.words.column(key)).to_pylist() if value)


def _word(context: Context, table: PredictionTable, key: str, value: str | None) -> Component:
    """Return the filter of a group or metadata column."""
    column = next(column for column in table.columns if column.key == key)
    name = {"part": "images-word", "key": key}
    values = distinct(table, key)
    common: dict[str, Any] = {"id": name, "label": title_of(context, column), "size": "xs"}
    if len(values) > MOST_OPTIONS:
        return dmc.TextInput(value=value or "", placeholder=context.say("images.exactly"), debounce=500, **common)
    return dmc.Select(
        data=values, value=value, placeholder=context.say("images.any"), searchable=True, clearable=True, limit=200,
        **common,
    )  # fmt: skip
