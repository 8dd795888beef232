"""CSV files of a run as Arrow tables: columns by place, since a class may be called like any column."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
from pyarrow import ipc

from model_aggregation.errors import ResultsError
from model_aggregation.viewer.reading.links import refuse_link_outside

_SNIFFED_BYTES = 4 * 1024 * 1024


def read_csv(path: Path, *, words: int | None = None, only: Sequence[int] | None = None) -> tuple[list[str], pa.Table]:
    """Read a CSV file in UTF-8 or cp932; the columns of the table are named ``0, 1, …``.

    Parameters
    ----------
    words
        So many leading columns are text, exactly as written, the others float64; None: all are text.

    only
        Read only the columns at these places.

    Returns
    -------
    tuple
        The names in the header, and the table.

    Raises
    ------
    ResultsError
        If the file is missing, empty, in another encoding or a link to elsewhere, its rows differ in length, or a
        number is none.
    """
    refuse_link_outside(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}.") from error
    encoding = _encoding(path, data)
    header = _header(path, data[:_SNIFFED_BYTES].decode(encoding, errors="ignore"))
    text = len(header) if words is None else words
    names = [str(number) for number in range(len(header))]
    kinds = {name: pa.string() if number < text else pa.float64() for number, name in enumerate(names)}
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows_after_names=1, encoding=encoding),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=b'"' in data),
            convert_options=arrow_csv.ConvertOptions(
                column_types=kinds,
                null_values=[],
                strings_can_be_null=False,
                include_columns=None if only is None else [str(place) for place in only],
            ),
        )
    except pa.ArrowInvalid as error:
        raise ResultsError(f"{path} cannot be read as a table: {error}.") from error
    return header, table.combine_chunks()


def _encoding(path: Path, data: bytes) -> str:
    if data.isascii():
        return "utf-8"
    for encoding in ("utf-8", "cp932"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    raise ResultsError(f"{path} is text in neither UTF-8 nor cp932.")


def _header(path: Path, text: str) -> list[str]:
    header = next((line for line in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")) if line), [])
    if not header:
        raise ResultsError(f"{path} is empty.")
    return header


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table so that it can be mapped into memory."""
    with pa.OSFile(str(path), "wb") as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def map_table(path: Path) -> pa.Table:
    """Return a table without reading its file; OSError or ArrowInvalid when it is damaged."""
    return ipc.open_file(pa.memory_map(str(path), "r")).read_all()
