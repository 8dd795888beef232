"""What a person sees while the program works: nested bars on a terminal, plain lines elsewhere.

One object, made where the output goes, is handed down; the layers below say what happens and know nothing of bars.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SILENCE_SECONDS = 10
_SHARE_PER_LINE = 0.1

Clock = Callable[[], float]


class Reporter:
    """Says nothing; the base for a person's output and the one to use from Python."""

    def message(self, text: str) -> None:
        """Say one sentence."""

    def count(self, what: str, done: float, total: int, note: str = "", *, steady: bool = True) -> None:
        """Say that ``done`` of ``total`` units of ``what`` are done.

        What is counted before an earlier ``what`` is complete belongs inside it. ``steady`` units take about as long
        as each other, so that the time left can be told; ``done`` may hold a part of a unit.
        """

    def measure(self, **facts: float) -> None:
        """Tell numbers as they stand now: ``loss``, ``accuracy``, ``images_per_second``."""

    def part(self, name: str) -> "Reporter":  # noqa: ARG002  (of those who say something)
        """Return a reporter for one of several things that go on at once."""
        return self

    @contextmanager
    def working(self) -> Iterator["Reporter"]:
        """Show progress inside the block; whatever is still being counted at its end, failed or not, is put away."""
        yield self


@dataclass
class Stage:
    """Something being counted; times in seconds of one clock."""

    what: str
    total: int
    steady: bool
    began: float
    moved: float
    first: float  # done when it began: a training that continues has done some already
    done: float
    said: float  # done when a line last told of it
    note: str = ""

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until all is done at the speed so far, or None if nothing was done yet."""
        since = self.done - self.first
        if not self.steady or since <= 0:
            return None
        each = (self.moved - self.began) / since
        return max(0.0, each * (self.total - self.done) - (now - self.moved))


class Stages(list[Stage]):
    """What is being counted, the outermost first."""

    def move(self, now: float, what: str, done: float, total: int, *, note: str, steady: bool) -> Stage:
        """Return the stage of ``what``, moved to ``done``; a new one stands inside the others."""
        stage = next((stage for stage in self if stage.what == what), None)
        if stage is None:
            stage = Stage(what, total, steady, began=now, moved=now, first=done, done=done, said=done)
            self.append(stage)
        if done != stage.done:
            stage.done, stage.moved = done, now
        stage.note = note
        return stage

    def put_away(self, stage: Stage) -> None:
        """Forget a stage, with what is counted inside it, if it is complete."""
        if stage.done >= stage.total:
            del self[self.index(stage) :]


class ConsoleReporter(Reporter):
    """Writes to a console: live bars if it is a terminal; elsewhere lines, and after some silence how far it is."""

    def __init__(self, console: Console | None = None, *, clock: Clock = time.monotonic) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.clock = clock
        self._stages = Stages()
        self._parts: list[_Part] = []
        self._live: Live | None = None
        self._last_line = clock()

    def message(self, text: str) -> None:
        """Print one line, above the bars if there are any."""
        self._last_line = self.clock()
        self.console.print(text, markup=False)

    def count(self, what: str, done: float, total: int, note: str = "", *, steady: bool = True) -> None:
        """Move the bar of ``what``; a complete one disappears and leaves no line."""
        stage = self._stages.move(self.clock(), what, done, total, note=note, steady=steady)
        self.break_silence(self._stages, stage)
        self._stages.put_away(stage)

    def part(self, name: str) -> Reporter:
        """Return a reporter whose messages begin with the name, and whose bars are a single line."""
        return _Part(self, name, self._parts)

    def break_silence(self, stages: Stages, stage: Stage, name: str = "") -> None:
        """Print a line for the innermost stage if it is long; complete ones only if they were told of before."""
        if self._live is not None:
            return
        silent = self.clock() - self._last_line >= _SILENCE_SECONDS
        further = stage.done - stage.said >= _SHARE_PER_LINE * stage.total
        ends = stage.done >= stage.total and stage.said > stage.first
        if stage is stages[-1] and (ends or (silent and further)):
            stage.said = stage.done
            where = "; ".join(f"{each.what} {int(each.done)}/{each.total}" for each in stages)
            self.message(f"  {name}{where}" + (f"; {stage.note}" if stage.note else ""))

    @contextmanager
    def working(self) -> Iterator[Reporter]:
        """Show bars inside the block, if the console is a terminal."""
        outside = len(self._stages)
        try:
            if self._live is not None or not self.console.is_terminal or self.console.is_dumb_terminal:
                yield self
                return
            with Live(get_renderable=self.bars, console=self.console, transient=True, refresh_per_second=5) as live:
                self._live = live
                try:
                    yield self
                finally:
                    self._live = None
        finally:
            del self._stages[outside:]

    def bars(self) -> Constrain:
        """Return what is being counted, one bar below the other; on a narrow terminal the notes are shortened."""
        now = self.clock()
        grid = Table.grid(padding=(0, 1))
        for justify in ("left", "left", "right", "right"):
            grid.add_column(justify=justify, no_wrap=True)
        grid.add_column()
        bar_width = min(40, max(8, self.console.width - 72))
        rows = [(stage.what, stage, stage.note) for stage in tuple(self._stages)]  # drawn by a thread of its own
        rows += [row for part in tuple(self._parts) for row in part.rows()]
        for name, stage, note in rows:
            seconds = stage.seconds_left(now)
            grid.add_row(
                Text(name),
                ProgressBar(total=stage.total, completed=stage.done, width=bar_width),
                f"{int(stage.done):{len(str(stage.total))}}/{stage.total}",
                "" if seconds is None else f"{timedelta(seconds=round(seconds))} left",
                Text(note, no_wrap=True, overflow="ellipsis"),
            )
        return Constrain(grid, self.console.width - 3)  # a terminal's own ^C must not begin a new line


class _Part(Reporter):
    """One of several things that a console shows at once, from its first count to the end of its block."""

    def __init__(self, console: ConsoleReporter, name: str, shown: "list[_Part]") -> None:
        self._console = console
        self._name = name
        self._shown = shown
        self._stages = Stages()

    def message(self, text: str) -> None:
        self._console.message(f"  {self._name}: {text.strip()}")

    def count(self, what: str, done: float, total: int, note: str = "", *, steady: bool = True) -> None:
        stage = self._stages.move(self._console.clock(), what, done, total, note=note, steady=steady)
        self._console.break_silence(self._stages, stage, f"{self._name}: ")
        self._stages.put_away(stage)

    @contextmanager
    def working(self) -> Iterator[Reporter]:
        outside = len(self._stages)
        if not outside and self not in self._shown:
            self._shown.append(self)
        try:
            yield self
        finally:
            del self._stages[outside:]
            if not outside and self in self._shown:
                self._shown.remove(self)

    def rows(self) -> list[tuple[str, Stage, str]]:
        """Return name, outermost stage and note of the line, none while nothing is counted."""
        stages = tuple(self._stages)
        if not stages:
            return []
        inner = stages[-1]
        if len(stages) == 1:
            return [(self._name, inner, inner.what)]
        return [(self._name, stages[0], inner.note or f"{inner.what} {int(inner.done)}/{inner.total}")]
