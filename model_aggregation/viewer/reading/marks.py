"""Lists of marked images with comments, kept in the log folder under ``.viewer/marks``."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError
from model_aggregation.files import read_json, write_json
from model_aggregation.names import is_device_name, normalised, same_name
from model_aggregation.viewer.reading.group_list import time_text
from model_aggregation.viewer.reading.views import Mark, MarkedList

_LONGEST_NAME = 60


class Marks:
    """The lists of one log folder, a JSON file each."""

    def __init__(self, log_folder: Path) -> None:
        self.folder = log_folder / ".viewer" / "marks"

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
