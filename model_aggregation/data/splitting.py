"""Splitting into train, val and test: stratified by class, groups and equal pictures kept whole.

What is never torn apart is a *unit*: the images joined by a group, by equal pixels or, where they were looked for,
as near duplicates, directly or through others. The order of the units comes from a hash of the seed and their names,
and all arithmetic is in whole numbers, so the same images give the same split on every platform and in every order of
the files.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from model_aggregation import files
from model_aggregation.data.allocation import Unit, allocate
from model_aggregation.data.image_table import LOOK_ALIKE, SPLITS, ImageTable, is_increasing
from model_aggregation.data.joining import joined
from model_aggregation.data.table_file import as_text, locate, read_table, require_columns
from model_aggregation.errors import DataError, SettingsError

MILLION = 1_000_000
SPLIT_COLUMNS = ("id", "label", "group", "split", "content_hash", "readable")


@dataclass(frozen=True)
class SplitRule:
    """How an automatic split is made.

    Attributes
    ----------
    test_share
        Share of all images that goes to test, 0 up to below 1.
    train_share
        Share of the rest that goes to train, above 0 up to 1; what remains goes to val.
    seed
        Another seed gives another split.
    """

    test_share: float = 0.2
    train_share: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.test_share < 1:
            problems.append(f"test share must be at least 0 and below 1, not {self.test_share}")
        if not 0 < self.train_share <= 1:
            problems.append(f"train share must be above 0 and at most 1, not {self.train_share}")
        if problems:
            raise SettingsError("no images can be split so", problems)

    def millionths(self) -> dict[str, int]:
        """Return the share of each split in millionths of all images.

        >>> SplitRule().millionths()
        {'train': 640000, 'val': 160000, 'test': 200000}
        """
        test = round(self.test_share * MILLION)
        train = round((MILLION - test) * self.train_share)
        return {"train": train, "val": MILLION - test - train, "test": test}


def split_images(table: ImageTable, rule: SplitRule) -> ImageTable:
    """Give every readable image of an inspected table a split; unreadable ones keep none.

    Each class is divided by the shares of the rule as nearly as whole units allow. A class of three or more
    units gets an image in each split (two: train and test; one: train), unless mixed groups prevent it.

    Raises
    ------
    DataError
        When the table has splits already, or no readable image.
    """
    if table.presplit:
        raise DataError("the images have splits already; an automatic split would replace them")
    rows = _rows_to_split(table)
    units = _units(rows, str(rule.seed))
    split_of_unit = np.array(allocate(units.content, rule.millionths()))
    split = pd.Series("", index=table.frame.index)
    split[rows.index] = split_of_unit[units.of_row]
    return replace(table, frame=table.frame.assign(split=split))  # the other columns are shared, not copied


@dataclass(frozen=True)
class FoldRule:
    """How folds for cross-validation are made: their number, and the share of the rest used for training."""

    folds: int
    train_share: float = 0.8
    seed: int = 0


def fold_tables(table: ImageTable, rule: FoldRule) -> tuple[ImageTable, ...]:
    """Return one table per fold: its images are test, the others are divided into train and val.

    Every readable image is in test exactly once. Folds, and train and val in each, are stratified by class; groups
    and equal pictures are kept whole.

    Raises
    ------
    DataError
        When the table has splits already, or fewer units (groups, images) than folds.
    """
    if table.presplit:
        raise DataError(
            f"--folds makes its own division, but {table.root} comes with splits. Give the images without them: a "
            "folder of class folders, or a table without the column split."
        )
    rows = _rows_to_split(table)
    units = _units(rows, str(rule.seed))
    if len(units.content) < rule.folds:
        raise DataError(
            f"{rule.folds} folds need as many units that are not torn apart (groups, or images without one); there "
            f"are {len(units.content)}."
        )
    names = [str(number) for number in range(rule.folds)]
    shares = {name: (MILLION + number) // rule.folds for number, name in enumerate(names)}
    fold_of_unit = np.array(allocate(units.content, shares, priority=dict.fromkeys(names, 1)))
    fold_of_row = fold_of_unit[units.of_row]
    share = round(rule.train_share * MILLION)
    tables = []
    for name in names:
        frame = table.frame.assign(split="")
        frame.loc[rows.index[fold_of_row == name], "split"] = "test"
        rest = rows[fold_of_row != name]
        others = _units(rest, f"{rule.seed}/{name}")
        split_of_unit = np.array(allocate(others.content, {"train": share, "val": MILLION - share, "test": 0}))
        frame.loc[rest.index, "split"] = split_of_unit[others.of_row]
        tables.append(replace(table, frame=frame))
    return tuple(tables)


def repeated_fold_tables(table: ImageTable, rule: FoldRule, *, repeats: int) -> tuple[tuple[ImageTable, ...], ...]:
    """Return the tables of :func:`fold_tables` so many times, each time drawn anew (the seed, the next seed, …)."""
    return tuple(fold_tables(table, replace(rule, seed=rule.seed + number)) for number in range(repeats))


def _rows_to_split(table: ImageTable) -> pd.DataFrame:
    if not table.inspected:
        raise ValueError("inspect the table before splitting it: equal pictures must stay together")
    rows = table.readable()
    if not is_increasing(rows["id"]):
        rows = rows.sort_values("id", kind="stable")  # the first id of a unit gives its hash
    if rows.empty:
        raise DataError(f"{table.root} holds no readable image")
    return rows


def apply_split(table: ImageTable, split_file: Path) -> ImageTable:
    """Take the splits from a CSV or Parquet file with the columns ``id`` or ``path``, and ``split``.

    Where the file also has ``label``, ``group`` or ``content_hash``, they must agree with the images; groups
    are taken over when the table knows none. Only an unreadable image may be without a split.

    Raises
    ------
    DataError
        With every difference at once: images that only one side has or that come twice, wrong splits.
    """
    given = read_table(split_file)
    key = "id" if "id" in given.columns else "path"
    require_columns(given, [key, "split"], split_file)
    columns = [name for name in ("split", "label", "group", "content_hash") if name in given.columns]
    given_text = pd.DataFrame({name: as_text(given[name]) for name in columns})
    names = as_text(given[key])
    given_text["id"] = names if key == "id" else [locate(text, table.root)[0] for text in names]
    problems = _differences(table, given_text)
    if problems:
        message = f"{split_file} does not fit the images of {table.root}"
        raise DataError(f"{message}; bring back the images it was made for, or make another with magg split", problems)
    by_id = given_text.set_index("id").reindex(table.frame["id"])
    frame = table.frame.assign(split=by_id["split"].to_numpy())
    if not table.has_groups and "group" in by_id:
        frame["group"] = by_id["group"].to_numpy()
    return replace(table, frame=frame)


def write_split(table: ImageTable, path: Path) -> None:
    """Write the splits as CSV (``id,label,group,split,content_hash,readable``), to edit and to feed back."""
    files.write_csv(path, table.frame.reindex(columns=list(SPLIT_COLUMNS)))


@dataclass(frozen=True, eq=False)
class _Units:
    """The units in the order of their hashes, and the position of each row's unit."""

    content: list[Unit]
    of_row: np.ndarray


