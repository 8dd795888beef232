"""One image large: zoom, what every model of the group says about it, its mark and comment, its neighbours."""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.addresses import image_link, link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images.choices import Choices, Place, query_of, title_of
from model_aggregation.viewer.pages.images.gallery import sign
from model_aggregation.viewer.parts import note, notes_of, number_text
from model_aggregation.viewer.reading import ImageAcrossModels, ImageQuery

MODELS_PER_PAGE = 20
AGAIN_MILLISECONDS = 500
"""After so long the runs that could not be read in time are asked for again."""


def window(context: Context) -> Component:
    """Return the window that an image opens in; its parts are filled when one does."""
    spoken: dict[str, Any] = {"data-autofocus": True, "aria-label": context.say("images.stage")}
    stage = html.Div(id="images-stage", className="images-stage", tabIndex=0, role="group", **spoken)
    buttons = [
        _button(context, name, symbol)
        for name, symbol in (("previous", "←"), ("next", "→"), ("zoom_out", "−"), ("zoom_in", "+"), ("fit", "⤢"))
    ]
    tools = dmc.Group([*buttons, dmc.Text(context.say("images.keys"), size="xs", c="dimmed", visibleFrom="sm")], gap=6)
    facts = html.Div(
        [
            html.Div(id="images-facts"),
            html.Div(id="images-mark-place"),
            dcc.Interval(id="images-models-again", interval=AGAIN_MILLISECONDS, disabled=True),
            dcc.Loading(html.Div(id="images-models"), delay_show=400),
            dmc.Pagination(
                id="images-models-page", total=1, value=1, hideWithOnePage=True, size="xs",
                **{"aria-label": context.say("images.models_pages")},
            ),
        ],
        className="images-facts",
    )  # fmt: skip
    return dmc.Modal(
        [
            html.Div(id="images-look-title", className="name images-look-title"),
            html.Div([html.Div([stage, tools], className="images-left"), facts], className="images-look"),
        ],
        id="images-modal",
        className="images-modal",
        fullScreen=True,
        opened=False,
        closeButtonProps={"aria-label": context.say("images.close")},
        transitionProps={"duration": 0},
    )


def _button(context: Context, name: str, symbol: str) -> Component:
    label = context.say(f"images.do_{name}")
    return dmc.ActionIcon(
        symbol, id=f"images-{name.replace('_', '-')}", variant="default", size="lg", **{"aria-label": label}
    )


def look(context: Context, place: Place, choices: Choices, index: int) -> tuple[Component, list[Component], Component]:
    """Return title, content of the stage, and facts of an image."""
    reader = context.reader
    query = query_of(context, place, choices)
    around = reader.neighbours(place.group, place.run, place.set_name, query, index=index)
    only = ImageQuery(only=(index,))
    row = reader.image_page(place.group, place.run, place.set_name, only, limit=1).rows
    path = str(reader.image_path(place.group, place.run, place.set_name, index))  # raises for an index outside
    if around.place is None:
        where = context.say("images.not_among", total=f"{around.total:,}")
    else:
        where = context.say("images.place", place=f"{around.place + 1:,}", total=f"{around.total:,}")
    title = html.Span([html.Strong(row[0]["id"]), html.Span(where, className="images-where")])
    source = image_link(place.group, place.run, place.set_name, index)
    picture = html.Img(src=source, alt=row[0]["id"], className="images-picture", draggable="false")
    problem = note(context.say("images.not_shown"), path)
    reason = html.Div([problem, html.P(className="images-reason lines")], className="images-problem", role="status")
    steps: dict[str, Any] = {"data-previous": around.previous, "data-next": around.following, "data-index": index}
    steps = {name: "" if value is None else value for name, value in steps.items()}
    return title, [picture, reason, html.Span(id="images-steps", **steps)], _facts(context, place, row[0], path)


def _facts(context: Context, place: Place, row: Mapping[str, Any], path: str) -> Component:
    columns = [column for column in place.table(context).columns if column.kind in ("word", "metadata")]
    items = [
        (title_of(context, column), row[column.key])
        for column in columns
        if row[column.key] and column.key not in ("id", "path")
    ]
    items.insert(2, (context.say("images.column_confidence"), number_text(row["confidence"])))
    items.append((context.say("images.column_path"), path))
    terms = [part for name, value in items for part in (html.Dt(name), html.Dd(value))]
    verdict = dmc.Text(
        [sign(context, row["correct"]), " ", context.say("images.right" if row["correct"] else "images.wrong")], fw=600
    )
    return html.Div([verdict, html.Dl(terms, className="images-terms"), *_openers(context, place, row["index"])])


