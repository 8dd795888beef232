"""What a person sees while the program works: bars on a terminal, plain lines elsewhere.

One object, made where the output goes, is handed down; the layers below say what happens and know nothing of bars.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_UPDATES = 0.2


class Reporter:
    """Says nothing; the base for a person's output and the one to use from Python."""

    def message(self, text: str) -> None:
        """Say one sentence."""

    def count(self, what: str, done: int, total: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` units of ``what`` are done."""

    @contextmanager
    def working(self) -> Iterator["Reporter"]:
        """Show progress inside the block."""
        yield self


class ConsoleReporter(Reporter):
    """Writes to a console: live bars if it is a terminal, one line per finished stage elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._task = None
        self._what = ""
        self._last = 0.0

    def message(self, text: str) -> None:
        """Print one line above the bars."""
        self.console.print(text, markup=False)

    def count(self, what: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of ``what``; a finished bar disappears and leaves no line."""
        now = time.monotonic()
        if self._bars is None or (what == self._what and done < total and now - self._last < _SECONDS_BETWEEN_UPDATES):
            return
        self._last = now
        if what != self._what:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._what, self._task = what, self._bars.add_task(what, total=total, note="")  # type: ignore[assignment]
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total, note=note)
            if done >= total:
                self._bars.remove_task(self._task)
                self._what, self._task = "", None

    @contextmanager
    def working(self) -> Iterator[Reporter]:
        """Show bars inside the block, if the console is a terminal."""
        if not self.console.is_terminal or self._bars is not None:
            yield self
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            self._bars = bars
            try:
                yield self
            finally:
                self._bars, self._task, self._what = None, None, ""
