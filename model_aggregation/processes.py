"""Starting processes of our own, and ending with the process that started this one.

A script without ``if __name__ == "__main__"`` may use the program too: no process of ours imports it.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import Any

from model_aggregation.startup import calm_idle_threads

PRELOADED = "model_aggregation.engine.preloaded"
_FORKS = sys.platform == "linux"  # macOS has a fork server too, but what torch loads there does not survive a fork


def process_context() -> Any:
    """Return how processes of runs are started: forked from a server that has all imported, elsewhere spawned."""
    return multiprocessing.get_context("forkserver" if _FORKS else "spawn")


def start_server() -> None:
    """Start the server that runs are forked from, if there is none yet; its imports go on beside what follows."""
    if not _FORKS:
        return
    from multiprocessing import forkserver, resource_tracker

    calm_idle_threads()
    resource_tracker.ensure_running()  # here, because it lets through the signal that is held back below
    forkserver.set_forkserver_preload([PRELOADED])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C must not break its imports
    try:
        with without_main():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the user's script from processes that are started in the block: they would import and so repeat it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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


def end_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_await_end, args=(parent.sentinel,), daemon=True).start()


def _await_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
