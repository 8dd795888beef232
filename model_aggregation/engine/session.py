"""One command that a launcher has started several times, on one or several machines.

The first process leads: it plans, writes and starts each run's first rank. The others wait for its word, and start a
rank of each run in a process of their own, so that what happens to one ends that run only.
"""

import itertools
import os
import pickle
import signal
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed

from model_aggregation.engine.members import Member, Neighbours, Team
from model_aggregation.engine.places import Place, launched_place
from model_aggregation.engine.task import Task
from model_aggregation.engine.worker import GRACE_SECONDS, Order, Trouble
from model_aggregation.launch import Launch, launch
from model_aggregation.processes import start_server
from model_aggregation.ranks import Seat, server
from model_aggregation.run_plan import PoolPlan

_TICK_SECONDS = 0.1
_MORE_SECONDS = 5.0  # beyond the grace of a run
_FAREWELL_SECONDS = 10.0
_CONNECT = timedelta(minutes=5)  # the processes of a launcher do not all start at once
_PIECE_BYTES = 4 * 2**20  # PyTorch's store refuses more than 8 MiB
_NAMES = (f"magg/{number}" for number in itertools.count())  # a script may give several commands


@dataclass(eq=False)
class Session:
    """What the processes of a launcher tell each other, in the store where they meet."""

    launch: Launch
    name: str = field(default_factory=lambda: next(_NAMES))
    attempts: int = 0

    def __post_init__(self) -> None:
        own = self.launch.serves and _SERVED is None
        store = _SERVED or server(self.launch.address, self.launch.port, own=own, timeout=_CONNECT)
        if own:
            _keep(store)
        self.store = torch.distributed.PrefixStore(self.name, store)

    def team(self, task: Task, place: Place, output: Path) -> Team:
        """Start the first rank of a run here, and let the other processes start theirs; see :meth:`Team.here`."""
        if isinstance(task.item, PoolPlan):
            return Team.here(task, place, output)
        attempt, self.attempts = self.attempts, self.attempts + 1
        self.tell(f"order/{attempt}", task)
        companions = Followers(self, attempt)
        try:
            return Team(Member(Order(task, place, output, dict(os.environ), self.seat(attempt))), companions)
        except (OSError, EOFError):
            companions.close()
            raise

    def tell(self, key: str, content: Any) -> None:
        """Put an object where the other processes find it; it counts when the last piece is there."""
        data = zlib.compress(pickle.dumps(content))
        pieces = range(0, len(data), _PIECE_BYTES)
        for number, start in enumerate(pieces):
            self.store.set(f"{key}/{number}", data[start : start + _PIECE_BYTES])  # type: ignore[arg-type]
        self.store.set(key, str(len(pieces)))

    def told(self, key: str) -> Any:
        """Return the object that another process has put there; None if it has not."""
        if not self.store.check([key]):
            return None
        pieces = [self.store.get(f"{key}/{number}") for number in range(int(self.store.get(key)))]
        return pickle.loads(zlib.decompress(b"".join(pieces)))  # noqa: S301  (from our own processes)

    def seat(self, attempt: int) -> Seat:
        """Return this process's seat in an attempt at a run."""
        launched = self.launch
        room = f"{self.name}/ranks/{attempt}"
        return Seat(launched.rank, launched.ranks, None, launched.address, launched.port, room)

    def end(self, exit_code: int) -> None:
        """Let the other processes end with this exit code, and wait a moment until they know."""
        with suppress(RuntimeError):
            self.store.set("over", str(exit_code))
            deadline = time.monotonic() + _FAREWELL_SECONDS
            while self.store.add("gone", 0) < self.launch.ranks - 1 and time.monotonic() < deadline:
                time.sleep(_TICK_SECONDS)


_SERVED: torch.distributed.TCPStore | None = None


def _keep(store: torch.distributed.TCPStore) -> None:
    """Serve until the process ends: a script may give several commands."""
    global _SERVED  # noqa: PLW0603
    _SERVED = store


class Followers:
    """The ranks of a run that other processes of the launcher have started."""

    def __init__(self, session: Session, attempt: int) -> None:
        self._session = session
        self._attempt = attempt
        self._silent = set(range(1, session.launch.ranks))

    def troubles(self) -> list[Trouble]:
        """Return what made ranks fail and was not told yet."""
        found = []
        for rank in sorted(self._silent):
            trouble: Trouble | None = self._session.told(f"trouble/{self._attempt}/{rank}")
            if trouble is not None:
                self._silent.remove(rank)
                found.append(trouble)
        return found

    def close(self) -> None:
        """Let the others end what is left of them."""
        with suppress(RuntimeError):
            self._session.store.set(f"done/{self._attempt}", "")


def leading_session() -> Session | None:
    """Return the session that this process leads; None if it was started alone."""
    launched = launch()
    return Session(launched) if launched is not None else None


def follow() -> int | None:
    """Take part in the command of another process, and return its exit code; None if this process leads or is alone."""
    launched = launch()
    if launched is None or launched.rank == 0:
        return None
    start_server()
    try:
        session = Session(launched)
        with _patient() as may_go_on:
            code = _follow(session, may_go_on)
            session.store.add("gone", 1)
    except RuntimeError:  # of the store: the process that leads is gone, and has said why
        return 1
    return code


def _follow(session: Session, may_go_on: Callable[[bool], bool]) -> int:
    """Do what the orders say, until all is over."""
    attempt = 0
    while may_go_on(False):
        if session.store.check(["over"]):
            return int(session.store.get("over"))
        task: Task | None = session.told(f"order/{attempt}")
        if task is not None:
            _take_part(session, attempt, task, may_go_on)
            attempt += 1
        time.sleep(_TICK_SECONDS)
    return 130


def _take_part(session: Session, attempt: int, task: Task, may_go_on: Callable[[bool], bool]) -> None:
    """Be a rank of one run until its first rank says that it is done."""
    rank = session.launch.rank
    descriptor, output = tempfile.mkstemp(prefix=f"magg_rank_{rank}_", suffix=".txt")
    os.close(descriptor)
    place = launched_place(task.plan.settings, session.launch.local_rank)
    order = Order(task, place, Path(output), dict(os.environ), session.seat(attempt))
    try:
        neighbours = Neighbours([order])
    except (OSError, EOFError) as error:
        trouble = Trouble(f"the process of device {rank + 1} could not be started: {error}", 0)
        session.tell(f"trouble/{attempt}/{rank}", trouble)
        return
    try:
        while may_go_on(True) and not session.store.check([f"done/{attempt}"]):
            for trouble in neighbours.troubles():
                session.tell(f"trouble/{attempt}/{rank}", trouble)
            time.sleep(_TICK_SECONDS)
    finally:
        neighbours.close()
        with suppress(OSError):
            Path(output).unlink()


@contextmanager
def _patient() -> Iterator[Callable[[bool], bool]]:
    """Give a function that says whether to go on: after a signal to end, in a run, as long as its first rank may."""
    asked: list[float] = []

    def may_go_on(in_a_run: bool) -> bool:
        return not asked or (in_a_run and time.monotonic() < asked[0] + GRACE_SECONDS + _MORE_SECONDS)

    if threading.current_thread() is not threading.main_thread():
        yield may_go_on
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: asked.append(time.monotonic())) for number in numbers]
    try:
        yield may_go_on
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
