"""Near duplicates: pictures that were resized, compressed again, brightened, inverted or mirrored.

Each picture is compared by its 16×16 grey thumbnail without its mean and contrast. The direction that the pictures of
the data set share most, such as the outline of a chest, is taken off first, and two pictures are alike when what
remains correlates by the threshold or more.

What it does not know: pictures turned or upside down are not looked for, and cropped ones are mostly missed (found: a
quarter of those that lost 2 % on two sides). Pictures of 30 to 50 pixels that were made smaller are found half of the
time. ``benchmarks/doctor.py`` measures all this.

Not every pair is compared. Each picture gets 32 short codes, the signs of random projections (Charikar 2002), and only
neighbours in the sorted codes are candidates: of pairs that just reach 0.95 a few in a hundred are missed, closer ones
hardly ever. What is reported was computed in full.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from model_aggregation.data.appearance import THUMBNAIL_PX
from model_aggregation.data.image_table import LOOK_ALIKE, ImageTable
from model_aggregation.data.kept_tables import KeptTables
from model_aggregation.errors import SettingsError

ALIKE = 0.95
"""Correlation from which pictures count as near duplicates."""

_COMPONENTS = 48
_CODES = 32
_NEIGHBOURS = 12  # in the sorted order of a code
_FEWEST_FOR_COMMON = 20  # pictures: of fewer, what they share is made of the very ones compared
_ROWS_AT_ONCE = 20_000
_FORMAT = 1  # of what is kept: another number, and the pairs are looked for again
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
    (what was done to one of them, empty for nothing but size, compression and brightness).
    """

    pairs: pd.DataFrame
    threshold: float


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
    rows = table.readable().drop_duplicates("pixel_hash").sort_values("id")
    thumbnails = _thumbnails(rows)
    varied = np.flatnonzero(thumbnails.reshape(len(rows), -1).std(axis=1) > 0)
    thumbnails = thumbnails[varied]
    key = (f"look-alikes {_FORMAT} {threshold!r}".encode(), thumbnails.tobytes())
    found = kept.get(key, lambda: _pairs(thumbnails, threshold))
    hashes = rows["pixel_hash"].to_numpy()[varied]
    found.insert(0, "second", hashes[found.pop("j")])
    found.insert(0, "first", hashes[found.pop("i")])
    return LookAlikes(found, threshold)


def mark_look_alikes(table: ImageTable, alike: LookAlikes) -> ImageTable:
    """Fill the column ``look_alike``: a number that pictures joined by pairs share, missing for all others."""
    hashes = pd.Index(pd.unique(alike.pairs[["first", "second"]].to_numpy().ravel()))
    first, second = (hashes.get_indexer(alike.pairs[name]) for name in ("first", "second"))
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(hashes), len(hashes)))
    families = connected_components(graph, directed=False)[1] if len(hashes) else np.empty(0, dtype=int)
    number = dict(zip(hashes, families, strict=True))
    column = table.frame["pixel_hash"].map(number).astype("Int64")
    return replace(table, frame=table.frame.assign(**{LOOK_ALIKE: column}))


def _thumbnails(rows: pd.DataFrame) -> np.ndarray:
    """Return (N, 16, 16) uint8."""
    data = b"".join(rows["look_thumbnail"])
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX)


