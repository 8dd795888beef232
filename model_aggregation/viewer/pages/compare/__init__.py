"""The page that compares runs of a group: differences, curves, agreement, images on which they disagree."""

from collections.abc import Mapping

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from model_aggregation.results.leaderboard import VALIDATION
from model_aggregation.viewer.addresses import Address
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.keeping import keep_in_address
from model_aggregation.viewer.pages.compare.differences import differences
from model_aggregation.viewer.pages.compare.images import agreement, choices, disagreements
from model_aggregation.viewer.pages.group.rows import auc_text
from model_aggregation.viewer.parts import figure_card, figure_id, guarded, metric_name, note, notes_of, themed
from model_aggregation.viewer.parts_models import model_names, roc_overlay
from model_aggregation.viewer.reading.comparing import Comparing, stored_differences

CURVES_PIXELS = 420
NAMES_AT_ONCE = 100
"""So many of the matching names stand in a list of choice."""


def layout(context: Context, address: Address) -> Component:
    """Return the page; the runs, the reference and the kind of images stand in its address."""
    group = address.group
    heading = dmc.Title(context.say("compare.heading"), order=1, size="h3")
    known = comparable(context, group)
    if not known:
        return dmc.Stack([heading, note(context.say("compare.heading"), context.say("compare.nothing"), kind="hint")])
    asked = [run for run in address.query.get("runs", "").split(",") if run]
    missing = [context.say("compare.not_there", run=run) for run in asked if run not in known]
    chosen = [run for run in asked if run in known] or list(known)[:2]
    loading = dcc.Loading(html.Div(id="compare-differences", className="later"), type="dot", delay_show=200)
    figures = [_curves(context, address, chosen), html.Div(id="compare-agreement", className="later")]
    parts: list[Component] = [
        dcc.Store(id="compare-group", data=group),
        heading,
        *notes_of(context, missing),
        _choice(context, address, known, chosen),
        _section(context.say("compare.differences"), loading),
        html.Div(figures, className="figures"),
        _section(context.say("compare.images"), _images(context, address)),
    ]
    return dmc.Stack(parts, gap="md")


def comparable(context: Context, group: str) -> dict[str, str]:
    """Return what to call each tested run, by run: models first, in the order of their ranks; no single fold."""
    members = context.reader.leaderboard(group, members=True)
    ranked = context.reader.leaderboard(group)
    first = [ranked.compared_runs.get(name, name) for name in ranked.table["run_name"]]
    tested = {row["run_name"] for row in members.rows if row.get("accuracy") is not None and row.get("fold") is None}
    names = model_names(members)
    return {run: names[run] for run in dict.fromkeys([*first, *members.table["run_name"]]) if run in tested}


def usual_reference(context: Context, group: str, runs: list[str]) -> str | None:
    """Return the reference of the report if it is among the runs, else the best of them on validation images."""
    stored = stored_differences(context.reader, group)
    if stored is not None and stored.reference in runs:
        return stored.reference
    board = context.reader.leaderboard(group)
    ranked = [board.compared_runs.get(name, name) for name in board.table["run_name"]]
    best = [run for run in ranked if run in runs] if board.basis == VALIDATION else []
    return next(iter([*best, *runs]), None)


def _choice(context: Context, address: Address, known: dict[str, str], chosen: list[str]) -> Component:
    options = [{"value": run, "label": name} for run, name in known.items()]
    runs = dmc.MultiSelect(
        id="compare-runs",
        data=options,
        value=chosen,
        label=context.say("compare.runs"),
        description=context.say("compare.runs_hint"),
        searchable=True,
        clearable=True,
        limit=NAMES_AT_ONCE,
        hidePickedOptions=True,
        className="grow",
    )
    asked = address.query.get("reference")
    reference = dmc.Select(
        id="compare-reference",
        data=[option for option in options if option["value"] in chosen],
        value=asked if asked in chosen else usual_reference(context, address.group, chosen),
        label=context.say("compare.reference"),
        description=context.say("compare.reference_hint"),
        allowDeselect=False,
    )
    return dmc.Group([runs, reference], align="flex-start", gap="md")


def _section(title: str, *inside: Component) -> Component:
    return html.Section([dmc.Title(title, order=2, size="h5", mb="xs", mt="sm"), *inside])


