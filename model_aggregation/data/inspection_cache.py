"""What was found in files before, kept on the disk: a file that has not changed since is not read again.

One SQLite database for all data sets. A file counts as unchanged while its path, its size and its times of
modification and (where the system keeps one) of status change are the same. The database may be removed at any time.
"""

import base64
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATABASE = "inspections.sqlite3"
_MOST_ROWS = 500_000  # about 2 KB each
_ROWS_AT_ONCE = 500
_SECONDS_TO_WAIT = 30
_FRESH_NANOSECONDS = 2 * 10**9  # file systems tell times apart by up to two seconds
_SCHEMA = """
create table if not exists inspection (
    path text not null, rule text not null, size integer not null, modified_ns integer not null,
    changed_ns integer not null, used_day integer not null, record text not null, primary key (path, rule)
) without rowid
"""

FileState = tuple[int, int, int]
"""Size in bytes, time of modification and time of status change in nanoseconds."""


def file_state(path: str) -> FileState | None:
    """Return what must stay the same for a file to count as unchanged, or None if it cannot be looked at."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - a Path would keep each name for good
    except (OSError, ValueError):
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@dataclass(frozen=True)
class InspectionCache:
    """Records of files by the rule they were read by, in ``folder``; ``rule`` names everything that changes them."""

    folder: Path
    most_rows: int = _MOST_ROWS

    @contextmanager
    def opened(self, rule: str) -> Iterator["OpenCache"]:
        """Give the cache for reading and adding; where the folder cannot be written, it stays empty."""
        connection = self._connect()
        try:
            yield OpenCache(connection, rule)
            with suppress(sqlite3.Error):  # a locked or full disk costs only the next check its speed
                _forget(connection, self.most_rows)
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return _open(self.folder / DATABASE)
        except sqlite3.OperationalError:  # locked, or a disk that cannot be written
            return _open(":memory:")
        except sqlite3.DatabaseError:  # damaged
            with suppress(OSError):
                (self.folder / DATABASE).unlink(missing_ok=True)
                return _open(self.folder / DATABASE)
            return _open(":memory:")
        except OSError:
            return _open(":memory:")


class OpenCache:
    """The records of one rule."""

    def __init__(self, connection: sqlite3.Connection, rule: str) -> None:
        self._connection, self._rule = connection, rule

    def known(self, states: dict[str, FileState]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield path and record of each file that is as it was."""
        today = _today()
        paths = list(states)
        for start in range(0, len(paths), _ROWS_AT_ONCE):
            rows = [row for row in self._rows(paths[start : start + _ROWS_AT_ONCE]) if states[row[0]] == row[1:4]]
            self._mark_used([row[0] for row in rows if row[4] != today], today)
            for row in rows:
                yield row[0], _unpacked(row[5])

    def _rows(self, paths: Sequence[str]) -> list[tuple[Any, ...]]:
        with suppress(sqlite3.Error):  # a damaged page: its files are read again
            return self._connection.execute(
                "select path, size, modified_ns, changed_ns, used_day, record from inspection "
                "where rule = ? and path in (select value from json_each(?))",
                (self._rule, json.dumps(paths)),
            ).fetchall()
        return []

    def add(self, described: Sequence[tuple[str, FileState, dict[str, Any]]]) -> None:
        """Keep the records of files; those changed a moment ago are not kept, for they may change again unseen."""
        latest = time.time_ns() - _FRESH_NANOSECONDS
        rows = [
            (path, self._rule, *state, _today(), _packed(record))
            for path, state, record in described
            if state[1] < latest
        ]
        with suppress(sqlite3.Error), self._connection:
            self._connection.executemany("insert or replace into inspection values (?, ?, ?, ?, ?, ?, ?)", rows)

    def _mark_used(self, paths: Sequence[str], today: int) -> None:
        with suppress(sqlite3.Error), self._connection:
            self._connection.executemany(
                "update inspection set used_day = ? where path = ? and rule = ?",
                [(today, path, self._rule) for path in paths],
            )


def _open(place: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=_SECONDS_TO_WAIT)
    try:
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _forget(connection: sqlite3.Connection, most_rows: int) -> None:
    """Remove the records used least recently until no more than ``most_rows`` are left."""
    (rows,) = connection.execute("select count(*) from inspection").fetchone()
    if rows > most_rows:
        with connection:
            connection.execute(
                "delete from inspection where (path, rule) in "
                "(select path, rule from inspection order by used_day, path limit ?)",
                (rows - most_rows,),
            )


def _packed(record: dict[str, Any]) -> str:
    plain = {
        name: {"bytes": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value
        for name, value in record.items()
    }
    return json.dumps(plain, ensure_ascii=True)  # a damaged file's remark may hold a lone surrogate


def _unpacked(text: str) -> dict[str, Any]:
    return {
        name: base64.b64decode(value["bytes"]) if isinstance(value, dict) else value
        for name, value in json.loads(text).items()
    }


def _today() -> int:
    return int(time.time() // 86400)
