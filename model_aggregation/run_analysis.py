"""A run folder evaluated again: its numbers, its subgroups, its place in the index."""

from dataclasses import dataclass
from pathlib import Path

from model_aggregation.analysis import Metrics, evaluate_run, outdated_sets, read_run, refresh_index
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.subgroups import Subgroups, run_subgroups, write_subgroups


@dataclass(frozen=True, eq=False)
class RunAnalysis:
    """The content of ``metrics.json``, the subgroups asked for, and the external sets left out as outdated."""

    metrics: Metrics
    subgroups: Subgroups | None = None
    outdated: tuple[str, ...] = ()


def analyze_run(path: Path, *, by: str | None = None) -> RunAnalysis:
    """Evaluate a run folder again, write all its results, and refresh the index of its log folder.

    Parameters
    ----------
    by
        A column of ``images.csv``: the evaluation of each of its values is written to ``subgroups.csv``.

    Raises
    ------
    ResultsError, PredictionsError
        As :func:`model_aggregation.analysis.evaluate_run`; for an unknown column nothing is written.
    """
    folder = RunFolder(path.resolve())
    found = None if by is None else run_subgroups(read_run(folder), by)
    metrics = evaluate_run(folder)
    if found is not None and by is not None:
        write_subgroups(folder.subgroups_csv, by, found)
    refresh_index(folder)
    return RunAnalysis(metrics, found, tuple(outdated_sets(folder)))