def _openers(context: Context, place: Place, index: int) -> list[Component]:
    """Return buttons that open the file on this machine, where the viewer is used from it."""
    if not context.opens_here:
        return []
    what = {"group": place.group, "run": place.run, "set_name": place.set_name, "index": index}
    buttons = [
        dmc.Button(
            context.say(f"images.open_{kind}"), id=f"images-open-{kind}", variant="default", size="xs",
            **{f"data-open-{name.replace('_', '-')}": value for name, value in {**what, "what": kind}.items()},
        )
        for kind in ("image", "folder")
    ]  # fmt: skip
    return [dmc.Group(buttons, gap=6), html.P(id="images-open-answer", role="status", className="images-reason lines")]


def mark_panel(context: Context, index: int, comments: Mapping[str, str], name: str) -> Component:
    """Return the mark of an image in a list, and its comment."""
    marked = str(index) in comments
    button = dmc.Button(
        ("★ " if marked else "☆ ") + context.say("images.is_marked" if marked else "images.mark"),
        id="images-mark", variant="filled" if marked else "default", size="xs",
        **{"aria-pressed": "true" if marked else "false", "data-toggle": index},
    )  # fmt: skip
    comment = dmc.Textarea(
        id={"part": "images-comment", "index": index}, label=context.say("images.comment", list=name),
        value=comments.get(str(index), ""), debounce=True, autosize=True, minRows=1, maxRows=6, size="xs",
    )  # fmt: skip
    return html.Div([button, comment], className="images-mark-panel")


def models(context: Context, place: Place, index: int, page: int) -> tuple[Component, int, bool]:
    """Return what every model of the group says about an image, how many pages that fills, and whether it is all."""
    image_id = place.table(context).words.column("id")[index].as_py()
    runs = (place.run,) if place.group == SINGLE else ()
    view = context.reader.image_across_models(place.group, image_id, place.set_name, runs)
    pages = max(1, -(-len(view.table) // MODELS_PER_PAGE))
    first = (min(page, pages) - 1) * MODELS_PER_PAGE
    shown = view.table.iloc[first : first + MODELS_PER_PAGE].to_dict("records")
    right = int(view.table["correct"].sum())
    heading = context.say("images.models_heading", right=right, total=len(view.table))
    unread = html.P(context.say("images.models_unread", count=view.unread), className="images-reason", role="status")
    head = [
        context.say("images.model"),
        context.say("images.column_predicted"),
        *(f"P({name})" for name, _ in _actual_first(view)),
    ]
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(_actual_marked(context, view, title)) for title in head])),
            html.Tbody([_model_row(context, place, view, row) for row in shown]),
        ],
        className="images-models",
    )
    parts = [dmc.Title(heading, order=3, size="h6"), html.Div(table, className="images-scroll", tabIndex=0)]
    more = [unread] if view.unread else notes_of(context, view.notes)
    return html.Div([*parts, *more]), pages, not view.unread


def _actual_first(view: ImageAcrossModels) -> list[tuple[str, str]]:
    """Return the classes with the keys of their probabilities, the actual one in sight without scrolling."""
    keys = [(name, f"p{number}") for number, name in enumerate(view.classes)]
    return sorted(keys, key=lambda pair: pair[0] != view.actual)


def _actual_marked(context: Context, view: ImageAcrossModels, title: str) -> list[Any]:
    if title != f"P({view.actual})":
        return [title]
    return [title, html.Span(" ●", title=context.say("images.column_actual"), role="img")]


def _model_row(context: Context, place: Place, view: ImageAcrossModels, row: Mapping[Any, Any]) -> Component:
    cells = [html.Td(_bar(row[key], name == view.actual)) for name, key in _actual_first(view)]
    address = link("run", place.group, row["run"])
    model = html.A(row["model"], href=address, title=row["run"], className="name")
    predicted = html.Td([sign(context, row["correct"]), f" {row['predicted']}"])
    here = "images-this-run" if row["run"] == place.run else ""
    return html.Tr([html.Th(model, scope="row"), predicted, *cells], className=here)


def _bar(value: float, actual: bool) -> Component:
    classes = "images-bar images-bar-actual" if actual else "images-bar"
    filled = html.Span(className="images-fill", style={"width": f"{100 * value:.1f}%"})
    return html.Span([filled, html.Span(number_text(value))], className=classes)
