"""The leaderboard of a group with what the pages need beside it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from model_aggregation.results.leaderboard import VALIDATION, leaderboard
from model_aggregation.viewer.reading.catalog import Entry
from model_aggregation.viewer.reading.log_index import ReadIndex
from model_aggregation.viewer.reading.run_view import progress_of
from model_aggregation.viewer.reading.views import Leaderboard

MORE_COLUMNS = (
    "image_size", "test_seconds", "train_images_per_second", "device", "started", "finished", "seed", "fold", "folds",
    "part_of", "number_of_classes", "tested",
)  # fmt: skip
_LEAST_COLUMNS = (
    "rank", "rank_basis", "model", "state", "auc_val", "auc", "rank_set_low", "rank_set_high", "cutoff",
    "cutoff_source", "n_test", "train_seconds", "test_images_per_second", "parameters", "run_name", "reason",
)  # fmt: skip


def ranking(index: ReadIndex, group: str, entries: Sequence[Entry], *, members: bool = False) -> Leaderboard:
    """Return the leaderboard of a group whose runs are ``entries``; ``members``: every seed and fold in its own row."""
    folders_alone = [run for entry in entries if (run := entry.earlier) is not None and run.row is None]
    indexed = any(entry.origin == "index" or entry.row is not None for entry in entries) or folders_alone
    if indexed:
        table = leaderboard(index, group, members=members, earlier_folders=folders_alone)
    else:
        table = pd.DataFrame(columns=list(_LEAST_COLUMNS))
    about: dict[Any, Any] = dict(table.attrs)
    table.attrs = {}
    known = set(table["run_name"])
    unknown = [entry for entry in entries if entry.run not in known and entry.origin == "folder"]
    table = _with_others(table, unknown)
    more = index.runs(group).set_index("run_name")[list(MORE_COLUMNS)]
    table = table.join(more[[name for name in MORE_COLUMNS if name not in table]], on="run_name")
    folders = {entry.run: entry.folder for entry in entries}
    table["has_folder"] = [folders.get(name) is not None for name in table["run_name"]]
    running = table.loc[table["state"] == "running", "run_name"]
    by_name = {entry.run: entry for entry in entries}
    return Leaderboard(
        group=group,
        table=table,
        primary_metric=about.get("primary_metric", "auc"),
        basis=about.get("basis", VALIDATION),
        metrics=tuple(name for name in table.columns if f"{name}_low" in table.columns),
        test_evaluations=about.get("test_evaluations"),
        labels=about.get("labels", {}),
        warnings=tuple(about.get("warnings", ())),
        progress={name: progress_of(by_name[name], "running", 3) for name in running if name in by_name},
        rank_sets=about.get("rank_sets"),
        compared_runs=about.get("compared_runs", {}),
    )


def _with_others(table: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """Add runs that have a folder and no row in the index."""
    if not entries:
        return table
    reason = "not in the index; 'magg index' takes it over"
    rows = [{"run_name": entry.run, "state": entry.origin, "reason": reason} for entry in entries]
    if table.empty:
        return pd.DataFrame(rows, columns=table.columns)
    others = pd.DataFrame(rows)
    return pd.concat([table, others.astype(object)], ignore_index=True)
