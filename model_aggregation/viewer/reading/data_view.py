"""The images of a data set: how many of each class in each split, some of them, and what its check found."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from model_aggregation.errors import ResultsError
from model_aggregation.names import SINGLE
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import read_words
from model_aggregation.viewer.reading.catalog import Entry
from model_aggregation.viewer.reading.conversion import read_image_rows
from model_aggregation.viewer.reading.memory import Stamp, stamp_of
from model_aggregation.viewer.reading.prediction_store import PredictionStore
from model_aggregation.viewer.reading.run_view import Reading
from model_aggregation.viewer.reading.views import DataView, SampleImage

FINDINGS, SPLITS = "findings.csv", "splits_f*.csv"
_SPLITS = ("train", "val", "test")


def data_stamp(group: str, entries: Sequence[Entry]) -> Stamp:
    """Return what changes with the data of the runs."""
    folders = [entry.run_folder for entry in entries]
    places = {folder.path for folder in folders} if group == SINGLE else {folder.path.parent for folder in folders}
    beside = [path for place in sorted(places) for path in (place / FINDINGS, *sorted(place.glob(SPLITS)))]
    return stamp_of(*(path for folder in folders for path in (folder.images_csv, folder.subgroups_csv)), *beside)


def data_view(store: PredictionStore, group: str, entries: Sequence[Entry], samples_per_class: int) -> DataView:
    """Return the data of the first of the runs that has a table of its images."""
    reading = Reading()
    nothing = pd.DataFrame()
    for entry in entries:
        if entry.folder is None or not RunFolder(entry.folder).images_csv.is_file():
            continue
        folder = RunFolder(entry.folder)
        try:
            rows = _rows(*store.images(entry))
        except ResultsError as error:
            reading.notes.append(str(error))
            continue
        place = folder.path if group == SINGLE else folder.path.parent
        used = rows[rows["split"] != ""]
        return DataView(
            group=group,
            run=entry.run,
            counts=_counted(used),
            groups=_counted(used[used["group"] != ""].drop_duplicates(["label", "split", "group"])),
            unreadable=int((rows["readable"] == "False").sum()),
            samples=_samples(rows, samples_per_class),
            findings=_words(reading, place / FINDINGS),
            subgroups=_words(reading, folder.subgroups_csv),
            folds=nothing if group == SINGLE else _folds(reading, place),
            notes=tuple(reading.notes),
        )
    if not entries or any(entry.origin != "earlier" for entry in entries):
        reading.notes.append("No run here has a table of its images (images.csv).")
    return DataView(group, None, nothing, nothing, 0, (), nothing, nothing, nothing, tuple(reading.notes))


def _rows(header: list[str], table: pa.Table) -> pd.DataFrame:
    """Return the columns that count; ``group`` and ``readable`` may be missing."""
    columns = {name: table.column(header.index(name)).to_pandas() for name in ("id", "label", "split")}
    for name in ("group", "readable"):
        columns[name] = table.column(header.index(name)).to_pandas() if name in header else ""
    return pd.DataFrame(columns)


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return counts by class (rows) and split (columns, train before val before test)."""
    if rows.empty:
        return pd.DataFrame()
    counts = pd.crosstab(rows["label"], rows["split"])
    order = [*(name for name in _SPLITS if name in counts), *sorted(set(map(str, counts)) - set(_SPLITS))]
    return counts[order]


def _folds(reading: Reading, folder: Path) -> pd.DataFrame:
    """Return how many images of each class a fold has in each split."""
    found = []
    for path in folder.glob(SPLITS):
        number = path.stem.removeprefix("splits_f")
        if number.isdecimal():
            found.append(reading.of(path, partial(_fold, path, int(number)), pd.DataFrame()))
    known = [counts for counts in found if len(counts)]
    return pd.concat(known).sort_values(["fold", "label", "split"], ignore_index=True) if known else pd.DataFrame()


def _fold(path: Path, number: int) -> pd.DataFrame:
    rows = _rows(*read_image_rows(path, ("id", "label", "split")))
    counts = rows[rows["split"] != ""].groupby(["label", "split"]).size().reset_index(name="images")
    return counts.assign(fold=number)


def _samples(rows: pd.DataFrame, count: int) -> tuple[SampleImage, ...]:
    """Return readable images of each class, spread evenly over the table."""
    readable = rows[(rows["readable"] != "False") & (rows["split"] != "")]
    found = []
    for label, part in readable.groupby("label"):
        at = np.unique(np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(int))
        for index, row in part.iloc[at].iterrows():
            found.append(SampleImage(int(index), row["id"], str(label), row["split"]))  # type: ignore[call-overload]
    return tuple(found)


def _words(reading: Reading, path: Path) -> pd.DataFrame:
    return reading.of(path, lambda: read_words(path), pd.DataFrame())
