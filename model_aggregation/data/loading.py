"""Batches of images for training and prediction.

The sources give the same kind of batches: ``StoredImages`` takes rows of an image store; ``DecodedImages`` decodes
files in worker processes, for a user's transforms and for stores that do not fit on the disk; ``ChangedImages`` applies
what exists for single images only to images of either, in worker processes.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model_aggregation.data.augmentation import load_transforms
from model_aggregation.data.decoding import open_image
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.pixels import PixelRule, decode_to_rule
from model_aggregation.errors import DataError
from model_aggregation.processes import starting_processes

ImageChange = Callable[[Tensor], Tensor]
"""Changes one image (C, H, W) uint8 at random, by torch's, numpy's and Python's global generators; can be pickled."""


class ImageSource(Protocol):
    """Images of one split, in the order of their table."""

    @property
    def augments(self) -> bool:
        """Whether the source changes training images itself."""

    @property
    def can_prefetch(self) -> bool:
        """Whether batches may be made in another thread: nothing in them draws from torch's global generator."""

    def __len__(self) -> int: ...

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:
        """Yield (n, C, H, W) tensors, uint8 pixels or what a user's transform made, for each array of positions."""


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images in a store: ``rows`` (N,) are their places in it."""

    store: ImageStore
    rows: np.ndarray

    @property
    def augments(self) -> bool:
        """Stored pixels are as decoded."""
        return False

    @property
    def can_prefetch(self) -> bool:
        """Copying pixels draws nothing."""
        return True

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:  # noqa: ARG002
        """Yield uint8 batches; ``training`` and ``seed`` change nothing here."""
        for positions in order:
            pixels = self.store.pixels[self.rows[positions]]  # (n, H, W, C), a copy
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def reader(self) -> Callable[[int], Tensor]:
        """Return a function that reads one image (C, H, W)."""
        return _Rows(self.store.pixels, self.rows)


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images decoded from their files each time, in ``workers`` processes."""

    paths: tuple[str, ...]
    rule: PixelRule
    transforms: Path | None
    workers: int

    @property
    def augments(self) -> bool:
        """A user's transforms replace the named augmentation."""
        return self.transforms is not None

    @property
    def can_prefetch(self) -> bool:
        """Workers are ahead by themselves; without workers a user's transforms draw here."""
        return self.workers == 0 and self.transforms is None

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:
        """Yield batches; with a user's transforms each image has random numbers of its own, set by ``seed``."""
        yield from _loaded(_Files(self, training=training, seed=seed), order, workers=self.workers, seed=seed)

    def reader(self) -> Callable[[int], Tensor]:
        """Return a function that reads one image (C, H, W)."""
        return _Files(self, training=False, seed=0).__getitem__


@dataclass(frozen=True, eq=False)
class ChangedImages:
    """Images whose training batches are changed one by one in ``workers`` processes."""

    images: StoredImages | DecodedImages
    change: ImageChange
    workers: int

    @property
    def augments(self) -> bool:
        """The change is the augmentation."""
        return True

    @property
    def can_prefetch(self) -> bool:
        """Workers are ahead by themselves; without workers the changes draw here."""
        return False

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:
        """Yield uint8 batches; in training each image is changed by random numbers of its own, set by ``seed``."""
        if not training:
            return self.images.batches(order, training=False, seed=seed)
        return _loaded(_Changed(self.images.reader(), self.change, seed), order, workers=self.workers, seed=seed)


def _loaded(
    dataset: torch.utils.data.Dataset[Tensor], order: list[np.ndarray], *, workers: int, seed: int
) -> Iterator[Tensor]:
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=[list(positions) for positions in order],
        num_workers=workers,
        generator=torch.Generator().manual_seed(seed),  # it would draw from the global one
    )
    with starting_processes():
        batches = iter(loader)
    yield from batches