def _units(rows: pd.DataFrame, seed: str) -> _Units:
    component = _components(rows)
    first_ids = rows["id"].groupby(component).first()
    hashes = np.empty(len(first_ids), dtype="S32")
    for number, name in enumerate(first_ids):
        hashes[number] = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    position = np.empty(len(hashes), dtype=np.int64)
    position[np.argsort(hashes, kind="stable")] = np.arange(len(hashes))
    of_row = position[component]
    return _Units(_contents(of_row, rows["label"]), of_row)


def _contents(of_row: np.ndarray, labels: pd.Series) -> list[Unit]:
    """Return for each unit its labels, sorted, with their numbers; equal contents are one object."""
    codes, names = pd.factorize(labels, sort=True)
    keys, counts = np.unique(of_row * len(names) + codes, return_counts=True)
    contents: list[Unit] = [()] * (int(of_row.max()) + 1)
    known: dict[Unit, Unit] = {}
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        unit, code = divmod(key, len(names))
        content = (*contents[unit], (str(names[code]), count))
        contents[unit] = known.setdefault(content, content)
    return contents


def _components(rows: pd.DataFrame) -> np.ndarray:
    """Number the units 0, 1, …: the connected components of images, groups, pictures and near duplicates."""
    count = len(rows)
    picture = pd.factorize(rows["pixel_hash"])[0] + count
    group = pd.factorize(rows["group"])[0] + picture.max() + 1
    grouped = (rows["group"] != "").to_numpy()
    look = pd.factorize(rows[LOOK_ALIKE])[0] if LOOK_ALIKE in rows else np.full(count, -1)
    alike = look >= 0
    image = np.arange(count)
    start = np.concatenate([image, image[grouped], image[alike]])
    end = np.concatenate([picture, group[grouped], look[alike] + group.max() + 1])
    return pd.factorize(joined(start, end, int(end.max()) + 1)[:count])[0]


def _differences(table: ImageTable, given: pd.DataFrame) -> list[str]:
    frame = table.frame
    known, listed = set(frame["id"]), set(given["id"])
    problems = [f"more than once in the file: {name}" for name in given.loc[given["id"].duplicated(), "id"].unique()]
    problems += [f"not in the file: {name}" for name in frame.loc[~frame["id"].isin(listed), "id"]]
    problems += [f"not among the images: {name}" for name in given.loc[~given["id"].isin(known), "id"]]
    both = frame.merge(given, on="id", suffixes=("", "_given"))
    wrong = both[~both["split_given"].isin(["", *SPLITS])]
    problems += [_not_one_of_splits(name, split) for name, split in zip(wrong["id"], wrong["split_given"], strict=True)]
    unreadable = ~both["readable"].astype(bool) if "readable" in both else pd.Series(False, index=both.index)
    problems += [f"no split: {name}" for name in both.loc[(both["split_given"] == "") & ~unreadable, "id"]]
    for column in ("label", "group", "content_hash"):
        if f"{column}_given" in both and (column != "group" or table.has_groups):
            problems += _contradictions(both, column)
    return problems


def _not_one_of_splits(name: str, split: str) -> str:
    return f"split {split!r} is none of {', '.join(SPLITS)}: {name}"


def _contradictions(both: pd.DataFrame, column: str) -> list[str]:
    differ = both[both[column] != both[f"{column}_given"]]
    values: Sequence[tuple[str, str, str]] = list(
        zip(differ["id"], differ[column], differ[f"{column}_given"], strict=True)
    )
    if column == "content_hash":
        return [f"another content than when the file was made: {name}" for name, _, _ in values]
    return [f"{column} is {here[:40]!r}, the file says {there[:40]!r}: {name}" for name, here, there in values]
