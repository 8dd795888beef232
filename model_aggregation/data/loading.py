"""Batches of images for training and prediction.

Two sources give the same kind of batches: ``StoredImages`` takes rows of an image store; ``DecodedImages`` decodes
files in worker processes, for a user's transforms and for stores that do not fit on the disk.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model_aggregation.data.augmentation import load_transforms
from model_aggregation.data.decoding import open_image
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.pixels import PixelRule, decode_to_rule
from model_aggregation.errors import DataError


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
        dataset = _Files(self, training=training, seed=seed)
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_sampler=[list(positions) for positions in order],
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(seed),  # it would draw from the global one
        )
        yield from loader


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
        with torch.random.fork_rng(devices=[]):  # without workers this is the training process itself
            _seed_everything(hash((self.seed, int(position))) % 2**32)
            result = self._transform(open_image(Path(path), channels=rule.channels))  # type: ignore[misc]
        if not isinstance(result, Tensor) or result.ndim != 3:
            raise DataError(
                f"transforms: '{self.name}' in {self.images.transforms} must return a tensor (channels, height, "
                f"width); for {path} it returned {getattr(result, 'shape', type(result).__name__)}."
            )
        return result


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (a user's transform may use the global generator)
    torch.manual_seed(seed)


def image_source(
    images: pd.DataFrame, store: ImageStore | None, rule: PixelRule, *, transforms: Path | None, workers: int
) -> ImageSource:
    """Return the source for a table of images (columns ``path``, ``content_hash``)."""
    if store is None or transforms is not None:
        return DecodedImages(tuple(images["path"]), rule, transforms, workers)
    return StoredImages(store, store.rows_of(images["content_hash"].tolist()))


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
