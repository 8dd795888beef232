"""Texts of a table, its names and hashes, in a temporary file that is mapped: they are most of what images take."""

import mmap
import tempfile
from contextlib import suppress

import pandas as pd
import pyarrow as pa

_PACKED = pa.ipc.IpcWriteOptions(compression="zstd")


def with_mapped_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the same table with its texts in a mapped file, which goes when nothing uses them any more.

    Where there is no room for the file they stay in memory.
    """
    return _with(frame, _texts(frame))


def packed(frame: pd.DataFrame) -> tuple[list[str], pd.DataFrame, bytes]:
    """Return a table as it is sent: its columns, those that are no texts, and the texts, about a third of their size.

    As pandas sends them itself, the sender holds them three times meanwhile.
    """
    texts = _texts(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, texts.schema, options=_PACKED) as writer:
        writer.write_table(texts)
    return list(frame.columns), frame.drop(columns=texts.column_names), sink.getvalue().to_pybytes()


def unpacked(columns: list[str], rest: pd.DataFrame, texts: bytes) -> pd.DataFrame:
    """Return the table that :func:`packed` was given, with its texts in a mapped file."""
    return _with(rest, pa.ipc.open_stream(texts).read_all())[columns]


def _texts(frame: pd.DataFrame) -> pa.Table:
    names = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.StringDtype)]
    return pa.Table.from_pandas(frame[names], preserve_index=False).combine_chunks()


def _with(frame: pd.DataFrame, texts: pa.Table) -> pd.DataFrame:
    with suppress(OSError):
        texts = _mapped(texts)
    return frame.assign(**{name: column.array for name, column in texts.to_pandas().items()})


def _mapped(table: pa.Table) -> pa.Table:
    with tempfile.TemporaryFile() as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pa.ipc.open_file(content).read_all()
