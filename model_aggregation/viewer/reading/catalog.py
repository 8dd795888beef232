"""Which groups and runs there are, and where the folder of each lies."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError
from model_aggregation.names import SINGLE
from model_aggregation.results.earlier_runs import EarlierRun, earlier_runs, is_earlier_run
from model_aggregation.results.leaderboard_rows import Row, plain_records
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading.log_index import LogIndex, ReadIndex
from model_aggregation.viewer.reading.memory import Memory, Stamp, stamp_of

_NOWHERE = Path(uuid4().hex)
Origin = Literal["index", "earlier", "folder"]


@dataclass(frozen=True)
class Entry:
    """A run: its address, its folder (None where there is none), and where it is known from.

    ``folder`` is the origin of a run of ours that the index does not hold; ``row`` is the row of the earlier program.
    """

    group: str
    run: str
    folder: Path | None
    origin: Origin
    row: Mapping[str, Any] | None = None

    @property
    def run_folder(self) -> RunFolder:
        """The folder with its files, one that does not exist where there is none; a name alone leads nowhere."""
        return RunFolder(self.folder or _NOWHERE)

    @property
    def earlier(self) -> EarlierRun | None:
        """The run as one of the earlier program; None for ours."""
        return EarlierRun(self.group, self.run, self.folder, self.row) if self.origin == "earlier" else None


@dataclass(frozen=True)
class Entries:
    """All runs by group and run."""

    runs: Mapping[tuple[str, str], Entry]
    notes: tuple[str, ...]

    def of_group(self, group: str) -> list[Entry]:
        """Return the runs of a group by name; ResultsError when there is no such group."""
        found = [entry for entry in self.runs.values() if entry.group == group]
        if not found:
            names = sorted({entry.group for entry in self.runs.values()})
            raise ResultsError(f"There is no group '{group}' in this log folder; {nearest(group, names)}")
        return found

    def run(self, group: str, run: str) -> Entry:
        """Return a run; ResultsError when there is no such group or run."""
        if (group, run) not in self.runs:
            names = sorted(entry.run for entry in self.of_group(group))
            raise ResultsError(f"There is no run '{run}' in the group '{group}'; {nearest(run, names)}")
        return self.runs[group, run]


class Catalog:
    """Finds the runs of a log folder, in the index and on the disk."""

    def __init__(self, log_folder: Path, index: LogIndex) -> None:
        self.log_folder = log_folder
        self._root = log_folder.resolve()
        self._index = index
        self._memory = Memory(1)

    def entries(self) -> Entries:
        """Return all runs."""
        return self._memory.get("entries", self.stamp(), self._read)

    def stamp(self) -> Stamp:
        """Return what changes when a run comes or goes."""
        with suppress(OSError):
            children = [path for path in self.log_folder.iterdir() if path.is_dir() and path.name != ".locks"]
            return (*self._index.stamp(), *stamp_of(self.log_folder, *sorted(children)))
        return self._index.stamp()

    def _read(self) -> Entries:
        (rows, earlier), notes = self._index.ask(_rows)
        folders = self._folders()
        found = {key: Entry(*key, folders.get(key), "index") for key in rows}
        for group, rows_of_group in earlier.items():
            for run in earlier_runs(self.log_folder, rows_of_group):
                found.setdefault((group, run.name), Entry(group, run.name, run.folder, "earlier", run.row))
        for entry in self._on_disk({key: path for key, path in folders.items() if key not in found}):
            found[entry.group, entry.run] = entry
        unknown = [entry.run for entry in found.values() if entry.origin == "folder"]
        if unknown:
            names = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
            notes = (*notes, f"{len(unknown)} runs are not in the index ({names}). 'magg index' takes them over.")
        return Entries(dict(sorted(found.items())), notes)

    def _folders(self) -> dict[tuple[str, str], Path]:
        """Return every folder that may be a run's, by group and name; links that lead outside are left out."""
        found: dict[tuple[str, str], Path] = {}
        for child in _folders_in(self.log_folder):
            found[SINGLE, child.name] = self.log_folder / child.name
            found |= {(child.name, inner.name): Path(inner.path) for inner in _folders_in(child.path)}
        return {key: path for key, path in found.items() if not _is_link(path) or self.holds(path)}

    def _on_disk(self, folders: Mapping[tuple[str, str], Path]) -> Iterator[Entry]:
        """Return the runs that the index does not hold."""
        for (group, run), path in folders.items():
            origin = _origin_of(path)
            if origin is not None:
                yield Entry(group, run, path, origin)

    def holds(self, path: Path) -> bool:
        """Tell whether a path, all links followed, lies inside the log folder."""
        try:
            return path.resolve().is_relative_to(self._root)
        except (OSError, ValueError, RuntimeError):  # a loop of links, a name no file can have
            return False


def _folders_in(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except OSError:  # it vanished, or may not be read
        return []


def _is_link(path: Path) -> bool:
    return path.is_symlink() or path.parent.is_symlink()


def _origin_of(path: Path) -> Origin | None:
    if RunFolder(path).exists:
        return "folder"
    return "earlier" if is_earlier_run(path) else None


def _rows(index: ReadIndex) -> tuple[list[tuple[str, str]], dict[str, list[Row]]]:
    """Return group and run of our runs, and the rows of the earlier program by group."""
    rows = index.query("SELECT group_name, run_name FROM runs")
    earlier: dict[str, list[Row]] = {}
    for row in plain_records(index.earlier_rows()):
        earlier.setdefault(str(row["group_name"]), []).append(row)
    return [(group, run) for group, run in rows], earlier
