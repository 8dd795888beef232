"""What was read lately, kept as long as its files have not changed."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock, RLock
from typing import Any, TypeVar

Value = TypeVar("Value")
Stamp = tuple[Any, ...]


def stamp_of(*paths: Path) -> Stamp:
    """Return what changes when one of the files changes, appears or goes: size and time of each.

    >>> stamp_of(Path("no such file"))
    (None,)
    """
    return tuple(_file_stamp(path) for path in paths)


def _file_stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class Memory:
    """The values used last, at most ``entries``; each is made once, also when several threads ask at the same time."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: OrderedDict[Hashable, tuple[Stamp, Any]] = OrderedDict()
        self._making: dict[Hashable, RLock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, stamp: Stamp, make: Callable[[], Value]) -> Value:
        """Return the value of ``key`` as of ``stamp``; made by ``make`` when there is none."""
        with self._lock:
            making = self._making.setdefault(key, RLock())
        with making:
            with self._lock:
                known = self._values.get(key)
                if known is not None and known[0] == stamp:
                    self._values.move_to_end(key)
                    return known[1]
            value = make()
            with self._lock:
                self._values[key] = (stamp, value)
                self._values.move_to_end(key)
                while len(self._values) > self._entries:
                    self._making.pop(self._values.popitem(last=False)[0], None)
        return value
