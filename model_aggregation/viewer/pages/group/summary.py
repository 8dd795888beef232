"""What the ranking of a group means, in plain words."""

import re
from collections.abc import Sequence

import dash_mantine_components as dmc
from dash.development.base_component import Component

from model_aggregation.names import SINGLE
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name, note, notes_of, progress_words, state_badge
from model_aggregation.viewer.reading import Leaderboard
from model_aggregation.viewer.wording import in_words

_KNOWN = (
    (r"(?P<top>\d+) of (?P<models>\d+) models cannot be distinguished from the best(?P<seeds>;.*)?", "group.top"),
    (r"how many of (?P<models>\d+) models cannot be distinguished from the best is unknown: (?P<reason>.*)",
     "group.top_unknown"),
    (r"rank sets are not up to date; `(?P<command>.*)` makes them", "group.top_outdated"),
    (r"cutoffs were chosen on the test images.*", "group.cutoff_on_test"),
    (r"the runs were tested on (?P<sets>\d+) different sets of images.*", "group.different_images"),
    (r"the runs declare different primary metrics \((?P<metrics>.*)\); ranked by (?P<chosen>.*)",
     "group.different_metrics"),
)  # fmt: skip
"""Sentences of the leaderboard, and the texts that say the same in the visitor's language."""


def ranking_words(context: Context, sentence: str) -> str:
    """Return a sentence of the leaderboard in the visitor's language; one that is not known stays as it is."""
    for pattern, key in _KNOWN:
        found = re.fullmatch(pattern, sentence)
        if found:
            return context.say(key, **{name: _inside(context, name, word) for name, word in found.groupdict().items()})
    return in_words(context, sentence)


def _inside(context: Context, name: str, word: str | None) -> str:
    if name == "seeds":
        return context.say("group.top_seeds") if word else ""
    if name in ("metrics", "chosen"):
        return ", ".join(metric_name(context, metric) for metric in str(word).split(", "))
    return in_words(context, str(word))


def states(context: Context, board: Leaderboard) -> list[Component]:
    """Return how many models are in which state."""
    counts = board.table["state"].value_counts()
    return [state_badge(context, str(state), int(count)) for state, count in counts.items()]


def sentences(context: Context, board: Leaderboard) -> list[str]:
    """Return what the ranking is by, who cannot be told apart, and how often the test images were used."""
    if board.group == SINGLE:
        return [context.say("group.single_meaning")]
    metric = metric_name(context, board.primary_metric)
    exploratory = "rank" in board.labels
    said = [context.say("group.by_test" if exploratory else "group.by_validation", metric=metric)]
    said += [ranking_words(context, board.rank_sets)] if board.rank_sets else []
    said += [context.say("group.earlier")] if (board.table["state"] == "earlier").any() else []
    if any(name.endswith("_sd") for name in board.table.columns):
        said.append(context.say("group.deviation"))
    if board.test_evaluations is not None:
        said.append(context.say("group.test_evaluations", count=board.test_evaluations))
    return said


def summary(context: Context, board: Leaderboard) -> list[Component]:
    """Return the sentences, then warnings and notes."""
    parts: list[Component] = [dmc.Text(" ".join(sentences(context, board)), size="sm", c="dimmed")]
    if board.warnings:
        parts.append(note(context.say("group.warnings"), _lines(context, board.warnings)))
    running = [
        f"{progress.run}: {words}"
        for progress in board.progress.values()
        if (words := progress_words(context, progress))
    ]
    if running:
        parts.append(note(context.say("group.running"), "\n".join(running[:8]), kind="hint"))
    return [*parts, *notes_of(context, board.notes)]


def _lines(context: Context, warnings: Sequence[str]) -> str:
    return "\n".join(ranking_words(context, warning) for warning in warnings)
