"""Reading many files at once: in worker processes when there are many, in this process when there are few."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from model_aggregation.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

_FEWEST_FILES_FOR_PROCESSES = 200
_MOST_WORKERS = 16


def map_files(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, files: int, workers: int | None, chunksize: int = 1
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in order.

    Parameters
    ----------
    function
        A function of a module, so that it can be sent to another process.
    files
        Number of files behind the tasks; up to 200 are read in this process.
    workers
        Processes, default: the processor cores that may be used, at most 16.
    chunksize
        Tasks that a process takes at once.

    Raises
    ------
    DataError
        When a reading process dies, which a broken decoder can cause.
    """
    workers = min(usable_cores() if workers is None else max(1, workers), _MOST_WORKERS)
    if workers == 1 or files <= _FEWEST_FILES_FOR_PROCESSES:
        yield from map(function, tasks)
        return
    # spawn everywhere, so that Linux behaves as Windows and no lock of a thread is copied into a child
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(function, tasks, chunksize=chunksize)
    except BrokenProcessPool as reason:
        raise DataError(
            "A process that read images died, perhaps from a damaged file or for want of memory; "
            "read them in one process (--workers 1) to see at which file."
        ) from reason


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
