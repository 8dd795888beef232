"""Near duplicates: pictures that were resized, compressed again, brightened, inverted or mirrored.

Each picture is compared by its 16×16 grey thumbnail without its mean and contrast. The direction that the pictures of
the data set share most, such as the outline of a chest, is taken off first; two pictures are alike when what remains
correlates by the threshold or more, and when their details agree too (``data.details``).

What it does not know: pictures turned or upside down are not looked for, and of cropped ones those that lost 5 % are
missed. ``benchmarks/doctor.py`` measures all this.

Not every pair is compared. Each picture gets 32 short codes, the signs of random projections (Charikar 2002), and only
neighbours in the sorted codes are candidates: of pairs that just reach 0.95 a few in a hundred are missed, closer ones
hardly ever. What is reported was computed in full. Where very many pictures look alike, the search ends after so many
comparisons, and of more than so many pairs only those are kept that join pictures not yet joined: ``complete`` tells.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from model_aggregation.data.details import Details, reducing
from model_aggregation.data.image_table import LOOK_ALIKE, ImageTable
from model_aggregation.data.joining import joined, joining
from model_aggregation.data.kept_tables import KeptTables
from model_aggregation.data.thumbnails import picked, slices
from model_aggregation.errors import SettingsError

ALIKE = 0.95
"""Correlation from which pictures count as near duplicates."""

_COMPONENTS = 48
_CODES = 32
_NEIGHBOURS = 12  # in the sorted order of a code
_FEWEST_FOR_COMMON = 20  # pictures: of fewer, what they share is made of the very ones compared
_PAIRS_AT_ONCE = 20_000
_CODES_AT_ONCE = 4
_SMALL_PX = 16
_MOST_COMPARED = 2_000_000  # pairs for each change
_MOST_PAIRS = 100_000
_FORMAT = 2  # of what is kept: another number, and the pairs are looked for again
_NOT_KEPT = KeptTables()
_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda pictures: pictures,
    "inverted": lambda pictures: 255 - pictures,
    "mirrored": lambda pictures: pictures[:, :, ::-1],
}


@dataclass(frozen=True, eq=False)
class LookAlikes:
    """Pairs of different pictures that look alike.

    ``pairs`` has the columns ``first`` and ``second`` (pixel hashes), ``similarity`` (correlation) and ``change``
    (what was done to one of them, empty for nothing but size, compression and brightness). ``complete``: whether the
    search went on to its end, so that there are no more pairs than these.
    """

    pairs: pd.DataFrame
    threshold: float
    complete: bool = True


def find_look_alikes(table: ImageTable, *, threshold: float = ALIKE, kept: KeptTables = _NOT_KEPT) -> LookAlikes:
    """Return the near duplicates in a table that was inspected with ``appearance``; exact duplicates are one picture.

    ``kept``: where the pairs of pictures that have not changed are taken from.

    Raises
    ------
    SettingsError
        When the threshold is not between 0.5 and 1.
    """
    if not 0.5 <= threshold <= 1:
        raise SettingsError(f"the threshold of near duplicates lies between 0.5 and 1, not {threshold:g}")
    if table.thumbnails is None:
        raise ValueError("near duplicates are found by thumbnails: inspect the table with appearance=True")
    frame = table.frame  # its rows are in the order of ids, and a copy of them would take 100 bytes each
    rows = np.flatnonzero((frame["readable"] & ~frame["pixel_hash"].duplicated()).to_numpy(dtype=bool))
    places = frame["look_thumbnail"].iloc[rows].to_numpy(dtype=int)
    parts = (table.thumbnails[places[part]] for part in slices(len(places)))
    varied = np.flatnonzero(np.concatenate([np.empty(0, dtype=bool), *map(_is_varied, parts)]))
    rows = rows[varied]
    thumbnails = picked(table.thumbnails, places[varied])
    sides = frame[["width", "height"]].iloc[rows].min(axis=1).to_numpy(dtype=int)
    pictures = (hashlib.sha256(thumbnails[part].tobytes()).digest() for part in slices(len(thumbnails)))
    key = (f"look-alikes {_FORMAT} {threshold!r}".encode(), sides.tobytes(), *pictures)
    found = kept.get(key, lambda: _pairs(thumbnails, sides, threshold))
    hashes = frame["pixel_hash"]
    found.insert(0, "second", hashes.iloc[rows[found.pop("j")]].array)
    found.insert(0, "first", hashes.iloc[rows[found.pop("i")]].array)
    return LookAlikes(found, threshold, complete=found.attrs["complete"])


def mark_look_alikes(table: ImageTable, alike: LookAlikes) -> ImageTable:
    """Fill the column ``look_alike``: a number that pictures joined by pairs share, missing for all others."""
    frame, pairs = table.frame, alike.pairs
    pictures = pd.factorize(pd.concat([frame["pixel_hash"], pairs["first"], pairs["second"]]))[0]
    own, first, second = np.split(pictures, [len(frame), len(frame) + len(pairs)])
    alike_ones = np.isin(own, [first, second])
    column = pd.Series(pd.NA, index=frame.index, dtype="Int64")
    column[alike_ones] = pd.factorize(joined(first, second, len(pictures))[own[alike_ones]])[0]
    return replace(table, frame=frame.assign(**{LOOK_ALIKE: column}))


def _is_varied(thumbnails: np.ndarray) -> np.ndarray:
    """Return whether each of (n, 32, 32) has more than one value, (n,) bool."""
    return thumbnails.max(axis=(1, 2)) > thumbnails.min(axis=(1, 2))


def _pairs(thumbnails: np.ndarray, sides: np.ndarray, threshold: float) -> pd.DataFrame:
    """Return positions ``i`` < ``j``, ``similarity`` and ``change``; for each pair the change that fits best."""
    found = _Found(len(thumbnails))
    if len(thumbnails) > 1:
        small = _small(thumbnails)
        common = _common(small)
        own = _View(small, common, _CHANGES[""])
        projections = _Projections.of(own)
        sketch = projections.sketch(own)
        details = Details(thumbnails, sides, threshold)
        for change, apply in _CHANGES.items():
            view = _View(small, common, apply)
            compared = 0
            for candidates in _candidates(sketch, projections.sketch(view) if change else sketch, threshold):
                for rows in slices(len(candidates), _PAIRS_AT_ONCE):
                    alike = _alike(own, view, candidates[rows], threshold)
                    changed, plain = (alike[name].to_numpy() for name in ("changed", "plain"))
                    agree = details.agree(apply(thumbnails[changed]), thumbnails[plain], (changed, plain))
                    found.add(alike[agree], change)
                compared += len(candidates)
                if compared > _MOST_COMPARED:
                    found.complete = False
                    break
        found.complete &= details.complete
    return found.table()


class _Found:
    """The pairs found so far; beyond so many only those that join pictures not joined yet."""

    def __init__(self, count: int) -> None:
        self._count, self._pairs, self.complete = count, 0, True
        self._parts = [pd.DataFrame({"i": [], "j": [], "similarity": [], "change": []}).astype({"change": str})]

    def add(self, alike: pd.DataFrame, change: str) -> None:
        """Take the pairs of pictures (columns ``changed``, ``plain``, ``similarity``)."""
        ends = np.sort(alike[["changed", "plain"]].to_numpy(dtype=int), axis=1)
        part = pd.DataFrame({"i": ends[:, 0], "j": ends[:, 1], "similarity": alike["similarity"].to_numpy()})
        if self._pairs + len(part) > _MOST_PAIRS:
            known = np.concatenate([rows[["i", "j"]].to_numpy(dtype=int) for rows in self._parts])
            part, self.complete = part.iloc[joining(joined(known[:, 0], known[:, 1], self._count)[ends])], False
        self._pairs += len(part)
        self._parts.append(part.assign(change=change))

    def table(self) -> pd.DataFrame:
        """Return each pair once, with the change that fits best, and whether these are all in ``attrs``."""
        pairs = pd.concat([part for part in self._parts if len(part)] or self._parts)
        pairs = pairs.sort_values(["i", "j", "similarity"], kind="stable").drop_duplicates(["i", "j"], keep="last")
        pairs = pairs.astype({"i": int, "j": int}).reset_index(drop=True)
        pairs.attrs["complete"] = bool(self.complete)
        return pairs


@dataclass(frozen=True, eq=False)
class _View:
    """All pictures with one change, worked out a part at a time: whole, they would take 1 KB each."""

    small: np.ndarray  # (N, 16, 16) uint8
    common: np.ndarray
    apply: Callable[[np.ndarray], np.ndarray]

    def own_parts(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return pictures without mean, contrast and the common direction, (n, D) float32 of length 1."""
        plain = _normalised(self.apply(self.small[rows]))
        return _normalised(plain - (plain @ self.common) @ self.common.T)

    def all_parts(self) -> Iterator[np.ndarray]:
        """Yield the own parts of all pictures, so many at a time."""
        return (self.own_parts(rows) for rows in slices(len(self.small)))


