"""Where the compared runs agree, and the images on which they do not, side by side."""

from collections.abc import Mapping, Sequence

import dash_mantine_components as dmc
import numpy as np
from dash import html
from dash.development.base_component import Component

from model_aggregation.errors import ModelAggregationError
from model_aggregation.evaluation.intervals import mcnemar_mid_p
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import notes_of, problem
from model_aggregation.viewer.parts_models import model_names, p_text, short, thumbnail
from model_aggregation.viewer.reading import ModelsView

IMAGES_PER_PAGE = 12
COUNTS = ("both_right", "only_reference", "only_model", "both_wrong", "same_class")


def agreement(context: Context, group: str, runs: Sequence[str], reference: str | None) -> Component:
    """Return for each run how often it and the reference are right about the same images."""
    if len(runs) < 2 or reference not in runs:
        return dmc.Text(context.say("compare.choose"), c="dimmed", size="sm")
    view = context.reader.all_models(group, "test", runs)
    title = dmc.Title(context.say("compare.agreement"), order=3, size="h5", mb="xs")
    if reference not in view.runs or len(view.runs) < 2:
        return html.Div([title, *notes_of(context, view.notes)])
    names = model_names(context.reader.leaderboard(group, members=True))
    by_group = has_groups(view)
    blocks = [
        _pair(context, view, (reference, run), names, with_p=not by_group) for run in view.runs if run != reference
    ]
    meaning = context.say("compare.agreement_groups" if by_group else "compare.agreement_meaning")
    paper = dmc.Paper(
        [title, dmc.Text(meaning, size="xs", c="dimmed", mb="sm"), *blocks], withBorder=True, p="sm", radius="md"
    )
    return html.Div([paper, *notes_of(context, view.notes)])


def has_groups(view: ModelsView) -> bool:
    """Tell whether several images belong to one group (patient), so that they are not independent."""
    if view.table is None:
        return False
    groups = view.table.words.column("group").to_numpy()
    return bool((groups != "").all()) and len(set(groups)) < len(groups)


def counts(view: ModelsView, reference: str, run: str) -> dict[str, int]:
    """Return the numbers of images by who is right, and of those with the same predicted class."""
    first, second = view.runs.index(reference), view.runs.index(run)
    right, other = ~view.wrong[first], ~view.wrong[second]
    found = (right & other, right & ~other, ~right & other, ~right & ~other)
    same = view.predicted[first] == view.predicted[second]
    return {name: int(part.sum()) for name, part in zip(COUNTS, (*found, same), strict=True)}


def _pair(
    context: Context, view: ModelsView, pair: tuple[str, str], names: Mapping[str, str], *, with_p: bool
) -> Component:  # fmt: skip
    """Return the two-by-two table of a run and the reference."""
    reference, run = pair
    found = counts(view, reference, run)
    model, base = names.get(run, run), names.get(reference, reference)
    head = [
        html.Th(""),
        html.Th(context.say("compare.is_right", model=base)),
        html.Th(context.say("compare.is_wrong", model=base)),
    ]
    body = [
        [context.say("compare.is_right", model=model), found["both_right"], found["only_model"]],
        [context.say("compare.is_wrong", model=model), found["only_reference"], found["both_wrong"]],
    ]
    rows = [
        html.Tr([html.Th(str(title), scope="row"), *(html.Td(f"{number:,}") for number in numbers)])
        for title, *numbers in body
    ]
    words = [context.say("compare.same_class", count=f"{found['same_class']:,}", total=f"{len(view.actual):,}")]
    if with_p:
        p = mcnemar_mid_p(found["only_reference"], found["only_model"])
        words.append(context.say("compare.mcnemar", p=p_text(p)))
    table = html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="two-by-two")
    return html.Div([table, dmc.Text(" ".join(words), size="xs", mt=4, mb="md")])


def choices(context: Context, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the kinds of images that can be shown."""
    found = [{"value": "all", "label": context.say("compare.all_disagreements")}]
    found += [
        {"value": f"right:{run}", "label": context.say("compare.only_right", model=name)} for run, name in names.items()
    ]
    if len(names) > 2:
        found += [
            {"value": f"wrong:{run}", "label": context.say("compare.only_wrong", model=name)}
            for run, name in names.items()
        ]
    return found


def chosen_images(view: ModelsView, kind: str) -> np.ndarray:
    """Return the indices of the images on which the runs disagree, of the kind wanted."""
    what, _, run = kind.partition(":")
    found = view.disagree
    if run in view.runs:
        wrong = view.wrong[view.runs.index(run)]
        others = view.models_wrong - wrong
        most = len(view.runs) - 1
        found = found & (~wrong & (others == most) if what == "right" else wrong & (others == 0))
    return np.flatnonzero(found)


def disagreements(context: Context, group: str, runs: Sequence[str], kind: str, page: int) -> tuple[Component, int]:
    """Return a page of the images on which the runs disagree, and how many pages there are."""
    if len(runs) < 2:
        return dmc.Text(context.say("compare.choose"), c="dimmed", size="sm"), 1
    try:
        view = context.reader.all_models(group, "test", runs)
    except ModelAggregationError as error:
        return problem(context, error), 1
    found = chosen_images(view, kind)
    total = f"{len(view.actual):,}"
    sentence = dmc.Text(context.say("compare.images_count", count=f"{len(found):,}", total=total), size="sm", my="xs")
    pages = max(1, -(-len(found) // IMAGES_PER_PAGE))
    first = (min(max(page, 1), pages) - 1) * IMAGES_PER_PAGE
    cards = [_card(context, view, group, int(index)) for index in found[first : first + IMAGES_PER_PAGE]]
    return html.Div([sentence, html.Ul(cards, className="thumbnails side-by-side")]), pages


def _card(context: Context, view: ModelsView, group: str, index: int) -> Component:
    """Return an image with what each run predicts and how sure it is of it."""
    image_id = "" if view.table is None else str(view.table.words.column("id")[index])
    models = model_names(context.reader.leaderboard(group, members=True))
    across = context.reader.image_across_models(group, image_id, "test", view.runs)
    lines = [
        html.Tr(
            [
                html.Td("✓" if correct else "✕", className="right" if correct else "wrong"),
                html.Td(short(models.get(run, run), 30), title=models.get(run, run), className="model"),
                html.Td(str(predicted), className="predicted"),
                html.Td(f"{confidence:.3f}", className="number"),
            ]
        )
        for run, predicted, correct, confidence in zip(
            across.table["run"], across.table["predicted"], across.table["correct"], across.table["confidence"],
            strict=True,
        )
    ]  # fmt: skip
    actual = context.say("compare.actual", actual=view.labels[view.actual[index]])
    words = html.Div([dmc.Text(actual, size="xs", fw=600), html.Table(html.Tbody(lines), className="votes")])
    return html.Li([thumbnail(group, view.runs[0], index, image_id), words])