def _curves(context: Context, address: Address, chosen: list[str]) -> Component:
    classes = context.reader.run(address.group, chosen[0]).classes
    many = len(classes) > 2
    choice = dmc.Select(
        id="compare-class",
        data=list(classes) if many else [],
        value=classes[0] if many else None,
        label=context.say("group.roc_class"),
        allowDeselect=False,
        size="xs",
        mb="xs",
        display="block" if many else "none",
    )
    card = figure_card(
        context,
        "compare-roc",
        {"data": [], "layout": {}},
        title=context.say("group.roc"),
        height=CURVES_PIXELS,
        file_name=f"{address.group}_compare_roc",
    )
    return html.Div([choice, card, dmc.Text("", id="compare-roc-note", size="xs", c="dimmed", className="lines")])


def areas(context: Context, group: str, names: Mapping[str, str]) -> list[str]:
    """Return the AUC of two classes with its interval, a line per run."""
    board = context.reader.leaderboard(group, members=True)
    if "auc" not in board.metrics:
        return []
    shown = {row["run_name"]: auc_text(context, row) for row in board.rows}
    return [f"{name}: {metric_name(context, 'auc')} {shown[run]}" for run, name in names.items()]


def _images(context: Context, address: Address) -> Component:
    show = dmc.Select(
        id="compare-show",
        data=[],
        value=address.query.get("show", ""),
        label=context.say("compare.show"),
        allowDeselect=False,
        size="xs",
        className="filter",
    )
    pages = dmc.Pagination(
        id="compare-pages", total=1, value=1, mt="md", hideWithOnePage=True,
        **{"aria-label": context.say("compare.pages")},
    )  # fmt: skip
    loading = dcc.Loading(html.Div(id="compare-images", className="later"), type="dot", delay_show=200)
    return html.Div([show, loading, pages])


def register(app: Dash, context: Context) -> None:
    """Add what follows the choice of runs; each part for itself, so that slow ones hold up none."""
    comparing = Comparing(context.reader)
    runs, group = Input("compare-runs", "value"), State("compare-group", "data")

    @app.callback(
        Output("compare-reference", "data"),
        Output("compare-reference", "value"),
        runs,
        State("compare-reference", "value"),
        group,
        prevent_initial_call=True,
    )
    def references(chosen: list[str], present: str | None, name: str) -> tuple[list[dict[str, str]], str | None]:
        known = comparable(context, name)
        options = [{"value": run, "label": known[run]} for run in chosen if run in known]
        return options, present if present in chosen else usual_reference(context, name, chosen)

    @app.callback(Output("compare-differences", "children"), runs, Input("compare-reference", "value"), group)
    def show_differences(chosen: list[str], reference: str | None, name: str) -> Component:
        return guarded(context, differences, context, comparing, name, (chosen, reference))

    @app.callback(
        Output(figure_id("compare-roc"), "figure"),
        Output("compare-roc-note", "children"),
        runs,
        Input("compare-class", "value"),
        group,
    )
    def curves(chosen: list[str], class_name: str | None, name: str) -> tuple[dict[str, object], str]:
        known = comparable(context, name)
        names = {run: known[run] for run in chosen if run in known}
        figure, notes = roc_overlay(context, name, names, class_name)
        return themed(context, figure), "\n".join([*areas(context, name, names), *notes])

    @app.callback(Output("compare-agreement", "children"), runs, Input("compare-reference", "value"), group)
    def show_agreement(chosen: list[str], reference: str | None, name: str) -> Component:
        return guarded(context, agreement, context, name, chosen, reference)

    @app.callback(
        Output("compare-show", "data"), Output("compare-show", "value"), runs, State("compare-show", "value"), group
    )
    def kinds(chosen: list[str], present: str | None, name: str) -> tuple[list[dict[str, str]], str]:
        known = comparable(context, name)
        found = choices(context, {run: known[run] for run in chosen if run in known})
        return found, present if present in {choice["value"] for choice in found} else "all"

    @app.callback(
        Output("compare-images", "children"),
        Output("compare-pages", "total"),
        runs,
        Input("compare-show", "value"),
        Input("compare-pages", "value"),
        group,
    )
    def show_images(chosen: list[str], kind: str | None, page: int, name: str) -> tuple[Component, int]:
        return disagreements(context, name, chosen, kind or "all", page)

    keep_in_address(app, runs=runs, reference=Input("compare-reference", "value"), show=Input("compare-show", "value"))
