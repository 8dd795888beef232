"""What it means when a run's process ends without a word, and what is written down about it."""

import signal
from collections.abc import Sequence

from model_aggregation.engine.task import Item
from model_aggregation.results.live import read_live
from model_aggregation.results.run_folder import RunFolder

_LOG_LINES = 10
_ACCESS_VIOLATION = 0xC0000005  # of Windows
_MEANINGS = {
    "SIGKILL": "usually the kernel's out-of-memory killer: try fewer --jobs, a smaller --batch-size or --image-size",
    "SIGSEGV": "a crash in compiled code, of a library or of a network's own",
    "SIGABRT": "compiled code gave up, often for want of memory",
    "SIGBUS": "often a full disk or a full /dev/shm",
    "SIGFPE": "an impossible number in compiled code",
    "SIGILL": "compiled code for another processor",
}


def meaning_of(exit_code: int | None) -> str:
    """Say how a process ended, in plain words.

    >>> meaning_of(-11)
    "killed by signal 11 (SIGSEGV): a crash in compiled code, of a library or of a network's own"
    >>> meaning_of(3)
    'its process ended by itself with code 3'
    """
    if exit_code is None:
        return "its process did not end in time and was ended"
    if exit_code == _ACCESS_VIOLATION:
        return "a crash in compiled code (access violation)"
    if exit_code >= 0:
        return f"its process ended by itself with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        return f"killed by signal {-exit_code}"
    meaning = _MEANINGS.get(name)
    return f"killed by signal {-exit_code} ({name})" + (f": {meaning}" if meaning else "")


def note_death(item: Item, reason: str, *, pid: int | None, output: Sequence[str]) -> str:
    """Write into the run folder what is known of a run whose process died, and return the reason in one line."""
    folder = RunFolder(item.folder)
    live = read_live(folder.progress_jsonl)
    facts = []
    if live is not None and live.pid == pid:
        facts.append(f"Last heard of at {live.time}: {live.words()}.")
        if live.peak_memory_bytes:
            facts.append(f"It had held {live.peak_memory_bytes / 2**20:.0f} MiB of memory at most until then.")
    log = folder.status_txt.read_text(encoding="utf-8", errors="replace") if folder.status_txt.is_file() else ""
    for title, lines in (("The end of its log", log.splitlines()[-_LOG_LINES:]), ("The end of its output", output)):
        facts += [f"\n{title}:", *lines] if lines else []
    try:
        folder.write_failure(reason, "\n".join(facts) + "\n")
    except OSError as trouble:  # a full disk may be behind it all
        return f"{reason} (error.txt could not be written: {trouble})"
    return reason
