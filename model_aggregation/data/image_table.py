"""The table of images that everything else works from: one row per image, sorted by id."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.data.appearance import APPEARANCE_COLUMNS
from model_aggregation.data.mapped_texts import packed, unpacked, with_mapped_texts
from model_aggregation.data.thumbnails import slices

SPLITS = ("train", "val", "test")
OWN_COLUMNS = ("id", "path", "label", "split", "group")
INSPECTION_COLUMNS = (
    "readable",
    "width",
    "height",
    "mode",
    "format",
    "frames",
    "bytes",
    "content_hash",
    "pixel_hash",
    "value_range",
    "exif_orientation",
    "dicom_patient",
    "remark",
    "error",
)
LOOK_ALIKE = "look_alike"
FINGERPRINTED = ("id", "label", "split", "group", "content_hash")


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Which images there are, with their labels, splits and groups.

    Attributes
    ----------
    root
        The folder that the ids are relative to, absolute.
    frame
        One row per image, sorted by id. ``id`` (path relative to the root, ``/``, NFC; an absolute path for
        a listed file outside the root), ``path`` (absolute, as on disk), ``label``, ``split`` (``train``,
        ``val``, ``test`` or empty), ``group`` (empty when unknown), the metadata columns; after the
        inspection also ``INSPECTION_COLUMNS``: ``readable``; ``width`` and ``height`` in pixels after
        orientation; ``mode`` and ``format`` of the file; ``frames``; ``bytes``; ``content_hash`` (SHA-256 of
        the file); ``pixel_hash`` (SHA-256 of size and RGB pixels); ``value_range`` (largest minus smallest
        8-bit value, of the channel where it is widest); ``exif_orientation`` (1 to 8);
        ``dicom_patient`` (the patient id of a DICOM file); ``remark`` (what Pillow warned of); ``error``. If
        asked for, also ``APPEARANCE_COLUMNS`` (``look_thumbnail`` is the place in ``thumbnails``), and
        ``look_alike``: a number that near duplicates share.
    classes
        All class names, sorted; a class folder without images is among them.
    ignored
        Files and folders that were left aside, each as ``relative path: why``.
    thumbnails
        After an inspection of the appearance: (N, 32, 32) uint8, a mapped file.
    """

    root: Path
    frame: pd.DataFrame
    classes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    thumbnails: np.ndarray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process keep the texts in a mapped file too."""
        return _received, (self.root, packed(self.frame), self.classes, self.ignored, self.thumbnails)

    @property
    def presplit(self) -> bool:
        """Whether images have splits already."""
        return bool((self.frame["split"] != "").any())

    @property
    def has_groups(self) -> bool:
        """Whether the group of the images is known."""
        return bool((self.frame["group"] != "").any())

    @property
    def inspected(self) -> bool:
        """Whether the files have been read, so that ``INSPECTION_COLUMNS`` are there."""
        return "content_hash" in self.frame

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """The user's own columns (site, scanner, age band …), in the order of the table."""
        own = {*OWN_COLUMNS, *INSPECTION_COLUMNS, *APPEARANCE_COLUMNS, LOOK_ALIKE}
        return tuple(column for column in self.frame.columns if column not in own)

    def readable(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows not found unreadable, in id order; with ``columns`` only these."""
        frame = self.frame if columns is None else self.frame[list(columns)]
        if "readable" not in self.frame:
            return frame
        is_readable = self.frame["readable"].astype(bool)
        return frame if is_readable.all() else frame[is_readable]  # a copy of all rows costs 350 bytes each

    def part(self, split: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the readable rows of one split, in id order, with a fresh index; with ``columns`` only these."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        chosen = self.readable(["split"])["split"] == split
        return self.readable(columns)[chosen].reset_index(drop=True)

    def sizes(self) -> dict[str, int]:
        """Return the number of readable images of each split that has any."""
        sizes = self.readable(["split"])["split"].value_counts()
        return {name: int(sizes[name]) for name in SPLITS if name in sizes.index}

    def counts(self) -> pd.DataFrame:
        """Return the number of readable images, one row per class, one column per split.

        Images without a split are counted in a fourth column ``unsplit`` when there are any.
        """
        rows = self.readable()
        table = pd.crosstab(rows["label"], rows["split"].replace({"": "unsplit"}))
        columns = [*SPLITS, *(["unsplit"] if "unsplit" in table.columns else [])]
        table = table.reindex(index=list(self.classes), columns=columns, fill_value=0).astype(int)
        return table.rename_axis(index="label", columns=None)

    def facts(self) -> pd.DataFrame:
        """Return what a run writes down of its images: identity, label, split, group, metadata and content."""
        return self.frame[
            ["id", "path", "label", "split", "group", *self.metadata_columns, "readable", "content_hash", "pixel_hash"]
        ]

    def reduced_to_facts(self) -> "ImageTable":
        """Return the same images without what only judging and dividing them needs, 130 bytes for each."""
        return replace(self, frame=self.facts(), thumbnails=None)

    def with_mapped_texts(self) -> "ImageTable":
        """Return the same images with their texts in a mapped file instead of memory; folds made of it share them."""
        return replace(self, frame=with_mapped_texts(self.frame))

    def without_splits(self) -> "ImageTable":
        """Return the same images with no split, such as all folds have in common."""
        return replace(self, frame=self.frame.assign(split=""))

    def without_appearance(self) -> "ImageTable":
        """Return the same images without ``APPEARANCE_COLUMNS``, which nothing needs once near duplicates are known."""
        frame = self.frame.drop(columns=list(APPEARANCE_COLUMNS), errors="ignore")
        return replace(self, frame=frame, thumbnails=None)

    def fingerprint(self) -> str:
        """Return a SHA-256 that changes when an image, a name, a label, a split or a group changes.

        Raises
        ------
        ValueError
            Before the inspection, when the content of the files is not known.
        """
        if not self.inspected:
            raise ValueError("the fingerprint covers the content of the files: inspect the table first")
        columns = list(FINGERPRINTED)
        frame = self.frame[columns]
        if not is_increasing(frame["id"]):
            frame = frame.astype(str).sort_values(columns)
        digest = hashlib.sha256(b"[")  # of the rows as one JSON list, which is never there as a whole
        for rows in slices(len(frame)):
            texts = [json.dumps(row) for row in frame.iloc[rows].astype(str).to_numpy().tolist()]
            digest.update((", " * (rows.start > 0) + ", ".join(texts)).encode("ascii"))
        digest.update(b"]")
        return digest.hexdigest()


def _received(root: Path, frame: tuple[Any, ...], *others: Any) -> ImageTable:
    return ImageTable(root, unpacked(*frame), *others)


def is_increasing(ids: pd.Series) -> bool:
    """Return whether each id is greater than the one before; a part at a time, since pandas would copy all."""
    parts = (ids.iloc[max(0, rows.start - 1) : rows.stop].to_numpy() for rows in slices(len(ids)))
    return all((part[:-1] < part[1:]).all() for part in parts)
