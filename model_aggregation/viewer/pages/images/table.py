"""The images of a query as a table that asks the server for the rows in sight."""

from collections.abc import Mapping
from typing import Any

import dash_ag_grid as dag
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.addresses import image_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images.choices import Choices, Place, query_of, title_of
from model_aggregation.viewer.pages.images.controls import distinct
from model_aggregation.viewer.reading import Column, PredictionTable
from model_aggregation.viewer.reading.image_queries import MODELS_WRONG

ORDER = ("id", "correct", "predicted", "actual", "confidence")
"""These columns stand first."""

WIDTHS = {"correct": 90, "confidence": 110, "models_wrong": 160, "id": 220, "path": 420}
RENDERERS = {"id": "MaggImage", "correct": "MaggSign"}


def grid(context: Context, place: Place, choices: Choices) -> Component:
    """Return the table; its rows come with :func:`rows`."""
    sort = choices.get("sort", "")
    return dag.AgGrid(
        id="images-grid",
        rowModelType="infinite",
        columnDefs=[_column(context, column, sort) for column in _columns(place, place.table(context))],
        defaultColDef={"sortable": True, "resizable": True, "filter": False, "suppressHeaderMenuButton": True},
        dashGridOptions={
            "cacheBlockSize": 100,
            "maxConcurrentDatasourceRequests": 1,
            "maxBlocksInCache": 20,
            "rowHeight": 40,
            "animateRows": False,
            "suppressMultiSort": True,
            "enableCellTextSelection": True,
            "localeText": {"noRowsToShow": context.say("images.nothing"), "loadingOoo": "…"},
        },
        style={"height": "max(320px, calc(100vh - 350px))"},
    )


def _columns(place: Place, table: PredictionTable) -> list[Column]:
    known = {column.key: column for column in table.columns if column.key != "index"}
    left_out = (*ORDER, "path", *(() if distinct(table, "group") else ("group",)))
    rest = [column for key, column in known.items() if key not in left_out]
    several = [] if place.group == SINGLE else [MODELS_WRONG]
    return [*(known[key] for key in ORDER), *rest, *several, known["path"]]


def _column(context: Context, column: Column, sort: str) -> dict[str, Any]:
    number = column.kind in ("number", "probability")
    title = title_of(context, column)
    found: dict[str, Any] = {
        "field": column.key,
        "headerName": title,
        "headerTooltip": title,
        "width": WIDTHS.get(column.key, 120 if number else 150),
        "cellClass": "images-number" if number else "",
    }
    if column.key in RENDERERS:
        found["cellRenderer"] = RENDERERS[column.key]
    if column.key == "id":
        found |= {"pinned": "left", "tooltipField": "id", "lockPosition": "left"}
    if column.key == sort.removeprefix("-"):
        found["sort"] = "desc" if sort.startswith("-") else "asc"
    return found


def rows(context: Context, place: Place, choices: Choices, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of a request of the table, in the order that its header shows."""
    sorted_by = request["sortModel"][:1]
    own = {name: value for name, value in choices.items() if name != "sort"}
    for entry in sorted_by:
        own["sort"] = f"{'-' if entry['sort'] == 'desc' else ''}{entry['colId']}"
    offset, end = request["startRow"], request["endRow"]
    query = query_of(context, place, own)
    page = context.reader.image_page(place.group, place.run, place.set_name, query, offset=offset, limit=end - offset)
    return {"rowData": [_row(context, place, row) for row in page.rows], "rowCount": page.total}


def _row(context: Context, place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the cells show: numbers with four decimals, the thumbnail's address."""
    texts = {key: f"{value:.4f}" for key, value in row.items() if isinstance(value, float)}
    thumbnail = image_link(place.group, place.run, place.set_name, row["index"], size=32)
    word = context.say("images.right" if row["correct"] else "images.wrong")
    return {**row, **texts, "thumbnail": thumbnail, "href": place.link(image=row["index"]), "word": word}
