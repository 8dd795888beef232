"""What stands against using a data set as it is: every finding at once, each with what to do about it."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from model_aggregation.data.grouping import guess_pattern
from model_aggregation.data.image_table import SPLITS, ImageTable
from model_aggregation.data.scan import FOREIGN_IMAGE, OUTSIDE_CLASSES
from model_aggregation.errors import DataError, listed

Severity = Literal["error", "warning", "note"]

FILES_SHOWN = 10
TOO_FEW_TO_CONCLUDE = 10
IMPRECISE = 30
_FEWEST_GREY_LEVELS = 16
_DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class Finding:
    """One thing found in a data set.

    Attributes
    ----------
    severity
        ``error`` stops before training; ``warning`` qualifies the results; ``note`` is for the record.
    kind
        A short fixed name, for tests and tables.
    message
        What was found, and what to do.
    files
        The ids concerned; for duplicates, equal ones stand next to each other.
    details
        Lines to show instead of the ids, where an id alone does not say enough.
    """

    severity: Severity
    kind: str
    message: str
    files: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = listed(self.details or self.files, limit=FILES_SHOWN)
        return "\n".join([self.message, *(f"    {line}" for line in shown)])


def check(
    table: ImageTable, *, skip_unreadable: bool = False, allow_duplicates: bool = False
) -> tuple[ImageTable, list[Finding]]:
    """Judge an inspected and split table: return it with its warnings and notes, or stop.

    Unreadable images stay in the frame with ``readable`` False, and no part of the table gives them out.

    Parameters
    ----------
    skip_unreadable
        Leave unreadable images out, with a warning, instead of stopping.
    allow_duplicates
        Accept the same pixels in test and in another split, with a warning.

    Raises
    ------
    DataError
        With all errors at once, each as one of the ``problems``.
    """
    findings = list_findings(table, skip_unreadable=skip_unreadable, allow_duplicates=allow_duplicates)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        plural = "s stand" if len(errors) > 1 else " stands"
        raise DataError(f"{len(errors)} problem{plural} against using {table.root}:", [str(e) for e in errors])
    return table, findings


def list_findings(table: ImageTable, *, skip_unreadable: bool = False, allow_duplicates: bool = False) -> list[Finding]:
    """Return every finding of an inspected and split table, errors first. See :func:`check`."""
    if not table.inspected:
        raise ValueError("inspect the table before checking it")
    findings = [*_unreadable(table, skip=skip_unreadable), *_duplicates(table, allowed=allow_duplicates)]
    rules: list[Callable[[ImageTable], Iterator[Finding]]] = [
        _identities, _classes, _splits, _classes_in_splits, _groups, _test_sizes, _pixels, _ignored,
    ]  # fmt: skip
    for rule in rules:
        findings.extend(rule(table))
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _unreadable(table: ImageTable, *, skip: bool) -> Iterator[Finding]:
    rows = table.frame[~table.frame["readable"].astype(bool)]
    if rows.empty:
        return
    lines = tuple(f"{name}: {error}" for name, error in zip(rows["id"], rows["error"], strict=True))
    in_test = int((rows["split"] == "test").sum())
    if skip:
        tail = "left out by --skip-unreadable"
        tail += f"; {in_test} of them are test images, to be reported and counted as wrong too" if in_test else ""
    else:
        tail = "repair or remove them, or leave them out with --skip-unreadable"
    yield Finding(
        "warning" if skip else "error",
        "unreadable",
        f"{len(rows)} images cannot be read; {tail}",
        tuple(rows["id"]),
        lines,
    )


def _identities(table: ImageTable) -> Iterator[Finding]:
    frame = table.frame
    twice = tuple(frame.loc[frame["id"].duplicated(), "id"].unique())
    if twice:
        message = f"{len(twice)} images have an id more than once (names equal after Unicode NFC count as one)"
        yield Finding("error", "duplicate-id", f"{message}; keep one of each", twice)
    placed = frame[(frame["group"] != "") & (frame["split"] != "")]
    splits_per_group = placed.groupby("group")["split"].nunique()
    torn = set(splits_per_group.index[splits_per_group > 1])
    if torn:
        rows = placed[placed["group"].isin(torn)].drop_duplicates(["group", "split"]).sort_values(["group", "id"])
        lines = tuple(f"{group} in {split}: {name}" for group, split, name in zip(
            rows["group"], rows["split"], rows["id"], strict=True))  # fmt: skip
        message = f"{len(torn)} groups lie in more than one split, so that a model is tested on what it has seen"
        yield Finding(
            "error",
            "group-torn",
            f"{message}; put each group into one split",
            tuple(placed.loc[placed["group"].isin(torn), "id"]),
            lines,
        )


def _classes(table: ImageTable) -> Iterator[Finding]:
    sizes = table.readable()["label"].value_counts()
    empty = [name for name in table.classes if name not in set(table.frame["label"])]
    if empty:
        message = f"class folders without a single image: {', '.join(empty)}"
        yield Finding("error", "empty-class", f"{message}; add images or remove the folders")
    if len(sizes) < 2:
        only = f"only the class {sizes.index[0]!r}" if len(sizes) else "no class"
        message = f"{only} has readable images; two classes are the least. {_deeper_hint(table)}".strip()
        yield Finding("error", "one-class", message)
    by_look: dict[str, list[str]] = {}
    for name in table.classes:
        look = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        by_look.setdefault(look, []).append(name)
    alike = [names for names in by_look.values() if len(names) > 1]
    if alike:
        shown = "; ".join(" / ".join(repr(name) for name in names) for names in alike)
        message = f"class names that differ only in case, width or blanks are different classes here: {shown}"
        yield Finding("warning", "similar-classes", f"{message}; rename them if they are one")


def _deeper_hint(table: ImageTable) -> str:
    below = {name.split("/")[1] for name in table.frame["id"] if name.count("/") > 1}
    if len(table.classes) == 1 and len(below) > 1:
        return f"Perhaps the data set is one folder deeper: {table.root / table.classes[0]}"
    return ""


def _splits(table: ImageTable) -> Iterator[Finding]:
    rows = table.readable()
    unsplit = tuple(rows.loc[rows["split"] == "", "id"])
    if unsplit:
        yield Finding("error", "no-split", f"{len(unsplit)} images have no split; split the table first", unsplit)
        return
    present = set(rows["split"])
    if "train" not in present:
        yield Finding("error", "no-train", "there are no training images")
    if "val" not in present:
        message = "there are no validation images: no epoch and no cutoff can be chosen on them"
        yield Finding("warning", "no-val", message)
    if "test" not in present:
        yield Finding("warning", "no-test", "there are no test images: no performance can be reported")


def _classes_in_splits(table: ImageTable) -> Iterator[Finding]:
    counts = table.counts()
    listed_in_train = set(table.frame.loc[table.frame["split"] == "train", "label"])
    used = [name for name in table.classes if name in set(table.frame["label"])]
    if counts["train"].sum():
        unknown = [name for name in used if name not in listed_in_train]
        if unknown:
            rows = table.frame[table.frame["label"].isin(unknown)]
            message = f"classes that the training images do not know: {', '.join(unknown)}"
            yield Finding("error", "unknown-label", f"{message}; names must match exactly", tuple(rows["id"]))
        unread = [name for name in used if name in listed_in_train and not counts.loc[name, "train"]]
        if unread:
            yield Finding("error", "class-missing", f"no readable training image of: {', '.join(unread)}")
    for split in ("val", "test"):
        missing = [name for name in used if counts[split].sum() and not counts.loc[name, split]]
        if missing:
            effect = "numbers that need them are undefined" if split == "test" else "choices are made without them"
            message = f"the {split} images hold none of: {', '.join(missing)}; {effect}"
            yield Finding("warning", "class-missing", message)


def _duplicates(table: ImageTable, *, allowed: bool) -> Iterator[Finding]:
    rows = table.readable()
    twins = rows[rows["pixel_hash"].duplicated(keep=False)].sort_values(["pixel_hash", "id"])
    if twins.empty:
        return
    held = {split: twins.loc[twins["split"] == split, "pixel_hash"] for split in SPLITS}
    leaking = set(held["test"]) & ({*held["train"], *held["val"]})
    choosing = set(held["train"]) & set(held["val"])
    labels = twins.drop_duplicates(["pixel_hash", "label"])["pixel_hash"]
    conflicting = set(labels[labels.duplicated()])
    within = set(twins.loc[twins.duplicated(["pixel_hash", "split"], keep=False), "pixel_hash"])
    remedy = (
        "accepted by --allow-duplicates, which the report says" if allowed
        else "remove them from one side, or accept this with --allow-duplicates"
    )  # fmt: skip
    kinds: list[tuple[Severity, str, set[str], str]] = [
        (
            "warning" if allowed else "error",
            "duplicate-test",
            leaking,
            f"lie in test and in train or val; {remedy}",
        ),
        (
            "warning",
            "duplicate-train-val",
            choosing,
            "lie in train and val: choices made on val are too hopeful",
        ),
        (
            "warning",
            "duplicate-labels",
            conflicting,
            "have the same pixels and different labels; one is wrong",
        ),
        ("note", "duplicate-within", within, "are there more than once within a split"),
    ]
    for severity, kind, hashes, message in kinds:
        if hashes:
            ids = tuple(twins.loc[twins["pixel_hash"].isin(hashes), "id"])
            yield Finding(severity, kind, f"{len(hashes)} pictures ({len(ids)} files) {message}", ids)


def _groups(table: ImageTable) -> Iterator[Finding]:
    if table.has_groups:
        return
    message = "split by image; leakage between images of one patient cannot be excluded"
    guess = guess_pattern(table.frame["id"].tolist(), table.classes)
    if guess:
        message += f'. The file names look as if they hold groups; if so, say --group "{guess}"'
    yield Finding("warning", "no-group", message)


def _test_sizes(table: ImageTable) -> Iterator[Finding]:
    counts = table.counts()["test"]
    present = counts[counts > 0]
    few, imprecise = present[present < TOO_FEW_TO_CONCLUDE], present[present < IMPRECISE]
    imprecise = imprecise[imprecise >= TOO_FEW_TO_CONCLUDE]
    for kind, sizes, message in [
        ("too-few-test", few, f"too few to conclude: fewer than {TOO_FEW_TO_CONCLUDE} test images of"),
        ("few-test", imprecise, f"imprecise: fewer than {IMPRECISE} test images of"),
    ]:
        if len(sizes):
            shown = ", ".join(f"{name} ({number})" for name, number in sizes.items())
            yield Finding("warning", kind, f"{message} {shown}")


def _pixels(table: ImageTable) -> Iterator[Finding]:
    rows = table.readable()
    deep = rows["mode"].str.startswith(_DEEP_MODES)
    unbounded = rows["mode"].isin(["I", "F"])
    reached = rows["value_range"]
    kinds: list[tuple[Severity, str, pd.Series, str]] = [
        ("note", "deep", deep, "hold more than 8 bits per pixel and are scaled to 8"),
        ("warning", "own-scale", unbounded, "hold 32-bit or float pixels, scaled by the image's own minimum "
         "and maximum unless these lie within 0..65535 or 0..1: brightness may not compare between images"),
        ("warning", "low-contrast", deep & (reached > 0) & (reached < _FEWEST_GREY_LEVELS),
         f"use fewer than {_FEWEST_GREY_LEVELS} of 256 grey levels once scaled to 8 bits; "
         "stretch the files to their full range before use"),
        ("warning", "flat", reached == 0, "are of one single colour"),
        ("warning", "frames", rows["frames"] > 1, "hold several frames or pages; only the first is used"),
        ("note", "remark", rows["remark"] != "", "were read, but with a remark (column remark)"),
    ]  # fmt: skip
    for severity, kind, concerned, message in kinds:
        ids = tuple(rows.loc[concerned.fillna(False).astype(bool), "id"])
        if ids:
            yield Finding(severity, kind, f"{len(ids)} images {message}", ids)


def _ignored(table: ImageTable) -> Iterator[Finding]:
    lost = tuple(line for line in table.ignored if line.endswith((FOREIGN_IMAGE, OUTSIDE_CLASSES)))
    if lost:
        reasons = Counter(line.rpartition(": ")[2] for line in lost)
        shown = "; ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        yield Finding("warning", "images-left-aside", f"{len(lost)} images are left aside: {shown}", details=lost)
    rest = tuple(line for line in table.ignored if line not in set(lost))
    if rest:
        yield Finding("note", "ignored", f"{len(rest)} files or folders left aside as no images", details=rest)
