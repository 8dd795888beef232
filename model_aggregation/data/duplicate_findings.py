"""The same picture more than once: exactly, by its pixels, or nearly, by its look."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pandas as pd

from model_aggregation.data.finding import Finding, Severity
from model_aggregation.data.image_table import SPLITS, ImageTable
from model_aggregation.data.look_alikes import LookAlikes


def exact_duplicates(table: ImageTable, *, allowed: bool) -> Iterator[Finding]:
    """Yield the findings about equal pixels; ``allowed``: between test and another split they are a warning."""
    rows = table.readable()
    twins = rows[rows["pixel_hash"].duplicated(keep=False)].sort_values(["pixel_hash", "id"])
    if twins.empty:
        return
    held = {split: twins.loc[twins["split"] == split, "pixel_hash"] for split in SPLITS}
    leaking = set(held["test"]) & ({*held["train"], *held["val"]})
    choosing = set(held["train"]) & set(held["val"])
    labels = twins.drop_duplicates(["pixel_hash", "label"])["pixel_hash"]
    conflicting = set(labels[labels.duplicated()])
    within = set(twins.loc[twins.duplicated(["pixel_hash", "split", "label"], keep=False), "pixel_hash"])
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
        ("note", "duplicate-within", within, "are there more than once within a split and class"),
    ]
    for severity, kind, hashes, message in kinds:
        if hashes:
            files = twins[twins["pixel_hash"].isin(hashes)]
            lines = tuple(" = ".join(ids) for _, ids in files.groupby("pixel_hash")["id"])
            what = f"{len(hashes)} pictures ({len(files)} files) {message}"
            yield Finding(severity, kind, what, tuple(files["id"]), lines)


def near_duplicates(table: ImageTable, alike: LookAlikes) -> Iterator[Finding]:
    """Yield the findings about pairs that look alike, each pair under the gravest thing it does."""
    if not alike.complete:
        message = (
            "so many images look alike that not all pairs were compared: what is listed is true, but there is more. "
            "Perhaps they are frames of films or parts of larger images: give what they come from with --group"
        )
        yield Finding("warning", "near-duplicate-many", message)
    rows = table.readable()
    files = rows[rows["pixel_hash"].isin({*alike.pairs["first"], *alike.pairs["second"]})]
    pictures = dict(zip(*_pictures(files), strict=True))
    found: dict[str, tuple[dict[str, None], list[str]]] = {}  # the ids concerned, each once, and a line for each pair
    ordered = alike.pairs.sort_values("similarity", ascending=False)
    for pair in ordered.itertuples():
        one, other = pictures[pair.first], pictures[pair.second]
        line = f"{one} and {other}: {pair.similarity:.3f} {pair.change}".rstrip()
        for kind in _kinds_of_pair(one, other):
            ids, lines = found.setdefault(kind, ({}, []))
            ids.update(dict.fromkeys(one.ids + other.ids))
            lines.append(line)
    kinds: list[tuple[Severity, str, str]] = [
        ("warning", "near-duplicate-test", "lie in test and in train or val; the test is easier than it looks. "
         "Look at them, and put what shows the same thing into one split (magg split does)"),
        ("warning", "near-duplicate-train-val", "lie in train and val: choices made on val are too hopeful"),
        ("warning", "near-duplicate-labels", "have different labels; look which is right"),
        ("note", "near-duplicate-within", "lie in the same split and class"),
    ]  # fmt: skip
    for severity, kind, message in kinds:
        if kind in found:
            ids, lines = found.pop(kind)
            least = "" if alike.complete else "at least "
            what = (
                f"{least}{len(lines)} pairs of near duplicates ({len(ids)} files; alike by {alike.threshold:g} or more)"
            )
            yield Finding(severity, kind, f"{what} {message}", tuple(ids), tuple(lines))


@dataclass(frozen=True, slots=True)
class _Picture:
    """Files of equal pixels, and the splits and labels they have."""

    ids: tuple[str, ...]
    splits: frozenset[str]
    labels: frozenset[str]

    def __str__(self) -> str:
        more = f" and {len(self.ids) - 1} with its pixels" if len(self.ids) > 1 else ""
        return f"{self.ids[0]}{more}"


def _pictures(files: pd.DataFrame) -> tuple[pd.Index, list[_Picture]]:
    """Return pixel hashes and what has them; not a frame for each, since there may be 100,000."""
    columns = files.groupby("pixel_hash")[["id", "split", "label"]].agg(tuple)
    kinds = zip(columns["id"], columns["split"], columns["label"], strict=True)
    same: Callable[[tuple[str, ...]], frozenset[str]] = cache(frozenset)  # there are few, of 200 bytes each
    return columns.index, [_Picture(ids, same(splits), same(labels)) for ids, splits, labels in kinds]


def _kinds_of_pair(one: _Picture, other: _Picture) -> list[str]:
    splits = {(here, there) for here in one.splits for there in other.splits if here != there}
    kinds = []
    if any("test" in pair for pair in splits):
        kinds.append("near-duplicate-test")
    if splits & {("train", "val"), ("val", "train")}:
        kinds.append("near-duplicate-train-val")
    if one.labels != other.labels:
        kinds.append("near-duplicate-labels")
    return kinds or ["near-duplicate-within"]
