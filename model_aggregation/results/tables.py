"""Tables of a run as files: predictions, ROC and confusion matrix, written and read to the letter.

Knows the forms only; which file is which is the run folder's matter. Old files in cp932 are read too.
"""

import csv
import io
import re
import zipfile
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.files import csv_text, whole_or_absent, write_text

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

_LINES_AT_ONCE = 1000
_CHARACTERS_AT_ONCE = 100_000
CONFUSION_SHEET = "confusion_matrix"
ROC_COLUMNS = ("CutOff", "TPR", "FPR", "Balanced Accuracy")
METRIC_NUMBERS = ("value", "low", "high", "n")
"""Columns of the tidy metrics that are numbers; a class called '01' is none."""
PATH, LABEL, PREDICTED = "path", "correct_label", "predict_label"


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 (with or without a mark at the beginning) or else in cp932.

    Raises
    ------
    ResultsError
        If the file is missing or in neither encoding.
    """
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file in the encoding that all of it is in, line ends as they are; errors as in :func:`read_text`."""
    try:
        encoding = next((name for name in ("utf-8-sig", "cp932") if _is_in(path, name)), None)
        if encoding is None:
            raise ResultsError(f"{path} is text in neither UTF-8 nor cp932.")
        with path.open(encoding=encoding, newline="") as file:
            yield file
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _is_in(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding, newline="") as file:
            while file.read(_CHARACTERS_AT_ONCE):
                pass
    except UnicodeDecodeError:
        return False
    return True


def predictions_table(table: pd.DataFrame, predicted: Sequence[str] | None = None) -> pd.DataFrame:
    """Return predictions in the columns of the files: path, labels, classes in sorted order.

    ``table`` begins with the columns ``path`` and ``correct_label``; the rest are probabilities, named by
    class. ``predicted`` are class names, one per row; with them a third column ``predict_label`` holds each
    with ``_p`` behind it.
    """
    if list(table.columns[:2]) != [PATH, LABEL]:
        raise ValueError(f"the first columns must be {PATH} and {LABEL}, not {list(table.columns[:2])}")
    classes = [str(name) for name in table.columns[2:]]
    order = sorted(range(len(classes)), key=classes.__getitem__)
    scores = table.iloc[:, [2 + position for position in order]].astype(np.float64)
    words = [
        table.iloc[:, 0].map(str),
        table.iloc[:, 1].map(str),
    ]  # by position: a class may be called "path"
    if predicted is not None:
        if len(predicted) != len(table):
            raise ValueError(f"{len(predicted)} predicted labels for {len(table)} images")
        words.append(pd.Series([f"{label}_p" for label in predicted], index=table.index))
    result = pd.concat([*words, scores], axis=1)
    result.columns = pd.Index([PATH, LABEL, PREDICTED][: len(words)] + [classes[position] for position in order])
    return result


def read_predictions(path: Path) -> pd.DataFrame:
    """Read predictions: text columns as ``str`` exactly as written ('01', 'NA'), probabilities as float64.

    Raises
    ------
    ResultsError
        If the file is missing, has other columns, or a probability is not a number.
    """
    with closing(_lines(path)) as lines:
        header = next(lines, [])
        if header[:2] != [PATH, LABEL] or len(header) < 3:
            raise ResultsError(
                f"{path} should begin with the columns {PATH},{LABEL} and then one per class; it begins with "
                f"{','.join(header[:4])!r}."
            )
        words = 3 if header[2] == PREDICTED and len(header) > 3 else 2
        tables = [pd.DataFrame([], columns=range(words), dtype=str)]
        scores = [np.empty((0, len(header) - words))]
        for part in _parts(lines):
            first = 2 + sum(map(len, scores))
            uneven = [number for number, line in enumerate(part, first) if len(line) != len(header)]
            if uneven:
                raise ResultsError(f"{path}: row {uneven[0]} has not the {len(header)} columns of the header.")
            try:  # Python's own float reads back exactly what was written
                scores.append(np.array([line[words:] for line in part], dtype=object).astype(np.float64))
            except ValueError as error:
                raise ResultsError(f"{path} holds a probability that is no number: {error}.") from error
            tables.append(pd.DataFrame([line[:words] for line in part], columns=range(words), dtype=str))
    result = pd.concat([pd.concat(tables, ignore_index=True), pd.DataFrame(np.concatenate(scores))], axis=1)
    result.columns = pd.Index(header)
    return result


