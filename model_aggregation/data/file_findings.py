"""What stands against single files: what they hold, how they are stored, and what was left aside."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pandas as pd
from PIL import Image

from model_aggregation.data.dicom import DICOM_SUFFIXES
from model_aggregation.data.finding import Finding, Severity
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.scan import FOREIGN_IMAGE, OUTSIDE_CLASSES

_FEWEST_GREY_LEVELS = 16
_DEEP_MODES = ("I", "F")
_USUAL_MODES = ("L", "RGB")
_EXTREME_ASPECT = 3
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}


def unreadable_files(table: ImageTable, *, skip: bool) -> Iterator[Finding]:
    """Yield the finding about files that cannot be read; ``skip``: they are left out."""
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


def pixel_findings(table: ImageTable) -> Iterator[Finding]:
    """Yield what the pixels, modes, frames and containers of the readable files say."""
    rows = table.readable()
    deep = rows["mode"].str.startswith(_DEEP_MODES)
    unbounded = rows["mode"].isin(["I", "F"])
    reached = rows["value_range"]
    sides = rows[["width", "height"]].astype(float)
    stretched = sides.max(axis=1) / sides.min(axis=1) >= _EXTREME_ASPECT
    odd = ~(rows["mode"].isin(_USUAL_MODES) | deep | (rows["format"] == "DICOM"))
    modes = ", ".join(f"{mode} {number}" for mode, number in rows.loc[odd, "mode"].value_counts().sort_index().items())
    kinds: list[tuple[Severity, str, pd.Series, str]] = [
        ("note", "deep", deep, "hold more than 8 bits per pixel and are scaled to 8"),
        ("warning", "own-scale", unbounded, "hold 32-bit or float pixels, scaled by the image's own minimum "
         "and maximum unless these lie within 0..65535 or 0..1: brightness may not compare between images"),
        ("warning", "low-contrast", deep & (reached > 0) & (reached < _FEWEST_GREY_LEVELS),
         f"use fewer than {_FEWEST_GREY_LEVELS} of 256 grey levels once scaled to 8 bits; say which values "
         "they use with --window CENTRE,WIDTH, or stretch the files to their full range"),
        ("warning", "flat", reached == 0, "are of one single colour"),
        ("warning", "frames", rows["frames"] > 1, "hold several frames or pages; only the first is used"),
        ("warning", "aspect", stretched, f"are {_EXTREME_ASPECT} times as long as wide or more, and are squashed to a "
         "square; try --resize pad, crop them, or use transforms of your own"),
        ("note", "wrong-suffix", _wrong_suffix(rows), "hold another format than their suffix says; the content "
         "decides here, but other programs may fail; rename them"),
        ("note", "turned", rows["exif_orientation"].isin(range(2, 9)), "carry an EXIF orientation and are turned "
         "as it says; programs that ignore it show them otherwise"),
        ("note", "odd-mode", odd, f"are stored in other modes than grey and RGB ({modes}): palettes are resolved, "
         "transparency is laid on black, CMYK is converted without its profile"),
    ]  # fmt: skip
    for severity, kind, concerned, message in kinds:
        ids = tuple(rows.loc[concerned.fillna(False).astype(bool), "id"])
        if ids:
            yield Finding(severity, kind, f"{len(ids)} images {message}", ids)
    remarked = rows[rows["remark"] != ""]
    if len(remarked):
        lines = tuple(f"{name}: {text}" for name, text in zip(remarked["id"], remarked["remark"], strict=True))
        message = f"{len(remarked)} images were read, but with a remark of the decoder"
        yield Finding("note", "remark", message, tuple(remarked["id"]), lines)


def small_images(table: ImageTable, image_size: int) -> Iterator[Finding]:
    """Yield the finding about images whose shorter side is below half of what the model takes."""
    rows = table.readable()
    small = rows[rows[["width", "height"]].min(axis=1) < image_size / 2]
    if len(small):
        message = (
            f"{len(small)} of {len(rows)} images have a shorter side below half of the {image_size} pixels that a "
            "model takes (--image-size): enlarged so much they hold little; use larger originals or a smaller input"
        )
        yield Finding("warning", "small", message, tuple(small["id"]))


def _wrong_suffix(rows: pd.DataFrame) -> pd.Series:
    pairs = zip(rows["id"], rows["format"], strict=True)
    return pd.Series([_contradicts(name, content) for name, content in pairs], index=rows.index, dtype=bool)


def _contradicts(name: str, content: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path would keep each name for good
    meant = _formats_by_suffix().get(suffix)
    return meant is not None and meant != _SAME_FORMAT.get(content, content)


@cache
def _formats_by_suffix() -> dict[str, str]:
    Image.init()
    known = {suffix: _SAME_FORMAT.get(name, name) for suffix, name in Image.registered_extensions().items()}
    return known | dict.fromkeys(DICOM_SUFFIXES, "DICOM")


def ignored_files(table: ImageTable) -> Iterator[Finding]:
    """Yield what the scan left aside."""
    lost = tuple(line for line in table.ignored if line.endswith((FOREIGN_IMAGE, OUTSIDE_CLASSES)))
    if lost:
        reasons = Counter(line.rpartition(": ")[2] for line in lost)
        shown = "; ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        yield Finding("warning", "images-left-aside", f"{len(lost)} images are left aside: {shown}", details=lost)
    rest = tuple(line for line in table.ignored if line not in set(lost))
    if rest:
        yield Finding("note", "ignored", f"{len(rest)} files or folders left aside as no images", details=rest)
