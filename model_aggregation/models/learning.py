"""How a network computes while it learns, where torch's own way is too coarse or too slow."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from model_aggregation.models.build import Network
from model_aggregation.models.float32_head import float32_head
from model_aggregation.models.quick_gradients import quick_gradients


@contextmanager
def as_learnt(network: Network, device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Let the head compute in float32 inside the block, and the rest with quick gradients if it is not ``compiled``."""
    with float32_head(network), nullcontext() if compiled else quick_gradients(device):
        yield
