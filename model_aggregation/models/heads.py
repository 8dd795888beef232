"""Heads: finding a network's classifier, giving it fresh weights, and the earlier program's head of two layers."""

from dataclasses import dataclass

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

    A classifier of several linear layers (VGG, AlexNet) is replaced as a whole, any other in its last layer.

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


@dataclass(frozen=True, eq=False)
class HeadPart:
    """The end of a network that learns while the rest is frozen.

    ``entrance`` is the layer whose input are the features, ``shape`` theirs for one image; ``layers`` turn features
    into logits (N, C), and share their weights with the network.
    """

    entrance: str
    shape: tuple[int, ...]
    layers: nn.Module


@torch.no_grad()
def find_head_part(module: nn.Module, head: frozenset[str], images: Tensor) -> HeadPart | None:
    """Return the part of a network from its head on, or None where it cannot be told apart from the rest.

    ``images`` (N, C, H, W) are what it is tried on: its logits must be those of the network. There is none where
    several layers give logits from different places, or where something comes after the head that is no layer. The
    module is left in evaluation mode.
    """
    names = learning_parts(module, head)
    seen: list[Tensor] = []
    handle = module.get_submodule(names[0]).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits = module.eval()(images)
    finally:
        handle.remove()
    part = nn.Sequential(*(module.get_submodule(name) for name in names), nn.Flatten())
    if len(seen) != 1 or not isinstance(seen[0], Tensor):
        return None
    try:
        again = part(seen[0])
    except RuntimeError:  # shapes that do not go together: not a sequence
        return None
    same = again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-4, atol=1e-6)
    return HeadPart(names[0], tuple(seen[0].shape[1:]), part) if same else None
