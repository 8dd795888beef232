"""The simultaneous rank sets of a comparison, as its report holds them; here nothing is computed.

A stored ranking counts only while it is about exactly the results that are there now.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.run_paths import REPORT_FOLDER
from model_aggregation.results.tables import read_numbers

RANKING_NAME = "ranking.csv"

_COLUMNS = frozenset({"run_name", "metric", "value", "rank_low", "rank_high", "top_group", "reason"})
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TestedRun:
    """A finished run as the leaderboard shows it: its folder, test images and value of the primary metric."""

    folder: RunFolder
    test_fingerprint: str | None
    value: float | None


@dataclass(frozen=True)
class StoredRankSets:
    """Lowest and highest rank by the name of the run; ``sentence`` says how many are in the top group, or why not."""

    sentence: str | None = None
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_rank_sets(group_folder: Path, runs: Sequence[TestedRun], primary: str) -> StoredRankSets:
    """Return what ``report/ranking.csv`` says, if it is about these runs and not older than their results.

    Parameters
    ----------
    runs
        The finished, tested runs of the comparison; those on other test images than the stored ones are not in it.
    """
    if max(Counter(run.test_fingerprint for run in runs if run.test_fingerprint).values(), default=0) < 2:
        return StoredRankSets()
    path = group_folder / REPORT_FOLDER / RANKING_NAME
    table = _stored(path)
    if table is None or not _is_current(table, path, runs, primary):
        return StoredRankSets(f"rank sets are not up to date; `magg report {_typed(group_folder)}` makes them")
    known = table.dropna(subset=["rank_low", "rank_high"])
    places = zip(known["run_name"], known["rank_low"], known["rank_high"], strict=True)
    return StoredRankSets(_sentence(table), {name: (int(low), int(high)) for name, low, high in places})


def _typed(path: Path) -> str:
    """Return a path as one types it here."""
    here = Path.cwd()
    text = str(path.relative_to(here) if path.is_relative_to(here) else path)
    return f'"{text}"' if " " in text else text


def _stored(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = read_numbers(path, ("value", "rank_low", "rank_high"))
    except ResultsError:
        return None  # the note says how to make it anew
    return table if set(table.columns) >= _COLUMNS else None


def _is_current(table: pd.DataFrame, path: Path, runs: Sequence[TestedRun], primary: str) -> bool:
    names = list(table["run_name"])
    by_name = {run.folder.name: run for run in runs}
    images = {by_name[name].test_fingerprint for name in names if name in by_name}
    expected = sorted(name for name, run in by_name.items() if {run.test_fingerprint} == images)
    if sorted(names) != expected or set(table["metric"]) != {primary}:
        return False
    written = path.stat().st_mtime_ns
    return all(
        _is_same(by_name[name].value, value) and by_name[name].folder.metrics_json.stat().st_mtime_ns <= written
        for name, value in zip(names, table["value"], strict=True)
    )


def _is_same(value: float | None, stored: float) -> bool:
    return bool(pd.isna(stored)) if value is None else abs(value - stored) <= _ROUNDING


def _sentence(table: pd.DataFrame) -> str:
    if (table["top_group"] == "").any():
        reason = table["reason"].iloc[0]
        return f"how many of {len(table)} models cannot be distinguished from the best is unknown: {reason}"
    return f"{(table['top_group'] == 'True').sum()} of {len(table)} models cannot be distinguished from the best"
