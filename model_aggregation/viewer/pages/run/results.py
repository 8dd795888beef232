"""What one set of images says about a run: warnings, headline, cutoff, curves, confusion, all numbers."""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.run import cutoff, numbers
from model_aggregation.viewer.pages.run.confusion import confusion_card
from model_aggregation.viewer.pages.run.curves import class_choice, curve_cards, reliability_card
from model_aggregation.viewer.parts import guarded, note, notes_of
from model_aggregation.viewer.reading import RunView
from model_aggregation.viewer.wording import warning_words

SERIOUS = ("too few", "exploratory", "no image", "below 0.5", "there is no image")


def results(context: Context, group: str, run: str, set_name: str, asked: Mapping[str, Any]) -> Component:
    """Return everything of one set.

    Parameters
    ----------
    asked
        ``cutoff``, ``prevalence`` and ``class`` to begin with, as they stand in the address.
    """
    view = context.reader.run(group, run)
    values = view.metrics.get(set_name) or {}
    parts: list[Component] = [*_role(context, set_name), *_warnings(context, values)]
    if set_name in view.sets:
        table = context.reader.predictions(group, run, set_name)
        parts += notes_of(context, [text for text in table.notes if text not in view.notes])
    if values:
        parts.append(guarded(context, numbers.headline, context, values))
    else:
        parts.append(note(context.say("run.no_numbers_title"), context.say("run.no_numbers"), kind="hint"))
    if set_name in view.sets and len(table):
        parts.append(guarded(context, _pictures, context, view, set_name, asked))
    if values:
        parts.append(_section(context.say("run.numbers"), guarded(context, numbers.all_numbers, context, values)))
    if len(values.get("classes") or {}) > 2:
        parts.append(_section(context.say("run.classes"), guarded(context, numbers.class_numbers, context, values)))
    return dmc.Stack(parts, gap="md")


def _section(title: str, inside: Component) -> Component:
    return html.Section([dmc.Title(title, order=2, size="h5", mb="xs"), inside])


def _role(context: Context, set_name: str) -> list[Component]:
    """Say that validation numbers chose something."""
    if set_name != "val":
        return []
    return [note(context.say("run.used_for_choosing"), context.say("run.used_for_choosing_text"), kind="hint")]


def _warnings(context: Context, values: Mapping[str, Any]) -> list[Component]:
    given = [str(text) for text in values.get("warnings") or []]
    serious = [text for text in given if text.startswith(SERIOUS)]
    rest = [text for text in given if text not in serious]
    shown = []
    for texts, title, kind in (
        (serious, context.say("run.caution"), "problem"),
        (rest, context.say("run.to_be_read"), "hint"),
    ):
        if texts:
            shown.append(note(title, "\n".join(warning_words(context, text) for text in texts), kind=kind))
    return shown


def _pictures(context: Context, view: RunView, set_name: str, asked: Mapping[str, Any]) -> Component:
    """Return cutoff, curves and confusion matrix, which are drawn from the predictions."""
    where = (view.group, view.name, set_name)
    values = view.metrics.get(set_name) or {}
    table = context.reader.cutoffs(*where)
    classes = context.reader.predictions(*where).classes
    parts: list[Component] = []
    if table is not None:
        parts.append(guarded(context, cutoff.cutoff_panel, context, table, values, set_name, asked))
    elif len(classes) == 2:
        parts.append(note(context.say("run.no_positive_title"), context.say("run.no_positive"), kind="hint"))
    wanted = asked.get("class") if asked.get("class") in classes else None
    first = guarded(context, curves_of, context, where, wanted)
    if len(classes) > 2:
        parts.append(class_choice(context, classes, wanted or classes[0]))
    parts.append(html.Div(first, id="run-curves"))
    parts.append(dcc.Store(id="run-where", data=list(where)))
    return dmc.Stack(parts, gap="md")


def curves_of(context: Context, where: tuple[str, str, str], class_name: str | None) -> Component:
    """Return the figures of a class (two classes: of the positive one) and the confusion matrix."""
    group, run, set_name = where
    values = context.reader.run(group, run).metrics.get(set_name) or {}
    curves = context.reader.curves(group, run, set_name, class_name)
    table = context.reader.cutoffs(group, run, set_name)
    name = f"{run}_{set_name}"
    cards = curve_cards(context, curves, values, table, name)
    cards.append(guarded(context, confusion_card, context, context.reader.confusion(*where), *where))
    reliability = reliability_card(context, curves, values, name)
    cards += [reliability] if reliability is not None else []
    waiting = dmc.Text(context.say("run.band_waiting"), id="run-band-waiting", size="xs", c="dimmed", display="none")
    band = [dcc.Store(id="run-band-wanted", data=[*where, curves.class_name]), dcc.Store(id="run-band")]
    return html.Div([waiting, dmc.SimpleGrid(cards, cols={"base": 1, "md": 2}, spacing="md"), *band])
