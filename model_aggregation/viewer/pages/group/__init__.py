"""The page of a group: the table of its models, how they differ, what they cost, where all of them fail."""

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.addresses import Address, link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.keeping import keep_in_address
from model_aggregation.viewer.pages.group import table
from model_aggregation.viewer.pages.group.figures import CARD_PIXELS, forest, measured, trade_off
from model_aggregation.viewer.pages.group.report import report
from model_aggregation.viewer.pages.group.rows import rows
from model_aggregation.viewer.pages.group.summary import states, summary
from model_aggregation.viewer.pages.group.wrong import wrong_images
from model_aggregation.viewer.parts import figure_card, figure_id, guarded, themed
from model_aggregation.viewer.parts_models import model_names, roc_overlay
from model_aggregation.viewer.reading import Leaderboard

CURVES_AT_FIRST = 5
REFRESH_MILLISECONDS = 3000


def layout(context: Context, address: Address) -> Component:
    """Return the page; ticked runs, columns and the switch to single seeds and folds stand in its address."""
    group = address.group
    board = context.reader.leaderboard(group)
    parts: list[Component] = [
        dcc.Store(id="group-name", data=group),
        dcc.Store(id="group-drawn"),
        dcc.Store(id="group-finished", data=_finished(board)),
        dcc.Interval(id="group-refresh", interval=REFRESH_MILLISECONDS, disabled=not board.progress),
        _heading(context, board),
        html.Div(summary(context, board), id="group-summary"),
        guarded(context, table.controls, context, board, address),
        html.Div(guarded(context, table.models, context, board, address), id="group-table-place"),
    ]
    if group != SINGLE:
        parts.append(html.Div(id="group-figures", className="figures later"))
        parts.append(_later(context.say("group.wrong"), "group-wrong"))
        parts.append(_later(context.say("group.report"), "group-report"))
    return dmc.Stack(parts, gap="md")


def _finished(board: Leaderboard) -> list[str]:
    """Return the models that have results; while a comparison runs, the figures change when these do."""
    return sorted(row["run_name"] for row in board.rows if row["state"] == "finished")


def _heading(context: Context, board: Leaderboard) -> Component:
    single = board.group == SINGLE
    title = dmc.Title(context.say("shell.single") if single else board.group, order=1, size="h3", className="name")
    links = [] if single else [dmc.Anchor(context.say("group.data"), href=link("data", board.group), size="sm")]
    return dmc.Group([title, dmc.Group(states(context, board), gap=4), *links], gap="sm")


def _figures(context: Context, board: Leaderboard, class_name: str | None) -> list[Component]:
    if not measured(board):
        return []
    return [
        guarded(context, forest, context, board),
        guarded(context, _curves, context, board, class_name),
        guarded(context, trade_off, context, board, "test_images_per_second"),
        guarded(context, trade_off, context, board, "parameters"),
    ]


def _curves(context: Context, board: Leaderboard, class_name: str | None) -> Component:
    """Return the card of the ROC curves, of the class chosen before; its figure comes from a callback."""
    classes = context.reader.run(board.group, _runs(board)[0]).classes
    chosen = class_name if class_name in classes else next(iter(classes), None)
    parts: list[Component] = [
        figure_card(
            context, "group-roc", {"data": [], "layout": {}}, title=context.say("group.roc"), height=CARD_PIXELS,
            file_name=f"{board.group}_roc",
        ),
        dmc.Text("", id="group-roc-note", size="xs", c="dimmed", mt=4, className="lines"),
    ]  # fmt: skip
    choice = dmc.Select(
        id="group-class",
        data=list(classes) if len(classes) > 2 else [],
        value=chosen if len(classes) > 2 else None,
        label=context.say("group.roc_class"),
        allowDeselect=False,
        size="xs",
        mb="xs",
        display="block" if len(classes) > 2 else "none",
    )
    return html.Div([choice, *parts])


def _runs(board: Leaderboard) -> list[str]:
    """Return the runs that hold the results of the models, best first; of several seeds the first."""
    return [board.compared_runs.get(row["run_name"], row["run_name"]) for row in measured(board)]


def _later(title: str, name: str) -> Component:
    """Return a section whose content comes when the page is there."""
    waiting = html.Div(html.Div(id=name, className="later"), className="later")
    loading = dcc.Loading(waiting, type="dot", delay_show=200)
    return html.Section([dmc.Title(title, order=2, size="h5", mb="xs", mt="sm"), loading])


def register(app: Dash, context: Context) -> None:
    """Add refresh, seeds and folds, and curves."""
    table.register(app, context)
    _register_later(app, context)

    @app.callback(
        Output("group-table", "rowData"),
        Output("group-summary", "children"),
        Output("group-refresh", "disabled"),
        Output("group-finished", "data"),
        Input("group-refresh", "n_intervals"),
        State("group-name", "data"),
        State("group-members", "checked"),
        State("group-finished", "data"),
        prevent_initial_call=True,
    )
    def refresh(_: int, group: str, members: bool, finished: list[str]) -> tuple[Any, ...]:
        board = context.reader.leaderboard(group)
        shown = context.reader.leaderboard(group, members=True) if members else board
        now = _finished(board)
        drawn = no_update if now == finished else now
        return rows(context, shown, members=bool(members)), summary(context, board), not board.progress, drawn

    @app.callback(
        Output(figure_id("group-roc"), "figure"),
        Output("group-roc-note", "children"),
        Input("group-chosen", "data"),
        Input("group-class", "value"),
        State("group-name", "data"),
    )
    def curves(chosen: list[str] | None, class_name: str | None, group: str) -> tuple[dict[str, object], str]:
        board = context.reader.leaderboard(group)
        runs = chosen or _runs(board)[:CURVES_AT_FIRST]
        names = model_names(context.reader.leaderboard(group, members=True))
        figure, notes = roc_overlay(context, group, {run: names.get(run, run) for run in runs}, class_name)
        if not chosen:
            notes = [context.say("group.roc_best", count=len(runs)), *notes]
        return themed(context, figure), "\n".join(notes)

    keep_in_address(app, runs=Input("group-chosen", "data"), members=Input("group-members", "checked"))
    keep_in_address(app, columns=Input("group-columns-kept", "data"))
    own = {"namespace": "magg_group"}
    app.clientside_callback(
        ClientsideFunction(**own, function_name="chosen"),
        Output("group-chosen", "data"),
        Input("group-table", "selectedRows"),
    )


def _register_later(app: Dash, context: Context) -> None:
    """Add the parts that take longer than the page may; what is drawn follows the finished runs."""
    # Drawing figures keeps a browser busy: what follows begins when the table is to be seen.
    app.clientside_callback(
        ClientsideFunction("magg_group", "drawn"), Output("group-drawn", "data"), Input("group-name", "data")
    )

    finished = Input("group-finished", "data")

    @app.callback(
        Output("group-figures", "children"),
        Input("group-drawn", "data"),
        finished,
        State("group-class", "value", allow_optional=True),
        prevent_initial_call=True,
    )
    def show_figures(group: str | None, _: list[str], class_name: str | None) -> Any:
        return _figures(context, context.reader.leaderboard(group), class_name) if group else no_update

    @app.callback(Output("group-wrong", "children"), Input("group-drawn", "data"), finished, prevent_initial_call=True)
    def show_wrong(group: str | None, _: list[str]) -> Any:
        if group is None:
            return no_update
        return guarded(context, wrong_images, context, group)

    @app.callback(Output("group-report", "children"), Input("group-drawn", "data"), prevent_initial_call=True)
    def show_report(group: str) -> Component:
        return guarded(context, report, context, group)
