"""Progress on its way from a run to people: to a file in its folder, and over a pipe to the process that leads."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from model_aggregation.processes import peak_memory_bytes
from model_aggregation.progress import Reporter, Stages
from model_aggregation.results.live import LiveFile, live_state
from model_aggregation.results.run_folder import RunFolder

_SECONDS_BETWEEN_LINES = 2.0
_SECONDS_BETWEEN_COUNTS = 0.2
_TRAINING = "epochs"  # what the training loop counts


class LiveReporter(Reporter):
    """Hands everything on, and leaves in the run folder where the run stands, every two seconds at most."""

    def __init__(self, reporter: Reporter, folder: RunFolder) -> None:
        self._reporter = reporter
        self._stages = Stages()
        self._facts: dict[str, float] = {}
        self._file = LiveFile(folder)
        self._written = time.monotonic()
        self._file.append(live_state(phase="starting", peak_memory_bytes=peak_memory_bytes()))

    def message(self, text: str) -> None:
        """Hand a sentence on."""
        self._reporter.message(text)

    def count(self, what: str, done: float, total: int, note: str = "", *, steady: bool = True) -> None:
        """Hand a count on, and write it down if the last line is old enough."""
        self._reporter.count(what, done, total, note, steady=steady)
        now = time.monotonic()
        stage = self._stages.move(now, what, done, total, note=note, steady=steady)
        if now - self._written >= _SECONDS_BETWEEN_LINES:
            self._written = now
            self._file.append(live_state(**self._state(now)))
        self._stages.put_away(stage)

    def measure(self, **facts: float) -> None:
        """Remember numbers for the next line."""
        self._facts |= facts

    @contextmanager
    def working(self) -> Iterator[Reporter]:
        """Forget at the end of the block what is still being counted in it."""
        outside = len(self._stages)
        with self._reporter.working():
            try:
                yield self
            finally:
                del self._stages[outside:]
                self._facts.clear()

    def remove(self) -> None:
        """Remove the file: the run has its results."""
        self._file.remove()

    def _state(self, now: float) -> dict[str, Any]:
        outer = self._stages[0]
        left = outer.seconds_left(now)
        state: dict[str, Any] = {
            "phase": outer.what, "done": round(outer.done, 3), "total": outer.total,
            "seconds_left": None if left is None else round(left, 1), "peak_memory_bytes": peak_memory_bytes(),
            **{name: round(value, 6) for name, value in self._facts.items()},
        }  # fmt: skip
        if outer.what == _TRAINING:
            state |= {"phase": "training", "epoch": min(int(outer.done) + 1, outer.total), "epochs": outer.total}
        return state


class SendingReporter(Reporter):
    """Sends what a reporter is told as (method, arguments); counts that follow fast upon another are left out."""

    def __init__(self, send: Callable[[tuple[str, Any]], None]) -> None:
        self._send = send
        self._sent: dict[str, float] = {}

    def message(self, text: str) -> None:
        """Send a sentence."""
        self._send(("message", text))

    def count(self, what: str, done: float, total: int, note: str = "", *, steady: bool = True) -> None:
        """Send a count if it is the first, the last or a fifth of a second after the one before."""
        now = time.monotonic()
        if done < total and now - self._sent.get(what, 0.0) < _SECONDS_BETWEEN_COUNTS:
            return
        self._sent[what] = now
        if done >= total:
            del self._sent[what]
        self._send(("count", (what, done, total, note, steady)))

    @contextmanager
    def working(self) -> Iterator[Reporter]:
        """Send where the block begins and ends."""
        self._send(("enter", None))
        try:
            yield self
        finally:
            self._send(("leave", None))
