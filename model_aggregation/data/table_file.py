"""Reading the tables that users make: CSV (UTF-8 or cp932) and Parquet, every cell of a CSV as text."""

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from model_aggregation.data.folder_walk import as_id
from model_aggregation.errors import DataError

TABLE_SUFFIXES = (".csv", ".parquet")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file; in a CSV every cell stays text (``01`` stays ``01``, ``NA`` stays ``NA``).

    Raises
    ------
    DataError
        When the file cannot be read, or lines do not have as many cells as the header (all are listed).
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{path}: a table is a .csv or .parquet file, not {suffix or 'a file without suffix'}")
    try:
        return _read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, csv.Error) as reason:  # ArrowInvalid and UnicodeError are ValueErrors
        raise DataError(f"{path}: the table cannot be read: {reason}") from reason


def require_columns(frame: pd.DataFrame, wanted: Sequence[str], path: Path) -> None:
    """Raise a ``DataError`` that names every missing column and the nearest one that is there."""
    problems = []
    for column in wanted:
        if column not in frame.columns:
            near = get_close_matches(column, [str(name).strip().lower() for name in frame.columns], n=1)
            problems.append(f"column {column!r} is missing" + (f"; did you mean {near[0]!r}?" if near else ""))
    if problems:
        there = ", ".join(repr(str(name)) for name in frame.columns)
        raise DataError(f"{path}: the table has the columns {there}", problems)


def as_text(column: pd.Series) -> pd.Series:
    """Return a column as NFC text; a missing value becomes the empty text."""
    return pd.Series(
        ["" if missing else unicodedata.normalize("NFC", str(value))
         for value, missing in zip(column, column.isna(), strict=True)],
        index=column.index, dtype=object,
    )  # fmt: skip


def locate(text: str, root: Path) -> tuple[str, str]:
    """Return the id and the absolute path of a listed file, whether or not it exists.

    The text is a path relative to ``root`` or absolute; backslashes count as ``/`` unless a file of exactly
    that name exists; a name stored in another Unicode form (as macOS does) is found.
    """
    path = _as_on_disk(os.path.normpath(root / text), root, text)
    try:
        relative = os.path.relpath(path, root)
    except ValueError:  # another drive of Windows
        relative = path
    outside = Path(relative).parts[:1] == ("..",) and Path(text.replace("\\", "/")).is_absolute()
    return as_id(tuple((path if outside else relative).replace(os.sep, "/").split("/"))), path


def _as_on_disk(plain: str, root: Path, text: str) -> str:
    if Path(plain).is_file():
        return plain
    slashed = os.path.normpath(root / text.replace("\\", "/"))
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, slashed)
        if other != slashed and Path(other).is_file():
            return other
    return slashed


def _read_csv(path: Path) -> pd.DataFrame:
    rows = [row for row in csv.reader(io.StringIO(_decoded(path), newline=""), strict=True) if row]
    if not rows:
        raise DataError(f"{path}: the table is empty")
    header, body = rows[0], rows[1:]
    problems = [f"column {name!r} is there more than once" for name in sorted(set(header)) if header.count(name) > 1]
    problems += [
        f"row {number} has {len(row)} cells: {','.join(row)[:80]}"
        for number, row in enumerate(body, start=2)
        if len(row) != len(header)
    ]
    if problems:
        raise DataError(f"{path}: the header has {len(header)} columns, and every row must have as many", problems)
    return pd.DataFrame(body, columns=header, dtype=object)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: the text is UTF-16 (Excel's 'Unicode text'); save it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp932")
    except UnicodeDecodeError as reason:
        raise DataError(f"{path}: the text is neither UTF-8 nor cp932; save it as UTF-8") from reason
