"""Layers that compute in float32 although the network around them computes in a lower precision."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.models.arithmetic import Mode
from model_aggregation.models.build import Network


@contextmanager
def float32_head(network: Network) -> Iterator[None]:
    """Run the head in float32 inside the block, whatever the autocast: bfloat16 logits would make ties."""
    layers = [network.module.get_submodule(name.rpartition(".")[0]) for name in network.head]
    with _changed((layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)), _InFloat32):
        yield


@contextmanager
def float32_layers(network: Network, mode: Mode) -> Iterator[None]:
    """Run in float32 inside the block what a step in this mode computes so: the head, and depthwise convolutions."""
    layers = slow_depthwise(network.module) if mode.float32_depthwise else []
    with float32_head(network), _changed(layers, _BetweenOthers):
        yield


def slow_depthwise(module: nn.Module) -> list[nn.Conv2d]:
    """Return the depthwise convolutions whose gradients take a CPU several times longer in bfloat16.

    Measured with oneDNN as torch 2.13 has it: all but those of 3 × 3 with stride 1 (``benchmarks/depthwise.py``).
    """
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    depthwise = [layer for layer in convolutions if layer.groups == layer.in_channels > 1]
    return [layer for layer in depthwise if max(layer.kernel_size) > 3 or max(layer.stride) > 1]


class _InFloat32:
    """Placed before the class of a layer: it computes outside of autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())  # type: ignore[misc]


class _BetweenOthers(_InFloat32):
    """Gives its output in the precision of autocast, as the layers around it do."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(torch.get_autocast_dtype(input.device.type))


@contextmanager
def _changed(layers: Iterable[nn.Module], way: Any) -> Iterator[None]:
    before: dict[nn.Module, Any] = {layer: type(layer) for layer in layers}
    for layer, kind in before.items():
        layer.__class__ = _combined(way, kind)
    try:
        yield
    finally:
        for layer, kind in before.items():
            layer.__class__ = kind


@cache
def _combined(way: Any, kind: Any) -> Any:
    return type(f"{way.__name__.strip('_')}{kind.__name__}", (way, kind), {})
