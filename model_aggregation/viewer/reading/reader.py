"""The one entry to a log folder for pages and the JSON API.

What is wrong with a run (a damaged file, a folder that vanished, a database being written) comes back as ``notes``
beside what could be read. Only a name that does not exist raises, with the nearest names.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from model_aggregation.cache_folder import viewer_folder
from model_aggregation.config import nearest
from model_aggregation.errors import PredictionsError, ResultsError
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.files import csv_text
from model_aggregation.names import SINGLE
from model_aggregation.viewer.reading import curve_tables, image_queries, model_tables, run_view
from model_aggregation.viewer.reading.catalog import Catalog, Entry
from model_aggregation.viewer.reading.data_view import data_stamp, data_view
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.earlier_cache import EarlierCache
from model_aggregation.viewer.reading.group_list import group_rows
from model_aggregation.viewer.reading.image_queries import ComparedImages, ImageSorter
from model_aggregation.viewer.reading.image_views import (
    Confusion,
    Curves,
    CutoffTable,
    ImageAcrossModels,
    ImagePage,
    ImageQuery,
    ModelsView,
    Neighbours,
    PredictionTable,
)
from model_aggregation.viewer.reading.log_index import LogIndex
from model_aggregation.viewer.reading.marks import Marks, marks_table
from model_aggregation.viewer.reading.memory import Memory, Stamp
from model_aggregation.viewer.reading.pictures import Pictures
from model_aggregation.viewer.reading.prediction_store import PredictionStore, has_predictions, sets_with_predictions
from model_aggregation.viewer.reading.ranking import ranking
from model_aggregation.viewer.reading.views import (
    ALL_IMAGES,
    DataView,
    FileEntry,
    GroupsView,
    Leaderboard,
    Mark,
    MarkedList,
    Picture,
    Progress,
    RunView,
)

COMPARED_RUNS = 20
"""How many of the best runs are compared where none are named."""

_TABLE_BYTES = 4 * 2**30
_PICTURE_BYTES = 500 * 2**20
_EARLIER_BYTES = 100 * 2**20
_FRESH_SECONDS = 5.0
"""A running process that is killed changes no file; so long its state may still be shown."""

_FEW_IMAGES = 5_000
"""So many are compared with the other models unasked: all models of a group are read within a second."""

_ACROSS_SECONDS = 2.0
"""Runs that could not be opened within this time are named; asking again goes on with them."""


class LogReader:
    """Reads one log folder; may be used by several threads at once.

    Parameters
    ----------
    log_folder
        The folder that holds all results.
    cache_folder
        Where converted tables and thumbnails are kept; default: the user's cache folder. Bounded in size.

    Raises
    ------
    ResultsError
        If there is no such folder. Every method with a ``group``, ``run`` or ``set_name`` raises it for a name that
        does not exist, naming the nearest ones.
    """

    def __init__(self, log_folder: Path, *, cache_folder: Path | None = None) -> None:
        self.log_folder = Path(log_folder)
        if not self.log_folder.is_dir():
            raise ResultsError(f"There is no log folder {log_folder}. Give the folder that holds the results.")
        place = cache_folder or viewer_folder()
        earlier = EarlierCache(self.log_folder, DiskCache(place / "earlier", _EARLIER_BYTES))
        self._index = LogIndex(self.log_folder, earlier)
        self._catalog = Catalog(self.log_folder, self._index)
        self._store = PredictionStore(DiskCache(place / "tables", _TABLE_BYTES))
        self._bands = DiskCache(place / "bands", _PICTURE_BYTES)
        self._pictures = Pictures(DiskCache(place / "pictures", _PICTURE_BYTES))
        self._marks = Marks(self.log_folder)
        self._sorter = ImageSorter()
        self._memory = Memory(64)

    # --- groups and runs ----------------------------------------------------------------------------------------

    def groups(self) -> GroupsView:
        """Return a row per group and per single run."""

        def read() -> GroupsView:
            entries = self._catalog.entries()
            rows, notes = self._index.ask(lambda index: group_rows(index, entries))
            return GroupsView(tuple(rows), tuple(dict.fromkeys((*entries.notes, *notes))))

        return self._memory.get("groups", self._stamp(), read)

    def _stamp(self, group: str | None = None) -> Stamp:
        """Return what changes with the index or the runs; of running ones also with time."""
        where, values = ("", ()) if group is None else (" AND group_name = ?", (group,))
        sql = f"SELECT 1 FROM runs WHERE state = 'running'{where} LIMIT 1"  # noqa: S608
        running = self._index.ask(lambda index: bool(index.query(sql, values)))[0]
        return (*self._catalog.stamp(), time.monotonic() // _FRESH_SECONDS if running else None)

    def leaderboard(self, group: str, *, members: bool = False) -> Leaderboard:
        """Return the ranking of a group (``single``: of all single runs), and the progress of what runs.

        With ``members`` every seed and fold has a row of its own, unranked.
        """
        entries = self._catalog.entries()
        own = entries.of_group(group)

        def read() -> Leaderboard:
            board, notes = self._index.ask(lambda index: ranking(index, group, own, members=members))
            return replace(board, notes=notes)

        return self._memory.get(("leaderboard", group, members), self._stamp(group), read)

    def run(self, group: str, run: str) -> RunView:
        """Return what a run folder holds."""
        return run_view.read_run(self._index, self._entry(group, run))

    def _entry(self, group: str, run: str) -> Entry:
        return self._catalog.entries().run(group, run)

    def members(self, group: str, run: str) -> tuple[str, ...]:
        """Return the runs that a pooled run was made of (seeds, folds); empty for others."""
        return self.run(group, run).members

    def progress(self, group: str, run: str, *, lines: int = 5) -> Progress:
        """Return the last lines of a run's status file."""
        return run_view.progress_of(self._entry(group, run), self.run(group, run).state, lines)

    # --- predictions --------------------------------------------------------------------------------------------

    def predictions(self, group: str, run: str, set_name: str = "test") -> PredictionTable:
        """Return all images of a set with what was predicted; an empty table with notes when it cannot be read."""
        return self._store.table(self._with_set(group, run, set_name), set_name)

    def _with_set(self, group: str, run: str, set_name: str) -> Entry:
        entry = self._entry(group, run)
        known = dict.fromkeys(("val", "test", *sets_with_predictions(entry)))
        if set_name not in known:
            raise ResultsError(f"The run {run} has no set of images '{set_name}'; {nearest(set_name, known)}")
        return entry

    def image_page(
        self, group: str, run: str, set_name: str, query: ImageQuery, *, offset: int = 0, limit: int = 100
    ) -> ImagePage:
        """Return ``limit`` rows from ``offset`` on, with ``models_wrong`` if asked or if a group has few images."""
        table, order, compared, notes = self._answer(group, run, set_name, query)
        rows = image_queries.rows_at(table, order[offset : offset + limit], compared)
        columns = (*table.columns, *([] if compared is None else [image_queries.MODELS_WRONG]))
        return ImagePage(tuple(rows), len(order), columns, notes)

    def _answer(
        self, group: str, run: str, set_name: str, query: ImageQuery
    ) -> tuple[PredictionTable, np.ndarray, ComparedImages | None, tuple[str, ...]]:
        table = self.predictions(group, run, set_name)
        compared, notes = None, table.notes
        stamp: Stamp = self._store.stamp(self._entry(group, run), set_name)
        if query.compares or (group != SINGLE and len(table) <= _FEW_IMAGES):
            view = self.all_models(group, set_name, query.compared_runs)
            compared, notes = ComparedImages(table, view), (*notes, *(view.notes if query.compares else ()))
            stamp = (*stamp, view.runs)
        key = ("answer", group, run, set_name, repr(query))
        order = self._memory.get(key, stamp, lambda: self._sorter.answer(table, query, compared))
        return table, order, compared, notes

    def neighbours(self, group: str, run: str, set_name: str, query: ImageQuery, *, index: int) -> Neighbours:
        """Return the images before and after one in the order of a query."""
        order = self._answer(group, run, set_name, query)[1].tolist()
        if index not in order:
            return Neighbours(None, None, None, len(order))
        place = order.index(index)
        previous = order[place - 1] if place else None
        following = order[place + 1] if place + 1 < len(order) else None
        return Neighbours(previous, following, place, len(order))

    def query_table(self, group: str, run: str, set_name: str, query: ImageQuery) -> pd.DataFrame:
        """Return the whole answer with titles as column names, for a download (two titles may be equal)."""
        table, order, compared, _ = self._answer(group, run, set_name, query)
        return image_queries.download_table(table, order, compared)

    def confusion(self, group: str, run: str, set_name: str = "test") -> Confusion:
        """Return the counts of actual and predicted classes."""
        return curve_tables.confusion_of(self.predictions(group, run, set_name))

    def curves(self, group: str, run: str, set_name: str = "test", class_name: str | None = None) -> Curves:
        """Return ROC, precision-recall and reliability; without a class name of the positive, or the first, class."""
        entry = self._with_set(group, run, set_name)
        table = self._store.table(entry, set_name)
        name = self._class(table, class_name)
        evaluated = self._evaluated(entry, set_name)
        if not isinstance(evaluated, Predictions):
            nothing = pd.DataFrame()
            return Curves(name, nothing, nothing, nothing, (*table.notes, evaluated))
        key, stamp = ("curves", group, run, set_name, name), self._store.stamp(entry, set_name)
        return self._memory.get(key, stamp, lambda: curve_tables.curves_of(evaluated, name, table.notes))

    def _class(self, table: PredictionTable, name: str | None) -> str:
        if name is None:
            return table.positive if table.positive in table.classes else next(iter(table.classes), "")
        if name not in table.classes:
            raise ResultsError(f"There is no class '{name}'; {nearest(name, table.classes)}")
        return name

    def _evaluated(self, entry: Entry, set_name: str) -> Predictions | str:
        try:
            return self._store.evaluated(entry, set_name)
        except PredictionsError as error:
            return str(error)

    def roc_band(self, group: str, run: str, set_name: str = "test", class_name: str | None = None) -> pd.DataFrame:
        """Return the bootstrap band, ``Specificity, Sensitivity, Low, High``; slow the first time, then cached.

        Empty where resamples cannot tell.
        """
        entry = self._with_set(group, run, set_name)
        evaluated = self._evaluated(entry, set_name)
        if not isinstance(evaluated, Predictions):
            return pd.DataFrame()
        name = self._class(self._store.table(entry, set_name), class_name)
        options = self.run(group, run).metrics.get(set_name, {}).get("options") or {}
        stamp = self._store.stamp(entry, set_name)
        key = f"band {entry.folder} {set_name} {name} {options} {stamp}"
        return self._memory.get(key, (), lambda: curve_tables.kept_band(self._bands, key, evaluated, name, options))

    def cutoffs(self, group: str, run: str, set_name: str = "test") -> CutoffTable | None:
        """Return the counts at every cutoff of the slider; None unless there are two classes, one of them positive."""
        entry = self._with_set(group, run, set_name)
        table = self._store.table(entry, set_name)
        evaluated = self._evaluated(entry, set_name)
        if len(table.classes) != 2 or table.positive not in table.classes or isinstance(evaluated, str):
            return None
        key, stamp = ("cutoffs", group, run, set_name), self._store.stamp(entry, set_name)
        positive = str(table.positive)
        return self._memory.get(
            key, stamp, lambda: curve_tables.cutoff_table(evaluated, positive, table.cutoff, table.notes)
        )

    # --- several models -----------------------------------------------------------------------------------------

    def all_models(self, group: str, set_name: str = "test", runs: Sequence[str] = ()) -> ModelsView:
        """Return what the given runs (default: the best 20 by rank) predict for the same images."""
        entries = self._compared(group, set_name, runs)[: None if runs else COMPARED_RUNS]
        stamp = tuple(self._store.stamp(entry, set_name) for entry in entries)
        key = ("models", group, set_name, *(entry.run for entry in entries))

        def read() -> ModelsView:
            tables = {entry.run: self._store.table(entry, set_name) for entry in entries}
            return model_tables.models_view(tables, self._models(group))

        return self._memory.get(key, stamp, read)

    def _compared(self, group: str, set_name: str, runs: Sequence[str]) -> list[Entry]:
        """Return the named runs, or all that have predictions of the set, best first."""
        if runs:
            return [self._with_set(group, run, set_name) for run in dict.fromkeys(runs)]
        entries = {entry.run: entry for entry in self._catalog.entries().of_group(group)}
        board = self.leaderboard(group)
        names = [board.compared_runs.get(name, name) for name in board.table["run_name"]]
        ranked = [entries[name] for name in names if name in entries]
        return [entry for entry in ranked if has_predictions(entry, set_name)]

    def _models(self, group: str) -> dict[str, str | None]:
        table = self.leaderboard(group, members=True).table
        return {
            run: model if isinstance(model, str) else None
            for run, model in zip(table["run_name"], table["model"], strict=True)
        }

    def image_across_models(
        self, group: str, image_id: str, set_name: str = "test", runs: Sequence[str] = ()
    ) -> ImageAcrossModels:
        """Return the probabilities of one image in each run (default: all, best first)."""
        until = time.monotonic() + _ACROSS_SECONDS
        tables: dict[str, PredictionTable] = {}
        entries = self._compared(group, set_name, runs)
        for entry in entries:
            if tables and time.monotonic() > until:
                break
            tables[entry.run] = self._store.table(entry, set_name)
        left = len(entries) - len(tables)
        notes = [f"{left} more runs are still to be read; look again."] if left else []
        return replace(model_tables.image_view(tables, self._models(group), image_id, notes), unread=left)

    # --- images and files ---------------------------------------------------------------------------------------

    def image_path(self, group: str, run: str, set_name: str, index: int) -> Path:
        """Return the file of an image, as its table lists it; ResultsError for an index outside."""
        if set_name == ALL_IMAGES:
            header, rows = self._store.images(self._entry(group, run))
            paths = rows.column(header.index("path"))
        else:
            paths = self.predictions(group, run, set_name).words.column("path")
        if not 0 <= index < len(paths):
            raise ResultsError(f"The set {set_name} of {run} has {len(paths)} images; there is no image {index}.")
        return self.log_folder.absolute().parent / paths[index].as_py()

    def index_of(self, group: str, run: str, set_name: str, image_id: str) -> int:
        """Return the index of an image in a set; ResultsError when it has no such image."""
        index = model_tables.index_of(self.predictions(group, run, set_name), image_id)
        if index is None:
            raise ResultsError(f"The set {set_name} of {run} has no image '{image_id}'.")
        return index

    def thumbnail(self, group: str, run: str, set_name: str, index: int, *, size: int = 160) -> Picture:
        """Return an image as WebP, at most ``size`` pixels wide and high (32 to 512), made once."""
        rule = self._pictures.rule_of(self._entry(group, run).run_folder)
        return self._pictures.thumbnail(self.image_path(group, run, set_name, index), size, rule)

    def full_image(self, group: str, run: str, set_name: str, index: int, *, longest: int = 2048) -> Picture:
        """Return an image as PNG for a close look, oriented, 8 bits, at most ``longest`` pixels wide and high."""
        rule = self._pictures.rule_of(self._entry(group, run).run_folder)
        return self._pictures.full(self.image_path(group, run, set_name, index), longest, rule)

    def group_files(self, group: str) -> tuple[FileEntry, ...]:
        """Return the files of a comparison: plan, findings, report."""
        self._catalog.entries().of_group(group)
        return () if group == SINGLE else run_view.files_of(self.log_folder / group)

    def allowed_file(self, group: str, run: str | None, name: str) -> Path | None:
        """Return a file of a run folder, or without a run of a group's, by its name as listed; None: may not be read.

        A link that leads out of the log folder may not.
        """
        if run is None:
            listed, folder = self.group_files(group), self.log_folder / group
        else:
            entry = self._entry(group, run)
            if entry.folder is None:
                return None
            listed, folder = run_view.files_of(entry.folder), entry.folder
        path = folder / name
        return path if name in {file.name for file in listed} and self._catalog.holds(path) else None

    # --- data ---------------------------------------------------------------------------------------------------

    def data(self, group: str, run: str | None = None, *, samples_per_class: int = 8) -> DataView:
        """Return counts by class and split, sample images and findings of a run, or of a group by its first run."""
        entries = self._catalog.entries()
        chosen = entries.of_group(group) if run is None else [entries.run(group, run)]
        key, stamp = ("data", group, run, samples_per_class), data_stamp(group, chosen)
        return self._memory.get(key, stamp, lambda: data_view(self._store, group, chosen, samples_per_class))

    # --- marks --------------------------------------------------------------------------------------------------

    def marked_lists(self) -> tuple[MarkedList, ...]:
        """Return the saved lists of marked images, by name."""
        return self._marks.all()

    def save_marks(self, name: str, marks: Sequence[Mark]) -> MarkedList:
        """Save (or replace) a list; ResultsError for a name that is no file name everywhere, or a full disk."""
        return self._marks.save(name, marks)

    def delete_marks(self, name: str) -> None:
        """Delete a list; ResultsError when there is none of this name."""
        self._marks.delete(name)

    def mark(self, name: str, mark: Mark) -> None:
        """Add an image to a list, made where there is none, or replace its comment."""
        self._marks.mark(name, mark)

    def unmark(self, name: str, mark: Mark) -> None:
        """Take an image from a list; an image that is not in it stays out."""
        self._marks.unmark(name, mark)

    def marks_table(self, name: str) -> pd.DataFrame:
        """Return a list, ``group,run,set,id,path,actual,predicted,comment``; what is gone is empty."""
        return marks_table(self._marks.get(name).marks, self.predictions)

    def marks_csv(self, name: str) -> str:
        """Return a list as CSV, see :meth:`marks_table`."""
        return csv_text(self.marks_table(name))
