"""The numbers of a run as pages show them: made again where they are not what the run wrote, and then kept a while."""

from typing import Any

from model_aggregation.analysis.stored_numbers import metrics_of
from model_aggregation.results.checksums import changed_files, evaluated_files
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading.memory import Memory, Stamp, stamp_of

_MEMORY = Memory(64)

Numbers = tuple[dict[str, Any], tuple[str, ...]]


def stamp_of_numbers(folder: RunFolder) -> Stamp:
    """Return what changes with the numbers of a run and with what is to be said of them."""
    files = evaluated_files(folder, folder.external_sets())
    return stamp_of(folder.metrics_json, folder.checksums, *files)


def numbers_of_run(folder: RunFolder) -> Numbers:
    """Return the numbers of a finished run and what is to be said of them; ResultsError where there are none."""

    def read() -> Numbers:
        metrics, remarks = metrics_of(folder)
        changed = changed_files(folder, folder.external_sets())
        return metrics, (*remarks, *([f"not what the run wrote: {', '.join(changed)}"] if changed else []))

    return _MEMORY.get(str(folder.path), stamp_of_numbers(folder), read)
