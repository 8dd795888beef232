"""Finding the images and their labels: the three layouts of a data set on disk.

``root/{train,val,test}/<class>/…``, ``root/<class>/…``, or a table with the columns
``path,label[,group,split,…]``. No file is opened here but the table.
"""

import os
from pathlib import Path
from typing import Literal

import pandas as pd

from model_aggregation.data.appearance import APPEARANCE_COLUMNS
from model_aggregation.data.decoding import FOREIGN_IMAGE_SUFFIXES, IMAGE_SUFFIXES
from model_aggregation.data.dicom import holds_dicom
from model_aggregation.data.folder_walk import Walk, as_id, walk_folder
from model_aggregation.data.grouping import groups_from_column, groups_from_pattern
from model_aggregation.data.image_table import (
    INSPECTION_COLUMNS,
    LOOK_ALIKE,
    OWN_COLUMNS,
    SPLITS,
    ImageTable,
    is_increasing,
)
from model_aggregation.data.table_file import TABLE_SUFFIXES, as_text, locate, read_table, require_columns
from model_aggregation.errors import DataError

Layout = Literal["auto", "classes", "splits"]

FOREIGN_IMAGE = "an image format that is not read here; convert it, for example to PNG"
OUTSIDE_CLASSES = "an image outside any class folder"
_ROWS_AT_ONCE = 1000
_SPLIT_BY_NAME = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def scan(source: Path, *, group: str | None = None, layout: Layout = "auto") -> ImageTable:
    """List the images of a folder or a table with their labels, and their splits and groups where known.

    Parameters
    ----------
    source
        A folder, or a ``.csv`` or ``.parquet`` table whose paths are relative to the table or absolute.
    group
        A column of the table, or a regular expression with a part named ``group`` searched in each id.
    layout
        ``classes``: the folders of the root are classes; ``splits``: they are train, val and test (also
        valid, validation, any case); ``auto``: told by their names, and an error where these can mean both.

    Raises
    ------
    DataError
        When nothing is found, the layout is ambiguous, listed files are missing, or groups are incomplete.
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100 - Path.resolve would replace links by their targets
    if source.is_dir():
        table = _scan_folder(source, layout)
    elif source.is_file():
        if layout != "auto":
            raise DataError(f"--layout {layout} is for folders; the table {source} says label and split itself")
        return _scan_table(source, group)
    else:
        kinds = " or ".join(TABLE_SUFFIXES)
        raise DataError(f"{source} does not exist; expected a folder of images or a {kinds} table")
    if group is not None:
        table.frame["group"] = groups_from_pattern(table.frame["id"].tolist(), group)
    return table


def _scan_folder(root: Path, layout: Layout) -> ImageTable:
    walk = walk_folder(root)
    if walk.problems:
        raise DataError(f"{root} cannot be read completely", walk.problems)
    split_by_folder = _splits_of(root, walk, layout)
    rows = _Rows()
    ignored = list(walk.ignored)
    for found in walk.files:
        label = as_id(found.parts[1:2] if split_by_folder else found.parts[:1])
        split = split_by_folder.get(found.parts[0], "") if found.parts else ""
        for name, path in zip(found.names, found.paths(), strict=True):
            reason = _why_no_image(found.parts, name, path, split_by_folder)
            if reason:
                ignored.append(f"{as_id((*found.parts, name))}: {reason}")
            else:
                rows.add(as_id((*found.parts, name)), path, label, split, "")
    frame = rows.table()
    if frame.empty:
        raise DataError(
            f"{root} holds no images in class folders; expected <class>/image or train/<class>/image "
            f"(also val, test). {len(ignored)} files were left aside:",
            sorted(ignored),
        )
    classes = set(frame["label"]) | _class_folders(walk, split_by_folder)
    return ImageTable(root, frame, tuple(sorted(classes)), tuple(sorted(ignored)))


class _Rows:
    """Rows as columns: after each thousand they leave the form of Python's objects, which is large."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._parts: list[pd.DataFrame] = []

    def add(self, *row: str) -> None:
        """Take a value for each of ``OWN_COLUMNS``."""
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        self._parts.append(pd.DataFrame(self._rows, columns=list(OWN_COLUMNS), dtype=str))
        self._rows = []

    def table(self) -> pd.DataFrame:
        """Return all rows in the order of id and path."""
        self._pack()
        frame = pd.concat(self._parts, ignore_index=True)
        return frame if is_increasing(frame["id"]) else frame.sort_values(["id", "path"], ignore_index=True)


