"""Running a network forward over images."""

from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric

from model_aggregation.data.loading import ImageSource, plain_order
from model_aggregation.models.build import Network, float32_head


@torch.inference_mode()
def predict_logits(
    network: Network,
    images: ImageSource,
    fabric: Fabric,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Return the logits of every image, (N, C) float64 on the CPU, in the order of the source.

    The network is left in evaluation mode.
    """
    network.module.eval()
    parts = []
    done = 0
    with float32_head(network):
        for batch in images.batches(plain_order(len(images), batch_size), training=False, seed=0):
            inputs = network.preprocessing.normalize(batch.to(fabric.device))
            with fabric.autocast():
                parts.append(network.module(inputs).double().cpu())
            done += len(batch)
            if progress:
                progress(done, len(images))
    return torch.cat(parts)


def softmax(logits: torch.Tensor) -> np.ndarray:
    """Return probabilities (N, C) float64; rows sum to 1 within rounding."""
    return torch.softmax(logits.double(), dim=1).numpy()