@dataclass(frozen=True, eq=False)
class _Sketch:
    """``coordinates`` (N, 48) and ``codes`` (number of codes, N) of all pictures of a view."""

    coordinates: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class _Projections:
    """``basis`` (D, 48) orthonormal: it shortens distances only; ``directions`` (48, codes, bits) of the codes."""

    basis: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, view: _View) -> "_Projections":
        values, vectors = np.linalg.eigh(sum(part.T @ part for part in view.all_parts()))
        kept = min(_COMPONENTS, len(view.small))
        values, basis = values[-kept:], vectors[:, -kept:]
        bits = max(4, int(np.ceil(np.log2(len(view.small)))))
        directions = np.random.default_rng(0).normal(size=(kept, _CODES, bits))
        # between plain and whitened: else a few strong components alone would decide the bits
        scales = np.maximum(values, values[-1] * 1e-6) ** -0.25
        return cls(basis.astype(np.float32), (directions * scales[:, None, None]).astype(np.float32))

    def sketch(self, view: _View) -> _Sketch:
        """Return what stands for the pictures while candidates are looked for."""
        coordinates = np.concatenate([part @ self.basis for part in view.all_parts()])
        bits = self.directions.shape[2]
        weights = 2.0 ** np.arange(bits, dtype=np.float32)  # floats are exact up to 24 bits, and multiply fast
        signs = ((coordinates @ self.directions[:, number] > 0).astype(np.float32) for number in range(_CODES))
        return _Sketch(coordinates, np.stack([(sign @ weights).astype(np.int32) for sign in signs]))


