"""Lists of marked images with comments, kept in the log folder under ``.viewer/marks``."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError
from model_aggregation.files import read_json, write_json
from model_aggregation.names import is_device_name, normalised, same_name
from model_aggregation.viewer.reading.group_list import time_text
from model_aggregation.viewer.reading.image_views import PredictionTable
from model_aggregation.viewer.reading.model_tables import index_of
from model_aggregation.viewer.reading.views import Mark, MarkedList

_LONGEST_NAME = 60


class Marks:
    """The lists of one log folder, a JSON file each."""

    def __init__(self, log_folder: Path) -> None:
        self.folder = log_folder / ".viewer" / "marks"
        self._changing = Lock()

    def all(self) -> tuple[MarkedList, ...]:
        """Return every list by name; a damaged one is empty with a note."""
        if not self.folder.is_dir():
            return ()
        return tuple(_read(path) for path in sorted(self.folder.glob("*.json")) if not path.name.startswith("."))

    def get(self, name: str) -> MarkedList:
        """Return a list; ResultsError when there is none of this name."""
        path = self._find(name)
        if path is None:
            names = [found.name for found in self.all()]
            hint = nearest(name, names) if names else "none is saved yet."
            raise ResultsError(f"There is no list of marked images '{name}'; {hint}")
        return _read(path)

    def save(self, name: str, marks: Sequence[Mark]) -> MarkedList:
        """Save or replace a list, whole or not at all."""
        name = _checked(name)
        path = self._find(name) or self.folder / f"{name}.json"
        try:
            write_json(path, {"marks": [asdict(mark) for mark in marks]})
        except OSError as error:
            raise ResultsError(f"The list cannot be saved: {path}: {error.strerror or error}.") from error
        return _read(path)

    def mark(self, name: str, mark: Mark) -> None:
        """Add a mark, or replace the one of the same image; a list that is not there yet is made."""
        with self._changing:
            marks = self._changeable(name)
            place = next((k for k, known in enumerate(marks) if _image(known) == _image(mark)), len(marks))
            self.save(name, [*marks[:place], mark, *marks[place + 1 :]])

    def unmark(self, name: str, mark: Mark) -> None:
        """Take the mark of an image away."""
        with self._changing:
            self.save(name, [known for known in self._changeable(name) if _image(known) != _image(mark)])

    def _changeable(self, name: str) -> tuple[Mark, ...]:
        """Return the marks of a list; ResultsError for a damaged one: changing it would lose what it holds."""
        path = self._find(normalised(name).strip())
        if path is None:
            return ()
        known = _read(path)
        if known.note:
            raise ResultsError(f"The list '{name}' cannot be changed: {known.note}")
        return known.marks

    def delete(self, name: str) -> None:
        """Delete a list."""
        self.get(name)
        path = self._find(name)
        try:
            if path is not None:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ResultsError(f"The list cannot be deleted: {path}: {error.strerror or error}.") from error

    def _find(self, name: str) -> Path | None:
        """Return the file of a list; names that some system takes for the same are the same."""
        if not self.folder.is_dir():
            return None
        return next((path for path in self.folder.glob("*.json") if same_name(path.stem) == same_name(name)), None)


def _checked(name: str) -> str:
    name = normalised(name).strip()
    if not re.fullmatch(r"\w[\w .-]*", name) or name.endswith(".") or len(name) > _LONGEST_NAME or is_device_name(name):
        raise ResultsError(
            f"The name of a list is a letter or digit, then letters, digits, spaces and . _ -, at most {_LONGEST_NAME} "
            f"of them, and no name that Windows keeps for itself; '{name}' came."
        )
    return name


def _read(path: Path) -> MarkedList:
    try:
        content: Any = read_json(path)
        marks = tuple(Mark(**{key: str(value) for key, value in mark.items()}) for mark in content["marks"])
        return MarkedList(path.stem, marks, time_text(path.stat().st_mtime))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return MarkedList(path.stem, (), note=f"{path} cannot be read: {error}.")


def _image(mark: Mark) -> tuple[str, ...]:
    return mark.group, mark.run, mark.set_name, mark.image_id


def comments_here(table: PredictionTable, marks: Sequence[Mark]) -> dict[int, str]:
    """Return the comments of the marked images of a table by index."""
    own = [mark for mark in marks if _image(mark)[:3] == (table.group, table.run, table.set_name)]
    ids = pa.array([mark.image_id for mark in own], type=pa.string())
    places = pc.index_in(ids, value_set=table.words.column("id").combine_chunks()).to_pylist()
    return {place: mark.comment for place, mark in zip(places, own, strict=True) if place is not None}


def marks_table(marks: Sequence[Mark], predictions: Callable[[str, str, str], PredictionTable]) -> pd.DataFrame:
    """Return marks with what is predicted now; what is gone is empty."""
    tables = {key: _table(predictions, key) for key in dict.fromkeys(_image(mark)[:3] for mark in marks)}
    rows = []
    for mark in marks:
        group, run, set_name, image_id = _image(mark)
        rows.append((group, run, set_name, image_id, *_now(tables[group, run, set_name], image_id), mark.comment))
    return pd.DataFrame(rows, columns=["group", "run", "set", "id", "path", "actual", "predicted", "comment"])


def _table(predictions: Callable[[str, str, str], PredictionTable], key: tuple[str, ...]) -> PredictionTable | None:
    try:
        return predictions(*key)
    except ResultsError:
        return None


def _now(table: PredictionTable | None, image_id: str) -> tuple[str, str, str]:
    """Return path, actual and predicted class of an image."""
    index = None if table is None else index_of(table, image_id)
    if table is None or index is None:
        return "", "", ""
    path = str(table.words.column("path")[index])
    return path, table.labels[table.actual[index]], table.labels[table.predicted[index]]
