"""A closer look at two pictures whose small thumbnails agree: whether their fine structure does too.

What pictures of one kind share, such as the outline of a chest or of a cell, makes small thumbnails alike. Here each
picture is brought to two thirds of the shorter side of the smaller one (at least 8 pixels, at most 32), where traces of
resizing and compression are averaged out, its blurred self (σ: an eighth of the side) is taken off, and what remains
must correlate. Where it nearly does, one of the two may be a crop: 2 % are cut off each set of sides in turn.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from PIL import Image

from model_aggregation.data.appearance import THUMBNAIL_PX

_SHARE_OF_SIDE = 2 / 3
_FEWEST_PX = 8
_BLUR = 1 / 8
_STRICTER = 0.6  # 0.97 where thumbnails need 0.95
_MARGIN = 0.02
_WORTH_A_CROP = 0.7
_MOST_CROPPED = 50_000  # pairs: each takes about a millisecond
_PAIRS_AT_ONCE = 4_000
_WHOLE = (0.0, 0.0, 0.0, 0.0)
_CROPS = [margins for margins in product((0.0, _MARGIN), repeat=4) if any(margins)]


class Details:
    """The pictures (N, 32, 32) uint8 of a data set and the shorter sides (N,) of their files in pixels.

    ``complete``: whether all pairs that nearly agreed were also compared as crops of each other.
    """

    def __init__(self, thumbnails: np.ndarray, sides: np.ndarray, threshold: float) -> None:
        self._thumbnails, self._sides = thumbnails, sides
        self._wanted = 1 - _STRICTER * (1 - threshold)
        self._cropped = 0
        self.complete = True

    def agree(self, changed: np.ndarray, others: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return whether the details of each pair agree, (n,) bool.

        ``changed`` and ``others`` are the thumbnails (n, 32, 32) of the pairs, ``places`` their rows in the data set.
        """
        sides = np.minimum(self._sides[places[0]], self._sides[places[1]])
        sizes = np.clip(np.rint(_SHARE_OF_SIDE * sides), _FEWEST_PX, THUMBNAIL_PX).astype(int)
        agree = np.zeros(len(sizes), dtype=bool)
        for rows, size in _parts(sizes):
            agree[rows] = self._agree(changed[rows], others[rows], size)
        return agree

    def _agree(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        plain = _fine(first, size), _fine(second, size)
        similarity = _correlation(*plain)
        agree = similarity >= self._wanted
        left = np.flatnonzero(~agree & (similarity >= _WORTH_A_CROP))
        if self._cropped + len(left) > _MOST_CROPPED:
            left, self.complete = left[: _MOST_CROPPED - self._cropped], False
        self._cropped += len(left)
        for margins in _CROPS:
            for pictures, other in ((first, plain[1]), (second, plain[0])):
                left = left[~agree[left]]
                agree[left] = _correlation(_fine(pictures[left], size, margins), other[left]) >= self._wanted
        return agree


def _parts(sizes: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield rows of one size, a part at a time."""
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            yield rows[start : start + _PAIRS_AT_ONCE], int(size)


def _fine(pictures: np.ndarray, size: int, margins: tuple[float, ...] = _WHOLE) -> np.ndarray:
    """Return the fine structure of pictures (n, 32, 32) without some margins (left, top, right, bottom), (n, D)."""
    left, top, right, bottom = margins
    small = reducing(size, top, bottom) @ pictures.astype(np.float32) @ reducing(size, left, right).T
    blurring = _blurring(size)
    return (small - blurring @ small @ blurring.T).reshape(len(pictures), size * size)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of rows (n, D); 0 where one has no structure at all."""
    first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in (first, second))
    lengths = np.sqrt(np.einsum("nd,nd->n", first, first) * np.einsum("nd,nd->n", second, second))
    return np.einsum("nd,nd->n", first, second) / np.where(lengths > 0, lengths, 1)


@cache
def reducing(size: int, before: float = 0, after: float = 0) -> np.ndarray:
    """Return the matrix (size, 32) by which Pillow resizes columns bilinearly, without shares of both ends."""
    each = Image.fromarray(np.eye(THUMBNAIL_PX, dtype=np.float32))
    box = (0, THUMBNAIL_PX * before, THUMBNAIL_PX, THUMBNAIL_PX * (1 - after))
    return np.array(each.resize((THUMBNAIL_PX, size), Image.Resampling.BILINEAR, box=box))


@cache
def _blurring(size: int) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d  # a moment that pairs which are known do not need

    return gaussian_filter1d(np.eye(size, dtype=np.float32), size * _BLUR, axis=0)
