"""The images of a query as thumbnails."""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import image_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images.choices import GALLERY_PAGE, Choices, Place
from model_aggregation.viewer.parts import number_text

THUMBNAIL_PIXELS = 224


def page_number(choices: Choices, total: int) -> int:
    """Return the page to show, from 1; one beyond the end is the last."""
    wanted = choices.get("page", "1")
    return min(max(1, int(wanted) if wanted.isdecimal() else 1), page_count(total))


def page_count(total: int) -> int:
    """Return how many pages so many images fill."""
    return max(1, -(-total // GALLERY_PAGE))


def cards(context: Context, place: Place, rows: tuple[Mapping[str, Any], ...]) -> list[Component]:
    """Return a card per image: a link that opens it large."""
    if not rows:
        return [dmc.Text(context.say("images.nothing"), c="dimmed")]
    return [_card(context, place, row) for row in rows]


def _card(context: Context, place: Place, row: Mapping[str, Any]) -> Component:
    index = row["index"]
    source = image_link(place.group, place.run, place.set_name, index, size=THUMBNAIL_PIXELS)
    later: dict[str, Any] = {"data-source": source}  # asked for when it comes into sight
    picture = html.Img(alt=row["id"], className="images-thumbnail", **later)
    gone = html.Span(context.say("images.not_shown"), className="images-gone")
    star = html.Span("★", className="images-star", title=context.say("images.is_marked"), **{"data-mark": index})
    words = [
        html.Span(
            [sign(context, row["correct"]), f" {row['predicted']} ", html.Span(number_text(row["confidence"]))],
            className="images-predicted",
        ),
        html.Span(f"{context.say('images.column_actual')}: {row['actual']}", className="images-actual"),
    ]
    return html.A(
        [html.Span([picture, gone, star], className="images-frame"), *words],
        href=place.link(image=index),
        title=row["id"],
        className="images-card" if row["correct"] else "images-card images-wrong",
        **{"data-image": index},
    )


def sign(context: Context, correct: bool) -> Component:
    """Return a sign that tells right from wrong by its form, and by a word for a screen reader."""
    word = context.say("images.right" if correct else "images.wrong")
    classes = "images-sign images-sign-right" if correct else "images-sign images-sign-wrong"
    spoken: dict[str, Any] = {"aria-label": word}
    return html.Span("✓" if correct else "✕", className=classes, title=word, role="img", **spoken)
