"""The images page: every image of a set as gallery and table, one large, and the lists of marked ones."""

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import Address
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.data_tables import split_name
from model_aggregation.viewer.pages.images import close_look, controls, marked
from model_aggregation.viewer.pages.images.callbacks import index_in, register
from model_aggregation.viewer.pages.images.choices import Choices, Place
from model_aggregation.viewer.parts import note, notes_of

__all__ = ["layout", "register"]


def layout(context: Context, address: Address) -> Component:
    """Return the page; everything chosen stands in its address."""
    run = context.reader.run(address.group, address.run)
    set_name = address.query.get("set") or ("test" if "test" in run.sets else next(iter(run.sets), "test"))
    place = Place(address.group, address.run, set_name)
    table = place.table(context)
    choices = {name: value for name, value in address.query.items() if name not in ("set", "image", "id")}
    heading = dmc.Group(
        [dmc.Title(context.say("images.heading"), order=1, size="h3"), _sets(context, place, run.sets)], gap="lg"
    )
    if not len(table):
        empty = note(context.say("images.heading"), context.say("images.no_images"), kind="hint")
        return html.Div([heading, *(notes_of(context, table.notes) or [empty])])
    return html.Div(
        [
            *_stores(place, choices, index_in(place.table(context), address.query)),
            controls.top_row(context, heading, choices),
            controls.filters(context, place, table, choices),
            html.Div(id="images-notes"),
            _views(context),
            close_look.window(context),
        ],
        id="images-root",
        className="images",
    )


def _stores(place: Place, choices: Choices, image: int | None) -> list[Component]:
    kept: dict[str, Any] = {
        "place": [place.group, place.run, place.set_name],
        "choices": dict(choices),
        "image": image,
        "toggle": None,
        "unmark": None,
        "marks": None,
    }
    stores: list[Component] = [dcc.Store(id=f"images-{name}", data=data) for name, data in kept.items()]
    return [*stores, dcc.Download(id="images-download")]


def _sets(context: Context, place: Place, sets: tuple[str, ...]) -> Component:
    links = [
        dmc.Anchor(
            split_name(context, name), href=Place(place.group, place.run, name).link(), size="sm",
            fw=600 if name == place.set_name else 400,
            **({"aria-current": "page"} if name == place.set_name else {}),
        )
        for name in sets
    ]  # fmt: skip
    return dmc.Group([dmc.Text(context.say("images.set"), size="sm", c="dimmed"), *links], gap="xs")


def _views(context: Context) -> Component:
    total = dmc.Group(
        [
            dmc.Text(id="images-total", size="sm", **{"aria-live": "polite"}),
            dmc.Button(context.say("images.csv"), id="images-csv", variant="subtle", size="compact-xs"),
        ],
        gap="xs",
        className="images-not-marks",
    )
    pages = dmc.Pagination(
        id="images-page", total=1, value=1, hideWithOnePage=True, mt="md", withEdges=True,
        **{"aria-label": context.say("images.pages")},
    )  # fmt: skip
    scheme: dict[str, Any] = {"data-ag-theme-mode": context.scheme}
    loading = dcc.Loading(html.Div(id="images-gallery", className="images-gallery"), delay_show=500)
    return html.Div(
        [
            total,
            html.Div([loading, pages], className="images-only-gallery"),
            html.Div(id="images-table", className="images-only-table", **scheme),
            html.Div(marked.section(context), **scheme),
        ]
    )