def _splits_of(root: Path, walk: Walk, layout: Layout) -> dict[str, str]:
    """Return the split of each folder of the root; empty when the folders are classes."""
    names = [parts[0] for parts in walk.folders if len(parts) == 1]
    alike = [name for name in names if name.casefold() in _SPLIT_BY_NAME]
    if layout == "classes" or (layout == "auto" and not alike):
        return {}
    if layout == "auto":
        if not set(names) <= set(SPLITS):
            raise DataError(
                f"{root}: the folders {', '.join(names)} can be splits or classes. Say --layout splits "
                "(train, val, test; other folders are left aside) or --layout classes (each is a class), "
                "or rename them"
            )
        return {name: name for name in names}
    if not alike:
        raise DataError(f"{root}: --layout splits, but no folder is named train, val or test: {', '.join(names)}")
    splits = {name: _SPLIT_BY_NAME[name.casefold()] for name in alike}
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{root}: two folders for one split: {', '.join(alike)}; join or rename them")
    return splits


def _why_no_image(folder: tuple[str, ...], name: str, path: str, split_by_folder: dict[str, str]) -> str | None:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path would keep each name for good
    if suffix in FOREIGN_IMAGE_SUFFIXES:
        return FOREIGN_IMAGE
    if suffix not in IMAGE_SUFFIXES and not holds_dicom(path):
        return f"no image suffix ({suffix})" if suffix else "no suffix"
    if not split_by_folder:
        return None if folder else OUTSIDE_CLASSES
    if not folder or folder[0] not in split_by_folder:
        return "not in a folder for a split"
    return None if len(folder) > 1 else OUTSIDE_CLASSES


def _class_folders(walk: Walk, split_by_folder: dict[str, str]) -> set[str]:
    if not split_by_folder:
        return {as_id(parts) for parts in walk.folders if len(parts) == 1}
    return {as_id(parts[1:]) for parts in walk.folders if len(parts) == 2 and parts[0] in split_by_folder}


def _scan_table(source: Path, group: str | None) -> ImageTable:
    root = source.parent
    listed = read_table(source)
    listed.columns = [str(name) for name in listed.columns]
    require_columns(listed, ["path", "label"], source)
    if listed.empty:
        raise DataError(f"{source}: the table lists no images")
    located = [locate(text, root) for text in as_text(listed["path"])]
    frame = pd.DataFrame(located, columns=["id", "path"], index=listed.index)
    frame["label"] = as_text(listed["label"])
    frame["split"] = as_text(listed["split"]) if "split" in listed else ""
    _check_rows(frame, as_text(listed["path"]), source)
    frame["group"] = _table_groups(listed.assign(id=frame["id"]), group)
    metadata, renamed = _metadata(listed, keep_group=group not in (None, "group"))
    frame = pd.concat([frame, metadata], axis=1).sort_values("id", kind="stable", ignore_index=True)
    notes = [f"column {old}: kept as {new}; the program has its own {old}" for old, new in renamed.items()]
    return ImageTable(root, frame, tuple(sorted(set(frame["label"]))), tuple(notes))


def _check_rows(frame: pd.DataFrame, written: pd.Series, source: Path) -> None:
    """Raise one error with every row that has no label, a wrong split or no file."""
    problems = [f"no label for {name}" for name in frame.loc[frame["label"] == "", "id"]]
    wrong = ~frame["split"].isin(["", *SPLITS])
    problems += [
        f"split {value!r} is none of {', '.join(SPLITS)}: {number} rows"
        for value, number in frame.loc[wrong, "split"].value_counts().sort_index().items()
    ]
    unsplit = frame["split"] == ""
    if unsplit.any() and not unsplit.all():
        problems += [f"no split for {name}; give one to all or to none" for name in frame.loc[unsplit, "id"]]
    missing = [not Path(path).is_file() for path in frame["path"]]
    problems += [f"no such file: {text}" for text in written[missing]]
    if problems:
        raise DataError(f"{source}: {len(problems)} problems in the table", problems)


def _table_groups(listed: pd.DataFrame, group: str | None) -> list[str]:
    if group is None:
        return groups_from_column(listed, "group") if "group" in listed else [""] * len(listed)
    if group in listed.columns:
        return groups_from_column(listed, group)
    return groups_from_pattern(listed["id"].tolist(), group)


def _metadata(listed: pd.DataFrame, *, keep_group: bool) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the user's own columns, and the new names of those whose name the program uses itself."""
    consumed = ["path", "label", "split"] + ([] if keep_group else ["group"])
    metadata = listed.drop(columns=consumed, errors="ignore")
    taken = {*OWN_COLUMNS, *INSPECTION_COLUMNS, *APPEARANCE_COLUMNS, LOOK_ALIKE}
    renamed = {name: f"table_{name}" for name in metadata.columns if name in taken}
    return metadata.rename(columns=renamed), renamed
