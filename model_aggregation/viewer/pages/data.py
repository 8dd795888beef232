"""The data page: how many images of each class in each split and fold, some of them, what the data check found."""

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import Address, image_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.keeping import keep_in_address
from model_aggregation.viewer.pages.data_tables import findings_list, folds_table, split_name, split_table
from model_aggregation.viewer.parts import guarded, note, notes_of
from model_aggregation.viewer.reading import ALL_IMAGES, DataView, SampleImage

SAMPLES_PER_CLASS = 8
CLASSES_PER_PAGE = 12
THUMBNAIL_PIXELS = 128


def layout(context: Context, address: Address) -> Component:
    """Return the page of a group, or of one of its runs."""
    view = _view(context, address.group, address.run)
    heading = dmc.Title(context.say("data.heading"), order=1, size="h3")
    if view.run is None:
        kept_none = [] if view.notes else [note(context.say("data.none"), context.say("data.earlier"), kind="hint")]
        return dmc.Stack([heading, *notes_of(context, view.notes), *kept_none])
    facts = [
        context.say("data.about", images=f"{_images(view):,}", classes=len(view.counts), run=view.run),
        *([context.say("data.unreadable", count=f"{view.unreadable:,}")] if view.unreadable else []),
    ]
    parts = [
        html.Div([heading, dmc.Text(" ".join(facts), c="dimmed", size="sm", className="name")]),
        *notes_of(context, view.notes),
        guarded(context, split_table, context, view),
        *([guarded(context, folds_table, context, view)] if len(view.folds) else []),
        guarded(context, findings_list, context, view),
        guarded(context, _samples_section, context, view, _page_of(address)),
    ]
    return dmc.Stack(parts, gap="lg")


def register(app: Dash, context: Context) -> None:
    """Add the pages of the sample images."""

    @app.callback(
        Output("data-samples", "children"),
        Input("data-pages", "value"),
        State("data-place", "data"),
        prevent_initial_call=True,
    )
    def show(page: int, place: list[str]) -> list[Component]:
        return samples(context, _view(context, *place), page)

    keep_in_address(app, page=Input("data-pages", "value"))


def _view(context: Context, group: str, run: str) -> DataView:
    return context.reader.data(group, run or None, samples_per_class=SAMPLES_PER_CLASS)


def _images(view: DataView) -> int:
    return int(view.counts.to_numpy().sum())


def _page_of(address: Address) -> int:
    text = address.query.get("page", "1")
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1


def _samples_section(context: Context, view: DataView, page: int) -> Component:
    total = -(-len(view.counts) // CLASSES_PER_PAGE)
    page = min(page, max(total, 1))
    pages = dmc.Pagination(
        id="data-pages", total=total, value=page, hideWithOnePage=True,
        **{"aria-label": context.say("data.samples_pages")},
    )  # fmt: skip
    rows = html.Div(samples(context, view, page), id="data-samples")
    place = dcc.Store(id="data-place", data=[view.group, view.run])
    title = dmc.Title(context.say("data.samples_title"), order=2, size="h5")
    meaning = dmc.Text(context.say("data.samples_meaning"), size="xs", c="dimmed")
    return html.Section([title, meaning, place, dmc.Stack([rows, pages], mt="xs")])


def samples(context: Context, view: DataView, page: int) -> list[Component]:
    """Return the sample images of the classes on a page."""
    labels = list(map(str, view.counts.index))[(page - 1) * CLASSES_PER_PAGE : page * CLASSES_PER_PAGE]
    of_class: dict[str, list[SampleImage]] = {label: [] for label in labels}
    for sample in view.samples:
        of_class.get(sample.label, []).append(sample)
    return [_class_row(context, view, label, of_class[label]) for label in labels]


def _class_row(context: Context, view: DataView, label: str, found: list[SampleImage]) -> Component:
    title = dmc.Title(label, order=3, size="sm", className="name")
    inside: Component = html.Ul([_thumbnail(context, view, sample) for sample in found], className="data-thumbnails")
    if not found:
        inside = dmc.Text(context.say("data.no_samples"), size="sm", c="dimmed")
    return html.Div([title, inside], className="data-class")


def _thumbnail(context: Context, view: DataView, sample: SampleImage) -> Component:
    place = (view.group, str(view.run), ALL_IMAGES, sample.index)
    split = split_name(context, sample.split)
    words = f"{sample.image_id} ({split})"
    image = html.Img(src=image_link(*place, size=THUMBNAIL_PIXELS), alt=words, title=words)
    return html.Li(html.A([image, html.Span(split, className="data-split")], href=image_link(*place), target="_blank"))
