"""Where the runs of a plan execute: here, one after the other. What finished stays; the same command continues."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from model_aggregation.continuation import prepare_folders
from model_aggregation.errors import ModelAggregationError
from model_aggregation.experiment import execute
from model_aggregation.plan import Plan, RunPlan
from model_aggregation.progress import Reporter
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder


class InterruptionError(ModelAggregationError):
    """The user stopped the program; what was done is stored."""


@dataclass
class Outcome:
    """How the runs of a plan ended, by name."""

    finished: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when every run finished, 2 when some failed."""
        return 2 if self.failed else 0


def run(plan: Plan, reporter: Reporter | None = None) -> Outcome:
    """Execute every run of a plan that is not finished yet.

    A run that fails is recorded with its error, and the next one starts.

    Raises
    ------
    ResultsError
        If names are taken by runs with other settings or data; nothing is done then.
    InterruptionError
        When the user pressed Ctrl-C; the same command continues.
    """
    reporter = reporter or Reporter()
    prepare_folders(plan)
    index = Index(plan.log_folder)
    outcome = Outcome()
    with reporter.working():
        for number, item in enumerate(plan.runs, 1):
            title = f"[{number}/{len(plan.runs)}] {item.model} → {item.run_name}"
            if RunFolder(item.folder).finished:
                reporter.message(f"{title}: finished before")
                index.record(item.folder)
                outcome.already_there.append(item.run_name)
                continue
            reporter.message(title)
            _run_one(plan, item, index, outcome, reporter)
    return outcome


def _run_one(plan: Plan, item: RunPlan, index: Index, outcome: Outcome, reporter: Reporter) -> None:
    index.set_state(item.run_name, item.group_name, "running", model=str(item.model))
    try:
        with _interruption_noted(item, index):
            execute(plan, item, reporter)
    except InterruptionError:
        raise
    except Exception as error:  # noqa: BLE001  (one model's failure must not end the others)
        folder = RunFolder(item.folder)
        folder.write_error(error)
        outcome.failed[item.run_name] = folder.failure_reason() or str(error)
        reporter.message(f"  failed: {outcome.failed[item.run_name]}")
    else:
        outcome.finished.append(item.run_name)
    index.record(item.folder)


@contextmanager
def _interruption_noted(item: RunPlan, index: Index) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        index.set_state(item.run_name, item.group_name, "interrupted")
        raise InterruptionError(
            f"Stopped in {item.run_name}. Finished runs and finished epochs are stored; "
            "give the same command again to continue."
        ) from error
