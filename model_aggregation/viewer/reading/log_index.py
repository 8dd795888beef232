"""The index as the viewer reads it: never written, never waited for.

An index that is missing, of another version, locked or damaged is made anew in a folder of our own, from the run
folders; a copy of its rows of the earlier program goes along where it can be read.
"""

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from model_aggregation.analysis.stored_numbers import metrics_of
from model_aggregation.errors import ResultsError
from model_aggregation.results.index import EARLIER_CSV_NAME, INDEX_NAME, Index
from model_aggregation.results.index_schema import SCHEMA_VERSION
from model_aggregation.viewer.reading.earlier_cache import EarlierCache
from model_aggregation.viewer.reading.memory import Memory, Stamp, stamp_of

_BUSY_SECONDS = 0.5
_EARLIER_SECONDS = 2.0
"""Earlier runs that could not be evaluated within this time say so; looking again goes on with them."""

Answer = TypeVar("Answer")


class _UnusableIndexError(ResultsError):
    """The index cannot be read as it lies there; an empty message: it is of another form."""


class ReadIndex(Index):
    """An index that is only read; evaluations of earlier runs that it lacks are kept elsewhere."""

    earlier_seconds = _EARLIER_SECONDS

    def __init__(self, log_folder: Path, cache: EarlierCache) -> None:
        super().__init__(log_folder)
        self._cache = cache

    def earlier_evaluations(self, group_name: str) -> dict[str, tuple[str, str]]:
        """Return stamp and content of what the predictions of a group's earlier runs give, by run."""
        return super().earlier_evaluations(group_name) | self._cache.of_group(group_name)

    def keep_earlier_evaluations(self, group_name: str, found: Mapping[str, tuple[str, str]]) -> None:
        """Keep them where the viewer may write."""
        self._cache.keep(group_name, found)

    def query(self, sql: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()


class _FoundIndex(ReadIndex):
    """The index where it lies, opened for reading."""

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path)) as connection:
                if not _is_current(connection):
                    raise _UnusableIndexError("")
                yield connection
        except sqlite3.Error as error:
            raise _UnusableIndexError(str(error)) from error


class _OwnCopy(ReadIndex):
    """An index in a folder of our own, made from the run folders of the log folder."""

    def __init__(self, log_folder: Path, cache: EarlierCache, place: Path) -> None:
        super().__init__(log_folder, cache)
        self.path = place / INDEX_NAME
        self.earlier_csv = place / EARLIER_CSV_NAME


class LogIndex:
    """Asks the index of a log folder, or a copy made of it."""

    def __init__(self, log_folder: Path, cache: EarlierCache) -> None:
        self._cache = cache
        self._found = _FoundIndex(log_folder, cache)
        self._memory = Memory(1)
        self._lock = Lock()
        self.log_folder = log_folder

    def stamp(self) -> Stamp:
        """Return what changes with the index, and with what was computed of earlier runs."""
        path = self._found.path
        return (*stamp_of(path, path.with_name(f"{path.name}-wal")), self._cache.computed)

    def ask(self, question: Callable[[ReadIndex], Answer]) -> tuple[Answer, tuple[str, ...]]:
        """Return the answer of the index, and a note when it does not come from the index itself."""
        try:
            if not self._found.path.is_file():
                raise _UnusableIndexError(f"There is no index {INDEX_NAME}")
            return question(self._found), ()
        except _UnusableIndexError as error:
            reason = str(error)
        copied = self._memory.get("copy", (self.stamp()[:-1], reason, self._folders()), self._copy)
        with self._lock:
            answer = question(copied)
        note = f"{reason}; this was read from the run folders. 'magg index' makes the index anew."
        return answer, (note,) if reason else ()

    def _folders(self) -> Stamp:
        log_folder = self._found.log_folder
        return stamp_of(log_folder, *sorted(path for path in log_folder.iterdir() if path.is_dir()))

    def _copy(self) -> ReadIndex:
        place = Path(tempfile.mkdtemp(prefix="magg_view_"))
        copy = _OwnCopy(self._found.log_folder, self._cache, place)
        weakref.finalize(copy, shutil.rmtree, place, ignore_errors=True)
        with suppress(OSError):
            shutil.copyfile(self._found.earlier_csv, copy.earlier_csv)
        try:
            with closing(connect(self._found.path)) as source, closing(sqlite3.connect(copy.path)) as target:
                if source.execute("PRAGMA user_version").fetchone()[0] <= SCHEMA_VERSION:
                    source.backup(target)
        except sqlite3.Error:
            copy.path.unlink(missing_ok=True)
        copy.rebuild(metrics_of)
        return copy


def connect(path: Path) -> sqlite3.Connection:
    """Open a database for reading; it is read even where its folder cannot be written."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        wal = path.with_name(f"{path.name}-wal")
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or stamp_of(wal)[0] is not None:
            raise
        # without a journal to replay, a database of this form needs no place beside it to be read
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, timeout=_BUSY_SECONDS)
    return connection


def _is_current(connection: sqlite3.Connection) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'test_result'").fetchone()
    return bool(version == SCHEMA_VERSION and kind and kind[0] == "view")
