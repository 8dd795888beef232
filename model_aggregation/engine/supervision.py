"""Runs in processes of their own, several at once: whatever happens to one of them ends that one only."""

import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from model_aggregation.engine.deaths import meaning_of, note_death
from model_aggregation.engine.places import Place
from model_aggregation.engine.task import Ending, Item, Task
from model_aggregation.engine.worker import GRACE_SECONDS, Order, main
from model_aggregation.errors import SettingsError
from model_aggregation.processes import process_context, start_server, without_main
from model_aggregation.progress import Reporter
from model_aggregation.results.run_folder import RunFolder

_TICK_SECONDS = 0.5
_OUTPUT_LINES = 40
_MORE_SECONDS = 5.0  # beyond the grace: a process that ended its run still has to end itself


class _RunProcess:
    """A process, the run it does, and the reporter that shows it."""

    def __init__(self, task: Task, place: Place, reporter: Reporter) -> None:
        self.item = task.item
        self.place = place
        self.ending: Ending | None = None
        self.has_begun = False
        self._reporter = reporter
        self._blocks: list[ExitStack] = []
        self._output = _Output(reporter)
        context = process_context()
        self.connection, theirs = context.Pipe()
        order = Order(task, place, self._output.path, dict(os.environ))
        self.process = context.Process(target=main, args=(theirs, order), name=task.item.run_name)
        try:
            with without_main(), theirs:
                self.process.start()
        except (OSError, EOFError) as error:  # no memory, too many processes; it or the server was killed meanwhile
            self.ending = Ending("failed", self._note_death(f"its process could not be started: {error}", []))

    def attend(self, begun: Callable[[Item], None]) -> bool:
        """Take what the process has sent, and return whether it has ended."""
        gone = self.process.exitcode is not None  # asked first: what it sent before is still there
        with suppress(EOFError, OSError):
            while self.connection.poll():
                kind, content = self.connection.recv()
                self._take(kind, content, begun)
        self._output.show()
        if self.ending is not None and self.process.pid is not None:
            self.process.join(_MORE_SECONDS)
        return gone or self.ending is not None

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
            case "ended":
                self.ending = content

    def tell_to_stop(self) -> None:
        """Let the run note that it is interrupted, and end."""
        with suppress(OSError):
            self.connection.send("stop")

    def close(self) -> Ending:
        """End what is left of the process, and return how its run ended."""
        exit_code = self.process.exitcode
        if exit_code is None and self.process.pid is not None:
            self.process.kill()
            self.process.join()
        while self._blocks:
            self._blocks.pop().close()
        self.connection.close()
        output = self._output.close()
        if self.ending is not None:
            return self.ending
        if RunFolder(self.item.folder).finished:  # it died of what came after its last file
            return Ending("finished")
        return Ending("failed", self._note_death(meaning_of(exit_code), output))

    def _note_death(self, reason: str, output: list[str]) -> str:
        return note_death(self.item, reason, pid=self.process.pid, output=output)


class Supervisor:
    """Starts a process for each run, at as many places as there are; used as a context, none survives it."""

    def __init__(self, places: list[Place], reporter: Reporter, begun: Callable[[Item], None]) -> None:
        if multiprocessing.current_process().daemon:
            raise SettingsError(
                "A daemonic process, as multiprocessing.Pool makes them, may start no processes for its runs: "
                "set jobs: 0 (--jobs 0) to do them inside it."
            )
        start_server()
        self._reporter = reporter
        self._begun = begun
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
        self._running.append(_RunProcess(task, place, reporter))

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
            process.tell_to_stop()
        deadline = time.monotonic() + GRACE_SECONDS + _MORE_SECONDS
        while self._running:
            late = time.monotonic() > deadline
            for process in [each for each in self._running if each.attend(self._begun) or late]:
                yield self._ended(process)
            self._wait()

    def _wait(self) -> None:
        handles = [each for process in self._running for each in (process.connection, process.process.sentinel)]
        if handles:
            wait(handles, _TICK_SECONDS)

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
            if line.strip():
                self._last.append(line)
                self._reporter.message(f"  {line}")

    def close(self) -> list[str]:
        """Say what is left, remove the file, and return the last lines."""
        self.show(to_the_end=True)
        with suppress(OSError):  # on Windows while a process of the run still has it open
            self.path.unlink()
        return list(self._last)
