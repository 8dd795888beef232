"""Where the runs of a plan execute: each in a process of its own, one or several at once, here or on a cluster.

What finished stays; the same command continues.
"""

from contextlib import suppress
from dataclasses import dataclass, field

from model_aggregation.cache_folder import cache_note
from model_aggregation.continuation import prepare_folders
from model_aggregation.data.image_store import open_stores, remove_store
from model_aggregation.engine.cluster import Cluster
from model_aggregation.engine.here import Here
from model_aggregation.engine.members import Team
from model_aggregation.engine.places import launched_place, place_warnings, places
from model_aggregation.engine.record import Record
from model_aggregation.engine.session import Session, follow, leading_session
from model_aggregation.engine.supervision import Supervisor
from model_aggregation.engine.task import Ending, Item, Task, perform
from model_aggregation.errors import InterruptionError, ModelAggregationError
from model_aggregation.models.build import pixel_rule
from model_aggregation.named_code import code_in_settings
from model_aggregation.names import SINGLE
from model_aggregation.plan import Plan
from model_aggregation.processes import stopped_by_signals
from model_aggregation.progress import Reporter
from model_aggregation.results.index import Index
from model_aggregation.results.locks import is_locked, who_holds
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_images import cache_of, stored_images
from model_aggregation.run_plan import PoolPlan, RunPlan
from model_aggregation.startup import return_freed_memory
from model_aggregation.training.time_limit import TimeLimit
from model_aggregation.trusted_code import note_made_here

Engine = Supervisor | Here | Cluster
_GO_ON = "Finished runs and finished epochs are stored; give the same command again to continue."


@dataclass
class Outcome:
    """How the runs of a plan ended, by name."""

    finished: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)  # not begun before the time was over
    elsewhere: dict[str, str] = field(default_factory=dict)  # with what is known of the process that works on them

    @property
    def exit_code(self) -> int:
        """0 when every run finished, 2 when some failed, are running elsewhere or were not begun."""
        return 2 if self.failed or self.stopped or self.elsewhere else 0


def run(plan: Plan, reporter: Reporter | None = None) -> Outcome:
    """Execute every run of a plan that is not finished yet.

    A run that fails, whatever becomes of its process, is recorded with its error, and the others go on. Of several
    processes that a launcher has started the first does all this; the others take part, and their outcome is empty.

    Raises
    ------
    ResultsError
        If names are taken by runs with other settings or data; nothing is done then.
    InterruptionError
        When the user pressed Ctrl-C or the program was told to end (SIGTERM); the same command continues.
    """
    if follow() is not None:
        return Outcome()
    session = leading_session()
    outcome = None
    try:
        outcome = _run(plan, reporter or Reporter(), session)
    except KeyboardInterrupt as stop:  # before the first run or after the last
        raise InterruptionError(f"Stopped. {_GO_ON}") from stop
    finally:
        if session is not None:
            session.end(1 if outcome is None else outcome.exit_code)
    return outcome


def _run(plan: Plan, reporter: Reporter, session: Session | None) -> Outcome:
    limit = TimeLimit(plan.settings.seconds("time_limit"))
    prepare_folders(plan, reporter.message)
    for item in plan.runs:
        note_made_here(code_in_settings(item.settings), item.folder)
    if plan.settings.cache_folder is None and (note := cache_note()) is not None:
        reporter.message(note)
    record = Record(Index(plan.log_folder), reporter)
    record.planned(plan)
    return_freed_memory()  # of planning: the runs beside need memory now
    work = _Work(plan, record, reporter, limit, session)
    with reporter.working(), stopped_by_signals():
        if plan.settings.engine == "local":  # the machines of a cluster have caches of their own
            _decode_once(plan, reporter)
        work.do_all()
    if plan.runs[0].group_name != SINGLE:
        record.report(plan.folder)
    if not plan.settings.keep_cache:
        for item in plan.runs:
            rule = pixel_rule(item.preprocessing, item.settings)
            remove_store(stored_images(plan), rule, cache=cache_of(item.settings))
    work.look_again()
    return work.outcome


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


