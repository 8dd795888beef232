"""Prediction tables of runs, converted once and then mapped from the cache."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from model_aggregation.errors import PredictionsError, ResultsError
from model_aggregation.evaluation.decision import decide
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.results.checksums import Checksums
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading.arrow_tables import map_table, write_table
from model_aggregation.viewer.reading.catalog import Entry
from model_aggregation.viewer.reading.conversion import (
    SetFiles,
    facts_of,
    read_image_rows,
    read_numbers,
    read_words,
    with_more_facts,
    words_key,
)
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.image_views import PredictionTable
from model_aggregation.viewer.reading.memory import Memory, Stamp, stamp_of
from model_aggregation.viewer.reading.run_numbers import stamp_of_numbers
from model_aggregation.viewer.reading.run_view import (
    Reading,
    earlier_cutoff_of,
    no_values,
    positive_class,
    sets_of,
    stored_cutoff,
)

_FORM = "2"
"""Part of the key: raise it when the converted tables change."""


class PredictionStore:
    """Opens the predictions of runs; converted tables lie in the cache, opened ones stay in memory for a while."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache
        self._tables = Memory(64)
        self._words = Memory(16)
        self._images = Memory(4)
        self._evaluated = Memory(8)

    def stamp(self, entry: Entry, set_name: str) -> Stamp:
        """Return what changes with the predictions of a set."""
        folder = entry.run_folder
        files = _files(folder, set_name)
        stamp = (*stamp_of(files.probabilities, files.decisions, files.images), *stamp_of_numbers(folder))
        if entry.earlier is None:
            return stamp
        return (*stamp, *stamp_of(folder.status_txt), None if entry.row is None else entry.row["cutoff"])

    def table(self, entry: Entry, set_name: str) -> PredictionTable:
        """Return the predictions of a set; without rows, with a note, when they cannot be read."""
        key = (entry.group, entry.run, set_name)
        return self._tables.get(key, self.stamp(entry, set_name), lambda: self._open(entry, set_name))

    def _open(self, entry: Entry, set_name: str) -> PredictionTable:
        folder = entry.run_folder
        reading = Reading()
        environment = reading.of(folder.environment_json, folder.read_environment, no_values())
        metrics = reading.numbers(folder)
        settings = reading.of(folder.settings_yaml, folder.read_settings, no_values())
        cutoff = stored_cutoff(metrics, set_name)
        about: dict[str, Any] = {
            "group": entry.group, "run": entry.run, "set_name": set_name, "cutoff": cutoff,
            "positive": positive_class(environment, metrics, settings),
        }  # fmt: skip
        files = _files(folder, set_name)
        try:
            numbers, words = self._converted(files)
        except (ResultsError, OSError) as error:
            return _no_rows(about, (*reading.notes, str(error)))
        facts, word_facts = facts_of(numbers), facts_of(words)
        classes = tuple(facts["classes"])
        probabilities = _matrix(numbers, len(classes))
        if entry.earlier is not None:
            about["cutoff"] = earlier_cutoff_of(entry, classes)
        notes = [*reading.notes, *_changed_decisions(folder, files), *facts["notes"], *word_facts["notes"]]
        if entry.earlier is None and not files.images.is_file():
            notes.append(f"{files.images.name} is missing: groups and ids are not known.")
        if "decided" in numbers.column_names:
            predicted = _codes(numbers, "decided")
        else:
            predicted = _decided(about, classes, probabilities, notes)
        return PredictionTable(
            **about, classes=classes, labels=tuple(facts["labels"]), actual=_codes(numbers, "actual"),
            predicted=predicted, probabilities=probabilities, words=words, metadata=tuple(word_facts["metadata"]),
            key=facts["words_key"], notes=tuple(notes),
        )  # fmt: skip

    def _converted(self, files: SetFiles) -> tuple[pa.Table, pa.Table]:
        stamp = stamp_of(files.probabilities, files.decisions, files.images)
        paths: list[pa.Array] = []

        def convert() -> pa.Table:
            numbers, names = read_numbers(files)
            paths.append(names)
            return with_more_facts(numbers, words_key=words_key(files.images, names))

        def words() -> pa.Table:
            return read_words(files.images, paths[0] if paths else read_numbers(files)[1])

        numbers = self._cached(f"numbers {_FORM} {files.source.absolute()} {stamp}", convert)
        key = facts_of(numbers)["words_key"]
        return numbers, self._words.get(key, (), lambda: self._cached(f"words {_FORM} {key}", words))

    def _cached(self, key: str, make: Callable[[], pa.Table]) -> pa.Table:
        """Return the table of a key from the cache; a damaged one is made again."""
        found = self._cache.find(key, ".arrow")
        if found is not None:
            try:
                return map_table(found)
            except (OSError, pa.ArrowInvalid):
                found.unlink(missing_ok=True)
        table = make()
        kept = self._cache.keep(key, ".arrow", lambda path: write_table(table, path))
        return table if kept is None else map_table(kept)

    def images(self, entry: Entry) -> tuple[list[str], pa.Table]:
        """Return header and rows of ``images.csv``; ResultsError when it cannot be read."""
        path = entry.run_folder.images_csv
        return self._images.get(str(path), stamp_of(path), lambda: read_image_rows(path))

    def evaluated(self, entry: Entry, set_name: str) -> Predictions:
        """Return the predictions as they are evaluated; PredictionsError when they cannot be."""
        key = (entry.group, entry.run, set_name)
        stamp = self.stamp(entry, set_name)
        return self._evaluated.get(key, stamp, lambda: _evaluated(self.table(entry, set_name)))


