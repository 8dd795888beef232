"""Images decoded once: memory-mapped arrays of uint8 pixels, shared by all models, epochs, runs and processes.

The key of a store is the content of its files and the rule that made its pixels, so a changed image makes another
store and a renamed one does not. A store is whole or absent: it is built under a temporary name and renamed, one
builder at a time; a build that was stopped goes on where it was. A store that was changed in place while it was used
is removed, and a file beside it keeps its identifier: no training that used it is trusted.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from filelock import FileLock

from model_aggregation.data import image_cache
from model_aggregation.data.image_cache import Cache
from model_aggregation.data.pixels import PixelRule
from model_aggregation.data.store_building import Build, checksum, fill
from model_aggregation.data.thumbnails import slices
from model_aggregation.files import content_hash, read_json, write_json

_DAMAGED = ".damaged.json"
_FORMAT = "3"  # part of the key: raise it when decoding or resizing changes a pixel

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Decoded images: ``pixels`` is (N, H, W, C) uint8; ``hashes`` (N,) are those of their files, sorted.

    Of a store on the disk there are the ``checksums`` of its chunks and an ``identifier``, which another build of the
    same images does not have.
    """

    pixels: np.ndarray
    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="S64"))
    path: Path | None = None
    checksums: tuple[int, ...] = ()
    identifier: str = ""

    @property
    def changed_chunks(self) -> list[int]:
        """The chunks whose pixels are not those that were decoded; all pixels are read."""
        return [chunk for chunk, known in enumerate(self.checksums) if checksum(self.pixels, chunk) != known]

    def damaged_stores(self) -> set[str]:
        """Return the identifiers of stores in the same folder that were changed while they were used."""
        found = [] if self.path is None else self.path.parent.glob(f"*{_DAMAGED}")
        return {path.name.removesuffix(_DAMAGED) for path in found}

    def remove_damaged(self) -> None:
        """Note that this store was changed, and remove its file, unless another was built in its place meanwhile."""
        if self.path is None:
            return
        _note_damage(self.path, self.identifier)
        with suppress(OSError, ValueError, KeyError):
            if _identifier(read_json(self.path.with_suffix(".json"))) == self.identifier:
                image_cache.remove(self.path)

    def rows_of(self, content_hashes: pd.Series) -> np.ndarray:
        """Return the row of each image, (n,) int64.

        Raises
        ------
        KeyError
            If there is none.
        """
        found = np.empty(len(content_hashes), dtype=np.int64)
        for rows in slices(len(found)):
            wanted = _as_bytes(content_hashes.iloc[rows])
            found[rows] = np.searchsorted(self.hashes, wanted)
            if not np.array_equal(self.hashes[found[rows].clip(max=len(self.hashes) - 1)], wanted):
                raise KeyError("an image is not in the store")
        return found