def read_header(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file."""
    with closing(_lines(path)) as lines:
        return next(lines, [])


def read_words(path: Path, *, without: Collection[str] = ()) -> pd.DataFrame:
    """Read a CSV file with every value as the text that stands there, ``without`` some columns."""
    with closing(_lines(path)) as lines:
        header = next(lines, [])
        places = [place for place, name in enumerate(header) if name not in without]
        names = [header[place] for place in places]
        parts = [pd.DataFrame([], columns=names, dtype=str)]
        for part in _parts(lines):
            if any(len(line) != len(header) for line in part):
                raise ResultsError(f"{path} cannot be read as a table: its rows differ in length.")
            parts.append(pd.DataFrame([[line[place] for place in places] for line in part], columns=names, dtype=str))
    return pd.concat(parts, ignore_index=True)


def read_numbers(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table whose named columns are numbers: these exactly, empty ones as NaN; the others as text."""
    table = read_words(path)
    for name in columns:
        try:
            table[name] = [float(text) if text else np.nan for text in table[name]]
        except (KeyError, ValueError) as error:
            raise ResultsError(f"{path}: the numbers of column {name} are missing or damaged: {error}.") from error
    return table


def _parts(lines: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Yield a thousand lines at a time: as columns they take a fraction of the memory."""
    while part := list(islice(lines, _LINES_AT_ONCE)):
        yield part


def _lines(path: Path) -> Generator[list[str], None, None]:
    with _opened(path) as file:
        yield from (line for line in csv.reader(file) if line)


def write_roc(path: Path, roc: pd.DataFrame) -> None:
    """Write a ROC table; the first row reads ``-inf,1,1,0.5``, other numbers as shortest exact text."""
    if tuple(roc.columns) != ROC_COLUMNS:
        raise ValueError(f"a ROC table has the columns {', '.join(ROC_COLUMNS)}, not {list(roc.columns)}")
    exact = roc.astype(np.float64).map(lambda number: repr(float(number)).removesuffix(".0"))
    write_text(path, csv_text(exact))


def write_confusion(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Write counts (rows: correct label, columns: predicted label) as the companion viewer reads them."""
    count = len(classes)
    if np.shape(matrix) != (count, count) or not count:
        raise ValueError(f"a confusion matrix of {count} classes cannot have the shape {np.shape(matrix)}")
    book, sheet = _new_sheet()
    sheet.title = CONFUSION_SHEET
    _put_text(sheet.cell(1, 3), PREDICTED)
    _put_text(sheet.cell(3, 1), LABEL)
    for position, name in enumerate(classes):
        _put_text(sheet.cell(2, 3 + position), name)
        _put_text(sheet.cell(3 + position, 2), name)
        for column, value in enumerate(matrix[position]):
            sheet.cell(3 + position, 3 + column, int(value))
    sheet.merge_cells("A1:B2")
    if count > 1:
        sheet.merge_cells(start_row=1, end_row=1, start_column=3, end_column=2 + count)
        sheet.merge_cells(start_row=3, end_row=2 + count, start_column=1, end_column=1)
    with whole_or_absent(path) as temporary:
        _save_without_times(book, temporary)


def _new_sheet() -> "tuple[Workbook, Worksheet]":
    from openpyxl import Workbook

    book = Workbook()
    return book, book.active


def _save_without_times(book: "Workbook", path: Path) -> None:
    """Save a workbook without the time of writing, so that the same content gives the same bytes."""
    saved = io.BytesIO()
    book.save(saved)
    with zipfile.ZipFile(saved) as parts, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as plain:
        for name in parts.namelist():
            content = parts.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"1980-01-01T00:00:00Z", content)
            entry = zipfile.ZipInfo(name)  # dated 1980, the first day a zip file knows
            entry.compress_type = zipfile.ZIP_DEFLATED
            plain.writestr(entry, content)


def _put_text(cell: "Cell", text: str) -> None:
    cell.value = text
    cell.data_type = "s"  # a class called "=A1" is no formula


def read_confusion(path: Path) -> pd.DataFrame:
    """Read a confusion matrix: index ``correct_label``, columns ``predict_label``, counts as int.

    Raises
    ------
    ResultsError
        If the file is missing or no such matrix.
    """
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=False)
    except Exception as error:  # openpyxl lets errors of zipfile, XML and files through
        raise ResultsError(f"{path} cannot be read as a confusion matrix: {error}") from error
    if CONFUSION_SHEET not in book.sheetnames:
        raise ResultsError(f"{path} has no sheet {CONFUSION_SHEET}.")
    rows = [list(row) for row in book[CONFUSION_SHEET].iter_rows(min_row=2, min_col=2, values_only=True)]
    predicted = [str(name) for name in rows[0][1:]]
    counts = [[int(value) for value in row[1:]] for row in rows[1:]]
    return pd.DataFrame(
        counts,
        index=pd.Index([str(row[0]) for row in rows[1:]], name=LABEL),
        columns=pd.Index(predicted, name=PREDICTED),
    )


def write_sheet(path: Path, table: pd.DataFrame, title: str) -> None:
    """Write any table as one sheet of an xlsx file; missing values are empty cells, words never formulas."""
    book, sheet = _new_sheet()
    sheet.title = title
    for column, name in enumerate(table.columns, start=1):
        _put_text(sheet.cell(1, column), str(name))
    for row, values in enumerate(plain_rows(table), start=2):
        for column, value in enumerate(values, start=1):
            if isinstance(value, str):
                _put_text(sheet.cell(row, column), value)
            elif value is not None:
                sheet.cell(row, column, value)
    with whole_or_absent(path) as temporary:
        book.save(temporary)


def plain_rows(table: pd.DataFrame) -> list[list[Any]]:
    """Return the rows as Python values that JSON and xlsx hold; missing ones (NaN, NA) as None.

    >>> plain_rows(pd.DataFrame({"n": [1, 2], "value": [0.5, float("nan")]}))
    [[1, 0.5], [2, None]]
    """
    columns = [
        [None if missing else _plain(value) for value, missing in zip(table.iloc[:, i], gone, strict=True)]
        for i, gone in enumerate(table.isna().to_numpy().T)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
