"""How much of what is planted the data doctor finds, and how much else it reports: recall and precision per detector.

    python benchmarks/doctor.py SET [SET …] [--seed 7001] [--images 900] [--plants 30] [--json FILE]

SET is a folder of images in class folders (also below train, val, test). Of each, ``images`` are drawn and divided
among train, val and test; then ``plants`` copies of each kind are made of pictures drawn anew, each put into a split
and a class drawn at random. A pair that is found and was not planted counts as false, although it may be a true
duplicate of the set itself, so precision is a lower bound. How closely the
details of near duplicates must agree, and the crop of 2 %, were chosen with such copies of the three sets named in
docs/benchmarks.md in view: other sets may do worse.

Shortcuts are planted in one class of a set at a time; what is found on the untouched set is listed apart (it may be
true). Groups are numbers of about five images each; in as many as ``plants`` one image is put into another split.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from model_aggregation.data.doctor.examination import Examination, examine
from model_aggregation.data.doctor.rule import CheckRule
from model_aggregation.data.doctor.shortcuts import shortcut_findings

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """Return an image as it comes back from a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert(image.mode)


def resized(image: Image.Image, factor: float) -> Image.Image:
    """Return an image of another size."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Return an image without ``share`` of its width and height, off two sides."""
    left, top = round(image.width * share), round(image.height * share)
    return image.crop((left, top, image.width, image.height))


PLANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "other format, same pixels": lambda image: image,
    "resized to 60 %": lambda image: resized(image, 0.6),
    "resized to 150 %": lambda image: resized(image, 1.5),
    "recompressed (JPEG 40)": lambda image: recompressed(image, 40),
    "darker (70 %)": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "more contrast (130 %)": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "inverted": ImageOps.invert,
    "mirrored": ImageOps.mirror,
    "cropped by 2 %": lambda image: cropped(image, 0.02),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "resized, recompressed, darker": lambda image: recompressed(
        ImageEnhance.Brightness(resized(image, 0.6)).enhance(0.8), 60
    ),
    "upside down (not looked for)": ImageOps.flip,
    "turned by 90° (not looked for)": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}
SHORTCUTS: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "brightness": ("brightness", lambda image: Image.eval(image, lambda value: min(255, value + 40))),
    "image size": ("image size", lambda image: resized(image, 0.9)),
    "border": ("border", lambda image: ImageOps.expand(image, max(2, image.width // 12))),
    "format": ("storage", lambda image: image),
}


def drawn(data: Path, count: int, generator: np.random.Generator) -> list[tuple[Path, str]]:
    """Return paths and classes of ``count`` images drawn from a set."""
    paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in SUFFIXES)
    places = generator.choice(len(paths), min(count, len(paths)), replace=False)
    return [(paths[place], paths[place].parent.name) for place in places]


def write_set(images: list[tuple[Path, str]], root: Path, generator: np.random.Generator) -> list[Path]:
    """Write images as PNG into train, val and test; return where each lies."""
    written = []
    for number, (path, label) in enumerate(images):
        split = generator.choice(["train", "val", "test"], p=[0.6, 0.2, 0.2])
        target = root / split / label / f"{number:05d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").save(target)
        written.append(target)
    return written


def plant_copies(written: list[Path], root: Path, plants: int, generator: np.random.Generator) -> pd.DataFrame:
    """Write the copies; return ``kind``, ``original`` and ``copy`` (ids)."""
    labels = sorted({path.parent.name for path in written})
    originals = generator.permutation(len(written))[: plants * len(PLANTS)]
    rows = []
    for place, number in enumerate(originals):
        kind = list(PLANTS)[place % len(PLANTS)]
        split, label = generator.choice(["train", "val", "test"]), generator.choice(labels)
        target = root / split / label / f"copy{place:05d}{'.bmp' if place % len(PLANTS) == 0 else '.png'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(written[number]) as image:
            PLANTS[kind](image).save(target)
        rows.append((kind, written[number].relative_to(root).as_posix(), target.relative_to(root).as_posix()))
    return pd.DataFrame(rows, columns=["kind", "original", "copy"])


def pairs_found(found: Examination) -> set[frozenset[str]]:
    """Return the pairs of ids that are equal or alike."""
    frame = found.table.readable()
    names = frame.groupby("pixel_hash")["id"].agg(list)
    equal = [ids for ids in names if len(ids) > 1]
    alike = [names[first] + names[second] for first, second in found.alike.pairs[["first", "second"]].to_numpy()]
    return {frozenset((one, other)) for ids in [*equal, *alike] for one in ids for other in ids if one != other}


def counted(detector: str, expected: set[Any], found: set[Any]) -> dict[str, Any]:
    """Return hits, false alarms and misses."""
    return {"detector": detector, "hit": len(expected & found), "false": len(found - expected),
            "missed": len(expected - found)}  # fmt: skip


