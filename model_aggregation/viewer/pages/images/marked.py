"""The lists of marked images: shown, exported, deleted."""

from collections.abc import Mapping
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images.choices import Place, list_named
from model_aggregation.viewer.parts import notes_of
from model_aggregation.viewer.reading import Mark
from model_aggregation.viewer.reading.marks import comments_here

COLUMNS = ("id", "remove", "actual", "predicted", "comment", "group", "run", "set", "path")
WIDTHS = {"id": 220, "remove": 80, "comment": 260, "path": 420}


def section(context: Context) -> Component:
    """Return the view of a list; its table comes with :func:`table`."""
    delete = dcc.ConfirmDialogProvider(
        dmc.Button(context.say("images.delete_list"), variant="default", size="xs"),
        id="images-delete",
        message=context.say("images.delete_sure"),
    )
    export = dmc.Button(context.say("images.export_list"), id="images-export", variant="default", size="xs")
    return html.Section(
        [dmc.Group([export, delete], gap="xs"), html.Div(id="images-marks-table")], className="images-only-marks"
    )


def here(context: Context, place: Place, name: str) -> dict[str, Any]:
    """Return what the page knows of a list: its name, and the comments of images of this set by index."""
    comments = comments_here(place.table(context), list_named(context, name).marks)
    return {"list": name, "comments": {str(index): comment for index, comment in comments.items()}}


def toggle(context: Context, place: Place, name: str, index: int) -> None:
    """Mark an image, or take its mark away."""
    mark = _mark(context, place, index)
    if index in comments_here(place.table(context), list_named(context, name).marks):
        context.reader.unmark(name, mark)
    else:
        context.reader.mark(name, mark)


def remove(context: Context, name: str, mark: Mapping[str, str]) -> None:
    """Take a mark from a list, also of an image or a run that is gone."""
    context.reader.unmark(name, Mark(mark["group"], mark["run"], mark["set"], mark["id"]))


def comment(context: Context, place: Place, name: str, index: int, text: str) -> bool:
    """Keep a comment, which marks the image; tell whether anything changed."""
    comments = comments_here(place.table(context), list_named(context, name).marks)
    if comments.get(index, "") == text:
        return False
    context.reader.mark(name, _mark(context, place, index, text))
    return True


def _mark(context: Context, place: Place, index: int, text: str = "") -> Mark:
    image_id = place.table(context).words.column("id")[index].as_py()
    return Mark(place.group, place.run, place.set_name, image_id, text)


def table(context: Context, name: str) -> list[Component]:
    """Return the images of a list, of every run, each with a link to it."""
    found = list_named(context, name)
    notes = notes_of(context, [found.note] if found.note else [])
    if not found.marks:
        return [*notes, dmc.Text(context.say("images.no_marks", list=name), c="dimmed", mt="sm")]
    rows = context.reader.marks_table(name).to_dict("records")
    for row in rows:
        row["href"] = link("images", row["group"], row["run"], set=row["set"], list=name, id=row["id"])
        row["remove"] = context.say("images.remove_mark", image=row["id"])
    grid = dag.AgGrid(
        id="images-marks-grid",
        columnDefs=[_column(context, key) for key in COLUMNS],
        rowData=rows,
        defaultColDef={"sortable": True, "resizable": True, "filter": False, "suppressHeaderMenuButton": True},
        dashGridOptions={"animateRows": False, "rowHeight": 40, "enableCellTextSelection": True},
        style={"height": "max(320px, calc(100vh - 310px))"},
    )
    count = dmc.Text(context.say("images.list_count", count=f"{len(rows):,}", list=name), size="sm", my="xs")
    return [*notes, count, grid]


def _column(context: Context, key: str) -> dict[str, Any]:
    title = context.say(f"images.column_{'comparison' if key == 'group' else key}")
    found: dict[str, Any] = {"field": key, "headerName": title, "width": WIDTHS.get(key, 150)}
    if key == "remove":
        return found | {"cellRenderer": "MaggUnmark", "sortable": False}
    return found | ({"cellRenderer": "MaggLink", "tooltipField": "id"} if key == "id" else {"tooltipField": key})
