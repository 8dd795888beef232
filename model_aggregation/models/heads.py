"""Heads: finding a network's classifier, giving it fresh weights, and the earlier program's head of two layers."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.errors import ModelError

LINEAR = (nn.Linear, nn.Conv2d)


def fresh_head(module: nn.Module, head: frozenset[str]) -> None:
    """Give the head small random weights and no bias, the same for every architecture: all classes start equal.

    Libraries differ here by a factor of a hundred. Large first logits cost epochs, and where a ReLU follows the head
    (SqueezeNet) they can end the learning before it began.
    """
    for name in layers_of(head):
        layer = module.get_submodule(name)
        if isinstance(layer, LINEAR):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def layers_of(head: frozenset[str]) -> list[str]:
    """Return the names of the layers that hold the tensors of a head, sorted.

    >>> layers_of(frozenset({"fc.weight", "fc.bias"}))
    ['fc']
    """
    return sorted({name.rpartition(".")[0] for name in head})


def with_mlp_head(module: nn.Module, head: frozenset[str], *, source: str) -> frozenset[str]:
    """Replace the classifier by Linear → ReLU → Dropout 0.5 → Linear and return the names of the new tensors.

    A classifier of several linear layers (VGG, AlexNet) is replaced as a whole, any other in its last layer. Of
    torchvision's the dropout before that layer (EfficientNet) goes too: the earlier program replaced it with the rest.

    Raises
    ------
    ModelError
        If the classifier is a convolution.
    """
    tensors: set[str] = set()
    for name in layers_of(head):
        last = module.get_submodule(name)
        if not isinstance(last, nn.Linear):
            raise ModelError(f"The head 'mlp' takes the place of a linear layer; '{name}' is {type(last).__name__}.")
        place, inputs = _place_of(module, name, last)
        if source == "torchvision":
            _leave_out_dropout(module, place)
        hidden = hidden_width(inputs, source)
        replacement = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, last.out_features)
        )
        parent, _, attribute = place.rpartition(".")
        setattr(module.get_submodule(parent), attribute, replacement)
        tensors |= {f"{place}.{tensor}" for tensor in replacement.state_dict()}
    return frozenset(tensors)


def hidden_width(inputs: int, source: str) -> int:
    """Return the width of the hidden layer: the inputs below 512, 512 below 1024, 1024 above; in timm half of them
    from 1024 to 2047.

    >>> hidden_width(256, "torchvision"), hidden_width(768, "timm"), hidden_width(1280, "timm")
    (256, 512, 640)
    >>> hidden_width(1280, "torchvision"), hidden_width(25088, "torchvision")
    (1024, 1024)
    """
    if inputs < 512:
        return inputs
    if inputs < 1024:
        return 512
    return inputs // 2 if source == "timm" and inputs < 2048 else 1024


def _place_of(module: nn.Module, name: str, last: nn.Linear) -> tuple[str, int]:
    """Return what is replaced: the whole classifier if it has several linear layers, else the last layer."""
    container = name.rpartition(".")[0]
    around = module.get_submodule(container)
    if container and isinstance(around, nn.Sequential):
        linear = [layer for layer in around if isinstance(layer, nn.Linear)]
        if len(linear) > 1:
            return container, linear[0].in_features
    return name, last.in_features


def _leave_out_dropout(module: nn.Module, place: str) -> None:
    """Make the dropout directly before a layer do nothing; the layers keep their names."""
    container, _, last = place.rpartition(".")
    around = module.get_submodule(container)
    if not container or not isinstance(around, nn.Sequential):
        return
    names = [name for name, _ in around.named_children()]
    before = names[: names.index(last)][-1:]
    if before and isinstance(around.get_submodule(before[0]), nn.Dropout):
        setattr(around, before[0], nn.Identity())


def learning_parts(module: nn.Module, head: frozenset[str]) -> list[str]:
    """Return the names of all layers that are active while only the head learns, in their order.

    They are the layers of the head and, where those stand in a sequence, what follows them in it and the dropout
    directly before them. Everything else is frozen and computes as in evaluation.
    """
    layers = layers_of(head)
    containers = {name.rpartition(".")[0] for name in layers}
    container = containers.pop()
    around = module.get_submodule(container)
    if containers or not container or not isinstance(around, nn.Sequential):
        return layers
    children = list(around.named_children())
    start = min(number for number, (name, _) in enumerate(children) if f"{container}.{name}" in layers)
    while start and isinstance(children[start - 1][1], nn.Dropout):
        start -= 1
    return [f"{container}.{name}" for name, _ in children[start:]]


class SumOfHeads(nn.Module):
    """The sum of several heads times their shares, each of which sees a part of the features (N, F) of its own."""

    def __init__(self, heads: list[nn.Module], shapes: list[tuple[int, ...]], shares: list[float]) -> None:
        super().__init__()
        self.heads, self.shapes, self.shares = nn.ModuleList(heads), shapes, shares

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, C)."""
        parts = features.split([math.prod(shape) for shape in self.shapes], dim=1)
        parts = [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        logits = [
            share * head(part).flatten(1) for share, head, part in zip(self.shares, self.heads, parts, strict=True)
        ]
        return torch.stack(logits).sum(dim=0)


@dataclass(frozen=True, eq=False)
class HeadPart:
    """The end of a network that learns while the rest is frozen.

    ``entrances`` are the layers whose inputs are the features (those of several side by side), ``shape`` theirs for
    one image; ``layers`` turn features into logits (N, C), and share their weights with the network.
    """

    entrances: tuple[str, ...]
    shape: tuple[int, ...]
    layers: nn.Module

    @contextmanager
    def features_in(self, module: nn.Module) -> Iterator[Callable[[], Tensor]]:
        """Give a function that returns the features of the last images that ``module``, a copy, has seen."""
        with _inputs_of(module, self.entrances) as seen:
            yield lambda: _joined([seen[name].pop() for name in self.entrances])


@torch.no_grad()
def find_head_part(module: nn.Module, head: frozenset[str], images: Tensor) -> HeadPart | None:
    """Return the part of a network from its head on, or None where it cannot be told apart from the rest.

    ``images`` (N, C, H, W) are what it is tried on: its logits must be those of the network. It is a sequence of
    layers, or several heads with fixed shares: their mean as in distilled networks, or weighed by numbers that are
    frozen with the body (EfficientViM). There is none where the shares depend on the image, or where something comes
    after the head that is no layer. The module is left in evaluation mode.
    """
    names = learning_parts(module, head)
    with _inputs_of(module, names) as seen:
        logits = module.eval()(images)
    entered = {name: values[0] for name, values in seen.items() if len(values) == 1}
    for entrances in dict.fromkeys([(names[0],), tuple(names)]):
        if not entered.keys() >= set(entrances):
            continue
        features = _joined([entered[name] for name in entrances])
        if len(entrances) == 1:
            layers: nn.Module = nn.Sequential(*map(module.get_submodule, names), nn.Flatten())
        else:
            heads = [module.get_submodule(name) for name in names]
            layers = SumOfHeads(
                heads, [tuple(entered[name].shape[1:]) for name in names], _shares(module, names, images[:1])
            )
        try:
            again = layers(features)
        except RuntimeError:  # shapes that do not go together
            continue
        if again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-4, atol=1e-6):
            return HeadPart(entrances, tuple(features.shape[1:]), layers)
    return None


def _shares(module: nn.Module, names: list[str], image: Tensor) -> list[float]:
    """Return with which shares heads are summed in the logits: what is left of one where all others give 0."""
    shares = []
    for chosen in names:
        handles = [
            module.get_submodule(name).register_forward_hook(partial(_constant, float(name == chosen)))
            for name in names
        ]
        try:
            shares.append(module(image).mean().item())
        finally:
            for handle in handles:
                handle.remove()
    return shares


def _constant(value: float, _: nn.Module, __: Any, output: Tensor) -> Tensor:
    return torch.full_like(output, value)


def _joined(inputs: list[Tensor]) -> Tensor:
    return inputs[0] if len(inputs) == 1 else torch.cat([entered.flatten(1) for entered in inputs], dim=1)


@contextmanager
def _inputs_of(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect what enters layers inside the block; what is no tensor is left out."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[name] += [entered for entered in inputs[:1] if isinstance(entered, Tensor)]

    handles = [module.get_submodule(name).register_forward_pre_hook(partial(keep, name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
