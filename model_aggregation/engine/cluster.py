"""Runs on the machines of a Ray cluster: each is a task that has a process of its own there, as on one machine.

Data and log folder stand at the same paths everywhere, so that a run whose machine was lost goes on elsewhere from its
last epoch. Ray is imported when a cluster is used, and not before.
"""

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from model_aggregation.data.parallel import usable_cores
from model_aggregation.engine.deaths import note_death
from model_aggregation.engine.places import Place
from model_aggregation.engine.supervision import Supervisor
from model_aggregation.engine.task import Ending, Item, Task
from model_aggregation.engine.worker import GRACE_SECONDS
from model_aggregation.errors import SettingsError
from model_aggregation.plan import Plan
from model_aggregation.processes import safe_path
from model_aggregation.progress import Reporter
from model_aggregation.results.live import LiveState, read_live
from model_aggregation.results.locks import LOCKS, is_locked
from model_aggregation.results.run_folder import RunFolder

_TICK_SECONDS = 1.0
_MORE_SECONDS = 10.0  # beyond the grace of a run: its task has to come back
_LOCK_SECONDS = 150.0  # a file server forgets the locks of a dead machine after 90 s (NFS 4)
_MOST_LOSSES = 5
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Return:
    """What comes back from a machine: how the run ended, and what it said."""

    ending: Ending
    messages: tuple[str, ...]


@dataclass(eq=False)
class _RemoteRun:
    """A run that was given to Ray."""

    task: Task
    reporter: Reporter
    live_before: LiveState | None  # of an attempt that was stopped earlier
    losses: int = 0
    has_begun: bool = False
    block: ExitStack = field(default_factory=ExitStack)

    def watch(self, begun: Callable[[Item], None]) -> None:
        """Show how far the run is, as its folder tells."""
        live = read_live(RunFolder(self.task.item.folder).progress_jsonl)
        if live is None or live == self.live_before:
            return
        if not self.has_begun:
            self.has_begun = True
            self.block.enter_context(self.reporter.working())
            begun(self.task.item)
        if live.epochs is not None:
            self.reporter.count("epochs", live.done or 0, live.epochs)


class Cluster:
    """Gives as many runs to Ray as its machines can do at once; used as a context, no task survives it."""

    def __init__(self, plan: Plan, reporter: Reporter, begun: Callable[[Item], None]) -> None:
        self._settings = plan.settings
        self._reporter = reporter
        self._begun = begun
        self._running: dict[Any, _RemoteRun] = {}
        self._sign = plan.log_folder / LOCKS / f"cluster.{uuid4().hex}"  # seen by who sees the log folder
        self._said_waiting = False
        self._block = ExitStack()

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            self._ray = stack.enter_context(_connected(self._settings.address))
            self._needs = _needs(self._settings.device, self._settings.threads, self._machines())
            self._work = self._ray.remote(do_there).options(
                num_cpus=self._needs["CPU"], num_gpus=self._needs.get("GPU", 0), max_retries=0
            )
            self._sign.parent.mkdir(parents=True, exist_ok=True)
            self._sign.touch()
            stack.callback(self._sign.unlink, missing_ok=True)
            self._block = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._block.close()

    @property
    def has_room(self) -> bool:
        """Whether a machine could do another run now; one run may wait for a machine to come."""
        return not self._running or len(self._running) < _room(self._needs, self._machines())

    @property
    def is_busy(self) -> bool:
        """Whether some run goes on or waits for a machine."""
        return bool(self._running)

    def start(self, task: Task) -> None:
        """Give a run to Ray."""
        live = read_live(RunFolder(task.item.folder).progress_jsonl)
        self._submit(_RemoteRun(task, self._reporter.part(task.item.run_name), live))

    def next_ending(self) -> tuple[Item, Ending] | None:
        """Wait a second for a run to end; None: none did, but there may be a new machine."""
        ready, _ = self._ray.wait([*self._running], timeout=_TICK_SECONDS)
        for run in self._running.values():
            run.watch(self._begun)
        self._say_waiting()
        for reference in ready:
            run = self._running.pop(reference)
            ending = self._ending(reference, run)
            if ending is not None:
                run.block.close()
                return run.task.item, ending
        return None

    def stop(self) -> Iterator[tuple[Item, Ending]]:
        """Tell all runs to stop, give them some time for it, and yield how each ended."""
        references = [*self._running]
        for reference in references:
            self._ray.cancel(reference)
        _, late = self._ray.wait(references, num_returns=len(references), timeout=GRACE_SECONDS + _MORE_SECONDS)
        for reference in late:
            self._ray.cancel(reference, force=True)
        for run in self._running.values():
            run.block.close()
            finished = RunFolder(run.task.item.folder).finished
            yield run.task.item, Ending("finished" if finished else "interrupted")
        self._running.clear()

    def _machines(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _submit(self, run: _RemoteRun) -> None:
        self._running[self._work.remote(run.task, self._sign)] = run

    def _ending(self, reference: Any, run: _RemoteRun) -> Ending | None:
        """Return how a run ended; None if its machine was lost and it starts again elsewhere."""
        item = run.task.item
        errors = self._ray.exceptions
        try:
            back: Return = self._ray.get(reference)
        except errors.RayTaskError as error:
            return Ending("failed", note_death(item, f"could not be done: {error.cause}", pid=None, output=[]))
        except errors.RayError as error:
            if RunFolder(item.folder).finished:
                return Ending("finished")
            return self._lost(run, error)
        for message in back.messages:
            run.reporter.message(message)
        return back.ending

    def _lost(self, run: _RemoteRun, error: Exception) -> Ending | None:
        why = str(error).strip().partition("\n")[0]
        run.losses += 1
        if run.losses > _MOST_LOSSES:
            reason = f"its machine was lost {run.losses} times, at last: {why}"
            return Ending("failed", note_death(run.task.item, reason, pid=None, output=[]))
        run.reporter.message(f"  its machine was lost ({why}); it continues on another")
        self._submit(run)
        return None

    def _say_waiting(self) -> None:
        """Say once that no machine is left, each time that it happens."""
        waits = not _room(self._needs, self._machines())
        if waits and not self._said_waiting:
            self._reporter.message(f"no machine of the cluster has {_words(self._needs)} now; waiting for one")
        self._said_waiting = waits


def do_there(task: Task, sign: Path) -> Return:
    """Do a run on this machine, in a process of its own; called by Ray in a process of its.

    Raises
    ------
    FileNotFoundError
        If this machine does not see the data or the log folder; nothing was done.
    """
    unseen = [folder for folder, path in _shared_paths(task, sign) if not path.exists()]
    if unseen:
        raise FileNotFoundError(
            f"the machine {socket.gethostname()} does not see {' and '.join(unseen)}; data and log folder must be at "
            "the same paths on every machine"
        )
    if Path(task.started_in).is_dir():
        os.chdir(task.started_in)
    deadline = time.monotonic() + _LOCK_SECONDS
    item = task.item
    while is_locked(task.plan.log_folder, item.group_name, item.run_name) and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)  # who did it before, and was cut off, may not be gone yet
    told = _Told()
    with Supervisor([Place(jobs=1)], told, lambda _: None) as supervisor:
        supervisor.start(task)
        try:
            _, ending = supervisor.next_ending()
        except KeyboardInterrupt:  # what Ray makes of a cancellation
            ((_, ending),) = supervisor.stop()
    return Return(ending, tuple(told.messages))


