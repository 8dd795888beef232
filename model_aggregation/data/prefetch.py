"""Batches made in a thread of their own while the network computes, and images that stay in a GPU's memory."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from model_aggregation.data.loading import ImageSource, StoredImages

_BATCHES_AHEAD = 2
_SHARE_OF_GPU = 0.3  # of its free memory, for the images of one split; the rest belongs to the network

Item = TypeVar("Item")


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items in their order while the next two are made in a thread.

    An error in making an item is raised here, in its place.
    """
    end = object()
    with ThreadPoolExecutor(1, "batches") as pool:
        ahead = deque(pool.submit(next, items, end) for _ in range(_BATCHES_AHEAD))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]


def pinned(batch: Tensor, device: torch.device) -> Tensor:
    """Return the batch where a GPU can fetch it while it computes; for other devices the batch itself."""
    return batch.pin_memory() if device.type == "cuda" and batch.device.type == "cpu" else batch


@dataclass(frozen=True, eq=False)
class ResidentImages:
    """Images in the memory of a device: ``pixels`` is (N, H, W, C) uint8."""

    pixels: Tensor

    @property
    def augments(self) -> bool:
        """Pixels are as decoded."""
        return False

    @property
    def can_prefetch(self) -> bool:
        """A GPU works by itself already."""
        return False

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, order: list[np.ndarray], *, training: bool, seed: int) -> Iterator[Tensor]:  # noqa: ARG002
        """Yield uint8 batches; ``training`` and ``seed`` change nothing here."""
        for positions in order:
            rows = torch.from_numpy(positions).to(self.pixels.device, non_blocking=True)
            yield self.pixels[rows].permute(0, 3, 1, 2)


def on_device(images: ImageSource, device: torch.device) -> ImageSource:
    """Return stored images as they lie in a GPU's memory where they fit; otherwise the images as they are."""
    if device.type != "cuda" or not isinstance(images, StoredImages):
        return images
    pixels = images.store.pixels
    room = torch.cuda.mem_get_info(device)[0] * _SHARE_OF_GPU
    if len(images) * pixels[0].nbytes > room:
        return images
    resident = torch.empty((len(images), *pixels.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(images), 1024):
        rows = images.rows[start : start + 1024]
        resident[start : start + len(rows)] = torch.from_numpy(pixels[rows]).to(device)
    return ResidentImages(resident)