class _Work:
    """The runs of a plan that wait, go on and have ended."""

    def __init__(
        self, plan: Plan, record: Record, reporter: Reporter, limit: TimeLimit, session: Session | None
    ) -> None:
        self.outcome = Outcome()
        self._plan = plan
        self._record = record
        self._reporter = reporter
        self._limit = limit
        self._waiting: list[Item] = list(plan.all_runs)
        self._going_on: list[Item] = []
        self._busy: list[Item] = []  # other processes work on them; looked at again at the end
        self._tried_again: set[Item] = set()
        self._gather = Team.here if session is None else session.team
        if session is not None:
            self._shares = [launched_place(plan.settings, session.launch.local_rank)]
        else:
            self._shares = [] if plan.settings.engine == "ray" else places(plan.settings, most=len(plan.runs))
        self._several = plan.settings.engine == "ray" or len(self._shares) > 1

    def do_all(self) -> None:
        """Start what may start, and take what ended, until nothing is left."""
        for warning in place_warnings(self._plan.settings, len(self._shares)):
            self._reporter.message(warning)
        with self._engine() as engine:
            try:
                while self._waiting or self._busy or engine.is_busy:
                    while engine.has_room and (item := self._next()) is not None:
                        self._start(engine, item)
                    self._show()
                    if not engine.is_busy:
                        self._try_again()
                    elif (ended := engine.next_ending()) is not None:
                        self._take(*ended)
            except KeyboardInterrupt as stop:
                names = self._stop(engine)
                raise InterruptionError(f"Stopped{' in ' if names else ''}{', '.join(names)}. {_GO_ON}") from stop

    def _engine(self) -> Engine:
        if self._plan.settings.engine == "ray":
            return Cluster(self._plan, self._reporter, self._begun)
        if self._shares:
            return Supervisor(self._shares, self._reporter, self._begun, self._gather)
        return Here(self._reporter, self._begun)

    def _next(self) -> Item | None:
        """Take the next run that may start: a pool of folds comes after the last of them."""
        for item in self._waiting:
            open_runs = {*self._waiting, *self._going_on, *self._busy}
            if not isinstance(item, PoolPlan) or open_runs.isdisjoint(item.members):
                self._waiting.remove(item)
                return item
        return None

    def _start(self, engine: Engine, item: Item) -> None:
        if isinstance(item, PoolPlan):
            self._reporter.message(f"pooling {len(item.members)} folds → {item.run_name}")
            left = [member.run_name for member in item.members if member.run_name in self.outcome.elsewhere]
            if left:
                self._leave(item, f"waits for {', '.join(left)}")
                return
        else:
            runs = self._plan.runs
            self._reporter.message(f"[{runs.index(item) + 1}/{len(runs)}] {item.model} → {item.run_name}")
        self._going_on.append(item)
        task = Task(self._plan.for_run(item), item, self._limit.seconds_left)
        if RunFolder(item.folder).finished or task.begins_too_late:  # nothing is to be done: that needs no process
            self._take(item, perform(task, self._reporter, lambda: None))
        else:
            engine.start(task)

    def _begun(self, item: Item) -> None:
        self._record.state(item, "running")

    def _show(self) -> None:
        runs = self._plan.runs
        now = [f"{runs.index(item) + 1}: {item.model}" for item in self._going_on if not isinstance(item, PoolPlan)]
        open_runs = {*self._waiting, *self._going_on, *self._busy}
        done = sum(run not in open_runs for run in runs)
        self._reporter.count("models", done, len(runs), f"now {', '.join(now)}" if now else "", steady=False)

    def _stop(self, engine: Engine) -> list[str]:
        """Stop what goes on, and return its names."""
        names = [item.run_name for item in self._going_on]
        for item, ending in engine.stop():
            self._take(item, ending)
        for item in self._going_on:  # they were done here
            self._record.state(item, "interrupted")
        return names

    def _take(self, item: Item, ending: Ending) -> None:
        """Write down how a run ended."""
        self._going_on.remove(item)
        if ending.state == "refused":
            self._fail(item, ending.reason)
        elif ending.state == "running elsewhere" and item not in self._tried_again:
            self._say(item, f"running elsewhere ({ending.reason}); looked at again at the end")
            self._busy.append(item)
        elif ending.state == "running elsewhere":
            self._leave(item, ending.reason)
        elif ending.state == "stopped":
            self._record.state(item, "stopped")
            self._say(item, "not begun: the time was over; the same command goes on with it")
            self.outcome.stopped.append(item.run_name)
        elif ending.state == "interrupted":
            self._record.state(item, "interrupted")
            self._fail(item, "stopped before its end; the same command continues")
        elif ending.state == "failed":
            self._record.result(item)
            self._fail(item, ending.reason, "failed: ")
        elif ending.state == "already finished":
            self._say(item, "finished before")
            self.outcome.already_there.append(item.run_name)
            self._record.result(item)
        else:
            self.outcome.finished.append(item.run_name)
            self._record.result(item)
            self._record.report(item.folder)

    def _try_again(self) -> None:
        """Take over what other processes have ended or left, and leave them what they still work on."""
        busy, self._busy = self._busy, []
        for item in busy:
            holder = who_holds(self._plan.log_folder, item.group_name, item.run_name)
            if holder is None:
                self._tried_again.add(item)
                self._waiting.append(item)
            else:
                self._leave(item, holder)

    def _leave(self, item: Item, holder: str) -> None:
        self.outcome.elsewhere[item.run_name] = holder

    def look_again(self) -> None:
        """Put down how runs stand that other processes worked on, so that what is said agrees with the ranking."""
        for item in self._plan.all_runs:
            folder = RunFolder(item.folder)
            if item.run_name not in self.outcome.elsewhere:
                continue
            if folder.finished:
                del self.outcome.elsewhere[item.run_name]
                self.outcome.already_there.append(item.run_name)
                self._record.result(item)
            elif isinstance(item, RunPlan) and not is_locked(self._plan.log_folder, item.group_name, item.run_name):
                del self.outcome.elsewhere[item.run_name]
                self._fail(item, folder.failure_reason() or "stopped before its end; the same command continues")

    def _fail(self, item: Item, reason: str, how: str = "") -> None:
        self.outcome.failed[item.run_name] = reason
        self._say(item, f"{how}{reason}")

    def _say(self, item: Item, words: str) -> None:
        reporter = self._reporter.part(item.run_name) if self._several else self._reporter
        reporter.message(f"  {words}")
