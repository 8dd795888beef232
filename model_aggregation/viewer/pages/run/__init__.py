"""The page of a run: how good it is, at which cutoff, where it goes wrong, and how it came about."""

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import Address
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.keeping import keep_in_address
from model_aggregation.viewer.pages.run.cutoff import CELLS, MEASURES
from model_aggregation.viewer.pages.run.facts import facts
from model_aggregation.viewer.pages.run.heading import heading
from model_aggregation.viewer.pages.run.history import learning_curves
from model_aggregation.viewer.pages.run.results import curves_of, results
from model_aggregation.viewer.parts import guarded
from model_aggregation.viewer.reading import RunView

REFRESH_MILLISECONDS = 5000


def layout(context: Context, address: Address) -> Component:
    """Return the page; set, cutoff, prevalence and class of the curves stand in its address."""
    group, run = address.names
    view = context.reader.run(group, run)
    sets = sets_of(view)
    parts: list[Component] = [
        dcc.Store(id="run-name", data=[group, run]),
        dcc.Store(id="run-asked", data=dict(address.query)),
        heading(context, view),
    ]
    if sets:
        wanted = address.query.get("set")
        chosen = wanted if wanted in sets else "test" if "test" in sets else sets[0]
        parts.append(_set_switch(context, sets, chosen))
        parts.append(html.Div(dmc.Skeleton(height=480), id="run-results"))
    if len(view.history):
        parts.append(guarded(context, learning_curves, context, view))
    parts.append(html.Div(guarded(context, facts, context, view), id="run-facts"))
    if view.state == "running":
        parts.append(dcc.Interval(id="run-refresh", interval=REFRESH_MILLISECONDS))
    return dmc.Stack(parts, gap="md")


def sets_of(view: RunView) -> list[str]:
    """Return the sets with numbers or predictions: ``val``, ``test``, then the external ones."""
    return list(
        dict.fromkeys(
            name for name in ("val", "test", *view.sets, *view.metrics) if name in (*view.sets, *view.metrics)
        )
    )


def _set_switch(context: Context, sets: list[str], chosen: str) -> Component:
    words = {"val": context.say("run.set_val"), "test": context.say("run.set_test")}
    chips = [
        dmc.Chip(words.get(name) or context.say("run.set_external", name=name), value=name, size="sm") for name in sets
    ]
    label = dmc.Text(context.say("run.set"), size="sm", fw=500)
    group = dmc.ChipGroup(dmc.Group(chips, gap="xs"), id="run-set", value=chosen, multiple=False)
    return dmc.Group([label, group], gap="sm")


def register(app: Dash, context: Context) -> None:
    """Add the set switch, the class of the curves, the band, the slider and the refresh of a running run."""

    @app.callback(
        Output("run-results", "children"),
        Input("run-set", "value"),
        State("run-name", "data"),
        State("run-asked", "data"),
    )
    def show(set_name: str, name: list[str], asked: dict[str, Any]) -> Component:
        return guarded(context, results, context, *name, set_name, asked)

    @app.callback(
        Output("run-curves", "children"),
        Output("run-asked", "data", allow_duplicate=True),
        Input("run-class", "value"),
        State("run-where", "data"),
        prevent_initial_call=True,
    )
    def of_class(class_name: str, where: list[str]) -> tuple[Component, dict[str, str]]:
        return guarded(context, curves_of, context, tuple(where), class_name), {"class": class_name}

    @app.callback(
        Output("run-band", "data"),
        Input("run-band-wanted", "data"),
        running=[(Output("run-band-waiting", "display"), "block", "none")],
    )
    def band(wanted: list[str]) -> dict[str, list[float]]:
        found = context.reader.roc_band(*wanted)
        if found.empty:
            return {}
        return {"x": (1 - found["Specificity"]).tolist(), "low": found["Low"].tolist(), "high": found["High"].tolist()}

    @app.callback(
        Output("run-facts", "children"),
        Output("run-refresh", "disabled"),
        Input("run-refresh", "n_intervals"),
        State("run-name", "data"),
        prevent_initial_call=True,
    )
    def refresh(_: int, name: list[str]) -> tuple[Component, bool]:
        view = context.reader.run(*name)
        return guarded(context, facts, context, view), view.state != "running"

    keep_in_address(app, set=Input("run-set", "value"))
    keep_in_address(app, **{"class": Input("run-class", "value")})
    _register_slider(app)


def _register_slider(app: Dash) -> None:
    own = {"namespace": "magg_run"}
    app.clientside_callback(
        ClientsideFunction(**own, function_name="cutoff"),
        Output("run-cutoff-value", "children"),
        Output("run-cutoff-kind", "children"),
        Output("run-cutoff-kind", "className"),
        *(Output(f"run-at-{name}", "children") for name in MEASURES),
        *(Output(f"run-cell-{cell}", "children") for cell in CELLS),
        Output("run-asked", "data"),
        Input("run-cutoff", "value"),
        Input("run-prevalence", "value"),
        State("run-cutoff-table", "data"),
    )
    app.clientside_callback(
        ClientsideFunction(**own, function_name="back"),
        Output("run-cutoff", "value"),
        Input("run-cutoff-back", "n_clicks"),
        State("run-cutoff-table", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(ClientsideFunction(**own, function_name="band"), Input("run-band", "data"))
