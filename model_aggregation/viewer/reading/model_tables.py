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
        if place is None:
            notes.append(f"{run} was not tested on the same images as {first.run} and is left out.")
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
    ids = table.words.column("id").combine_chunks()
    place = pc.index_in(first.words.column("id").combine_chunks(), value_set=ids)
    return None if place.null_count or len(first) != len(table) else place.to_numpy()


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
    for run, table in tables.items():
        index = index_of(table, image_id)
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
    index = pc.index(table.words.column("id"), image_id).as_py()
    return index if index >= 0 else None
