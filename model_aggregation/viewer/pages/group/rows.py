"""Columns and rows of the table of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_aggregation.names import SINGLE
from model_aggregation.results.leaderboard_rows import EARLIER_AUC, Row
from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import STATE_SIGNS, metric_name, number_text
from model_aggregation.viewer.reading import Leaderboard
from model_aggregation.viewer.wording import in_words

_METRICS_SHOWN = 4
_FACTS = (
    "rank_set", "train_seconds", "test_images_per_second", "parameters", "cutoff", "n_test", "image_size",
    "test_seconds", "train_images_per_second", "device", "started", "finished", "run_name", "reason",
)  # fmt: skip
_FACTS_SHOWN = frozenset({"rank_set", "train_seconds", "test_images_per_second", "parameters", "reason"})
_WORDS = frozenset({"device", "started", "finished", "run_name", "reason"})
_PLACES = ("seed", "fold", "part_of")
_WIDTHS = {"reason": 320, "run_name": 220, "part_of": 200, "started": 170, "finished": 170}


@dataclass(frozen=True)
class Choice:
    """A column that can be shown or hidden."""

    field: str
    title: str
    usual: bool


def choices(context: Context, board: Leaderboard, *, members: bool) -> list[Choice]:
    """Return the columns beside rank, model and state, in their order; only those that hold something."""
    primary = board.primary_metric
    found = [Choice(name, context.say(f"group.{name}"), True) for name in _PLACES] if members else []
    title = context.say("group.on_validation", metric=metric_name(context, primary))
    found.append(Choice(f"{primary}_val", title, True))
    metrics = [name for name in board.metrics if board.table[name].notna().any()]
    found += [
        Choice(name, context.say("group.on_test", metric=metric_name(context, name)), place < _METRICS_SHOWN)
        for place, name in enumerate(metrics)
    ]
    found.append(Choice(EARLIER_AUC, context.say(f"group.{EARLIER_AUC}"), True))
    found += [Choice(name, context.say(f"group.{name}"), name in _FACTS_SHOWN) for name in _FACTS]
    present = set(board.table.columns[board.table.notna().any()])
    present |= {"rank_set"} if board.table["rank_set_low"].notna().any() else set()
    return [choice for choice in found if choice.field in present]


def columns(context: Context, board: Leaderboard, shown: Sequence[str], *, members: bool) -> list[dict[str, Any]]:
    """Return the column definitions; those not in ``shown`` are hidden."""
    first: list[dict[str, Any]] = []
    if not members and board.group != SINGLE:
        title = context.say("group.rank_exploratory" if _is_exploratory(board) else "group.rank")
        rank = {"field": "rank", "headerName": title, "width": 96, "pinned": "left", "sort": "asc", **_NUMBER}
        first.append({**rank, "comparator": {"function": "maggRankOrder"}})
    name = "run_name" if members or board.group == SINGLE else "model"
    first.append(
        {
            "field": "name",
            "colId": "name",
            "headerName": context.say(f"group.{name}"),
            "pinned": "left",
            "width": 250,
            "cellRenderer": "MaggRunLink",
            "tooltipField": "name",
            **_WORD,
        }
    )
    first.append({"field": "state", "headerName": context.say("group.state"), "width": 150, **_WORD})
    return [
        *first,
        *(
            {
                "field": choice.field,
                "headerName": choice.title,
                "headerTooltip": choice.title,
                "hide": choice.field not in shown,
                **_kind(board, choice.field),
            }
            for choice in choices(context, board, members=members)
        ),
    ]


def _is_exploratory(board: Leaderboard) -> bool:
    return "rank" in board.labels


_NUMBER: Mapping[str, Any] = {"filter": False, "type": "rightAligned"}
_WORD: Mapping[str, Any] = {"filter": "agTextColumnFilter"}


def _kind(board: Leaderboard, field: str) -> dict[str, Any]:
    if field in _WORDS or field == "part_of":
        return {**_WORD, "width": _WIDTHS.get(field, 140), "tooltipField": field}
    texts = {
        "filter": "agNumberColumnFilter",
        "filterParams": {"defaultOption": "greaterThan"},
        "valueFormatter": {"function": "maggText(params)"},
    }
    if field in board.metrics:
        return {**texts, "width": 176}
    if field == EARLIER_AUC:
        return {**texts, "type": "rightAligned", "width": 190}
    return {**texts, "type": "rightAligned", "width": 136}


def rows(context: Context, board: Leaderboard, *, members: bool) -> list[Row]:
    """Return a row per model (or run): numbers unrounded to sort by, and beside each the text to show."""
    return [_row(context, board, record, members=members) for record in board.rows]


def _row(context: Context, board: Leaderboard, record: Row, *, members: bool) -> Row:
    run = board.compared_runs.get(record["run_name"], record["run_name"])
    by_name = members or board.group == SINGLE or not record["model"]
    row = {
        "id": record["run_name"],
        "run": run,
        "href": link("run", board.group, run),
        "name": record["run_name"] if by_name else record["model"],
        "repeats": None if members else repeats(context, record),
        "state": f"{STATE_SIGNS[record['state']]} {context.say('state.' + record['state'])}",
        "rank": record["rank"],
    }
    for name in board.metrics:
        row |= {name: record[name], f"{name}_text": metric_text(record, name)}
    row |= _earlier_auc(context, record)
    chosen = f"{board.primary_metric}_val"
    row |= {chosen: record[chosen], f"{chosen}_text": number_text(record[chosen])}
    row |= {name: record.get(name) for name in (*_FACTS, *_PLACES)}
    row["reason"] = record["reason"] and in_words(context, record["reason"])
    low, high = record["rank_set_low"], record["rank_set_high"]
    row |= {"rank_set": low, "rank_set_text": rank_set_text(low, high)}
    for name in ("train_seconds", "test_seconds", "test_images_per_second", "train_images_per_second"):
        row[f"{name}_text"] = amount_text(row[name])
    row["parameters_text"] = "–" if row["parameters"] is None else f"{row['parameters'] / 1e6:,.2f} M"
    row["cutoff_text"] = number_text(row["cutoff"])
    return {name: value for name, value in row.items() if value is not None}


def _earlier_auc(context: Context, record: Row) -> Row:
    """Return what the earlier program called AUC, and where there is nothing else say why."""
    reported = record.get(EARLIER_AUC)
    if reported is None:
        return {}
    found = {EARLIER_AUC: reported, f"{EARLIER_AUC}_text": number_text(reported)}
    return found | ({"auc_text": auc_text(context, record)} if "auc" in record else {})


def auc_text(context: Context, record: Row) -> str:
    """Return an AUC with its interval; of a result of the earlier program without predictions that it has none."""
    missing = record["auc"] is None and record.get(EARLIER_AUC) is not None
    return context.say("group.no_predictions") if missing else metric_text(record, "auc")


def metric_text(record: Row, name: str) -> str:
    """Return a metric with its interval, or with its deviation over seeds, which is none."""
    deviation = record.get(f"{name}_sd")
    text = number_text(record[name], record[f"{name}_low"], record[f"{name}_high"])
    return text if deviation is None or record[name] is None else f"{text} ± {deviation:.3f}"


def rank_set_text(low: int | None, high: int | None) -> str:
    """Return a rank set such as ``1–3``."""
    return "–" if low is None else str(low) if low == high else f"{low}–{high}"


def amount_text(value: float | None) -> str:
    """Return a number of seconds or images: no more digits than one wants to know."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def repeats(context: Context, record: Row) -> str | None:
    """Say how many seeds and folds a row stands for."""
    said = [
        context.say(f"group.{name}_count", count=record[name])
        for name in ("seeds", "folds")
        if record.get(name) and not record.get("fold")
    ]
    return " × ".join(said) or None
