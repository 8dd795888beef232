"""Tables of the data page: images by class and split, by fold, and the findings of the data check."""

from collections.abc import Sequence

import dash_mantine_components as dmc
import pandas as pd
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.colours import BLUE, ORANGE, VERMILLION
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import note
from model_aggregation.viewer.reading import DataView
from model_aggregation.viewer.wording import in_words

FILES_SHOWN = 50
SEVERITIES = {"error": ("✕", VERMILLION), "warning": ("!", ORANGE), "note": ("i", BLUE)}
"""In order of weight: sign and colour."""

SPLITS = ("train", "val", "test")


def split_name(context: Context, split: str) -> str:
    """Return the word for a split; one of the user's own keeps its name."""
    return context.say(f"data.{split}") if split in SPLITS else split


def section(title: str, meaning: str, inside: Component) -> Component:
    """Return a titled part of the page with one sentence about what it shows."""
    sentence = [dmc.Text(meaning, size="xs", c="dimmed", mb="xs")] if meaning else []
    return html.Section([dmc.Title(title, order=2, size="h5", mb=4), *sentence, inside])


def split_table(context: Context, view: DataView) -> Component:
    """Return the images, and below each number its groups, by class and split."""
    titles = [context.say("data.class"), *(split_name(context, str(name)) for name in view.counts.columns)]
    titles.append(context.say("data.all"))
    rows: list[list[Component | str]] = [
        [str(label), *(_number(context, view, [label], [split]) for split in view.counts.columns),
         _number(context, view, [label], list(view.counts.columns))]
        for label in view.counts.index
    ]  # fmt: skip
    labels = list(view.counts.index)
    total: list[Component | str] = [context.say("data.all")]
    total += [_number(context, view, labels, [split]) for split in view.counts.columns]
    total.append(_number(context, view, labels, list(view.counts.columns)))
    meaning = context.say("data.groups_meaning") if len(view.groups) else ""
    return section(context.say("data.split_title"), meaning, _table(titles, [*rows, total], with_total=True))


def _number(context: Context, view: DataView, labels: Sequence[str], splits: Sequence[str]) -> Component:
    images = int(view.counts.loc[list(labels), list(splits)].to_numpy().sum())
    parts: list[Component | str] = [f"{images:,}"]
    one_cell = len(labels) == len(splits) == 1  # a group may have several classes or splits: sums would count it twice
    if one_cell and labels[0] in view.groups.index and splits[0] in view.groups.columns:
        groups = int(view.groups.loc[[labels[0]], [splits[0]]].to_numpy()[0, 0])
        parts.append(html.Span(context.say("data.groups", count=f"{groups:,}"), className="data-small"))
    return html.Span(parts)


def folds_table(context: Context, view: DataView) -> Component:
    """Return the images of each fold by split, the test images also by class."""
    counts = view.folds
    present = set(counts["split"])
    splits = [*(name for name in SPLITS if name in present), *sorted(present - set(SPLITS))]
    titles = [context.say("data.fold"), *(split_name(context, name) for name in splits)]
    rows = []
    for fold, part in counts.groupby("fold"):
        cells: list[Component | str] = [str(fold)]
        for split in splits:
            of_split = part[part["split"] == split]
            words: list[Component | str] = [f"{int(of_split['images'].sum()):,}"]
            if split == "test":
                words.append(html.Span(_by_class(of_split), className="data-small"))
            cells.append(html.Span(words))
        rows.append(cells)
    return section(context.say("data.folds_title"), context.say("data.folds_meaning"), _table(titles, rows))


def _by_class(counts: pd.DataFrame) -> str:
    return " · ".join(f"{label} {images:,}" for label, images in zip(counts["label"], counts["images"], strict=True))


def _table(titles: Sequence[str], rows: Sequence[Sequence[Component | str]], *, with_total: bool = False) -> Component:
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(title) for title in titles]))
    last = len(rows) - 1
    body = dmc.TableTbody(
        [
            dmc.TableTr([dmc.TableTd(cell) for cell in row], className="total" if with_total and place == last else "")
            for place, row in enumerate(rows)
        ]
    )
    table = dmc.Table([head, body], className="data-table", stickyHeader=True, highlightOnHover=True)
    scrolled = html.Div(table, className="data-scroll", tabIndex=0)
    return dmc.Paper(scrolled, withBorder=True, radius="md", className="data-card")


def findings_list(context: Context, view: DataView) -> Component:
    """Return what the data check found, the gravest first."""
    title = context.say("data.findings_title")
    needed = {"severity", "message"}
    if not needed <= set(view.findings.columns):
        return section(title, "", dmc.Text(context.say("data.findings_missing"), size="sm", c="dimmed"))
    if view.findings.empty:
        return section(title, "", note("", context.say("data.findings_none"), kind="hint"))
    order = {name: place for place, name in enumerate(SEVERITIES)}
    found = sorted(view.findings.to_dict("records"), key=lambda row: order.get(row["severity"], len(order)))
    rows = [_finding(context, {str(name): str(value) for name, value in row.items()}) for row in found]
    return section(title, "", html.Div(rows))


def _finding(context: Context, row: dict[str, str]) -> Component:
    severity = row["severity"]
    sign, colour = SEVERITIES.get(severity, ("·", "gray"))
    word = context.say(f"data.severity_{severity}") if severity in SEVERITIES else severity
    badge = dmc.Badge(f"{sign} {word}", variant="dot", color=colour, tt="none", className="state data-severity")
    message = dmc.Text(in_words(context, row["message"]), size="sm", className="lines")
    top = dmc.Group([badge, html.Div(message, className="data-message")], gap="sm", align="flex-start", wrap="nowrap")
    return html.Div([top, *_files(context, row)], className="data-finding")


def _files(context: Context, row: dict[str, str]) -> list[Component]:
    """Return the files of a finding, folded up; details say more than the names alone."""
    lines = [line for line in (row.get("details") or row.get("files") or "").split("; ") if line]
    if not lines:
        return []
    inside: list[Component] = [html.Li(line) for line in lines[:FILES_SHOWN]]
    if len(lines) > FILES_SHOWN:
        inside.append(html.Li(context.say("data.more_files", count=f"{len(lines) - FILES_SHOWN:,}")))
    summary = html.Summary(context.say("data.files", count=f"{len(lines):,}"))
    return [html.Details([summary, html.Ul(inside)])]