def open_store(
    images: pd.DataFrame,
    rule: PixelRule,
    *,
    cache: Cache | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImageStore | None:
    """Return the store of ``images`` by one rule; see :func:`open_stores`."""
    return open_stores(images, [rule], cache=cache, workers=workers, progress=progress)[rule]


def open_stores(
    images: pd.DataFrame,
    rules: Sequence[PixelRule],
    *,
    cache: Cache | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[PixelRule, ImageStore | None]:
    """Return the stores of ``images`` (columns ``path``, ``content_hash``); what is missing is built in one pass.

    None stands for a store that the disk or the cache's limit has no room for: such images are decoded as they are
    needed.

    Raises
    ------
    DataError
        When an image cannot be read any more; what was decoded before is kept for the next attempt.
    """
    cache = cache or Cache()
    hashes = _sorted_hashes(images)
    paths = {rule: cache.folder / f"{_key(hashes, rule)}.npy" for rule in dict.fromkeys(rules)}
    opened = {rule: _opened(path, hashes, rule) for rule, path in paths.items()}
    missing = {rule: path for rule, path in paths.items() if opened[rule] is None}
    if missing:
        unique = images.drop_duplicates("content_hash").sort_values("content_hash")
        _build(missing, unique, cache, workers=workers, progress=progress)
        opened |= {rule: _opened(path, hashes, rule) for rule, path in missing.items()}
    return opened


def remove_store(images: pd.DataFrame, rule: PixelRule, *, cache: Cache | None = None) -> None:
    """Remove the store of ``images``, if there is one."""
    hashes = _sorted_hashes(images)
    image_cache.remove((cache or Cache()).folder / f"{_key(hashes, rule)}.npy")


def _as_bytes(content_hashes: pd.Series) -> np.ndarray:
    """Return hashes as (n,) bytes of 64, half of what they take as Python's strings."""
    hashes = np.empty(len(content_hashes), dtype="S64")
    for rows in slices(len(hashes)):
        hashes[rows] = content_hashes.iloc[rows].to_numpy().astype("S64")
    return hashes


def _sorted_hashes(images: pd.DataFrame) -> np.ndarray:
    """Return the hashes of the files, each once."""
    hashes = _as_bytes(images["content_hash"])
    hashes.sort()
    repeated = hashes[1:] == hashes[:-1]
    return np.delete(hashes, 1 + np.flatnonzero(repeated)) if repeated.any() else hashes


def _key(hashes: np.ndarray, rule: PixelRule) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {rule.key}".encode())
    for one in hashes:
        digest.update(one)
    return digest.hexdigest()[:32]


def _shape(count: int, rule: PixelRule) -> tuple[int, int, int, int]:
    return (count, rule.image_size, rule.image_size, rule.channels)


def _opened(path: Path, hashes: np.ndarray, rule: PixelRule) -> ImageStore | None:
    """Return a store that is there and whole; a damaged one is noted and removed."""
    facts: dict[str, Any] = {}
    try:
        facts = read_json(path.with_suffix(".json"))
        pixels = np.load(path, mmap_mode="r")
        whole = pixels.shape == _shape(len(hashes), rule) and _chunks_agree(pixels, facts["checksums"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, json.JSONDecodeError):
        whole = False
    if not whole:
        if "checksums" in facts:
            _note_damage(path, _identifier(facts))
        image_cache.remove(path)
        return None
    os.utime(path.with_suffix(".json"))  # used now: others leave the cache first
    return ImageStore(pixels, hashes, path, tuple(facts["checksums"]), _identifier(facts))


def _identifier(facts: dict[str, Any]) -> str:
    """Return what tells a store from another build of the same images; those of earlier versions have none."""
    return str(facts.get("identifier") or content_hash(json.dumps(facts["checksums"]).encode())[:32])


def _note_damage(path: Path, identifier: str) -> None:
    write_json(path.with_name(f"{identifier}{_DAMAGED}"), {"store": path.name})


def _chunks_agree(pixels: np.ndarray, checksums: list[int]) -> bool:
    """Compare the first, a middle and the last chunk with what was written."""
    looked_at = {0, len(checksums) // 2, len(checksums) - 1} if checksums else set()
    return all(checksum(pixels, n) == checksums[n] for n in looked_at)


def _build(
    missing: dict[PixelRule, Path],
    unique: pd.DataFrame,
    cache: Cache,
    *,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Build the stores that there is room for; whoever comes second waits for the first and finds them there."""
    cache.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        for path in sorted(missing.values()):
            locks.enter_context(FileLock(path.with_suffix(".lock")))
        builds = []
        for rule, path in missing.items():
            if _is_there(path) or not cache.make_room(len(unique) * rule.bytes_per_image, keep=missing.values()):
                continue
            builds.append(Build(path, rule, _shape(len(unique), rule)))
        checksums = fill(builds, unique["path"].tolist(), workers=workers, progress=progress) if builds else []
        for build, chunks in zip(builds, checksums, strict=True):
            facts = {
                "images": len(unique), "rule": asdict(build.rule), "of": _origin(unique), "checksums": chunks,
                "identifier": uuid4().hex,
            }  # fmt: skip
            write_json(build.path.with_suffix(".json"), facts)
            build.finish()


def _is_there(path: Path) -> bool:
    return path.exists() and path.with_suffix(".json").exists()


def _origin(images: pd.DataFrame) -> str:
    """Return the folder that all images lie in, for people."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in images["path"]])  # noqa: PTH120
    except ValueError:  # on several drives
        return str(images["path"].iloc[0])
