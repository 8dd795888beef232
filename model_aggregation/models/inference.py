"""Running a network forward over images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model_aggregation.data.loading import ImageSource, plain_order
from model_aggregation.data.prefetch import pinned, prefetched
from model_aggregation.models.arithmetic import Inference
from model_aggregation.models.build import Network
from model_aggregation.models.float32_head import float32_head
from model_aggregation.models.folding import fold_batch_norm
from model_aggregation.models.memory import memory_watched
from model_aggregation.ranks import gathered, own_positions

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Forward = Callable[[Tensor], Tensor]


def predict_logits(
    network: Network,
    images: ImageSource,
    fabric: "Fabric",
    *,
    inference: Inference | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the logits of every image, (N, C) float64 on the CPU, in the order of the source.

    Of several ranks each computes its part of the images, every image once, and all return all logits.

    The network itself is left as it is. Folding changes the logits by less than 1e-5 of the largest.

    Raises
    ------
    NotEnoughMemoryError
        If so many images at once do not fit into memory.
    """
    inference = inference or Inference()
    own = own_positions(len(images), fabric)
    parts: list[Tensor] = []
    done = 0
    with memory_watched("predicting"), copied_for_inference(network, fabric.device, inference) as (_, forward):
        order = [own[rows] for rows in plain_order(len(own), inference.batch_size)]
        batches = images.batches(order, training=False, seed=0)
        ready = (pinned(batch, fabric.device) for batch in batches)
        for batch in prefetched(ready) if images.can_prefetch else ready:
            parts.append(forward(batch))
            done += len(batch)
            if progress:
                progress(min(done * fabric.world_size, len(images)), len(images))
        logits = torch.cat(parts).double().cpu() if parts else torch.zeros(0, network.classes, dtype=torch.float64)
        return gathered(logits, len(images), fabric)


@contextmanager
def copied_for_inference(
    network: Network, device: torch.device, inference: Inference
) -> Iterator[tuple[nn.Module, Forward]]:
    """Give a copy of the network that computes as ``inference`` says, and a function from uint8 images to logits.

    The copy is in evaluation mode, batch norm folded where that leaves its outputs as they are; the head computes in
    float32.
    """
    mode, preprocessing = inference.mode, network.preprocessing
    copy = replace(network, module=deepcopy(network.module).to(device).eval())
    if inference.fold:
        fold_batch_norm(copy.module, example_images(network, 1, device))
    copy.module.to(memory_format=mode.layout)  # type: ignore[call-overload]
    copy.thaw()  # autocast keeps the cast weights of a layer only if it could learn

    def forward(images: Tensor) -> Tensor:
        inputs = preprocessing.normalize(images.to(device, non_blocking=True), mode.layout)
        return copy.module(inputs)

    with torch.inference_mode(), float32_head(copy), mode.autocast(device):
        yield copy.module, forward


def example_images(network: Network, count: int, device: torch.device) -> Tensor:
    """Return normalised noise of the size that the network sees, always the same."""
    size, channels = network.preprocessing.image_size, network.preprocessing.channels
    noise = torch.randint(256, (count, channels, size, size), generator=torch.Generator().manual_seed(0))
    return network.preprocessing.normalize(noise.to(torch.uint8).to(device))


def softmax(logits: Tensor) -> np.ndarray:
    """Return probabilities (N, C) float64; rows sum to 1 within rounding."""
    return torch.softmax(logits.double(), dim=1).numpy()
