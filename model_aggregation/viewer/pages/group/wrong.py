"""The images that all models get wrong: often a wrong label, a poor image, or a truly hard case."""

import dash_mantine_components as dmc
import numpy as np
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import notes_of
from model_aggregation.viewer.parts_models import thumbnail
from model_aggregation.viewer.reading import ModelsView
from model_aggregation.viewer.reading.reader import COMPARED_RUNS

IMAGES_SHOWN = 24


def wrong_images(context: Context, group: str) -> Component:
    """Return the images that most of the compared models get wrong, those that all get wrong first."""
    view = context.reader.all_models(group)
    if len(view.runs) < 2 or view.table is None:
        return dmc.Stack(
            [*notes_of(context, view.notes), dmc.Text(context.say("group.wrong_none"), c="dimmed", size="sm")]
        )
    count = len(view.runs)
    by_all = int((view.models_wrong == count).sum())
    by_any = int((view.models_wrong > 0).sum())
    sentence = context.say(
        "group.wrong_sentence", all=f"{by_all:,}", any=f"{by_any:,}", images=f"{len(view.actual):,}", models=count
    )
    if count == COMPARED_RUNS:
        sentence += " " + context.say("group.wrong_best", models=count)
    hardest = np.argsort(-view.models_wrong, kind="stable")[:IMAGES_SHOWN]
    hardest = hardest[view.models_wrong[hardest] > 0]
    words = [dmc.Text(sentence, size="sm")]
    if len(hardest) and not by_all:
        words.append(dmc.Text(context.say("group.wrong_hardest"), size="sm", c="dimmed"))
    cards = [_card(context, group, view, int(index)) for index in hardest]
    return dmc.Stack([*words, html.Ul(cards, className="thumbnails"), *notes_of(context, view.notes)], gap="xs")


def _card(context: Context, group: str, view: ModelsView, index: int) -> Component:
    actual = view.labels[view.actual[index]]
    wrongly, votes = np.unique(view.predicted[view.wrong[:, index], index], return_counts=True)
    predicted = view.labels[wrongly[votes.argmax()]]
    table = view.table
    image_id = "" if table is None else str(table.words.column("id")[index])
    counted = context.say("group.wrong_count", wrong=int(view.models_wrong[index]), models=len(view.runs))
    caption = [
        html.Span(f"{actual} → {predicted}", className="name"),
        dmc.Text(counted, size="xs", c="dimmed", span=True),
    ]
    return html.Li([thumbnail(group, view.runs[0], index, image_id), html.Div(caption, className="caption")])
