"""What the process that runs networks needs before it computes. Nothing here happens at import.

The figures behind these settings: without the allocator's, 40 to 49 % of the time of training small networks goes to
page faults; with idle OpenMP threads that spin, a neighbour on one core slows a network down up to 75 times.
"""

import ctypes
import gc
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from model_aggregation.errors import SettingsError

SPIN_COUNT = "GOMP_SPINCOUNT"
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"
FONT_FOLDER = "MPLCONFIGDIR"
_LOAD_SECONDS = 0.25
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage in the block: imports leave hardly any, and looking takes a quarter of their time.

    Only for processes of our own, because what is there at the end is never looked through again: it stays for good.
    A process forked later shares it with this one, unless a search had written into it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def calm_idle_threads() -> None:
    """Let idle OpenMP threads sleep soon; has an effect before torch loads only, and not where the user chose."""
    os.environ.setdefault(SPIN_COUNT, "1000")


def share_freed_memory() -> None:
    """Let tables take memory from where all else does; has an effect before pyarrow loads, not where the user chose.

    By itself Arrow keeps what it frees for its own next tables: about 2 KB for each image of a data set.
    """
    os.environ.setdefault(ARROW_POOL, "system")


def give_matplotlib_a_folder() -> None:
    """Let matplotlib keep its list of fonts among the temporary files where the home folder cannot be written.

    By itself it warns in each process and makes the list anew, which takes a second. Not where the user chose.
    """
    if FONT_FOLDER in os.environ or sys.platform != "linux":
        return
    wanted = [os.environ.get(f"XDG_{name.upper()}_HOME") or f"~/.{name}" for name in ("config", "cache")]
    refused = [folder for folder in wanted if not _may_be_written(Path(os.path.expanduser(folder)))]  # noqa: PTH111
    if refused:
        from model_aggregation.cache_folder import temporary_folder  # rarely needed

        with suppress(SettingsError):
            os.environ[FONT_FOLDER] = str(temporary_folder(refused[0]) / "matplotlib")


def _may_be_written(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110  (never raises)
    return folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def may_keep_freed_memory() -> bool:
    """Return whether :func:`keep_freed_memory` has an effect here."""
    return platform.libc_ver()[0] == "glibc"


def return_freed_memory() -> None:
    """Let glibc return to the system what is free: tables that came and went leave holes that others could use."""
    if may_keep_freed_memory():
        ctypes.CDLL(None).malloc_trim(0)


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next allocation instead of returning it.

    What was freed before, while tables were made, is returned once. The arithmetic is the same bit for bit; the peak of
    memory rises by about a tenth.
    """
    if not may_keep_freed_memory():
        return
    return_freed_memory()
    library = ctypes.CDLL(None)
    for option, value in {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 256 * 2**20}.items():  # -1: never trimmed
        library.mallopt(option, value)


class FreeCores:
    """The cores that this process may use and others leave free, watched since this object was made."""

    def __init__(self) -> None:
        import psutil

        self._begun, self._own = time.perf_counter(), time.process_time()
        psutil.cpu_percent(percpu=True)  # the next call tells the use since this one

    def count(self) -> int:
        """Return how many they are, at least 1, from a quarter of a second at least; what this process used is free."""
        import psutil

        time.sleep(max(0.0, self._begun + _LOAD_SECONDS - time.perf_counter()))
        used = psutil.cpu_percent(percpu=True)
        own = (time.process_time() - self._own) / (time.perf_counter() - self._begun)
        everywhere = list(range(len(used)))
        cores = everywhere if sys.platform == "darwin" else psutil.Process().cpu_affinity()  # macOS has no affinity
        idle = sum(1 - used[core] / 100 for core in cores) + own
        return max(1, min(round(idle), _quota() or len(cores)))


def _quota() -> int | None:
    """Return the whole cores that a container may use (cgroup version 2, then 1); None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, period = (folder / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        try:
            limit, period = ((folder / "cpu" / f"cpu.cfs_{word}_us").read_text("ascii") for word in ("quota", "period"))
        except OSError:
            return None
    return None if limit.strip() in ("max", "-1") else max(1, int(limit) // int(period))
