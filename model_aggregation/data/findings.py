"""What stands against using a data set as it is: every finding at once, each with what to do about it."""

import unicodedata
from collections.abc import Callable, Iterator

from model_aggregation.data.duplicate_findings import exact_duplicates, near_duplicates
from model_aggregation.data.file_findings import ignored_files, pixel_findings, unreadable_files
from model_aggregation.data.finding import Finding, sorted_findings
from model_aggregation.data.grouping import guess_pattern
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.look_alikes import LookAlikes
from model_aggregation.errors import DataError

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings that make a spreadsheet read a cell as a formula."""

TOO_FEW_TO_CONCLUDE = 10
IMPRECISE = 30
_IMBALANCED = 10


def check(
    table: ImageTable,
    *,
    skip_unreadable: bool = False,
    allow_duplicates: bool = False,
    alike: LookAlikes | None = None,
    trains: bool = True,
) -> tuple[ImageTable, list[Finding]]:
    """Judge an inspected and split table: return it with its warnings and notes, or stop.

    Unreadable images stay in the frame with ``readable`` False, and no part of the table gives them out.

    Parameters
    ----------
    skip_unreadable
        Leave unreadable images out, with a warning, instead of stopping.
    allow_duplicates
        Accept the same pixels in test and in another split, with a warning.
    alike
        Near duplicates, which are judged too.
    trains
        Whether there must be images to train with.

    Raises
    ------
    DataError
        With all errors at once, each as one of the ``problems``.
    """
    findings = list_findings(table, skip_unreadable=skip_unreadable, allow_duplicates=allow_duplicates, alike=alike)
    if not trains:
        findings = [finding for finding in findings if finding.kind != "no-train"]
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        plural = "s stand" if len(errors) > 1 else " stands"
        raise DataError(f"{len(errors)} problem{plural} against using {table.root}:", [str(e) for e in errors])
    return table, findings


def list_findings(
    table: ImageTable,
    *,
    skip_unreadable: bool = False,
    allow_duplicates: bool = False,
    alike: LookAlikes | None = None,
) -> list[Finding]:
    """Return every finding of an inspected and split table, errors first. See :func:`check`."""
    if not table.inspected:
        raise ValueError("inspect the table before checking it")
    findings = [*unreadable_files(table, skip=skip_unreadable), *exact_duplicates(table, allowed=allow_duplicates)]
    if alike is not None:
        findings.extend(near_duplicates(table, alike))
    rules: list[Callable[[ImageTable], Iterator[Finding]]] = [
        _identities, _classes, _class_sizes, _splits, _classes_in_splits, _groups, _test_sizes,
        pixel_findings, ignored_files,
    ]  # fmt: skip
    for rule in rules:
        findings.extend(rule(table))
    return sorted_findings(findings)


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
    formulas = [name for name in table.classes if name.startswith(FORMULA_SIGNS)]
    if formulas:
        message = f"class names that a spreadsheet takes for formulas: {', '.join(formulas)}"
        advice = "; the CSV files hold them to the letter. Rename the classes, or open the files as text"
        yield Finding("warning", "formula-name", message + advice)
    by_look: dict[str, list[str]] = {}
    for name in table.classes:
        look = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        by_look.setdefault(look, []).append(name)
    alike = [names for names in by_look.values() if len(names) > 1]
    if alike:
        shown = "; ".join(" / ".join(repr(name) for name in names) for names in alike)
        message = f"class names that differ only in case, width or blanks are different classes here: {shown}"
        yield Finding("warning", "similar-classes", f"{message}; rename them if they are one")


def _class_sizes(table: ImageTable) -> Iterator[Finding]:
    sizes = table.readable()["label"].value_counts()
    for kind, low, high, effect in [
        ("tiny-class", 1, TOO_FEW_TO_CONCLUDE, "nothing can be learnt or said about them; join or collect more"),
        ("small-class", TOO_FEW_TO_CONCLUDE, IMPRECISE, "what is said about them will be imprecise; collect more"),
    ]:
        few = sizes[(sizes >= low) & (sizes < high)]
        if len(few):
            shown = ", ".join(f"{name} ({number})" for name, number in few.sort_index().items())
            yield Finding("warning", kind, f"classes of fewer than {high} images: {shown}; {effect}")
    if len(sizes) > 1 and sizes.max() >= _IMBALANCED * sizes.min():
        message = (
            f"the largest class {sizes.index[0]!r} has {sizes.max()} images, the smallest {sizes.index[-1]!r} has "
            f"{sizes.min()}; accuracy says little here, look at balanced accuracy, and try class_weights: balanced"
        )
        yield Finding("note", "imbalance", message)


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


def _groups(table: ImageTable) -> Iterator[Finding]:
    if table.has_groups:
        return
    message = "split by image; leakage between images of one patient cannot be excluded"
    rows = table.readable()
    nameless = tuple(rows.loc[rows["dicom_patient"] == "", "id"])
    if len(nameless) < len(rows):
        message += (
            f". {len(rows) - len(nameless)} images name their patient (DICOM), {len(nameless)} do not, so patients are "
            "not taken as groups: remove those, or give the groups of all with --group"
        )
        yield Finding("warning", "no-group", message, nameless)
        return
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
