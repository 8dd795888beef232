"""Batch norm folded into the convolutions before it, for a network that does not learn any more.

Which layers follow each other is seen on one pass over an image, so no list of architectures is kept. Whether the
result is still the same network is not assumed but compared.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

TOLERANCE = 1e-4
"""Largest difference of outputs that counts as equal, as a share of the largest output."""


@torch.no_grad()
def fold_batch_norm(module: nn.Module, image: Tensor) -> int:
    """Fold in place and return how many layers were folded; 0 leaves the module as it was.

    ``module`` is in evaluation mode and float32; ``image`` (1, C, H, W) is what it is tried on. Where the outputs
    differ by more than the tolerance (a convolution whose output is used twice, say), nothing is folded.
    """
    pairs, before = _followers(module, image)
    originals: dict[str, Any] = {name: module.get_submodule(name) for pair in pairs for name in pair}
    kept = {name: (originals[name].weight.clone(), originals[name].bias) for name, _ in pairs}
    for name, norm_name in pairs:
        _fold(module, name, norm_name)
    if not pairs or _equal(module(image), before):
        return len(pairs)
    for name, norm_name in pairs:
        originals[name].weight.data.copy_(kept[name][0])
        originals[name].bias = kept[name][1]
        _put(module, norm_name, originals[norm_name])
    return 0


def _followers(module: nn.Module, image: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Return the names of layers whose output goes straight into a batch norm, both called once; and the output."""
    made_by: dict[int, str] = {}
    alive: list[Any] = []  # an address must not be used twice
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        if isinstance(layer, _BatchNorm) and id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])], name))
        elif not isinstance(layer, _BatchNorm):
            made_by[id(output)] = name
            alive.append(output)

    handles = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: record(name, layer, inputs, output))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear | _BatchNorm)
    ]
    try:
        output = module(image)
    finally:
        for handle in handles:
            handle.remove()
    once = [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]
    return [pair for pair in once if module.get_submodule(pair[1]).running_mean is not None], output


def _fold(module: nn.Module, name: str, norm_name: str) -> None:
    layer: Any = module.get_submodule(name)
    norm: Any = module.get_submodule(norm_name)
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    if isinstance(layer, nn.Linear):
        weight, bias = fuse_linear_bn_weights(layer.weight, layer.bias, *statistics)
    else:
        transposed = isinstance(layer, nn.ConvTranspose2d)
        weight, bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, transposed)
    layer.weight.data.copy_(weight)
    layer.bias = nn.Parameter(bias.detach().clone())
    _put(module, norm_name, _what_else_it_does(norm))


def _what_else_it_does(norm: nn.Module) -> nn.Module:
    """Some batch norm layers (timm's) end with dropout and an activation."""
    rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


def _equal(first: Tensor, second: Tensor) -> bool:
    if not second.isfinite().all():
        return False
    return bool((first - second).abs().max() <= TOLERANCE * second.abs().max())
