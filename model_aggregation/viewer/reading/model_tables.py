"""What several runs of a group predict for the same images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from model_aggregation.viewer.reading.image_views import ImageAcrossModels, ModelsView, PredictionTable

Tables = Mapping[str, PredictionTable]
"""By the name of the run, best first."""


def models_view(tables: Tables, models: Mapping[str, str | None]) -> ModelsView:
    """Bring the predictions of runs into the order of the first one's images; runs with other images are left out."""
    usable = {run: table for run, table in tables.items() if len(table)}
    notes = [f"{run}: {note}" for run, table in tables.items() if run not in usable for note in table.notes]
    if not usable:
        empty = np.empty(0, dtype=np.int32)
        return ModelsView((), (), (), np.empty((0, 0), dtype=np.int32), empty, None, tuple(notes))
    first = next(iter(usable.values()))
    labels = list(dict.fromkeys(name for table in usable.values() for name in table.labels))
    rows: dict[str, np.ndarray] = {}
    for run, table in usable.items():
        place = _place(first, table)
        if place is None and (_has_ids(first) and _has_ids(table)):
            notes.append(f"{run} was not tested on the same images as {first.run} and is left out.")
        elif place is None:
            notes.append(f"{run} is left out: its images cannot be matched with those of {first.run} by their paths.")
        else:
            rows[run] = _recoded(table, labels)[place]
    return ModelsView(
        runs=tuple(rows),
        models=tuple(models.get(run) or run for run in rows),
        labels=tuple(labels),
        predicted=np.stack(list(rows.values())),
        actual=_recode(first.labels, labels)[first.actual],
        table=first,
        notes=tuple(notes),
    )


def _place(first: PredictionTable, table: PredictionTable) -> np.ndarray | None:
    """Return where each image of the first table lies in another; None when they hold different images."""
    if first.key == table.key:
        return np.arange(len(first))
    for name in ("id", "path"):
        words = table.words.column(name).combine_chunks()
        place = pc.index_in(first.words.column(name).combine_chunks(), value_set=words)
        if not place.null_count and len(first) == len(table):
            return place.to_numpy()
    return None


def _has_ids(table: PredictionTable) -> bool:
    """Tell whether the images have ids of their own; the earlier program kept their paths alone."""
    return not table.words.column("id").equals(table.words.column("path"))


def _recode(own: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    return np.array([labels.index(name) for name in own], dtype=np.int32)


def _recoded(table: PredictionTable, labels: Sequence[str]) -> np.ndarray:
    return _recode(table.labels, labels)[table.predicted]


def image_view(
    tables: Tables, models: Mapping[str, str | None], image_id: str, notes: Sequence[str]
) -> ImageAcrossModels:
    """Return the probabilities of one image in each run that has it."""
    rows, problems = [], list(notes)
    classes: tuple[str, ...] = ()
    actual = None
    places = {run: index_of(table, image_id) for run, table in tables.items()}
    paths = [tables[run].words.column("path")[place] for run, place in places.items() if place is not None]
    for run, table in tables.items():
        index = _index_at(table, paths[0].as_py()) if places[run] is None and paths else places[run]
        if index is None:
            problems += [f"{run}: {note}" for note in table.notes] or [f"{run} has no image {image_id}."]
            continue
        classes = classes or table.classes
        actual = actual or table.labels[table.actual[index]]
        if table.classes != classes:
            problems.append(f"{run} has other classes and is left out.")
            continue
        scores = table.probabilities[index].tolist()
        rows.append(
            {
                "run": run,
                "model": models.get(run) or run,
                "predicted": table.labels[table.predicted[index]],
                "correct": bool(table.correct[index]),
                "confidence": float(table.confidence[index]),
                **{f"p{number}": score for number, score in enumerate(scores)},
            }
        )
    columns = ["run", "model", "predicted", "correct", "confidence", *(f"p{k}" for k in range(len(classes)))]
    return ImageAcrossModels(image_id, actual, classes, pd.DataFrame(rows, columns=columns), tuple(problems))


def index_of(table: PredictionTable, image_id: str) -> int | None:
    """Return the index of an image in a table; None when it is not there."""
    return _index_at(table, image_id, "id")


def _index_at(table: PredictionTable, word: str, column: str = "path") -> int | None:
    index = pc.index(table.words.column(column), word).as_py()
    return index if index >= 0 else None
