"""What happens on the images page when something is chosen."""

import json
from collections.abc import Mapping
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, no_update
from dash.development.base_component import Component

from model_aggregation.errors import ResultsError
from model_aggregation.files import csv_text
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images import close_look, gallery, marked, table
from model_aggregation.viewer.pages.images.choices import GALLERY_PAGE, Choices, place_of, query_of
from model_aggregation.viewer.pages.images.controls import CONTROLS, WORDS
from model_aggregation.viewer.parts import notes_of, problem
from model_aggregation.viewer.reading import PredictionTable
from model_aggregation.viewer.reading.model_tables import index_of

MARK = "\ufeff"
"""Lets Excel read UTF-8."""

CHOICES = Input("images-choices", "data")
PLACE = State("images-place", "data")
IMAGE = Input("images-image", "data")


def index_in(predictions: PredictionTable, query: Mapping[str, str]) -> int | None:
    """Return the index of the image that an address opens, by ``image`` or, from a list, by ``id``."""
    if "id" in query:
        return index_of(predictions, query["id"])
    text = query.get("image", "")
    return int(text) if text.isdecimal() else None


def register(app: Dash, context: Context) -> None:
    """Add the callbacks of the page."""
    _register_browser(app)
    _register_views(app, context)
    _register_look(app, context)
    _register_marks(app, context)
    _register_downloads(app, context)


