"""A run folder evaluated again: its numbers, its subgroups, its place in the index."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_aggregation.analysis.groups import refresh_tables
from model_aggregation.analysis.run_sets import Metrics, evaluate_run, outdated_sets, read_run, refresh_index
from model_aggregation.analysis.subgroups import Subgroups, run_subgroups, write_subgroups
from model_aggregation.analysis.table_question import TableQuestion
from model_aggregation.analysis.tables import TableAnalysis, analyze_tables
from model_aggregation.errors import SettingsError
from model_aggregation.results.checksums import fault_of_metrics
from model_aggregation.results.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class RunAnalysis:
    """The content of ``metrics.json``, the subgroups asked for, and the external sets left out as outdated.

    ``replaced`` is what was wrong with the ``metrics.json`` that was there before.
    """

    metrics: Metrics
    subgroups: Subgroups | None = None
    outdated: tuple[str, ...] = ()
    replaced: str | None = None


def analyze(
    paths: Sequence[Path], question: TableQuestion, out: Path | None = None, *, report: bool = True
) -> RunAnalysis | TableAnalysis:
    """Evaluate one run folder again, or evaluate and compare tables; see the functions for each.

    Raises
    ------
    SettingsError
        For a run folder beside others, or with flags that belong to tables.
    """
    if not any(path.is_dir() for path in paths):
        return analyze_tables(paths, question, out, report=report)
    if len(paths) > 1:
        raise SettingsError(
            "A run folder is evaluated alone. To compare runs, give the tables of their predictions (…_test.csv)."
        )
    if out is not None or question != TableQuestion(by=question.by):
        raise SettingsError(
            "A run folder is evaluated again as its own settings say: of the flags only --by belongs to it; the others "
            "belong to tables of predictions."
        )
    return analyze_run(paths[0], by=question.by)


def analyze_run(path: Path, *, by: str | None = None) -> RunAnalysis:
    """Evaluate a run folder again, write all its results and the tables of its report, and refresh the index.

    Files that are not what the run wrote are taken as they are now; a warning beside the numbers says so.

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
    found = None if by is None else run_subgroups(read_run(folder, accept_changed=True), by)
    replaced = fault_of_metrics(folder, folder.metrics_json.read_bytes()) if folder.finished else None
    metrics = evaluate_run(folder, accept_changed=True)
    if found is not None and by is not None:
        write_subgroups(folder.subgroups_csv, by, found)
    refresh_index(folder)
    refresh_tables(folder)
    return RunAnalysis(metrics, found, tuple(outdated_sets(folder)), replaced)
