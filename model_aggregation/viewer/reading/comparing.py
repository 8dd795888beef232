"""Differences between runs on the same test images: as the group's report holds them, or computed as it would."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.analysis.run_sets import read_run
from model_aggregation.earlier_settings import is_earlier
from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import EvaluationOptions, compare_predictions
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import read_numbers
from model_aggregation.viewer.reading.links import refuse_link_outside
from model_aggregation.viewer.reading.memory import Memory, stamp_of
from model_aggregation.viewer.reading.reader import LogReader

STORED_NAME = "report/comparisons.csv"
_NUMBERS = ("value", "reference_value", "difference", "low", "high", "p", "p_holm")
_COLUMNS = (
    "run_name", "reference_run", "metric", *_NUMBERS, "method", "n", "unit", "exploratory", "reason",
)  # fmt: skip
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Differences:
    """Each run less the reference, a row per run and metric; the first metric of a run is the primary one.

    ``table`` has the columns ``run_name, reference_run, metric, value, reference_value, difference, low, high, p,
    p_holm, method, n, unit, exploratory, reason``; ``compared`` is how many p values were adjusted together.
    """

    table: pd.DataFrame
    reference: str
    compared: int
    stored: bool

    def of(self, runs: Sequence[str]) -> "Differences":
        """Return the rows of some runs."""
        return Differences(self.table[self.table["run_name"].isin(runs)], self.reference, self.compared, self.stored)


def stored_differences(reader: LogReader, group: str) -> Differences | None:
    """Return what the report of a comparison says, None where there is none or its results are no longer these."""
    path = reader.allowed_file(group, None, STORED_NAME)
    if path is None:
        return None
    try:
        table = read_numbers(path, _NUMBERS)
    except ResultsError:
        return None
    if table.empty or not set(_COLUMNS) <= set(table.columns):
        return None
    board = reader.leaderboard(group, members=True)
    primary = table[table["metric"] == board.primary_metric]
    if primary.empty or len(set(table["reference_run"])) != 1:
        return None
    reference = str(table["reference_run"].iloc[0])
    said = dict(zip(primary["run_name"], primary["value"], strict=True))
    said[reference] = primary["reference_value"].iloc[0]
    now = dict(zip(board.table["run_name"], board.table[board.primary_metric], strict=True))
    if not all(_is_same(now.get(run), value) and _is_older(reader, group, run, path) for run, value in said.items()):
        return None
    table = table.assign(exploratory=table["exploratory"].astype(str) == "True")
    return Differences(table[list(_COLUMNS)], reference, len(primary), stored=True)


def _is_same(now: Any, stored: float) -> bool:
    return bool(pd.isna(stored)) if pd.isna(now) else abs(float(now) - stored) <= _ROUNDING


def _is_older(reader: LogReader, group: str, run: str, path: Path) -> bool:
    metrics = reader.allowed_file(group, run, "metrics.json")
    return metrics is not None and metrics.stat().st_mtime_ns <= path.stat().st_mtime_ns


class Comparing:
    """Compares runs of a log folder; what was computed is kept while the files of the runs stay as they are."""

    def __init__(self, reader: LogReader) -> None:
        self.reader = reader
        self._memory = Memory(16)

    def differences(self, group: str, runs: Sequence[str], reference: str) -> Differences:
        """Return the differences of the runs to the reference, stored ones where the report has them all.

        Computing takes seconds; it is the method of ``magg report``.

        Raises
        ------
        ResultsError, PredictionsError
            If a run does not exist or was not tested, or the runs were tested on different images.
        """
        others = [run for run in runs if run != reference]
        stored = stored_differences(self.reader, group)
        if stored is not None and stored.reference == reference and set(others) <= set(stored.table["run_name"]):
            return stored.of(others)
        folders = {run: RunFolder(Path(self.reader.run(group, run).path)) for run in (reference, *others)}
        files = [file for folder in folders.values() for file in (folder.metrics_json, folder.predictions_csv("test"))]
        key = ("differences", group, reference, *others)
        return self._memory.get(key, stamp_of(*files), lambda: _computed(folders, reference))


def _has_settings(folder: RunFolder) -> bool:
    return folder.settings_yaml.is_file() and not is_earlier(folder.read_settings())


def _computed(folders: dict[str, RunFolder], reference: str) -> Differences:
    for folder in folders.values():
        for file in folder.path.iterdir():
            refuse_link_outside(file)
    if lacking := [run for run, folder in folders.items() if not _has_settings(folder)]:
        raise ResultsError(
            "Differences are computed with the settings of the runs, and these runs have none that this program wrote: "
            f"{', '.join(lacking)}. Runs of the earlier program are compared by their curves and images below."
        )
    runs = {run: read_run(folder) for run, folder in folders.items()}
    if untested := [run for run, read in runs.items() if "test" not in read.sets]:
        raise ResultsError(f"There are no test predictions to compare: {', '.join(untested)}.")
    first = runs[reference]
    found = compare_predictions(
        {run: read.sets["test"].predictions for run, read in runs.items()},
        selected=reference,
        positive=first.settings.positive,
        primary=first.folder.read_environment().get("primary_metric"),
        cutoffs={run: read.cutoff for run, read in runs.items() if read.cutoff is not None},
        options=EvaluationOptions(seed=first.settings.seed),
    )
    table = found.comparisons.rename(columns={"model": "run_name", "reference": "reference_run"})
    return Differences(table[list(_COLUMNS)], reference, len(runs) - 1, stored=False)