def _shared_paths(task: Task, sign: Path) -> Iterator[tuple[str, Path]]:
    """Yield what must be seen here, in words, and the path that shows it."""
    yield f"the log folder {task.plan.log_folder}", sign
    yield f"the data {task.plan.table.root}", task.plan.table.root


class _Told(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def _needs(device: str, threads: int | None, machines: list[dict[str, float]]) -> dict[str, float]:
    """Return what a run takes of a machine, in Ray's words: its threads, and one GPU where it computes on one.

    Without ``threads`` a run gets as many cores as the smallest machine that may do it has.

    Raises
    ------
    SettingsError
        If no machine has that.
    """
    on_gpu = device == "cuda" or (device == "auto" and any(machine.get("GPU", 0) >= 1 for machine in machines))
    needs: dict[str, float] = {"CPU": threads or 1} | ({"GPU": 1.0} if on_gpu else {})
    fitting = [machine for machine in machines if _room(needs, [machine])]
    if not fitting:
        raise SettingsError(f"--engine ray: no machine of the cluster has {_words(needs)} for a run.")
    if threads is None:
        needs["CPU"] = min(machine["CPU"] // (machine["GPU"] if on_gpu else 1) or 1 for machine in fitting)
    return needs


def _room(needs: dict[str, float], machines: list[dict[str, float]]) -> int:
    """Return how many runs the machines can do at once."""
    return sum(min(int(machine.get(kind, 0) // amount) for kind, amount in needs.items()) for machine in machines)


def _words(needs: dict[str, float]) -> str:
    return f"{needs['CPU']:g} cores" + (" and a GPU" if "GPU" in needs else "")


@contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Connect to a cluster, or without an address start one of this machine alone; tell nobody about it.

    Raises
    ------
    SettingsError
        If no cluster answers.
    """
    if address is not None:
        check_address(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns that this will be so
    import ray

    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        how |= {"num_cpus": usable_cores(), "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    elsewhere = Path(tempfile.mkdtemp(prefix="magg_ray_"))
    try:
        with safe_path(), chdir(elsewhere):  # Ray's processes import from where it starts and from a script's folder
            ray.init(address or "local", **how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"--address {address}: expected a Ray cluster there" if address else "--engine ray: it did not start"
        raise SettingsError(f"{where} ({error}).") from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there
        yield ray
    finally:
        ray.shutdown()
        with suppress(OSError):  # on Windows while a process that ends stands in it
            elsewhere.rmdir()


def check_address(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself would try for minutes.

    Raises
    ------
    SettingsError
        If it is not 'auto' or HOST:PORT, or if there is no server.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"--address {address}: expected HOST:PORT, such as 10.0.0.1:6379, or auto.")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise SettingsError(
            f"--address {address}: expected a Ray cluster there, but nothing answers ({error}); start one with 'ray "
            f"start --head --port {port}' on {host}."
        ) from error
