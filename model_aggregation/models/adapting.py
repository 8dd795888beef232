"""Weights in another form than the network's: older names, another image size, other input channels.

Each library has rules of its own for its published files; a second network, the donor, is filled by them and gives the
state dict in the network's own form.
"""

import re
from typing import Any

from torch import Tensor

from model_aggregation.models.imports import timm_library
from model_aggregation.models.libraries import make_module, timm_arguments, timm_configuration, timm_name
from model_aggregation.models.servers import hub_kept_offline
from model_aggregation.models.zoo import ModelName

State = dict[str, Tensor]


def library_form(model: ModelName, state: State, *, channels: int, image_size: int) -> State:
    """Return ``state`` in the names and shapes of the network, as far as its library knows how.

    What the library cannot place is returned as it came, so that it can be told.
    """
    if model.own:
        return state
    if model.source == "torchvision":
        return _torchvision_form(model, state, image_size)
    return _timm_form(model, state, channels=channels, image_size=image_size)


def _torchvision_form(model: ModelName, state: State, image_size: int) -> State:
    donor = make_module(model, 1000, channels=3, image_size=image_size, pretrained=True)
    own = donor.state_dict()
    state = {_densenet_name(name): value for name, value in state.items()}
    if "encoder.pos_embedding" in own and "encoder.pos_embedding" in state:
        state = _resized_positions(state, own, image_size)
    fitting = {name: value for name, value in state.items() if name not in own or value.shape == own[name].shape}
    result = donor.load_state_dict(fitting, strict=False)  # renames what an older version named otherwise
    filled = {name: value for name, value in donor.state_dict().items() if name not in result.missing_keys}
    foreign = {name: state[name] for name in result.unexpected_keys}
    return filled | foreign | {name: value for name, value in state.items() if name not in fitting}


def _densenet_name(name: str) -> str:
    """Return today's name of a layer of DenseNet (``denselayer1.norm.1`` is ``denselayer1.norm1``)."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", name)


def _resized_positions(state: State, own: State, image_size: int) -> State:
    from torchvision.models.vision_transformer import interpolate_embeddings

    patch = own["conv_proj.weight"].shape[-1]
    places = {name: value for name, value in state.items() if name == "encoder.pos_embedding"}
    return {**state, **interpolate_embeddings(image_size, patch, places)}


def _timm_form(model: ModelName, state: State, *, channels: int, image_size: int) -> State:
    """A donor with as many classes as the file has is filled strictly; the classifier's size is tried in turn."""
    for classes in dict.fromkeys([*_classes_in(model, state), timm_configuration(model).num_classes, 0]):
        arguments = timm_arguments(model, classes, channels=channels, image_size=image_size)
        overlay: dict[str, Any] = {"state_dict": dict(state), "num_classes": classes, "source": ""}
        try:
            with hub_kept_offline(True):  # the weights are given
                donor = timm_library().create_model(
                    timm_name(model), pretrained=True, pretrained_cfg_overlay=overlay, **arguments
                )
        except (RuntimeError, KeyError, AttributeError, ValueError, AssertionError):  # not filled: another form
            continue
        return donor.state_dict()
    return state


def _classes_in(model: ModelName, state: State) -> list[int]:
    """Return the number of classes of the classifier in a file, as far as its name is the configured one."""
    classifiers = timm_configuration(model).classifier or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    return [state[f"{name}.weight"].shape[0] for name in names if f"{name}.weight" in state]
