"""State dicts of the earlier program under the names that the same network has here.

Its timm networks were wrapped: the network without its classifier is ``model``, the new head ``add_layer``. In those of
torchvision the head took the place of the whole last child (``heads``), where here it takes that of the last layer in
it (``heads.head``).
"""

from collections.abc import Collection, Mapping

from torch import Tensor

_WRAPPED_HEAD = "add_layer"
_WRAPPED_BODY = "model."


def todays_names(state: Mapping[str, Tensor], head: frozenset[str], names: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the state dict of a network of the earlier program under today's names; any other as it is.

    Parameters
    ----------
    head
        Names of the tensors of the network's own head, which may be of one layer or of two.
    names
        Names of all its tensors: where some of its body lie beside the head (MobileNetV3 has ``classifier.0`` and
        ``classifier.3`` of its own), the head did not take the place of them all.

    >>> import torch
    >>> old = {f"{name}.weight": torch.zeros(2, 2) for name in ("model.conv1", "add_layer.0", "add_layer.3")}
    >>> list(todays_names(old, frozenset({"head.fc.weight", "head.fc.bias"})))
    ['conv1.weight', 'head.fc.0.weight', 'head.fc.3.weight']
    """
    place = head_place(head)
    if place is None:
        return dict(state)
    if _is_head_of_two_layers(state, _WRAPPED_HEAD):
        return {_unwrapped(name, place): value for name, value in state.items()}
    child = place.partition(".")[0]
    alone = not any(name.startswith(f"{child}.") for name in names if name not in head)
    if place != child and alone and _is_head_of_two_layers(state, child):
        return {_moved(name, child, place): value for name, value in state.items()}
    return dict(state)


def head_place(head: frozenset[str]) -> str | None:
    """Return where the head stands in the network, one layer or the two of an MLP; None for several heads.

    >>> head_place(frozenset({"heads.head.0.weight", "heads.head.0.bias", "heads.head.3.weight"}))
    'heads.head'
    """
    layers = {name.rpartition(".")[0] for name in head}
    if len(layers) == 1:
        return layers.pop()
    places = {layer.rpartition(".")[0] for layer in layers}
    return places.pop() if len(places) == 1 and {layer.rpartition(".")[2] for layer in layers} == {"0", "3"} else None


def without_head(state: Mapping[str, Tensor], head: frozenset[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take a state dict in today's names apart: the body, and the head if that is of two layers (else nothing)."""
    place = head_place(head)
    if place is None or not _is_head_of_two_layers(state, place):
        return dict(state), {}
    own = {name: value for name, value in state.items() if name.startswith(f"{place}.")}
    return {name: value for name, value in state.items() if name not in own}, own


def classes_of(state: Mapping[str, Tensor], head: frozenset[str], names: Collection[str] = ()) -> int | None:
    """Return how many classes the head of two layers in a state dict has; None where there is no such head."""
    _, own = without_head(todays_names(state, head, names), head)
    return own[f"{head_place(head)}.3.weight"].shape[0] if own else None


def _is_head_of_two_layers(state: Mapping[str, Tensor], place: str) -> bool:
    """Tell whether all that a state dict has at a place are the weights of two linear layers with two steps between."""
    there = {name.removeprefix(f"{place}."): value for name, value in state.items() if name.startswith(f"{place}.")}
    weights = [there.get(f"{layer}.weight") for layer in (0, 3)]
    return {"0.weight", "3.weight"} <= there.keys() <= {"0.weight", "0.bias", "3.weight", "3.bias"} and all(
        weight is not None and weight.ndim == 2 for weight in weights
    )


def _unwrapped(name: str, place: str) -> str:
    if name.startswith(f"{_WRAPPED_HEAD}."):
        return place + name.removeprefix(_WRAPPED_HEAD)
    return name.removeprefix(_WRAPPED_BODY)


def _moved(name: str, child: str, place: str) -> str:
    return place + name.removeprefix(child) if name.startswith(f"{child}.") else name
