"""What the predictions of runs of the earlier program give: every number with its interval, at its own cutoff.

Its database holds no AUC: what it calls so is a sum of rectangles, each as high as its upper end, over a fixed grid of
cutoffs, and much too large where scores lie close. What is computed here is kept in the index while the files stay the
same.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.results.earlier_runs import EarlierRun, earlier_cutoff, earlier_positive, earlier_runs
from model_aggregation.results.index import Index, RebuildReport
from model_aggregation.results.leaderboard_rows import plain_records
from model_aggregation.results.records import ReadNumbers, stored_numbers
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import PREDICTED, read_predictions
from model_aggregation.software import versions

if TYPE_CHECKING:
    from model_aggregation.evaluation import Predictions

Count = Callable[[str, float, int], None]
"""Told what is counted, how much of it is done, and how much there is."""

NO_PREDICTIONS = "its predictions are not there: no AUC, no intervals"
NOT_YET = "its AUC and intervals are still to be computed; look again"
_OF_EITHER_CLASS = ("n", "unit", "groups", "class_names", "counts", "options", "auc", "renormalised")
"""What is the same whichever of two classes is the positive one."""


@dataclass(frozen=True)
class EarlierEvaluation:
    """One set of ``metrics.json`` as the predictions of an earlier run give it; empty with the ``reason`` why."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, none where there are no predictions."""
        return tuple(map(str, self.metrics.get("class_names") or ()))


def evaluate_earlier(run: EarlierRun) -> EarlierEvaluation:
    """Evaluate the predictions of an earlier run, two classes at the cutoff that it chose on these images."""
    source = _predictions_file(run)
    if run.folder is None or source is None:
        return EarlierEvaluation(reason=NO_PREDICTIONS)
    folder = RunFolder(run.folder)
    try:
        return EarlierEvaluation(_metrics(folder, source, run.row))
    except ModelAggregationError as error:
        return EarlierEvaluation(reason=" ".join(str(error).split()))


def _predictions_file(run: EarlierRun) -> Path | None:
    """Return the table of probabilities; the earlier program may have left the decisions alone."""
    if run.folder is None:
        return None
    folder = RunFolder(run.folder)
    files = (folder.predictions_csv("test"), folder.predicted_labels_csv("test"))
    return next((path for path in files if path.is_file()), None)


def _metrics(folder: RunFolder, source: Path, row: Mapping[str, Any] | None) -> dict[str, Any]:
    # scipy takes half a second, which nobody without earlier runs should wait for
    from model_aggregation.evaluation import Cutoff, CutoffRule, Predictions, evaluate

    table = read_predictions(source)
    classes = [name for name in table.columns[2:] if name != PREDICTED]
    predictions = Predictions.from_table(table, classes=classes)
    if len(classes) != 2:
        return evaluate(predictions).to_dict()
    positive = _positive(folder, predictions)
    if positive is None:
        either = evaluate(predictions, positive=classes[1])
        found = either.to_dict()
        return {name: found[name] for name in _OF_EITHER_CLASS} | {
            "classes": {name: {"n": either.counts[name], "auc": found["auc"]} for name in classes}
        }
    chosen, cutoff = earlier_cutoff(folder, row), None
    if chosen is not None:
        lower, upper = chosen.limits or (0.0, 1.0)
        rule = CutoffRule("balanced_accuracy", lower=lower, upper=upper)
        cutoff = Cutoff(chosen.value, "test", rule, exploratory=True, positive=positive)
    found = evaluate(predictions, positive=positive, cutoff=cutoff).to_dict()
    if chosen is not None and chosen.limits is None:
        found["cutoff"] = {**dict(found["cutoff"]), "rule": None}  # type: ignore[call-overload]
    return found


def _positive(folder: RunFolder, predictions: "Predictions") -> str | None:
    settings: dict[str, Any] = {}
    if folder.settings_yaml.is_file():
        with suppress(ResultsError):
            settings = folder.read_settings()
    positive = earlier_positive(settings)
    return positive if positive in predictions.classes else None


def earlier_evaluations(
    index: Index, group: str, runs: Sequence[EarlierRun], count: Count | None = None
) -> dict[str, EarlierEvaluation]:
    """Return what the predictions of a group's earlier runs give, by run; computed once and kept in the index.

    Where the index sets a limit of time at least one run is evaluated, and what is left says so. ``count`` is told how
    far it is.
    """
    kept = index.earlier_evaluations(group) if runs else {}
    until = None if index.earlier_seconds is None else time.monotonic() + index.earlier_seconds
    found: dict[str, EarlierEvaluation] = {}
    new: dict[str, tuple[str, str]] = {}
    for done, run in enumerate(runs, 1):
        stamp = _stamp(run)
        known = _from_json(*kept.get(run.name, ("", "")), stamp)
        if stamp is None:
            found[run.name] = EarlierEvaluation(reason=NO_PREDICTIONS)
        elif known is not None:
            found[run.name] = known
        elif new and until is not None and time.monotonic() > until:
            found[run.name] = EarlierEvaluation(reason=NOT_YET)
        else:
            found[run.name] = evaluate_earlier(run)
            new[run.name] = stamp, _to_json(found[run.name])
            if count is not None:
                count(f"evaluating runs of the earlier program in {group}", done, len(runs))
    if new:
        with suppress(ResultsError):  # a folder that cannot be written: computed again the next time
            index.keep_earlier_evaluations(group, new)
    return found


def _stamp(run: EarlierRun) -> str | None:
    """Return what changes with the files, the cutoff or this program; None where there are no predictions."""
    if run.folder is None or _predictions_file(run) is None:
        return None
    folder = RunFolder(run.folder)
    files = (
        folder.predictions_csv("test"),
        folder.predicted_labels_csv("test"),
        folder.settings_yaml,
        folder.status_txt,
    )
    states = [path.stat() if path.is_file() else None for path in files]
    sizes = [None if state is None else (state.st_size, state.st_mtime_ns) for state in states]
    cutoff = None if run.row is None else run.row["cutoff"]
    return json.dumps([versions()["model_aggregation"], folder.path.as_posix(), sizes, cutoff])


def _to_json(evaluation: EarlierEvaluation) -> str:
    return json.dumps({"metrics": dict(evaluation.metrics), "reason": evaluation.reason}, ensure_ascii=False)


def _from_json(stamp: str, content: str, wanted: str | None) -> EarlierEvaluation | None:
    """Return what was kept, None where it is of other files or damaged."""
    if stamp != wanted:
        return None
    try:
        return EarlierEvaluation(**json.loads(content))
    except (ValueError, TypeError):
        return None


def rebuild_index(
    log_folder: Path, count: Count | None = None, *, read_numbers: ReadNumbers = stored_numbers
) -> RebuildReport:
    """Make the index anew, and evaluate the predictions of all earlier runs that it holds results of.

    ``count`` is told how far that is; ``read_numbers`` as in :meth:`Index.rebuild`.
    """
    index = Index(log_folder)
    report = index.rebuild(read_numbers)
    rows = plain_records(index.earlier_rows())
    without: list[str] = []
    evaluated = 0
    for group in dict.fromkeys(str(row["group_name"]) for row in rows):
        runs = earlier_runs(log_folder, [row for row in rows if row["group_name"] == group])
        for name, found in earlier_evaluations(index, group, runs, count).items():
            evaluated += found.reason is None
            without += [] if found.reason is None else [f"{group} {name}: {found.reason}"]
    return replace(report, earlier_evaluated=evaluated, earlier_without=tuple(without))
