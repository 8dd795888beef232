"""Reading many files at once, in worker processes; a few that have been read before, in this process.

A decoder that crashes takes its process along. In worker processes that costs the task at which it happens, and
nothing else. So files that nothing is known of are read in another process even if they are few: starting it takes a
third of a second.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import TypeVar

from model_aggregation.processes import obey_parent, starting_processes

Task = TypeVar("Task")
Result = TypeVar("Result")

_FEWEST_FILES_FOR_PROCESSES = 200
_MOST_WORKERS = 16
# spawn everywhere, so that Linux behaves as Windows and no lock of a thread is copied into a child
_CONTEXT = multiprocessing.get_context("spawn")


def map_files(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    files: int,
    workers: int | None,
    killed: Callable[[Task], Result],
    chunksize: int = 1,
    careful: bool = False,
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in order.

    Parameters
    ----------
    function
        A function of a module, so that it can be sent to another process.
    files
        Number of files behind the tasks; for up to 200 there is one process.
    workers
        Processes, default: the processor cores that may be used, at most 16.
    killed
        What to yield for a task that kills its process each time it is tried, or to raise.
    chunksize
        Tasks that a process takes at once.
    careful
        Let also one process be another than this one, as for files that may crash their decoder.
    """
    workers = min(usable_cores() if workers is None else max(1, workers), _MOST_WORKERS)
    if workers == 1 or files <= _FEWEST_FILES_FOR_PROCESSES:
        yield from map_alone(function, tasks, killed=killed) if careful and tasks else map(function, tasks)
        return
    done = 0
    while done < len(tasks):
        try:
            with _processes(workers) as pool:
                with starting_processes():
                    results = pool.map(function, tasks[done:], chunksize=chunksize)
                for result in results:
                    yield result
                    done += 1
        except BrokenProcessPool:  # by one of those in work, probably
            suspects = tasks[done : done + 2 * workers * chunksize]
            for result in map_alone(function, suspects, killed=killed):
                yield result
                done += 1


def map_alone(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, killed: Callable[[Task], Result]
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task in one other process, a new one after each task that kills it.

    Where no other process can be started at all, it is done in this one.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(_processes(1))
        if tasks and not _is_alive(pool):
            yield from map(function, tasks)
            return
        for task in tasks:
            try:
                with starting_processes():
                    waiting = pool.submit(function, task)
                result = waiting.result()
            except BrokenProcessPool:
                pool = stack.enter_context(_processes(1))
                result = killed(task)
            yield result


def _is_alive(pool: ProcessPoolExecutor) -> bool:
    try:
        with starting_processes():
            waiting = pool.submit(os.getpid)
        waiting.result()
    except BrokenProcessPool:
        return False
    return True


def _processes(count: int) -> ProcessPoolExecutor:
    """Return worker processes that end with this one."""
    with starting_processes():  # its locks start a process that keeps account of them
        return ProcessPoolExecutor(count, mp_context=_CONTEXT, initializer=obey_parent)


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
