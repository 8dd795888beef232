"""Where the runs of a plan execute: here, one after the other. What finished stays; the same command continues."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from model_aggregation.analysis.groups import write_tables
from model_aggregation.continuation import prepare_folders, problems_of_run
from model_aggregation.data.image_store import open_stores, remove_store
from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.experiment import cache_of, execute, remove_state, stored_images
from model_aggregation.names import SINGLE
from model_aggregation.plan import Plan
from model_aggregation.pooling import pool
from model_aggregation.prediction import pixel_rule
from model_aggregation.progress import Reporter
from model_aggregation.results.index import Index
from model_aggregation.results.index_schema import Part
from model_aggregation.results.locks import run_lock
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import PoolPlan, RunPlan
from model_aggregation.training.time_limit import TimeLimit


class InterruptionError(ModelAggregationError):
    """The user stopped the program; what was done is stored."""


@dataclass
class Outcome:
    """How the runs of a plan ended, by name."""

    finished: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)  # not begun before the time was over

    @property
    def exit_code(self) -> int:
        """0 when every run finished, 2 when some failed or were not begun."""
        return 2 if self.failed or self.stopped else 0


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
    limit = TimeLimit(plan.settings.seconds("time_limit"))
    prepare_folders(plan, reporter.message)
    record = _Record(Index(plan.log_folder), reporter)
    outcome = Outcome()
    with reporter.working():
        _decode_once(plan, reporter)
        for number, item in enumerate(plan.runs, 1):
            title = f"[{number}/{len(plan.runs)}] {item.model} → {item.run_name}"
            reporter.count("models", number - 1, len(plan.runs), f"now {number}: {item.model}", steady=False)
            reporter.message(title)
            with reporter.working():
                _run_one(plan, item, record, outcome, limit)
                for pooled in plan.pools:
                    if pooled.members[-1] is item:
                        reporter.message(f"pooling {len(pooled.members)} folds → {pooled.run_name}")
                        _run_one(plan, pooled, record, outcome, limit)
    if plan.runs[0].group_name != SINGLE:
        record.report(plan.folder)
    if not plan.settings.keep_cache:
        for item in plan.runs:
            rule = pixel_rule(item.preprocessing, item.settings)
            remove_store(stored_images(plan), rule, cache=cache_of(item.settings))
    return outcome


def _decode_once(plan: Plan, reporter: Reporter) -> None:
    """Make the image stores of all runs in one pass over the files; what fails here is each run's own failure later."""
    waiting = [run for run in plan.runs if not RunFolder(run.folder).finished and run.settings.transforms is None]
    rules = list(dict.fromkeys(pixel_rule(run.preprocessing, run.settings) for run in waiting))
    if len(rules) < 2:  # a single size is made by the first run
        return
    sizes = ", ".join(str(rule.image_size) for rule in rules)
    with suppress(ModelAggregationError, OSError):
        open_stores(
            stored_images(plan),
            rules,
            cache=cache_of(plan.settings),
            workers=plan.settings.workers,
            progress=lambda done, total: reporter.count(f"decoding images at {sizes} px", done, total),
        )


def _run_one(plan: Plan, item: RunPlan | PoolPlan, record: "_Record", outcome: Outcome, limit: TimeLimit) -> None:
    try:
        with run_lock(plan.log_folder, item.group_name, item.run_name):
            # Another process may have taken or finished the run since the plan was checked.
            problems = problems_of_run(item)
            if problems:
                raise ResultsError("The name was taken meanwhile:", problems)
            if RunFolder(item.folder).finished:
                record.reporter.message("  finished before")
                remove_state(RunFolder(item.folder))
                outcome.already_there.append(item.run_name)
                record.result(item)
            elif limit.seconds_left <= 0 and not _has_members(item):
                record.state(item, "stopped")
                record.reporter.message("  not begun: the time was over; the same command goes on with it")
                outcome.stopped.append(item.run_name)
            else:
                _run_alone(plan, item, record, outcome, limit)
    except ResultsError as error:  # the folder belongs to somebody else: nothing is written there
        outcome.failed[item.run_name] = str(error)
        record.reporter.message(f"  {error}")


def _has_members(item: RunPlan | PoolPlan) -> bool:
    return isinstance(item, PoolPlan) and all(RunFolder(member.folder).finished for member in item.members)


def _run_alone(plan: Plan, item: RunPlan | PoolPlan, record: "_Record", outcome: Outcome, limit: TimeLimit) -> None:
    """Execute a run that no other process is working on."""
    record.state(item, "running")
    try:
        if isinstance(item, PoolPlan):
            pool(item)
        else:
            execute(plan, item, record.reporter, seconds_left=limit.seconds_left)
    except (Exception, KeyboardInterrupt) as error:  # one model's failure must not end the others
        if _was_interrupted(error):
            record.state(item, "interrupted")
            raise InterruptionError(
                f"Stopped in {item.run_name}. Finished runs and finished epochs are stored; "
                "give the same command again to continue."
            ) from error
        outcome.failed[item.run_name] = _note_failure(item, error)
        record.reporter.message(f"  failed: {outcome.failed[item.run_name]}")
    else:
        outcome.finished.append(item.run_name)
    record.result(item)
    if item.run_name in outcome.finished:
        record.report(item.folder)


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is behind an error; libraries may turn it into one of theirs."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _note_failure(item: RunPlan | PoolPlan, error: BaseException) -> str:
    """Write the error into the run folder, if it can be written at all, and return the reason in one line."""
    folder = RunFolder(item.folder)
    try:
        folder.write_error(error)
    except OSError as trouble:  # a full disk may be the very error
        return f"{error} (error.txt could not be written: {trouble})"
    return folder.failure_reason() or str(error)


@dataclass(frozen=True)
class _Record:
    """The index of the log folder. It can be rebuilt, so its troubles are said and end no run."""

    index: Index
    reporter: Reporter

    def state(self, item: RunPlan | PoolPlan, state: str) -> None:
        """Note the state of a run that has no results yet."""
        with self._said():
            settings = item.settings
            part = Part(item.part_of, settings.seed, settings.fold, settings.folds)
            self.index.set_state(item.run_name, item.group_name, state, model=str(item.model), part=part)

    def result(self, item: RunPlan | PoolPlan) -> None:
        """Take over what the run folder says."""
        with self._said():
            self.index.record(item.folder)

    def report(self, folder: Path) -> None:
        """Write the tables of a run or a comparison; they can be made again, so their troubles end nothing."""
        try:
            write_tables(folder)
        except (ModelAggregationError, OSError) as error:
            self.reporter.message(f"  its report was not written (make it with magg report): {error}")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except ResultsError as error:
            self.reporter.message(f"  the index was not written (make it anew with magg index): {error}")
