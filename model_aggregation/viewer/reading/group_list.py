"""The home page's rows: every group and every single run, from a few queries of the index."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from model_aggregation.names import SINGLE
from model_aggregation.results.earlier_evaluation import EarlierEvaluation, earlier_evaluations
from model_aggregation.results.leaderboard import LOWER_IS_BETTER, usual_metric
from model_aggregation.results.leaderboard_rows import Numbers, Row, model_row, model_runs
from model_aggregation.results.locks import is_locked
from model_aggregation.viewer.reading.catalog import Entries, Entry
from model_aggregation.viewer.reading.log_index import ReadIndex
from model_aggregation.viewer.reading.views import GroupRow

_RUN_COLUMNS = (
    "group_name", "run_name", "model", "state", "reason", "primary_metric", "number_of_classes", "started", "finished",
    "seed", "fold", "folds", "part_of", "tested", "cutoff_source", "train_seconds", "test_images_per_second",
    "parameters",
)  # fmt: skip
_NUMBERS = """
    SELECT runs.group_name, runs.run_name, set_name, metric, value, low, high
    FROM runs JOIN metrics ON metrics.group_name = runs.group_name AND metrics.run_name = runs.run_name
    AND set_name IN ('val', 'test') AND class = '' AND metric IN (runs.primary_metric, 'auc', 'balanced_accuracy')
    WHERE state = 'finished'
"""

AllNumbers = dict[str, dict[str, dict[tuple[str, str], Row]]]
"""Of all groups: by group, run, then set and metric."""


def group_rows(index: ReadIndex, entries: Entries) -> list[GroupRow]:
    """Return a row per group and per single run: the running ones first, then the latest change first."""
    runs: dict[str, list[Row]] = defaultdict(list)
    for values in index.query(f"SELECT {', '.join(_RUN_COLUMNS)} FROM runs"):  # noqa: S608
        row = dict(zip(_RUN_COLUMNS, values, strict=True))
        runs[row["group_name"]].append(_with_true_state(index.log_folder, row))
    numbers: AllNumbers = defaultdict(lambda: defaultdict(dict))
    for group, run, set_name, metric, value, low, high in index.query(_NUMBERS):
        numbers[group][run][set_name, metric] = {"value": value, "low": low, "high": high}
    others: dict[str, list[Entry]] = defaultdict(list)
    known = {(group, row["run_name"]) for group, rows in runs.items() for row in rows}
    for key, entry in entries.runs.items():
        if key not in known:
            others[entry.group].append(entry)
    found = [_single_row(row, numbers[SINGLE]) for row in runs.pop(SINGLE, [])]
    found += _other_singles(index, others.pop(SINGLE, []))
    found += [
        _group_row(group, runs.get(group, []), others.get(group, []), numbers[group]) for group in {**runs, **others}
    ]
    found.sort(key=lambda row: (row.changed or "", row.name), reverse=True)
    return sorted(found, key=lambda row: not row.running)


def _with_true_state(log_folder: Path, row: Row) -> Row:
    """A process that was killed cannot note it, but its lock is gone."""
    lost = row["state"] == "running" and not is_locked(log_folder, row["group_name"], row["run_name"])
    return {**row, "state": "interrupted"} if lost else row


def _single_row(row: Row, numbers: Mapping[str, Numbers]) -> GroupRow:
    metric = row["primary_metric"] or usual_metric([row["number_of_classes"]])
    tested = numbers.get(row["run_name"], {}).get(("test", metric), {})
    return GroupRow(
        SINGLE, row["run_name"], "single", 1, {row["state"]: 1}, best_run=row["run_name"], best_model=row["model"],
        metric=metric, value=tested.get("value"), low=tested.get("low"), high=tested.get("high"),
        changed=row["finished"] or row["started"], reason=row["reason"],
    )  # fmt: skip


def _other_singles(index: ReadIndex, entries: Sequence[Entry]) -> list[GroupRow]:
    """Return the rows of runs that the index holds no run of ours for, those of the earlier program evaluated."""
    runs = [run for entry in entries if (run := entry.earlier) is not None]
    evaluations = earlier_evaluations(index, SINGLE, runs)
    return [_other_single(entry, evaluations.get(entry.run, EarlierEvaluation()).metrics) for entry in entries]


def _other_single(entry: Entry, metrics: Mapping[str, Any]) -> GroupRow:
    """Return its AUC, of three classes or more its accuracy; where neither is known the accuracy of the database."""
    reported = (entry.row or {}).get("accuracy")
    metric = next((name for name in ("auc", "accuracy") if name in metrics), None)
    number = metrics[metric] if metric else {"value": reported}
    return GroupRow(
        SINGLE, entry.run, "single", 1, {entry.origin: 1}, best_run=entry.run,
        metric=metric or (None if reported is None else "accuracy"), value=number.get("value"), low=number.get("low"),
        high=number.get("high"), changed=_changed([entry], []),
    )  # fmt: skip


def _group_row(group: str, runs: Sequence[Row], others: Sequence[Entry], numbers: Mapping[str, Numbers]) -> GroupRow:
    declared = {row["primary_metric"] for row in runs if row["primary_metric"]}
    metric = declared.pop() if len(declared) == 1 else usual_metric([row["number_of_classes"] for row in runs])
    models = model_runs(runs)
    best = _best([model_row(model, numbers, metric, [metric]) for model in models], metric)
    return GroupRow(
        group, None, "group", models=len(models) + len(others),
        states=Counter([row["state"] for row in runs] + [entry.origin for entry in others]),
        best_run=best.get("run_name"), best_model=best.get("model"), metric=metric if runs else None,
        value=best.get(metric), low=best.get(f"{metric}_low"), high=best.get(f"{metric}_high"),
        changed=_changed(others, runs),
    )  # fmt: skip


def _best(models: Sequence[Row], metric: str) -> Row:
    """Return the row of the best model on validation images, of equal ones the first by name; empty without any."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    ranked = [row for row in models if row["state"] == "finished" and row.get(f"{metric}_val") is not None]
    return min(ranked, key=lambda row: (sign * row[f"{metric}_val"], row["run_name"]), default={})


def _changed(entries: Iterable[Entry], runs: Iterable[Row]) -> str | None:
    times = [str(row["finished"] or row["started"] or "") for row in runs]
    for entry in entries:
        written = (entry.row or {}).get("datetime")
        times.append(str(written) if written else _folder_time(entry.folder))
    return max(times, default="") or None


def _folder_time(folder: Path | None) -> str:
    try:
        return "" if folder is None else time_text(folder.stat().st_mtime)
    except OSError:
        return ""


def time_text(seconds: float) -> str:
    """Return a time of the file system as the index writes times, local."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
