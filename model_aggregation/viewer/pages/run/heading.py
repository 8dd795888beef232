"""The top of a run's page: name, model, state, what it belongs to, and what must be known about it first."""

import math

import dash_mantine_components as dmc
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name, note, notes_of, state_badge
from model_aggregation.viewer.reading import RunView
from model_aggregation.viewer.wording import in_words

STATES_WITH_NOTE = ("running", "interrupted", "stopped", "planned")
EARLIER_METRICS = {
    "accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision",
    "f1": "f1", "blanced_accuracy": "balanced_accuracy",
}  # fmt: skip


def heading(context: Context, view: RunView) -> Component:
    """Return name, state and links to what belongs together."""
    title = dmc.Title(view.name, order=1, size="h3", className="name")
    links = []
    if view.sets:
        links.append(_link(context.say("run.to_images"), link("images", view.group, view.name)))
    if view.group != SINGLE:
        links.append(_link(context.say("run.to_group"), link("group", view.group)))
    links.append(_link(context.say("run.to_data"), link("data", view.group, view.name)))
    words = [view.model or context.say("run.unknown_model")]
    environment = view.environment
    if environment.get("seed") is not None:
        words.append(context.say("run.seed", seed=environment["seed"]))
    if environment.get("fold") is not None:
        words.append(context.say("run.fold", fold=environment["fold"]))
    top = dmc.Group([title, state_badge(context, view.state), *links], gap="sm")
    under = dmc.Text(" · ".join(words), size="sm", c="dimmed", className="name")
    return dmc.Stack([top, under, *_family(context, view), *_notes(context, view)], gap=6)


def _link(words: str, href: str) -> Component:
    return dmc.Anchor(words, href=href, size="sm")


def _family(context: Context, view: RunView) -> list[Component]:
    """Return links to the runs that this one was pooled from, and to the one it is part of."""
    parts: list[Component] = []
    if view.part_of:
        whole = dmc.Anchor(view.part_of, href=link("run", view.group, view.part_of), size="sm", className="name")
        parts.append(dmc.Group([dmc.Text(context.say("run.part_of"), size="sm"), whole], gap=6))
    if view.members:
        members = [
            dmc.Anchor(name, href=link("run", view.group, name), size="sm", className="name") for name in view.members
        ]
        label = dmc.Text(context.say("run.members", count=len(members)), size="sm")
        parts.append(dmc.Group([label, *members], gap="xs", id="run-members"))
    return parts


def _notes(context: Context, view: RunView) -> list[Component]:
    parts = notes_of(context, view.notes)
    if view.state == "failed":
        parts.append(
            note(context.say("run.failed"), in_words(context, view.reason or "") or context.say("run.no_reason"))
        )
    elif view.state in STATES_WITH_NOTE:
        text = context.say(f"run.state_{view.state}")
        parts.append(note(context.say(f"state.{view.state}"), text, kind="hint"))
    elif view.state == "earlier":
        title = context.say("state.earlier")
        parts.append(note(title, "\n".join(_earlier(context, view)), kind="hint"))
    return parts


def _earlier(context: Context, view: RunView) -> list[str]:
    """Return what a run of the earlier program is, what is computed from it, and what was reported of it."""
    lines = [context.say("run.state_earlier")]
    lines.append(context.say("run.earlier_computed" if view.metrics else "run.earlier_no_predictions"))
    if view.cutoff is not None:
        lines.append(context.say("run.earlier_cutoff", value=f"{view.cutoff:.3f}"))
    if view.error:
        lines.append(context.say("run.earlier_error", line=view.reason or ""))
    row = view.earlier or {}
    reported = [
        f"{metric_name(context, metric)} {float(row[column]):.3f}"
        for column, metric in EARLIER_METRICS.items()
        if _is_number(row.get(column))
    ]
    if reported:
        lines.append(context.say("run.earlier_reported", numbers=context.say("run.list_comma").join(reported)))
    if _is_number(row.get("auc")):
        lines.append(context.say("run.earlier_auc", value=f"{float(row['auc']):.3f}"))
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
