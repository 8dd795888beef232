"""Runs in this process, one after the other: for debuggers, and where no process may be started."""

from collections.abc import Callable, Iterator

from model_aggregation.engine.task import Ending, Item, Task, perform
from model_aggregation.progress import Reporter


class Here:
    """Does one run at a time, in the way of a :class:`Supervisor`; a crash ends everything."""

    def __init__(self, reporter: Reporter, begun: Callable[[Item], None]) -> None:
        self._reporter = reporter
        self._begun = begun
        self._task: Task | None = None

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""

    @property
    def has_room(self) -> bool:
        """Whether another run may start now."""
        return self._task is None

    @property
    def is_busy(self) -> bool:
        """Whether some run waits to be done."""
        return self._task is not None

    def start(self, task: Task) -> None:
        """Take a run; it is done when its ending is asked for."""
        self._task = task

    def next_ending(self) -> tuple[Item, Ending]:
        """Do the run that was taken, and return how it ended."""
        if self._task is None:
            raise ValueError("no run was started")
        item = self._task.item
        with self._reporter.working():
            ending = perform(self._task, self._reporter, lambda: self._begun(item))
        self._task = None
        if ending.state == "interrupted":
            raise KeyboardInterrupt
        return item, ending

    def stop(self) -> Iterator[tuple[Item, Ending]]:
        """Yield nothing: what was done here has been stopped already."""
        yield from ()