class _Rows:
    """Reads single images of a store; another process opens the store's file instead of getting its pixels."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __call__(self, position: int) -> Tensor:
        return torch.from_numpy(np.array(self.pixels[self.rows[position]])).permute(2, 0, 1).contiguous()

    def __getstate__(self) -> dict[str, object]:
        return {"pixels": getattr(self.pixels, "filename", self.pixels), "rows": self.rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pixels = state["pixels"]
        self.pixels = np.load(pixels, mmap_mode="r") if isinstance(pixels, str | Path) else pixels
        self.rows = state["rows"]


class _Changed(torch.utils.data.Dataset[Tensor]):
    """One epoch's draws of single images."""

    def __init__(self, read: Callable[[int], Tensor], change: ImageChange, seed: int) -> None:
        self.read, self.change, self.seed = read, change, seed

    def __getitem__(self, position: int) -> Tensor:
        with _own_random_numbers(self.seed, position):
            return self.change(self.read(position))


class _Files(torch.utils.data.Dataset[Tensor]):
    """One epoch's view of the files; made anew for each epoch, because the seed is part of it."""

    def __init__(self, images: DecodedImages, *, training: bool, seed: int) -> None:
        self.images = images
        self.name = "train" if training else "val"
        self.seed = seed
        self._transform = None

    def __getstate__(self) -> dict[str, object]:
        return {
            **self.__dict__,
            "_transform": None,
        }  # a user's transform may not pickle: workers read it again

    def __getitem__(self, position: int) -> Tensor:
        path, rule = self.images.paths[position], self.images.rule
        if self.images.transforms is None:
            return torch.from_numpy(decode_to_rule(path, rule)).permute(2, 0, 1).contiguous()
        if self._transform is None:
            self._transform = load_transforms(self.images.transforms)[self.name]  # type: ignore[assignment]
        with _own_random_numbers(self.seed, position):
            image = open_image(path, channels=rule.channels, rule=rule.reading, decoding=rule.decoding)  # type: ignore[arg-type]
            try:
                result = self._transform(image)  # type: ignore[misc]
            except Exception as error:
                raise DataError(
                    f"transforms: '{self.name}' in {self.images.transforms} failed for {path}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        if not isinstance(result, Tensor) or result.ndim != 3:
            raise DataError(
                f"transforms: '{self.name}' in {self.images.transforms} must return a tensor (channels, height, "
                f"width); for {path} it returned {getattr(result, 'shape', type(result).__name__)}."
            )
        return result


@contextmanager
def _own_random_numbers(seed: int, position: int) -> Iterator[None]:
    """Give one image of an epoch its own random numbers, whichever process changes it."""
    with torch.random.fork_rng(devices=[]):  # without workers this is the training process itself
        own = hash((seed, int(position))) % 2**32
        random.seed(own)
        np.random.seed(own)  # noqa: NPY002  (a user's transform may use the global generator)
        torch.manual_seed(own)
        yield


def image_source(
    images: pd.DataFrame,
    store: ImageStore | None,
    rule: PixelRule,
    *,
    transforms: Path | None = None,
    change: ImageChange | None = None,
    workers: int,
) -> ImageSource:
    """Return the source for a table of images (column ``path``, with a store ``content_hash``).

    ``change`` is made to single images in training; a user's ``transforms`` take the place of everything.
    """
    source: StoredImages | DecodedImages
    if store is None or transforms is not None:
        source = DecodedImages(tuple(images["path"]), rule, transforms, workers)
    else:
        source = StoredImages(store, store.rows_of(images["content_hash"]))
    return source if change is None else ChangedImages(source, change, workers)


def training_order(count: int, batch_size: int, *, seed: int, drop_last: bool = False) -> list[np.ndarray]:
    """Return the positions 0..count-1 in random order, cut into batches.

    A last batch of one image would break batch norm; it joins the batch before. With ``drop_last`` the incomplete
    last batch is left out, unless it is the only one.

    >>> [len(batch) for batch in training_order(9, 4, seed=0)]
    [4, 5]
    >>> [len(batch) for batch in training_order(10, 4, seed=0, drop_last=True)]
    [4, 4]
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    incomplete = len(batches) > 1 and len(batches[-1]) < batch_size
    if incomplete and drop_last:
        batches.pop()
    elif incomplete and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = np.concatenate([batches[-1], last])
    return batches


def plain_order(count: int, batch_size: int) -> list[np.ndarray]:
    """Return the positions 0..count-1 in order, cut into batches; every image exactly once.

    >>> [batch.tolist() for batch in plain_order(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    return [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