def _register_browser(app: Dash) -> None:
    """What the browser does alone: collect choices, write the address, move from image to image."""
    names = json.dumps([*CONTROLS, "words"])
    app.clientside_callback(
        f"(...values) => window.dash_clientside.magg_images.collect({names}, values)",
        Output("images-choices", "data"),
        Output("images-page", "value"),
        *CONTROLS.values(),
        WORDS,
        State("images-choices", "data"),
    )
    own = {"namespace": "magg_images"}
    app.clientside_callback(ClientsideFunction(**own, function_name="chosen"), CHOICES, IMAGE, PLACE)
    app.clientside_callback(
        ClientsideFunction(**own, function_name="sorted"),
        Output("images-sort", "value"),
        Output("images-descending", "checked"),
        Input("images-grid", "getRowsRequest"),
        State("images-sort", "value"),
        State("images-descending", "checked"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction(**own, function_name="look"),
        Output("images-modal", "opened"),
        Output("images-image", "data"),
        IMAGE,
        Input("images-modal", "opened"),
    )
    app.clientside_callback(ClientsideFunction(**own, function_name="stars"), Input("images-marks", "data"))


def _register_views(app: Dash, context: Context) -> None:
    @app.callback(
        Output("images-gallery", "children"),
        Output("images-page", "total"),
        Output("images-total", "children"),
        Output("images-notes", "children"),
        CHOICES,
        PLACE,
    )
    def show(choices: Choices, store: list[str]) -> tuple[Any, int, str, list[Component]]:
        place = place_of(store)
        try:
            query = query_of(context, place, choices)
            asked = (place.group, place.run, place.set_name, query)
            total = context.reader.image_page(*asked, limit=0).total
            first = (gallery.page_number(choices, total) - 1) * GALLERY_PAGE
            limit = GALLERY_PAGE if choices.get("view", "gallery") == "gallery" else 0
            page = context.reader.image_page(*asked, offset=first, limit=limit)
        except ResultsError as error:
            return [], 1, "", [problem(context, error)]
        of = len(place.table(context))
        words = context.say("images.total", shown=f"{total:,}", of=f"{of:,}")
        shown = gallery.cards(context, place, page.rows) if limit else []
        return shown, gallery.page_count(total), words, notes_of(context, page.notes)

    @app.callback(
        Output("images-table", "children"), Input("images-view", "value"), State("images-choices", "data"), PLACE
    )
    def show_table(view: str, choices: Choices, store: list[str]) -> Component | None:
        return table.grid(context, place_of(store), choices) if view == "table" else None

    @app.callback(
        Output("images-grid", "getRowsResponse"),
        Input("images-grid", "getRowsRequest"),
        State("images-choices", "data"),
        PLACE,
        prevent_initial_call=True,
    )
    def rows(request: dict[str, Any] | None, choices: Choices, store: list[str]) -> Any:
        if not request:
            return no_update
        try:
            return table.rows(context, place_of(store), choices, request)
        except ResultsError:  # `show` says why
            return {"rowData": [], "rowCount": 0}


def _register_look(app: Dash, context: Context) -> None:
    @app.callback(
        Output("images-look-title", "children"),
        Output("images-stage", "children"),
        Output("images-facts", "children"),
        IMAGE,
        State("images-choices", "data"),
        PLACE,
    )
    def look(index: int | None, choices: Choices, store: list[str]) -> Any:
        if index is None:
            return "", [], None
        try:
            return close_look.look(context, place_of(store), choices, index)
        except ResultsError as error:
            return "", [problem(context, error)], None

    @app.callback(
        Output("images-models", "children"),
        Output("images-models-page", "total"),
        Output("images-models-again", "disabled"),
        IMAGE,
        Input("images-models-page", "value"),
        Input("images-models-again", "n_intervals"),
        PLACE,
    )
    def models(index: int | None, page: int, _: int | None, store: list[str]) -> Any:
        place = place_of(store)
        if index is None or index >= len(place.table(context)):
            return None, 1, True
        return close_look.models(context, place, index, page)

    @app.callback(Output("images-mark-place", "children"), IMAGE, Input("images-marks", "data"), PLACE)
    def mark_panel(index: int | None, marks: dict[str, Any] | None, store: list[str]) -> Component | None:
        if index is None or marks is None or index >= len(place_of(store).table(context)):
            return None
        return close_look.mark_panel(context, index, marks["comments"], marks["list"])


def _register_marks(app: Dash, context: Context) -> None:
    @app.callback(
        Output("images-marks", "data"),
        Output("images-list", "data"),
        Input("images-toggle", "data"),
        Input("images-unmark", "data"),
        Input({"part": "images-comment", "index": ALL}, "value"),
        Input("images-list", "value"),
        Input("images-delete", "submit_n_clicks"),
        PLACE,
    )
    def change(*given: Any) -> Any:
        toggled, unmarked, comments, name, _, store = given
        place, cause = place_of(store), ctx.triggered_id
        if cause == "images-toggle" and toggled:
            marked.toggle(context, place, name, toggled["index"])
        elif cause == "images-unmark" and unmarked:
            marked.remove(context, name, unmarked)
        elif isinstance(cause, dict):
            if not comments or not marked.comment(context, place, name, cause["index"], comments[0] or ""):
                return no_update, no_update
        elif cause == "images-delete":
            context.reader.delete_marks(name)
        return marked.here(context, place, name), [found.name for found in context.reader.marked_lists()]

    @app.callback(
        Output("images-marks-table", "children"), Input("images-marks", "data"), Input("images-view", "value")
    )
    def show_list(marks: dict[str, Any] | None, view: str) -> Any:
        return marked.table(context, marks["list"]) if marks and view == "marks" else None


def _register_downloads(app: Dash, context: Context) -> None:
    @app.callback(
        Output("images-download", "data"),
        Input("images-csv", "n_clicks"),
        Input("images-export", "n_clicks"),
        State("images-choices", "data"),
        State("images-list", "value"),
        PLACE,
        prevent_initial_call=True,
    )
    def download(*given: Any) -> Any:
        *_, choices, name, store = given
        if ctx.triggered_id == "images-export":
            return dcc.send_string(MARK + context.reader.marks_csv(name), f"{name}.csv")
        place = place_of(store)
        query = query_of(context, place, choices)
        rows = context.reader.query_table(place.group, place.run, place.set_name, query)
        return dcc.send_string(MARK + csv_text(rows), f"{place.run}_{place.set_name}_images.csv")
