"""What it takes to use the network of a run of the earlier program: settings, classes, cutoff, files of weights.

Each comes from a file of the run or from the user. What is missing is named with the flag that gives it, and what was
taken from where is said. Nothing is written.
"""

import re
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_aggregation.config import Settings, nearest
from model_aggregation.earlier_settings import EARLIER_TRANSFORMS, is_earlier
from model_aggregation.errors import ResultsError, SettingsError
from model_aggregation.evaluation.cutoff import DEFAULT_CUTOFF
from model_aggregation.named_code import trusted_settings
from model_aggregation.names import SINGLE
from model_aggregation.results.earlier_runs import is_earlier_run
from model_aggregation.results.earlier_sources import EarlierSources
from model_aggregation.results.index import INDEX_NAME
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import LABEL, PATH, PREDICTED, read_header, read_text
from model_aggregation.settings_files import read_mapping

_STATUS_CUTOFF = re.compile(r"CutOff is (\d+(?:\.\d+)?)\.\(")
_BEST = ("best_model_all.pth", "best_model_weight.pth")
_LAST = ("last_model_weight.pth", "last_model_all.pth")
"""The files of the earlier program, of the same weights the state dict first: it swapped the names of the best."""


@dataclass(frozen=True, kw_only=True)
class EarlierNetwork:
    """A network of the earlier program as its files and the user say it; ``said`` tells what came from where.

    ``weights`` are files of the same weights, in the order in which they are tried. Of two classes ``cutoff`` is set,
    and ``positive`` wherever it is known.
    """

    settings: Settings
    settings_file: Path
    classes: tuple[str, ...]
    classes_from: str
    positive: str | None
    cutoff: float | None
    weights: tuple[Path, ...]
    said: tuple[str, ...]


def is_earlier_folder(path: Path) -> bool:
    """Tell whether a folder holds a run of the earlier program, and none of this one, not even one just begun."""
    folder = RunFolder(path)
    return path.is_dir() and not folder.exists and not folder.images_csv.is_file() and is_earlier_run(path)


def earlier_runs_in(path: Path) -> list[str]:
    """Return the names of the runs of the earlier program that a folder holds, such as that of a group."""
    return sorted(child.name for child in path.iterdir() if is_earlier_folder(child)) if path.is_dir() else []


def earlier_network(run: Path, sources: EarlierSources) -> EarlierNetwork:
    """Find out all that it takes to use the network of a run of the earlier program.

    Raises
    ------
    ResultsError
        With everything that is missing, each with the flag that gives it.
    SettingsError
        If the settings cannot be used.
    UntrustedCodeError
        If they name code, and the user has not said yes to it.
    """
    if sources.pickle_folder is not None and not sources.trust_pickle:
        raise SettingsError("--pickle-folder has an effect with --trust-pickle only.")
    search = _Search(RunFolder(run), sources)
    given, settings = search.settings()
    classes, classes_from = search.classes(settings)
    weights = search.weights(given, settings)
    positive, cutoff = search.cutoff(settings, classes)
    if settings is None or search.problems:
        raise ResultsError(
            f"{run} is a run of the earlier program, and what it takes to use its network is not all there:",
            search.problems,
        )
    return EarlierNetwork(
        settings=settings,
        settings_file=search.settings_file,
        classes=classes,
        classes_from=classes_from,
        positive=positive,
        cutoff=cutoff,
        weights=weights,
        said=(f"{run}: a run of the earlier program; nothing is written there.", *search.said),
    )


