"""Runs in processes of their own, several at once: whatever happens to one of them ends that one only."""

import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from model_aggregation.engine.deaths import meaning_of, note_death
from model_aggregation.engine.members import Team
from model_aggregation.engine.places import Place
from model_aggregation.engine.task import Ending, Item, Task
from model_aggregation.engine.worker import GRACE_SECONDS, Trouble
from model_aggregation.errors import SettingsError
from model_aggregation.processes import start_server
from model_aggregation.progress import Reporter
from model_aggregation.results.run_folder import RunFolder

_TICK_SECONDS = 0.5
_OUTPUT_LINES = 40
_OF_NO_USE = "find_unused_parameters=True was specified"  # PyTorch's advice on networks that use all their layers
_MORE_SECONDS = 5.0  # beyond the grace: a process that ended its run still has to end itself
_BLINK_SECONDS = 0.05
_SETTLING_SECONDS = 1.5  # after the first sign that a rank failed, until all have told why

Gather = Callable[[Task, Place, Path], Team]
"""Starts the processes of a run, whose output goes to a file; see :meth:`Team.here`."""


class _RunProcess:
    """A run, the processes that do it, and the reporter that shows it."""

    def __init__(self, task: Task, place: Place, reporter: Reporter, gather: Gather) -> None:
        self.item = task.item
        self.place = place
        self.has_begun = False
        self._task = task
        self._reporter = reporter
        self._gather = gather
        self._begin()

    def _begin(self) -> None:
        """Start the processes of an attempt; there is another one only for lack of memory on several devices."""
        self.ending: Ending | None = None
        self.team: Team | None = None
        self._number = 0  # among the ranks that failed
        self._troubles: list[Trouble] = []
        self._settled_at: float | None = None
        self._blocks: list[ExitStack] = []
        self._output = _Output(self._reporter)
        self._began = time.monotonic()
        try:
            self.team = self._gather(self._task, self.place, self._output.path)
        except (OSError, EOFError) as error:
            self.ending = Ending("failed", self._note_death(f"its process could not be started: {error}", []))

    @property
    def handles(self) -> list[Any]:
        """What there may be news from; nothing where the reason of a failure is awaited, since news are known."""
        if self.team is None or self._settled_at is not None:
            return []
        return [self.team.leader.connection, self.team.leader.process.sentinel]

    def attend(self, begun: Callable[[Item], None]) -> bool:
        """Take what the processes have sent, and return whether the run has ended."""
        if self.team is None:
            return True
        leader, companions = self.team.leader, self.team.companions
        if companions is not None:  # asked first: what made them fail is in the leader's words already
            self._troubles += companions.troubles()
        gone = leader.process.exitcode is not None  # asked first: what it sent before is still there
        for kind, content in leader.heard():
            self._take(kind, content, begun)
        self._output.show()
        if not (gone or self.ending or self._troubles):
            return False
        if companions is not None and (self.ending is None or self.ending.state in ("failed", "begin again")):
            return self._has_settled() and not self._begins_again()
        if self.ending is not None:
            leader.process.join(_MORE_SECONDS)
        return True

    def _has_settled(self) -> bool:
        """Return whether all ranks had time to tell why they failed: when one fails, the others do."""
        now = time.monotonic()
        self._settled_at = self._settled_at or now + _SETTLING_SECONDS
        return now >= self._settled_at

    def _begins_again(self) -> bool:
        cause = self._cause()
        if cause is None or cause.lack is None:
            return False
        self._end_processes()
        self._output.close()
        seconds_left = self._task.seconds_left - (time.monotonic() - self._began)
        self._task = replace(self._task, lack=cause.lack, seconds_left=seconds_left)
        self._begin()
        return True

    def _cause(self) -> Trouble | None:
        """Return what happened to the rank that failed first; None for a run on one device."""
        if self.team is None or self.team.companions is None:
            return None
        if self.ending is not None:
            own = Trouble(self.ending.reason, self._number, self.ending.lack)
            return min([*self._troubles, own], key=lambda trouble: trouble.number)
        return min(self._troubles, key=lambda trouble: trouble.number, default=None)

    def _take(self, kind: str, content: Any, begun: Callable[[Item], None]) -> None:
        match kind:
            case "message":
                self._reporter.message(content)
            case "count":
                what, done, total, note, steady = content
                self._reporter.count(what, done, total, note, steady=steady)
            case "enter":
                self._blocks.append(ExitStack())
                self._blocks[-1].enter_context(self._reporter.working())
            case "leave":
                self._blocks.pop().close()
            case "begun":
                self.has_begun = True
                begun(self.item)
            case "number":
                self._number = content
            case "ended":
                self.ending = content

    def close(self) -> Ending:
        """End what is left of the processes, and return how their run ended."""
        cause = self._cause()
        exit_code = self._end_processes()
        output = self._output.close()
        failed = self.ending is not None and self.ending.state == "failed"
        if self.ending is not None and not (failed and cause in self._troubles):
            return self.ending
        if RunFolder(self.item.folder).finished:  # it died of what came after its last file
            return Ending("finished")
        if cause in self._troubles and (self.ending is not None or exit_code is None or cause.number == 0):
            return Ending("failed", self._note_death(cause.reason, list(cause.output) or output))
        return Ending("failed", self._note_death(meaning_of(exit_code), output))

    def _end_processes(self) -> int | None:
        exit_code = None if self.team is None else self.team.close()
        while self._blocks:
            self._blocks.pop().close()
        return exit_code

    def _note_death(self, reason: str, output: list[str]) -> str:
        pid = None if self.team is None else self.team.leader.process.pid
        return note_death(self.item, reason, pid=pid, output=output)


