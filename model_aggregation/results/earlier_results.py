"""Rows of the earlier program: its table in the index, their copy in ``earlier_results.csv``, none lost.

Column types of the earlier program are not known; values are kept as they are, and only the view reads
them as numbers.
"""

import csv
import io
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_aggregation.errors import ResultsError
from model_aggregation.files import write_text
from model_aggregation.results.index_schema import (
    NUMBER_COLUMNS,
    TEST_RESULT_COLUMNS,
    create_earlier_table,
    kind_of,
    next_id,
)
from model_aggregation.results.tables import read_text

_COPIED = "earlier_rows_copied"
_LARGEST_ID = 2**53  # beyond it a float is no longer exact


def take_over_table(connection: sqlite3.Connection) -> None:
    """Bring the rows of the earlier program into a table ``earlier_result`` of our own form, without constraints.

    A table of its own may forbid (NOT NULL, UNIQUE) what it inserts later. Runs inside the caller's transaction.
    """
    names = [name for name in ("earlier_result", "test_result") if kind_of(connection, name) == "table"]
    parts = [_rows(connection, name)[1] for name in names]
    for name in names:
        connection.execute(f"DROP TABLE {name}")
    create_earlier_table(connection)
    for rows in parts:  # where the view was replaced by hand there are two; what both hold is taken once
        add_rows(connection, rows)


def _add_columns(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    present = {row[1].casefold() for row in connection.execute("PRAGMA table_info(earlier_result)")}
    for name in names:
        if name.casefold() not in present:
            kind = "INTEGER" if name == "id" else "REAL" if name in NUMBER_COLUMNS else "TEXT"
            connection.execute(f"ALTER TABLE earlier_result ADD COLUMN {_quoted(name)} {kind}")
            present.add(name.casefold())


def _whole_number(value: Any) -> int | None:
    try:
        number = float(value)
        return int(number) if number == int(number) and abs(number) < _LARGEST_ID else None
    except (TypeError, ValueError, OverflowError):
        return None


def add_rows(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows that the table does not hold yet, with their ids where these are free."""
    if not rows:
        return
    create_earlier_table(connection)
    _add_columns(connection, [*TEST_RESULT_COLUMNS, *rows[0]])
    _, present = _rows(connection, "earlier_result")
    known = Counter(_content(row) for row in present)
    ids = {row["id"] for row in present} | {row[0] for row in connection.execute("SELECT id FROM runs")}
    without: list[Mapping[str, Any]] = []
    for row in rows:
        content, number = _content(row), _whole_number(row.get("id"))
        if known[content]:
            known[content] -= 1
        elif number is None or number in ids:
            without.append(row)
        else:
            ids.add(number)
            _insert(connection, {**row, "id": number})
    for row in without:
        _insert(connection, {**row, "id": next_id(connection)})


def _insert(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    names = ", ".join(_quoted(name) for name in values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO earlier_result ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608


def copy_to_csv(connection: sqlite3.Connection, path: Path) -> None:
    """Bring table and CSV copy together, both ways, when rows came since the last time.

    Raises
    ------
    ResultsError
        If the CSV file is there but cannot be read.
    """
    now = _fingerprint(connection)
    noted = connection.execute("SELECT value FROM notes WHERE key = ?", (_COPIED,)).fetchone()
    if noted and noted[0] == now and (path.is_file() or now.startswith("0 ")):
        return
    add_rows(connection, read_csv_rows(path))
    names, rows = _rows(connection, "earlier_result")
    if rows:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(row[name]) for name in names] for row in rows)
        write_text(path, buffer.getvalue())
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (_COPIED, _fingerprint(connection)))


def forget_copy(connection: sqlite3.Connection) -> None:
    """Make the next :func:`copy_to_csv` compare table and file in any case."""
    connection.execute("DELETE FROM notes WHERE key = ?", (_COPIED,))


def read_csv_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of ``earlier_results.csv`` by column, empty cells as None; no file is no rows."""
    if not path.is_file():
        return []
    lines = list(csv.reader(io.StringIO(read_text(path), newline="")))
    header = [name.casefold() for name in lines[0]] if lines else []
    if "run_name" not in header:
        raise ResultsError(
            f"{path} should hold the results of the earlier program, with a column run_name; it begins with "
            f"{','.join(header[:4])!r}. Restore it, or move it away."
        )
    return [{name: value or None for name, value in zip(header, line, strict=False)} for line in lines[1:] if line]


def rescue_rows(path: Path) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """Return what can still be read of earlier rows and of counted test evaluations in a damaged database."""
    earlier: list[dict[str, Any]] = []
    evaluations: list[tuple[Any, ...]] = []
    connection = sqlite3.connect(path)
    try:
        for table in ("earlier_result", "test_result"):
            earlier = earlier or _readable(connection, table)
        evaluations = [tuple(row.values()) for row in _readable(connection, "test_evaluations")]
    finally:
        connection.close()
    return earlier, evaluations


def _readable(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        if kind_of(connection, table) == "table":
            cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608
            names = [column[0].casefold() for column in cursor.description]
            for row in cursor:
                rows.append(dict(zip(names, row, strict=True)))  # noqa: PERF401  (rows before the damage count)
    except sqlite3.DatabaseError:
        pass  # what was read until here is what can be rescued
    return rows


def _rows(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[dict[str, Any]]]:
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608
    names = [column[0].casefold() for column in cursor.description]
    return names, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _fingerprint(connection: sqlite3.Connection) -> str:
    count, last = connection.execute("SELECT count(*), max(rowid) FROM earlier_result").fetchone()
    return f"{count} {last}"


def _content(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what makes a row, without its id: numbers compare as numbers, whether stored as text or not."""
    return tuple(_comparable(row.get(name)) for name in TEST_RESULT_COLUMNS[1:])


def _comparable(value: Any) -> str:
    text = _text(value)
    try:
        return repr(float(text))
    except ValueError:
        return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
