"""One run, done from its lock to its ending, wherever that is: in this process, in one of its own, on another machine.

``perform`` writes nothing but the run folder; what leads keeps the index.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from model_aggregation.continuation import problems_of_run
from model_aggregation.engine.live_reporter import LiveReporter
from model_aggregation.errors import ResultsError
from model_aggregation.models.memory import BeginAgainError, Lack
from model_aggregation.plan import Plan
from model_aggregation.progress import Reporter
from model_aggregation.results.locks import RunIsBusyError, run_lock
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import PoolPlan, RunPlan

Item = RunPlan | PoolPlan


@dataclass(frozen=True, eq=False)
class Task:
    """A run, what its plan says beside it, and the seconds that are left for all trainings when it starts.

    ``lack`` is what an attempt on several devices had too little memory for. ``started_in`` is the working directory,
    where modules of the user's own networks may lie.
    """

    plan: Plan
    item: Item
    seconds_left: float = math.inf
    lack: Lack | None = None
    started_in: str = field(default_factory=os.getcwd)

    @property
    def begins_too_late(self) -> bool:
        """Whether the time is over for what is computed; folds that are there are pooled all the same."""
        return self.seconds_left <= 0 and not _has_members(self.item)


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    ``refused``: nothing was written, since the folder belongs to somebody else; ``running elsewhere``: nothing was
    written, since another process works on the run, and the reason says which; ``stopped``: not begun, since the time
    was over; ``begin again``: to be done anew with smaller batches, on all its devices.
    """

    state: Literal[
        "finished", "already finished", "failed", "refused", "running elsewhere", "interrupted", "stopped",
        "begin again",
    ]  # fmt: skip
    reason: str = ""
    lack: Lack | None = None


def perform(task: Task, reporter: Reporter, begun: Callable[[], None]) -> Ending:
    """Do a run that no other process is working on; ``begun`` is called once it is ours.

    Whatever the run raises is written into its folder and is its ending.
    """
    item = task.item
    try:
        with run_lock(task.plan.log_folder, item.group_name, item.run_name):
            # Another process may have taken or finished the run since the plan was checked.
            problems = problems_of_run(item)
            if problems:
                raise ResultsError("The name was taken meanwhile:", problems)
            if RunFolder(item.folder).finished:
                RunFolder(item.folder).remove_state()
                return Ending("already finished")
            if task.begins_too_late:
                return Ending("stopped")
            begun()
            return _perform_alone(task, reporter)
    except RunIsBusyError as error:
        return Ending("running elsewhere", error.holder)
    except ResultsError as error:
        return Ending("refused", str(error))


def _has_members(item: Item) -> bool:
    return isinstance(item, PoolPlan) and all(RunFolder(member.folder).finished for member in item.members)


def _perform_alone(task: Task, reporter: Reporter) -> Ending:
    item = task.item
    live = LiveReporter(reporter, RunFolder(item.folder))
    try:
        if isinstance(item, PoolPlan):
            from model_aggregation.pooling import pool

            pool(item)
        else:
            from model_aggregation.experiment import execute  # seconds, and the process that leads does without

            execute(task.plan, item, live, seconds_left=task.seconds_left, lack=task.lack)
    except BeginAgainError as error:
        return Ending("begin again", str(error), error.lack)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (one model's failure must not end the others)
        if _was_interrupted(error):
            note_interruption(item)
            return Ending("interrupted")
        return Ending("failed", _note_failure(item, error))
    live.remove()
    return Ending("finished")


def note_interruption(item: Item) -> None:
    """Say in the status file that the run was stopped, if it has begun at all."""
    folder = RunFolder(item.folder)
    if folder.settings_yaml.is_file():
        folder.append_status("interrupted; the same command continues")


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether a stop is behind an error; libraries may turn it into one of theirs."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _note_failure(item: Item, error: BaseException) -> str:
    """Write the error into the run folder, if it can be written at all, and return the reason in one line."""
    folder = RunFolder(item.folder)
    try:
        folder.write_error(error)
    except OSError as trouble:  # a full disk may be the very error
        return f"{error} (error.txt could not be written: {trouble})"
    return folder.failure_reason() or str(error)