class Supervisor:
    """Starts a process for each run, at as many places as there are; used as a context, none survives it."""

    def __init__(
        self, places: list[Place], reporter: Reporter, begun: Callable[[Item], None], gather: Gather = Team.here
    ) -> None:
        if multiprocessing.current_process().daemon:
            raise SettingsError(
                "A daemonic process, as multiprocessing.Pool makes them, may start no processes for its runs: "
                "set jobs: 0 (--jobs 0) to do them inside it."
            )
        start_server()
        self._reporter = reporter
        self._begun = begun
        self._gather = gather
        self._free = list(reversed(places))
        self._parts = len(places) > 1
        self._running: list[_RunProcess] = []

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.close()

    @property
    def has_room(self) -> bool:
        """Whether another run may start now."""
        return bool(self._free)

    @property
    def is_busy(self) -> bool:
        """Whether some run goes on."""
        return bool(self._running)

    def start(self, task: Task) -> None:
        """Start a run at a free place."""
        reporter = self._reporter.part(task.item.run_name) if self._parts else self._reporter
        place = self._free.pop()
        self._running.append(_RunProcess(task, place, reporter, self._gather))

    def next_ending(self) -> tuple[Item, Ending]:
        """Wait until a run ends, and return how."""
        while True:
            for process in self._running:
                if process.attend(self._begun):
                    return self._ended(process)
            self._wait()

    def stop(self) -> Iterator[tuple[Item, Ending]]:
        """Tell all runs to stop, give them some time for it, and yield how each ended."""
        for process in self._running:
            if process.team is not None:
                process.team.leader.tell_to_stop()
        deadline = time.monotonic() + GRACE_SECONDS + _MORE_SECONDS
        while self._running:
            late = time.monotonic() > deadline
            for process in [each for each in self._running if each.attend(self._begun) or late]:
                yield self._ended(process)
            self._wait()

    def _wait(self) -> None:
        handles = [handle for process in self._running for handle in process.handles]
        if handles:
            wait(handles, _TICK_SECONDS)
        elif self._running:
            time.sleep(_BLINK_SECONDS)

    def _ended(self, process: _RunProcess) -> tuple[Item, Ending]:
        self._running.remove(process)
        self._free.append(process.place)
        return process.item, process.close()


class _Output:
    """What a run prints: a file of the system's, shown line by line, and kept to its last lines."""

    def __init__(self, reporter: Reporter) -> None:
        descriptor, name = tempfile.mkstemp(prefix="magg_run_", suffix=".txt")
        os.close(descriptor)
        self.path = Path(name)
        self._reporter = reporter
        self._last: deque[str] = deque(maxlen=_OUTPUT_LINES)
        self._position = 0

    def show(self, *, to_the_end: bool = False) -> None:
        """Say the lines that are new; one that is not complete waits, unless it is the last."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        if not to_the_end:
            new = new[: new.rfind(b"\n") + 1]
        self._position += len(new)
        for whole in new.decode("utf-8", errors="replace").split("\n"):
            line = whole.rstrip("\r").rpartition("\r")[2]  # what a bar drew over itself is not told
            if line.strip() and _OF_NO_USE not in line:
                self._last.append(line)
                self._reporter.message(f"  {line}")

    def close(self) -> list[str]:
        """Say what is left, remove the file, and return the last lines."""
        self.show(to_the_end=True)
        with suppress(OSError):  # on Windows while a process of the run still has it open
            self.path.unlink()
        return list(self._last)
