"""Runs of the earlier program on disk: which folders are theirs, and where the folder of a result lies."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_aggregation.errors import ResultsError
from model_aggregation.names import SINGLE, is_plain_name
from model_aggregation.results.records import folders_in
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import read_text

_ENDINGS = (
    "_test.csv", "_val.csv", "_test_roc.png", "_test_p.csv", "_test_roc.csv", "_test_cm.xlsx", "_test_bc_cm.xlsx",
    "_status.txt", ".yaml",
)  # fmt: skip
_FILES = ("*_model_weight.pth", "*_model_all.pth", "*_architecture.txt", "models/*.pth")
_SEPARATORS = re.compile(r"[\\/]+")
_NUMBER = r"(\d+(?:\.\d+)?)"
_STATUS_CUTOFF = re.compile(rf"CutOff is {_NUMBER}\.\({_NUMBER}<=CutOff<={_NUMBER}\)")


@dataclass(frozen=True)
class EarlierRun:
    """A run of the earlier program: its folder and its row of the database, each None where there is none."""

    group: str
    name: str
    folder: Path | None
    row: Mapping[str, Any] | None = None

    @property
    def reported_auc(self) -> float | None:
        """What the database calls its AUC."""
        return None if self.row is None else self.row["auc"]


@dataclass(frozen=True)
class EarlierCutoff:
    """A cutoff that the earlier program chose on the test images, and the limits it was sought in, where known."""

    value: float
    limits: tuple[float, float] | None = None


def earlier_runs(log_folder: Path, rows: Iterable[Mapping[str, Any]]) -> list[EarlierRun]:
    """Return the runs of a group that the rows of the database are of; of several rows of a run the last counts."""
    by_name = {str(row["run_name"]): row for row in sorted(rows, key=lambda row: row["id"] or 0)}
    return [
        EarlierRun(
            str(row["group_name"]),
            name,
            earlier_folder(log_folder, str(row["group_name"]), name, row["log_folder"]),
            row,
        )
        for name, row in by_name.items()
    ]


def earlier_folder(log_folder: Path, group: str, run: str, text: str | None) -> Path | None:
    """Return the run folder of a result of the earlier program; None where the log folder does not hold it.

    Parameters
    ----------
    text
        The folder that holds it, as the earlier program wrote it: relative, absolute, or of another machine. What
        follows the name of the log folder in it counts, else the name of the group.
    """
    if not (is_plain_name(group) and is_plain_name(run)):
        return None
    root = log_folder.resolve()
    parts = _SEPARATORS.split(text or "")
    names = [part.casefold() for part in parts]
    places = [log_folder if group == SINGLE else log_folder / group]
    if root.name.casefold() in names:
        after = len(names) - names[::-1].index(root.name.casefold())
        places.insert(0, log_folder.joinpath(*parts[after:]))
    with suppress(OSError, ValueError, RuntimeError):  # a loop of links, a name that no file can have
        for path in (place / run for place in places):
            if path.is_dir() and path.resolve().is_relative_to(root) and not RunFolder(path).exists:
                return path
    return None


def earlier_cutoff(folder: RunFolder, row: Mapping[str, Any] | None) -> EarlierCutoff | None:
    """Return the cutoff that the earlier program chose: that of the database, else of the status file."""
    reported = None if row is None else row["cutoff"]
    found: list[tuple[str, str, str]] = []
    with suppress(ResultsError):
        found = _STATUS_CUTOFF.findall(read_text(folder.status_txt))
    value, lower, upper = map(float, found[-1]) if found else (reported, 0.0, 0.0)
    if value is None:
        return None
    if reported is not None and reported != value:
        return EarlierCutoff(reported)
    return EarlierCutoff(value, (lower, upper) if found else None)


def earlier_positive(settings: Mapping[str, Any]) -> str | None:
    """Return the positive class of two, which the earlier program names first in ``ss_label``."""
    pair = settings.get("ss_label")
    return str(pair[0]) if isinstance(pair, list) and len(pair) == 2 and pair[0] not in (None, "") else None


def earlier_run_folders(log_folder: Path, places: Iterable[tuple[str | None, str, str | None]] = ()) -> list[str]:
    """Return the run folders that the earlier program left, relative to the log folder, with ``/``.

    Parameters
    ----------
    places
        Folder (as the earlier program wrote it), group and run of each of its results; there need not be files.
    """
    found = {folder for folder in _not_ours(log_folder) if is_earlier_run(folder)}
    named = (earlier_folder(log_folder, group, run, text) for text, group, run in places if run)
    found |= {folder for folder in named if folder is not None}
    return [path.relative_to(log_folder).as_posix() for path in sorted(found)]


def is_earlier_run(folder: Path) -> bool:
    """Tell whether a folder that is no run of ours holds files of the earlier program."""
    return any((folder / f"{folder.name}{ending}").is_file() for ending in _ENDINGS) or any(
        next(folder.glob(pattern), None) is not None for pattern in _FILES
    )


def _not_ours(log_folder: Path) -> Iterator[Path]:
    for child in folders_in(log_folder):
        if not RunFolder(child).exists:
            yield child
            yield from (path for path in folders_in(child) if not RunFolder(path).exists)
