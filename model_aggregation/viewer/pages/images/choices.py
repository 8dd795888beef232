"""What a visitor has chosen on the images page: the words of its address, and the query they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.names import same_name
from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.reading import Column, ImageQuery, MarkedList, PredictionTable, SortKey
from model_aggregation.viewer.reading.marks import comments_here

Choices = Mapping[str, str]
"""By name in the address: ``view, page, sort, actual, predicted, wrong, text, of, from, to, disagree, models_wrong,
runs, marked, list, group`` and metadata columns ``m0, …``; what is not chosen is not there."""

VIEWS = ("gallery", "table", "marks")
GALLERY_PAGE = 40
FIRST_LIST = "marked"


@dataclass(frozen=True)
class Place:
    """The set of images that a page is about."""

    group: str
    run: str
    set_name: str

    def table(self, context: Context) -> PredictionTable:
        """Return all its images."""
        return context.reader.predictions(self.group, self.run, self.set_name)

    def link(self, **choices: Any) -> str:
        """Return the address of a view of it."""
        return link("images", self.group, self.run, set=self.set_name, **choices)


def place_of(store: list[str]) -> Place:
    """Return the place that the page keeps in the browser."""
    return Place(*store)


def query_of(context: Context, place: Place, choices: Choices) -> ImageQuery:
    """Return the query of what is chosen; ResultsError for a number that is none."""
    table = place.table(context)
    low, high = _number(choices, "from"), _number(choices, "to")
    of = choices.get("of", "confidence")
    sort = choices.get("sort", "")
    compared = choices.get("runs", "")
    return ImageQuery(
        errors_only="wrong" in choices,
        actual=choices.get("actual"),
        predicted=choices.get("predicted"),
        lowest_confidence=low if of == "confidence" else None,
        highest_confidence=high if of == "confidence" else None,
        numbers={} if of == "confidence" else {of: (low, high)},
        text=choices.get("text", ""),
        group=choices.get("group"),
        metadata={key: choices[key] for key in word_columns(table) if key in choices and key != "group"},
        compared_runs=tuple(compared.split(",")) if compared else (),
        disagreement="disagree" in choices,
        models_wrong=int(_number(choices, "models_wrong") or 0),
        only=tuple(comments_here(table, list_of(context, choices).marks)) if "marked" in choices else None,
        sort=(SortKey(sort.removeprefix("-"), sort.startswith("-")),) if sort else (),
    )


def _number(choices: Choices, name: str) -> float | None:
    text = choices.get(name)
    if text is None:
        return None
    number = pd.to_numeric(text, errors="coerce")
    if not np.isfinite(number):
        raise ResultsError(f"{name} is a number; '{text}' came. Correct the address, or reset the filters.")
    return float(number)


def word_columns(table: PredictionTable) -> list[str]:
    """Return the keys of group and metadata columns."""
    return ["group", *(f"m{number}" for number in range(len(table.metadata)))]


def list_of(context: Context, choices: Choices) -> MarkedList:
    """Return the chosen list of marked images; an empty one where it is not saved yet."""
    return list_named(context, choices.get("list", FIRST_LIST))


def list_named(context: Context, name: str) -> MarkedList:
    """Return the list with this name; an empty one where it is not saved yet."""
    return next(
        (found for found in context.reader.marked_lists() if same_name(found.name) == same_name(name)),
        MarkedList(name, ()),
    )


def title_of(context: Context, column: Column) -> str:
    """Return what stands above a column; a class cannot be taken for another column."""
    if column.kind == "probability":
        return f"P({column.title})"
    return column.title if column.kind == "metadata" else context.say(f"images.column_{column.key}")