class _Search:
    """Looks for what a run needs, one thing after the other; keeps what was found where, and what is missing."""

    def __init__(self, folder: RunFolder, sources: EarlierSources) -> None:
        self.folder, self.sources = folder, sources
        self.settings_file = sources.settings or folder.settings_yaml
        self.said: list[str] = []
        self.problems: list[str] = []

    def settings(self) -> tuple[Mapping[str, Any], Settings | None]:
        """Return the settings as they stand in their file, and in today's words."""
        path = self.settings_file
        if not path.is_file():
            there = ", ".join(str(found) for found in sorted(self.folder.path.glob("*.yaml")))
            where = f"{path} is not there" + (f" (but {there})" if there else "")
            self.problems.append(f"settings: {where}; give the file that it was trained with: --settings FILE")
            return {}, None
        given = read_mapping(path)
        typed: dict[str, Any] = {} if self.sources.transforms is None else {"transforms": self.sources.transforms}
        notes: list[str] = []
        settings = trusted_settings(path, name=None, say=notes.append, **typed)  # no name: they will not be run
        if settings.model is None:
            raise SettingsError(f"{path} names several models; a run of the earlier program has one.")
        self.said.append(f"settings: {path}")
        self.said += [note.removeprefix("earlier settings: ") for note in notes if EARLIER_TRANSFORMS in note]
        return given, settings.model_copy(
            update={
                "trust_pickle": self.sources.trust_pickle,
                "pickle_folder": self.sources.pickle_folder,
                "decoding": "earlier",  # the network sees images exactly as it did
            }
        )

    def classes(self, settings: Settings | None) -> tuple[tuple[str, ...], str]:
        """Return the class names in the order of the network's outputs, and where they stand."""
        found, origin = self._classes(settings)
        if not found:
            data = "settings that name the data folder" if settings is None else f"its data folder {settings.data}"
            where = f"neither {self.folder.predictions_csv('test')} nor {data} is there"
            self.problems.append(f"classes: {where}; give them in the order of the class folders: --classes A B C")
            return (), ""
        if len(set(found)) < len(found):
            self.problems.append(f"classes: {', '.join(found)} ({origin}): a name stands there twice")
        if settings is not None and settings.num_classes not in (None, len(found)):
            self.problems.append(
                f"classes: {origin} names {len(found)} ({', '.join(found[:10])}), but num_classes of the settings is "
                f"{settings.num_classes}; give them with --classes"
            )
        self.said.append(f"classes: {', '.join(found)} ({origin})")
        return found, origin

    def _classes(self, settings: Settings | None) -> tuple[tuple[str, ...], str]:
        if self.sources.classes:
            return self.sources.classes, "--classes"
        for path in (self.folder.predictions_csv("test"), self.folder.predicted_labels_csv("test")):
            if path.is_file():
                words = (PATH, LABEL, PREDICTED) if path == self.folder.predicted_labels_csv("test") else (PATH, LABEL)
                return tuple(name for name in read_header(path) if name not in words), f"header of {path}"
        if settings is not None and settings.data.is_dir():
            folder = settings.data / "train" if settings.layout == "splits" else settings.data
            if folder.is_dir():
                names = sorted(path.name for path in folder.iterdir() if path.is_dir())
                return tuple(names), f"class folders of {folder}"
        return (), ""

    def weights(self, given: Mapping[str, Any], settings: Settings | None) -> tuple[Path, ...]:
        """Return the files of the weights that are to be used, of equal ones the state dict first."""
        if self.sources.weights is not None:
            if not self.sources.weights.is_file():
                self.problems.append(f"weights: {self.sources.weights} is not there{self._files_of_weights()}")
            return (self.sources.weights,)
        wants_best = _tested_best(given, settings)
        best, last = ([self.folder.path / name for name in names] for names in (_BEST, _LAST))
        for names, reason in (
            (best if wants_best else [], "as test_best_model says"),
            (last, "there is none of the best epoch" if wants_best else "its settings do not ask for the best"),
        ):
            found = tuple(path for path in names if path.is_file())
            if found:
                which = "the best epoch" if names is best else "the last epoch"
                self.said.append(f"weights: of {which} ({reason})")
                return found
        self.problems.append(f"weights: {last[0]} is not there{self._files_of_weights()}; give a file: --weights FILE")
        return ()

    def _files_of_weights(self) -> str:
        paths = sorted([*self.folder.path.glob("*.pth"), *self.folder.path.glob("models/*.pth")])
        return f" (there are {', '.join(map(str, paths[:10]))})" if paths else ""

    def cutoff(self, settings: Settings | None, classes: tuple[str, ...]) -> tuple[str | None, float | None]:
        """Return positive class and cutoff of two classes; of more neither."""
        if len(classes) != 2:
            if self.sources.positive is not None and classes:
                self.problems.append(f"--positive belongs to two classes; here are {len(classes)}")
            return None, None
        positive = self.sources.positive or (settings.positive if settings else None)
        if positive is not None and positive not in classes:
            self.problems.append(f"positive: '{positive}' is no class; {nearest(positive, classes)}")
        value, origin = self._stored_cutoff()
        if value is None:
            self.said.append(f"cutoff: {DEFAULT_CUTOFF} (none is stored): the class of the larger probability")
            return positive, DEFAULT_CUTOFF
        if positive is None:
            self.problems.append(
                f"positive: the cutoff {value} ({origin}) belongs to the sensitive class, which the settings do not "
                "name (ss_label); give it: --positive CLASS"
            )
        self.said.append(f"cutoff: {positive} above {value} ({origin}; it was chosen on the test images)")
        return positive, value

    def _stored_cutoff(self) -> tuple[float | None, str]:
        """Return the cutoff of the database, else of the status file, and where it stands."""
        for path, groups in self._databases():
            try:
                value = _cutoff_in_database(path, self.folder.settings_yaml.stem, groups)  # the folder may be renamed
            except sqlite3.DatabaseError as error:
                self.said.append(f"{path} cannot be read: {error}")
                continue
            if value is not None:
                return value, f"from {path}"
        if self.folder.status_txt.is_file():
            found = _STATUS_CUTOFF.findall(read_text(self.folder.status_txt))
            if found:
                return float(found[-1]), f"from {self.folder.status_txt}"
        return None, ""

    def _databases(self) -> list[tuple[Path, tuple[str, str]]]:
        """Return the databases that may hold the run, with the names that its group may have there."""
        group = self.folder.path.resolve().parent
        places = [(group, (SINGLE, group.name)), (group.parent, (group.name, group.name))]
        return [(place / INDEX_NAME, names) for place, names in places if (place / INDEX_NAME).is_file()]


def _tested_best(given: Mapping[str, Any], settings: Settings | None) -> bool:
    if settings is None or is_earlier(given):
        return given.get("test_best_model") is True
    return settings.test_weights == "best"


def _cutoff_in_database(path: Path, run: str, groups: tuple[str, str]) -> float | None:
    """Return the cutoff of the last result of a run; the database is read as a copy, for reading may write to it."""
    query = (
        "SELECT cutoff FROM test_result WHERE run_name = ? AND coalesce(group_name, 'single') IN (?, ?) "
        "ORDER BY CAST(id AS INTEGER) DESC LIMIT 1"
    )
    with TemporaryDirectory() as folder:
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.is_file():
                shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / path.name)) as connection:
            row = connection.execute(query, (run, *groups)).fetchone()
    try:
        return None if row is None else float(row[0])
    except (TypeError, ValueError):
        return None
