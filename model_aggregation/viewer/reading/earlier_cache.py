"""Evaluations of earlier runs that the index does not hold, kept beside the viewer's other tables."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from model_aggregation.files import read_json, write_json
from model_aggregation.viewer.reading.disk_cache import DiskCache

Kept = dict[str, tuple[str, str]]
"""Stamp and content by run."""


class EarlierCache:
    """What was computed from the predictions of earlier runs; the viewer writes into no log folder.

    Parameters
    ----------
    log_folder
        Whose runs they are.
    """

    def __init__(self, log_folder: Path, cache: DiskCache) -> None:
        self._log_folder = log_folder
        self._cache = cache
        self._lock = Lock()
        self._known: dict[str, Kept] = {}
        self.computed = 0
        """How many runs were evaluated by this process: pages read before then lack some."""

    def of_group(self, group: str) -> Kept:
        """Return what was kept of a group's runs; empty where there is nothing or it is damaged."""
        with self._lock:
            if group not in self._known:
                self._known[group] = self._read(group)
            return dict(self._known[group])

    def _read(self, group: str) -> Kept:
        found = self._cache.find(self._key(group), ".json")
        if found is not None:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                return {run: (str(stamp), str(content)) for run, (stamp, content) in read_json(found).items()}
        return {}

    def keep(self, group: str, found: Mapping[str, tuple[str, str]]) -> None:
        """Add evaluations of a group's runs."""
        known = self.of_group(group) | dict(found)
        with self._lock:
            self._known[group] = known
            self.computed += len(found)
        self._cache.keep(self._key(group), ".json", lambda path: write_json(path, known))

    def _key(self, group: str) -> str:
        return f"earlier {self._log_folder.resolve()} {group}"