def _files(folder: RunFolder, set_name: str) -> SetFiles:
    images = folder.images_csv if set_name in ("val", "test") else folder.set_images_csv(set_name)
    return SetFiles(folder.predictions_csv(set_name), folder.predicted_labels_csv(set_name), images)


def _changed_decisions(folder: RunFolder, files: SetFiles) -> list[str]:
    """Return a note where the written decisions are not what the run wrote."""
    try:
        changed = files.decisions.is_file() and Checksums.read(folder).is_changed(files.decisions)
    except ResultsError:  # said with the numbers
        return []
    return [f"not what the run wrote: {files.decisions.name}"] if changed else []


def sets_with_predictions(entry: Entry) -> tuple[str, ...]:
    """Return the sets of a run that have predictions."""
    return () if entry.folder is None else sets_of(entry.run_folder)


def has_predictions(entry: Entry, set_name: str) -> bool:
    """Tell whether a run has predictions of a set."""
    return entry.folder is not None and _files(entry.run_folder, set_name).source.is_file()


def _matrix(numbers: pa.Table, classes: int) -> np.ndarray:
    column = numbers.column("probabilities")
    flat = column.chunk(0).values if column.num_chunks == 1 else column.combine_chunks().values  # one is not copied
    return flat.to_numpy().reshape(-1, classes)


def _codes(numbers: pa.Table, name: str) -> np.ndarray:
    return numbers.column(name).to_numpy()


def _decided(
    about: dict[str, Any], classes: tuple[str, ...], probabilities: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Decide by the stored cutoff, or by the largest probability; what was not written down is said."""
    positive, cutoff = about["positive"], about["cutoff"]
    by_cutoff = len(classes) == 2 and positive in classes and cutoff is not None
    if by_cutoff:
        chosen = decide(probabilities, positive=classes.index(positive), cutoff=cutoff)
    else:
        chosen = decide(probabilities)
    if about["set_name"] != "val" or (len(classes) == 2 and not by_cutoff):
        rule = f"the stored cutoff {cutoff:g}" if by_cutoff else "the largest probability"
        notes.append(f"The decisions of this set were not written down; here each is made by {rule}.")
    return chosen.astype(np.int32)


def _no_rows(about: dict[str, Any], notes: tuple[str, ...]) -> PredictionTable:
    empty = pa.array([], type=pa.string())
    nothing = np.empty(0, dtype=np.int32)
    return PredictionTable(
        **about, classes=(), labels=(), actual=nothing, predicted=nothing, probabilities=np.empty((0, 0)),
        words=pa.table({"id": empty, "path": empty, "group": empty}), metadata=(), key="", notes=notes,
    )  # fmt: skip


def _evaluated(table: PredictionTable) -> Predictions:
    if not len(table):
        raise PredictionsError("\n".join(table.notes) or "The set has no images.")
    groups = table.words.column("group").to_numpy()
    return Predictions(
        table.words.column("path").to_numpy(), table.actual.astype(np.int64), table.probabilities, table.classes,
        groups if (groups != "").all() else None,
    )  # fmt: skip
