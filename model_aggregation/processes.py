"""Starting processes of our own, and ending with the process that started this one.

A script without ``if __name__ == "__main__"`` may use the program too: no process of ours imports it. Nor does one
import anything else from the working directory, where a file may be called ``torch.py`` or ``model_aggregation.py``.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from threading import RLock, Thread, current_thread, main_thread
from types import ModuleType
from typing import Any

from model_aggregation.standard_streams import open_standard_streams
from model_aggregation.startup import calm_idle_threads, give_matplotlib_a_folder, share_freed_memory

PRELOADED = "model_aggregation.preloaded"
SAFE_PATH = "PYTHONSAFEPATH"
"""Set to anything, it keeps the working directory out of the path of a Python that starts (from 3.11 on)."""

_HOME = str(Path(__file__).parents[1])  # where this package lies
_ONE_AT_A_TIME = RLock()  # path and environment belong to all threads
_FORKS = sys.platform == "linux"  # macOS has a fork server too, but what torch loads there does not survive a fork


def process_context() -> Any:
    """Return how processes of runs are started: forked from a server that has all imported, elsewhere spawned."""
    return multiprocessing.get_context("forkserver" if _FORKS else "spawn")


def start_server(*libraries: str) -> None:
    """Start the server that runs are forked from, if there is none yet; its imports go on beside what follows.

    ``libraries`` names what it imports beside what every run needs.
    """
    if not _FORKS:
        return
    from multiprocessing import forkserver

    open_standard_streams()
    calm_idle_threads()
    share_freed_memory()
    give_matplotlib_a_folder()
    forkserver.set_forkserver_preload([PRELOADED, *libraries])
    with starting_processes():
        forkserver.ensure_running()


@contextmanager
def starting_processes() -> Iterator[None]:
    """Start processes in the block whole: not with the user's script, and not half.

    They would import the script and so repeat it. Ctrl-C and the system's request to end reach this process after
    the block, and Ctrl-C does not reach the new ones while they import. They import nothing from the working directory.
    """
    with safe_path():
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with _signals_later():
                yield
        finally:
            sys.modules["__main__"] = main


def path_without_working_directory() -> list[str]:
    """Return ``sys.path`` without the working directory, unless this package lies there and nowhere else."""
    return _elsewhere(sys.path)


def _elsewhere(paths: list[str]) -> list[str]:
    return [path for path in paths if path == _HOME or not _is_here(path)]


def _is_here(path: str) -> bool:
    """Return whether a path, however it is written, is the working directory; an empty one is."""
    try:
        return Path(path).samefile(os.curdir)
    except (OSError, ValueError):  # there is no such folder, or no such name
        return False


@contextmanager
def safe_path() -> Iterator[None]:
    """Let Python processes that are started in the block look for modules where this program's own are installed.

    What is started as ``python -c`` would look into the working directory first, and what is spawned takes over the
    path of this process. Afterwards the environment is as before: what the user starts is none of ours.
    """
    with _ONE_AT_A_TIME:
        path, before = sys.path, {name: os.environ.get(name) for name in (SAFE_PATH, "PYTHONPATH")}
        sys.path = path_without_working_directory()
        os.environ[SAFE_PATH] = "1"
        more = _elsewhere((before["PYTHONPATH"] or "").split(os.pathsep))
        used_from_its_source = [_HOME] if _is_here(_HOME) else []
        os.environ["PYTHONPATH"] = os.pathsep.join([*used_from_its_source, *more])
        try:
            yield
        finally:
            sys.path = path
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _signals_later() -> Iterator[None]:
    if current_thread() is not main_thread():  # no signal disturbs another one
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda came_now, _: came.append(came_now)) for number in numbers]
    try:
        with _hidden_from_children():
            yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


@contextmanager
def _hidden_from_children() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # before, because its start lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is held back is so in children too
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let the system's request to end (SIGTERM) do what Ctrl-C does."""
    if current_thread() is not main_thread():  # only the main one may
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def obey_parent() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one is gone, killed perhaps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_await_end, args=(parent.sentinel,), daemon=True).start()


def _await_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far.

    ``getrusage`` of Linux begins with that of the process that started this one, so it is asked only where no other
    word is to be had.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