def _small(thumbnails: np.ndarray) -> np.ndarray:
    """Return (N, 16, 16) uint8."""
    half = reducing(_SMALL_PX)
    parts = (half @ thumbnails[rows].astype(np.float32) @ half.T for rows in slices(len(thumbnails)))
    return np.concatenate([np.rint(part).astype(np.uint8) for part in parts])


def _common(small: np.ndarray) -> np.ndarray:
    """Return the direction (D, 1) that the pictures of a data set share most; without columns of few pictures."""
    count = int(len(small) >= _FEWEST_FOR_COMMON)
    parts = (_normalised(small[rows]) for rows in slices(len(small)))
    together = sum(part.T @ part for part in parts)
    return np.linalg.eigh(together)[1][:, len(together) - count :]


def _candidates(own: _Sketch, other: _Sketch, threshold: float) -> Iterator[np.ndarray]:
    """Yield pairs (other, own), each once, that share a code and lie near enough by their coordinates.

    The nearest neighbours of all codes come first, so that an early end still joins what belongs together.
    """
    farthest = 2 * (1 - threshold) + 1e-4  # squared, of vectors of length 1
    count = len(own.coordinates)
    together = np.stack([own.codes, other.codes], axis=2).reshape(len(own.codes), -1)  # own and other in turn
    orders = np.argsort(together, axis=1, kind="stable").astype(np.int32)
    together = np.take_along_axis(together, orders, axis=1)
    seen = np.empty(0, dtype=np.int64)
    for distance, first_code in product(range(1, 2 * _NEIGHBOURS + 1), range(0, _CODES, _CODES_AT_ONCE)):
        codes = slice(first_code, first_code + _CODES_AT_ONCE)
        neighbours = _neighbours(together[codes], orders[codes], distance)
        if other is own:
            neighbours.sort(axis=1)
        pairs = np.unique(neighbours @ [count, 1])
        pairs = np.setdiff1d(pairs, seen, assume_unique=True)
        near = [_distances(own, other, pairs[rows], count) <= farthest for rows in slices(len(pairs), _PAIRS_AT_ONCE)]
        pairs = pairs[np.concatenate([np.empty(0, dtype=bool), *near])]
        seen = np.union1d(seen, pairs)
        yield np.column_stack(np.divmod(pairs, count))


def _distances(own: _Sketch, other: _Sketch, pairs: np.ndarray, count: int) -> np.ndarray:
    first, second = np.divmod(pairs, count)
    difference = other.coordinates[first] - own.coordinates[second]
    return np.einsum("nd,nd->n", difference, difference)


def _alike(own: _View, view: _View, candidates: np.ndarray, threshold: float) -> pd.DataFrame:
    """Return the pairs of a changed and an unchanged picture whose correlation reaches the threshold."""
    changed, plain = candidates.T
    similarity = np.einsum("nd,nd->n", view.own_parts(changed), own.own_parts(plain))
    pairs = pd.DataFrame({"changed": changed, "plain": plain, "similarity": similarity})
    return pairs[pairs["similarity"] >= threshold]


def _neighbours(codes: np.ndarray, orders: np.ndarray, distance: int) -> np.ndarray:
    """Return pairs (other, own) of different positions whose sorted codes are equal, so far apart in their order."""
    equal = codes[:, :-distance] == codes[:, distance:]
    first, second = orders[:, :-distance][equal], orders[:, distance:][equal]
    useful = (first % 2 != second % 2) & (first // 2 != second // 2)
    first, second = first[useful], second[useful]
    is_other = first % 2 == 1
    places = np.where(is_other, first, second) // 2, np.where(is_other, second, first) // 2
    return np.column_stack(places).astype(np.int64)


def _normalised(pictures: np.ndarray) -> np.ndarray:
    """Return float32 rows (N, D) without mean and of length 1; a row of one value becomes zeros."""
    vectors = pictures.reshape(len(pictures), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors
