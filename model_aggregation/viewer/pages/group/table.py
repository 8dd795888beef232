"""The table of the models with its controls: search, columns, seeds and folds, downloads, the way to compare."""

import tempfile
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.results.leaderboard import write_leaderboard
from model_aggregation.viewer.addresses import Address, link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.group.rows import choices, columns, rows
from model_aggregation.viewer.parts_grid import grid
from model_aggregation.viewer.reading import Leaderboard

ROWS_IN_SIGHT = 11
FORMS = ("csv", "xlsx")


def wants_members(address: Address) -> bool:
    """Tell whether the address asks for every seed and fold."""
    return address.query.get("members") == "true"


def shown_columns(context: Context, board: Leaderboard, address: Address, *, members: bool) -> list[str]:
    """Return the columns that the address names, or the usual ones."""
    found = choices(context, board, members=members)
    if "columns" in address.query:
        named = address.query["columns"].split(",")
        return [choice.field for choice in found if choice.field in named]
    return [choice.field for choice in found if choice.usual]


def controls(context: Context, board: Leaderboard, address: Address) -> Component:
    """Return what stands above the table."""
    members = wants_members(address)
    search = dmc.TextInput(
        id="group-find", placeholder=context.say("group.find"), size="xs", debounce=200, className="filter",
        **{"aria-label": context.say("group.find")},
    )  # fmt: skip
    switch = dmc.Switch(
        id="group-members",
        label=context.say("group.members"),
        checked=members,
        size="sm",
        display="block" if has_members(board) else "none",
    )
    downloads = [
        dmc.Button(
            form,
            id=f"group-{form}",
            variant="default",
            size="xs",
            **{"aria-label": context.say("group.download", form=form)},
        )
        for form in FORMS
    ]
    compare = dmc.Button(context.say("group.compare"), id="group-compare", size="xs", disabled=True)
    hidden = [
        dcc.Store(id="group-chosen"), dcc.Store(id="group-columns-kept"), dcc.Download(id="group-download"),
        dcc.Store(id="group-compare-path", data=link("compare", board.group)),
    ]  # fmt: skip
    choice = html.Div(column_choice(context, board, address, members=members), id="group-columns-place")
    right = dmc.Group([choice, *downloads, compare], gap="xs")
    return html.Div([dmc.Group([search, switch, right], justify="space-between", gap="xs"), *hidden])


def has_members(board: Leaderboard) -> bool:
    """Tell whether some model has several seeds or folds."""
    found = {"seeds", "folds"} & set(board.table.columns)
    return board.group != SINGLE and any(board.table[name].notna().any() for name in found)


def column_choice(context: Context, board: Leaderboard, address: Address, *, members: bool) -> Component:
    """Return the button that opens the choice of columns."""
    found = choices(context, board, members=members)
    usual = [choice.field for choice in found if choice.usual]
    boxes = dmc.CheckboxGroup(
        dmc.Stack([dmc.Checkbox(label=choice.title, value=choice.field, size="xs") for choice in found], gap=6),
        id="group-columns",
        value=shown_columns(context, board, address, members=members),
        **{"aria-label": context.say("group.columns")},
    )
    opener = dmc.PopoverTarget(dmc.Button(context.say("group.columns"), variant="default", size="xs"))
    dropdown = dmc.PopoverDropdown(dmc.ScrollAreaAutosize(boxes, mah=380, type="auto", offsetScrollbars=True))
    fields = dcc.Store(id="group-columns-known", data=[[choice.field for choice in found], usual])
    return html.Div([dmc.Popover([opener, dropdown], position="bottom-end", keepMounted=True, trapFocus=True), fields])


def models(context: Context, board: Leaderboard, address: Address) -> Component:
    """Return the table."""
    members = wants_members(address)
    shown = context.reader.leaderboard(board.group, members=True) if members else board
    ticked = [run for run in address.query.get("runs", "").split(",") if run]
    ids = [name for name in shown.table["run_name"] if shown.compared_runs.get(name, name) in ticked]
    fields = shown_columns(context, shown, address, members=members)
    options: dict[str, Any] = {
        "rowSelection": {
            "mode": "multiRow",
            "checkboxes": True,
            "headerCheckbox": False,
            "enableClickSelection": False,
        },
        "processUnpinnedColumns": {"function": "maggUnpinned(params)"},
        "selectionColumnDef": {"pinned": "left", "width": 44, "suppressHeaderMenuButton": True},
    }
    if len(shown.table) <= ROWS_IN_SIGHT:
        options["domLayout"] = "autoHeight"
    height = None if len(shown.table) <= ROWS_IN_SIGHT else f"{48 + 36 * ROWS_IN_SIGHT}px"
    return grid(
        context,
        "group-table",
        columns(context, shown, fields, members=members),
        rows(context, shown, members=members),
        options=options,
        getRowId="params.data.id",
        selectedRows={"ids": ids},
        eventListeners={
            "cellKeyDown": ["maggOpenOnEnter(params)"],
            "rowClicked": ["maggOpenOnClick(params)"],
        },
        style={"height": height, "width": "100%"},
    )


def register(app: Dash, context: Context) -> None:
    """Add the controls of the table."""

    @app.callback(
        Output("group-table-place", "children"),
        Output("group-columns-place", "children"),
        Input("group-members", "checked"),
        State("group-chosen", "data"),
        State("group-name", "data"),
        prevent_initial_call=True,
    )
    def show_members(members: bool, chosen: list[str] | None, group: str) -> tuple[Component, Component]:
        address = Address("group", (group,), {"members": "true" if members else "", "runs": ",".join(chosen or [])})
        board = context.reader.leaderboard(group, members=members)
        return models(context, board, address), column_choice(context, board, address, members=members)

    @app.callback(
        Output("group-download", "data"),
        [Input(f"group-{form}", "n_clicks") for form in FORMS],
        State("group-name", "data"),
        State("group-members", "checked"),
        prevent_initial_call=True,
    )
    def download(*given: Any) -> dict[str, Any]:
        group, members = given[-2:]
        return table_file(context, group, str(ctx.triggered_id).removeprefix("group-"), members=bool(members))

    own = {"namespace": "magg_group"}
    app.clientside_callback(
        ClientsideFunction(**own, function_name="columns"),
        Output("group-columns-kept", "data"),
        Input("group-columns", "value"),
        State("group-columns-known", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction(**own, function_name="find"), Input("group-find", "value"), prevent_initial_call=True
    )
    app.clientside_callback(
        ClientsideFunction(**own, function_name="comparable"),
        Output("group-compare", "disabled"),
        Input("group-chosen", "data"),
    )
    app.clientside_callback(
        ClientsideFunction(**own, function_name="compare"),
        Input("group-compare", "n_clicks"),
        State("group-chosen", "data"),
        State("group-compare-path", "data"),
        prevent_initial_call=True,
    )


def table_file(context: Context, group: str, form: str, *, members: bool) -> dict[str, Any]:
    """Return the leaderboard as a file to download, as ``magg leaderboard --output`` writes it."""
    table = context.reader.leaderboard(group, members=members).table.loc[:, :"reason"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{group}_leaderboard.{form}"
        write_leaderboard(table, path)
        return dict(dcc.send_bytes(path.read_bytes(), path.name))
