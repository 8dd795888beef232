"""The numbers of a run as a reader may show them: as they are stored, or made again where that is not what was written.

Nothing is written here: what is wrong stays on the disk, and is said, until somebody evaluates the run again.
"""

import pandas as pd

from model_aggregation.analysis.run_sets import Metrics, numbers_of, read_run
from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.results.checksums import fault_of_metrics
from model_aggregation.results.run_folder import RunFolder


def made_again(folder: RunFolder) -> tuple[Metrics, pd.DataFrame]:
    """Evaluate a run folder; return what ``metrics.json`` and ``metrics.csv`` should hold.

    Raises
    ------
    ResultsError, PredictionsError
        If there is nothing to evaluate, or it is not what the run wrote.
    """
    run = read_run(folder)
    return numbers_of({name: run.evaluate(name) for name in run.sets})


def metrics_of(folder: RunFolder) -> tuple[Metrics, tuple[str, ...]]:
    """Return the numbers of a finished run, and what a reader should know of them.

    Raises
    ------
    ResultsError
        If ``metrics.json`` is not what the run wrote and its numbers cannot be made again.
    """
    try:
        return folder.read_metrics(), ()
    except ResultsError as error:
        fault = _fault(folder, error)
        try:
            metrics, _ = made_again(folder)
        except Exception as obstacle:  # noqa: BLE001  (files that anybody may have changed)
            reason = obstacle.message if isinstance(obstacle, ModelAggregationError) else repr(obstacle)
            raise type(error)(f"metrics.json {fault}; its numbers cannot be made again: {reason}") from error
        return metrics, (f"metrics.json {fault}; its numbers were made again from the predictions",)


def _fault(folder: RunFolder, error: ResultsError) -> str:
    try:
        return fault_of_metrics(folder, folder.metrics_json.read_bytes()) or "cannot be read"
    except (ResultsError, OSError):
        return f"cannot be read ({error.message})"