def copies(images: list[tuple[Path, str]], folder: Path, plants: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rows about planted copies: each kind, all together, and what they do to classes and splits."""
    generator = np.random.default_rng(seed)
    root = folder / "copies"
    planted = plant_copies(write_set(images, root, generator), root, plants, generator)
    found = examine(root, CheckRule(cache_folder=folder / "cache"))
    pairs = pairs_found(found)
    expected = {frozenset(pair) for pair in planted[["original", "copy"]].to_numpy()}
    for kind, rows in planted.groupby("kind", sort=False):
        own = {frozenset(pair) for pair in rows[["original", "copy"]].to_numpy()}
        yield counted(f"copy: {kind}", own, pairs & own) | {"false": None}
    looked_for = planted[~planted["kind"].str.contains("not looked for")]
    expected = {frozenset(pair) for pair in looked_for[["original", "copy"]].to_numpy()}
    yield counted("copies, all kinds looked for", expected, pairs)
    split, label = ({name: name.split("/")[part] for name in found.table.frame["id"]} for part in (0, 1))
    for words, place, kinds in (
        ("copies across classes", label, ("duplicate-labels", "near-duplicate-labels")),
        ("copies across test and the rest", {name: part == "test" for name, part in split.items()},
         ("duplicate-leak", "duplicate-test", "near-duplicate-test")),
    ):  # fmt: skip
        across = {name for pair in expected if len({place[name] for name in pair}) > 1 for name in pair}
        named = {name for finding in found.findings if finding.kind in kinds for name in finding.files}
        yield counted(f"{words} (files)", across, named)


def groups(images: list[tuple[Path, str]], folder: Path, plants: int, seed: int) -> dict[str, Any]:
    """Return the row about groups that lie in two splits."""
    generator = np.random.default_rng(seed)
    count = len(images) // 5
    of_image = generator.integers(0, count, len(images))
    split = generator.choice(["train", "val", "test"], count)[of_image]
    torn = set()
    for group in generator.permutation(count):
        members = np.flatnonzero(of_image == group)
        if len(members) > 1 and len(torn) < plants:
            split[members[0]] = next(name for name in ("test", "train") if name != split[members[1]])
            torn.add(f"g{group}")
    table = pd.DataFrame({"path": [str(path) for path, _ in images], "label": [label for _, label in images],
                          "group": [f"g{group}" for group in of_image], "split": split})  # fmt: skip
    table.to_csv(folder / "groups.csv", index=False)
    found = examine(folder / "groups.csv", CheckRule(group="group", cache_folder=folder / "cache"))
    named = {line.split(" in ")[0] for f in found.findings if f.kind == "group-torn" for line in f.details}
    return counted("groups in two splits", torn, named)


def shortcut_rows(images: list[tuple[Path, str]], folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each shortcut planted in the first class; ``false`` counts what the untouched set has not."""
    first = sorted({label for _, label in images})[0]
    untouched: set[str] = set()
    for kind in ("untouched", *SHORTCUTS):
        root = folder / kind.replace(" ", "-")
        for number, (path, label) in enumerate(images):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            changed = label == first and kind != "untouched"
            suffix = ".jpg" if changed and kind == "format" else ".png"
            target = root / label / f"{number:05d}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            (SHORTCUTS[kind][1](image) if changed else image).save(target)
        found = examine(root, CheckRule(cache_folder=folder / "cache"))
        shutil.rmtree(root)
        features = {f.message.split(" alone")[0] for f in shortcut_findings(found.shortcuts)}
        if kind == "untouched":
            untouched = features
            yield {"detector": f"shortcuts without planting, {name}: {', '.join(sorted(features)) or 'none'}",
                   "hit": None, "false": len(features), "missed": None}  # fmt: skip
        else:
            yield counted(f"shortcut: {kind}", {SHORTCUTS[kind][0]}, features - (untouched - {SHORTCUTS[kind][0]}))


def main() -> None:
    """Plant, examine, and print one table over all sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=7001)
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--plants", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for number, data in enumerate(given.sets):
        with tempfile.TemporaryDirectory() as text:
            folder, seed = Path(text), given.seed + number
            images = drawn(data, given.images, np.random.default_rng(seed))
            of_set = [*copies(images, folder, given.plants, seed), groups(images, folder, given.plants, seed)]
            of_set += shortcut_rows(images, folder, data.name)
        rows += [{"set": data.name, **row} for row in of_set]
        print(f"{data.name}: done", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    total = table.groupby("detector", sort=False)[["hit", "false", "missed"]].sum(min_count=1).astype("Int64")
    total["recall"] = total["hit"] / (total["hit"] + total["missed"])
    total["precision"] = total["hit"] / (total["hit"] + total["false"])
    print(total.round(3).to_string())
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
