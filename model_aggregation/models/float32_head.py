"""The head computes in float32 although the network before it computes in a lower precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.models.build import Network


@contextmanager
def float32_head(network: Network) -> Iterator[None]:
    """Run the head in float32 inside the block, whatever the autocast: bfloat16 logits would make ties."""
    layers = [network.module.get_submodule(name.rpartition(".")[0]) for name in network.head]
    before: dict[nn.Module, Any] = {layer: type(layer) for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)}
    for layer, kind in before.items():
        layer.__class__ = _in_float32(kind)
    try:
        yield
    finally:
        for layer, kind in before.items():
            layer.__class__ = kind


class _InFloat32:
    """Placed before the class of a layer: it computes outside of autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())  # type: ignore[misc]


@cache
def _in_float32(kind: Any) -> Any:
    return type(f"{kind.__name__}InFloat32", (_InFloat32, kind), {})
