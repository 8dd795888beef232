"""The folder of image stores: how much it may hold, what leaves first, and what is in it."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from model_aggregation.cache_folder import default_cache_folder
from model_aggregation.files import read_json

_RESERVE_BYTES = 500 * 2**20  # disk space that stores leave free


@dataclass(frozen=True)
class CachedStore:
    """One file of the cache: the images in it, their rule, and when it was used last; unfinished ones have no facts."""

    path: Path
    bytes: int
    used: datetime
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether a run can use it; the rest was left by a build that was stopped."""
        return bool(self.facts)


@dataclass(frozen=True)
class Cache:
    """Where image stores lie and how many bytes they may take together (None: as many as the disk has)."""

    folder: Path = field(default_factory=default_cache_folder)
    limit_bytes: int | None = None

    def make_room(self, needed: int, *, keep: Collection[Path] = ()) -> bool:
        """Remove the stores used least recently until ``needed`` bytes fit; return whether they do."""
        if self.limit_bytes is not None and needed > self.limit_bytes:
            return False
        stores = sorted((store for store in cached_stores(self.folder) if store.finished), key=lambda store: store.used)
        held = sum(store.bytes for store in stores)
        for store in stores:
            if self._fits(needed, held):
                break
            if self.limit_bytes is not None and store.path not in keep:
                remove(store.path)
                held -= 0 if store.path.exists() else store.bytes
        return self._fits(needed, held)

    def _fits(self, needed: int, held: int) -> bool:
        if self.limit_bytes is not None and held + needed > self.limit_bytes:
            return False
        return shutil.disk_usage(self.folder).free >= needed + _RESERVE_BYTES


def cached_stores(folder: Path) -> list[CachedStore]:
    """Return every store in a cache folder, unfinished ones too, the most recently used first."""
    return sorted(_stores(folder), key=lambda store: store.used, reverse=True)


def _stores(folder: Path) -> Iterator[CachedStore]:
    for path in folder.glob("*.npy") if folder.is_dir() else ():
        if path.name.endswith(".marks.npy"):
            continue
        with suppress(OSError, ValueError):  # another process may remove it just now
            facts_file = path.with_suffix(".json")
            facts = read_json(facts_file) if facts_file.is_file() else {}
            used = (facts_file if facts else path).stat().st_mtime
            yield CachedStore(path, path.stat().st_size, datetime.fromtimestamp(used), facts)


def remove(path: Path) -> None:
    """Remove a store with what belongs to it; of one that a process holds open (Windows) the array stays, unused."""
    stem = path.name.partition(".")[0]
    with suppress(OSError):
        for ending in (".json", ".npy", ".part.npy", ".marks.npy"):  # without its facts an array counts for nothing
            path.with_name(stem + ending).unlink(missing_ok=True)