def _pairs(thumbnails: np.ndarray, threshold: float) -> pd.DataFrame:
    """Return positions ``i`` < ``j``, ``similarity`` and ``change``; for each pair the change that fits best."""
    found = [pd.DataFrame({"i": [], "j": [], "similarity": [], "change": []}).astype({"change": str})]
    if len(thumbnails) > 1:
        common = _common(thumbnails)
        own = _own_parts(thumbnails, common)
        projections = _Projections.of(own)
        coordinates = own @ projections.basis
        codes = projections.codes(coordinates)
        for change, apply in _CHANGES.items():
            view = _View(thumbnails, common, apply)
            others = view.coordinates(projections.basis) if change else coordinates
            other_codes = projections.codes(others) if change else codes
            candidates = _candidates((coordinates, codes), (others, other_codes), threshold)
            found.append(_alike(own, view, candidates, threshold).assign(change=change))
    pairs = pd.concat([part for part in found if len(part)] or found)
    pairs = pairs.sort_values(["i", "j", "similarity"], kind="stable").drop_duplicates(["i", "j"], keep="last")
    return pairs.astype({"i": int, "j": int}).reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class _View:
    """All pictures with one change, worked out a part at a time: whole, they would take 1 KB each."""

    thumbnails: np.ndarray
    common: np.ndarray
    apply: Callable[[np.ndarray], np.ndarray]

    def own_parts(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return (n, D) of the pictures in ``rows``."""
        return _own_parts(self.apply(self.thumbnails[rows]), self.common)

    def coordinates(self, basis: np.ndarray) -> np.ndarray:
        """Return (N, 48) in a basis."""
        return np.concatenate([self.own_parts(rows) @ basis for rows in _slices(len(self.thumbnails))])


@dataclass(frozen=True, eq=False)
class _Projections:
    """``basis`` (D, 48) orthonormal: it shortens distances only; ``directions`` (48, codes, bits) of the codes."""

    basis: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, own: np.ndarray) -> "_Projections":
        values, vectors = np.linalg.eigh(own.T @ own)
        kept = min(_COMPONENTS, len(own))
        values, basis = values[-kept:], vectors[:, -kept:]
        bits = max(4, int(np.ceil(np.log2(len(own)))))
        directions = np.random.default_rng(0).normal(size=(kept, _CODES, bits))
        # between plain and whitened: else a few strong components alone would decide the bits
        scales = np.maximum(values, values[-1] * 1e-6) ** -0.25
        return cls(basis.astype(np.float32), (directions * scales[:, None, None]).astype(np.float32))

    def codes(self, coordinates: np.ndarray) -> np.ndarray:
        """Return (number of codes, N) int32 for coordinates (N, 48) in the basis."""
        bits = self.directions.shape[2]
        weights = 2.0 ** np.arange(bits, dtype=np.float32)  # floats are exact up to 24 bits, and multiply fast
        signs = ((coordinates @ self.directions[:, number] > 0).astype(np.float32) for number in range(_CODES))
        return np.stack([(sign @ weights).astype(np.int32) for sign in signs])


def _common(thumbnails: np.ndarray) -> np.ndarray:
    """Return the direction (D, 1) that the pictures of a data set share most; without columns of few pictures."""
    count = int(len(thumbnails) >= _FEWEST_FOR_COMMON)
    parts = (_normalised(thumbnails[rows]) for rows in _slices(len(thumbnails)))
    together = sum(part.T @ part for part in parts)
    return np.linalg.eigh(together)[1][:, len(together) - count :]


def _own_parts(thumbnails: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return pictures (N, 16, 16) without mean, contrast and the common direction, (N, D) float32 of length 1."""
    own = np.empty((len(thumbnails), len(common)), dtype=np.float32)
    for rows in _slices(len(thumbnails)):
        plain = _normalised(thumbnails[rows])
        own[rows] = _normalised(plain - (plain @ common) @ common.T)
    return own


def _candidates(
    own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], threshold: float
) -> np.ndarray:
    """Return pairs (other, own) that share a code and lie near enough by their coordinates.

    ``own`` and ``other`` are coordinates (N, 48) and codes (number of codes, N).
    """
    farthest = 2 * (1 - threshold) + 1e-4  # squared, of vectors of length 1
    kept = [np.empty((0, 2), dtype=np.int64)]
    for codes, other_codes in zip(own[1], other[1], strict=True):
        for pairs in _neighbours(codes, other_codes):
            difference = other[0][pairs[:, 0]] - own[0][pairs[:, 1]]
            kept.append(pairs[np.einsum("nd,nd->n", difference, difference) <= farthest])
    return np.unique(np.concatenate(kept), axis=0)


def _alike(own: np.ndarray, view: _View, candidates: np.ndarray, threshold: float) -> pd.DataFrame:
    """Return the pairs of a changed and an unchanged picture whose correlation reaches the threshold."""
    parts = [np.empty((0, 3))]
    for start in range(0, len(candidates), _ROWS_AT_ONCE):
        i, j = candidates[start : start + _ROWS_AT_ONCE].T
        similarity = np.einsum("nd,nd->n", view.own_parts(i), own[j])
        parts.append(np.column_stack([np.minimum(i, j), np.maximum(i, j), similarity])[similarity >= threshold])
    return pd.DataFrame(np.concatenate(parts), columns=["i", "j", "similarity"])


def _neighbours(codes: np.ndarray, other_codes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs (other, own) of different positions whose codes are equal and that lie near in sorted order."""
    together = np.column_stack([codes, other_codes]).ravel()  # own and other in turn
    order = np.argsort(together, kind="stable")
    for distance in range(1, 2 * _NEIGHBOURS + 1):
        first, second = order[:-distance], order[distance:]
        equal = together[first] == together[second]
        if not equal.any():
            return
        useful = equal & (first % 2 != second % 2) & (first // 2 != second // 2)
        first, second = first[useful], second[useful]
        is_other = first % 2 == 1
        yield np.column_stack([np.where(is_other, first, second) // 2, np.where(is_other, second, first) // 2])


def _normalised(pictures: np.ndarray) -> np.ndarray:
    """Return float32 rows (N, D) without mean and of length 1; a row of one value becomes zeros."""
    vectors = pictures.reshape(len(pictures), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, count, _ROWS_AT_ONCE))
