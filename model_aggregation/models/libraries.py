"""What differs between torchvision, timm and a user's own networks: making one, and its own preprocessing.

Each library is asked for a network that already has the wanted number of classes, so that no list of heads is
kept here.
"""

import inspect
import logging
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.errors import ModelError
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.own import make_own, own_takes
from model_aggregation.models.servers import check_hub_reachable, hub_is_offline, hub_kept_offline, repository_folder
from model_aggregation.models.zoo import ModelName, as_published, is_published

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class InputFacts:
    """What the published weights of a network expect to see."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_share: float = 0.875  # of the shorter side: what is left of it when the library crops

    def shorter_side(self, image_size: int) -> int:
        """Return to how many pixels the library brings the shorter side before it crops ``image_size`` of them."""
        return math.floor(round(image_size / self.crop_share, 6))


def input_facts(model: ModelName) -> InputFacts:
    """Return size (pixels), mean, standard deviation, interpolation and crop that belong to a model's weights.

    Where a library publishes no weights, ImageNet's mean and deviation and the architecture's size are used; for a
    user's own network 224 pixels, of 256 when cropped.
    """
    if model.own:
        return InputFacts(224, *IMAGENET, "bilinear")
    if model.source == "torchvision":
        return _torchvision_facts(model)
    configuration = timm_configuration(model)
    values = timm_library().data.resolve_data_config(pretrained_cfg=configuration.to_dict())
    size, mean, std = values["input_size"][-1], tuple(values["mean"]), tuple(values["std"])
    return InputFacts(size, mean, std, values["interpolation"], values["crop_pct"])


def _torchvision_facts(model: ModelName) -> InputFacts:
    entry = torchvision_weights(as_published(model))
    if entry is None:
        return InputFacts(224, *IMAGENET, "bilinear")
    transform = entry.transforms()
    size, mean, std = transform.crop_size[0], tuple(transform.mean), tuple(transform.std)
    return InputFacts(size, mean, std, transform.interpolation.value, size / transform.resize_size[0])


def torchvision_weights(model: ModelName) -> Any:
    """Return torchvision's entry of a model's published weights, or None."""
    if not is_published(model):
        return None
    weights = torchvision_models().get_model_weights(model.architecture)
    if model.tag:
        return weights[model.tag]
    return getattr(weights, "DEFAULT", None)


def make_module(
    model: ModelName,
    outputs: int,
    *,
    channels: int,
    image_size: int,
    pretrained: bool,
    transform_input: bool | None = None,
) -> nn.Module:
    """Return the architecture with ``outputs`` classes and random weights.

    ``pretrained`` says whether other weights will follow. Networks that can rescale their own input
    (:func:`rescales_input`) do so if ``transform_input``, by default if other weights will follow.
    """
    if model.own:
        offered = {"channels": channels, "image_size": image_size, "pretrained": False}
        module = make_own(model.source, model.architecture, outputs, **offered)
        takes_channels = own_takes(model.source, model.architecture, "channels")
        return module if channels == 3 or takes_channels else with_input_channels(module, channels)
    if model.source == "torchvision":
        rescale = (pretrained if transform_input is None else transform_input) and channels == 3
        module = _torchvision_module(model, outputs, image_size=image_size, random=not pretrained, rescale=rescale)
        return module if channels == 3 else with_input_channels(module, channels)
    arguments = timm_arguments(model, outputs, channels=channels, image_size=image_size)
    with hub_kept_offline(model.on_hub):  # the arguments needed its configuration: it is here
        return timm_library().create_model(timm_name(model), pretrained=False, **arguments)


def timm_name(model: ModelName) -> str:
    """Return what timm is told to make: a repository of the hub may lie in the user's folder of weights."""
    folder = repository_folder(model.architecture.removeprefix("hf_hub:")) if model.on_hub else None
    return f"local-dir:{folder}" if folder else as_published(model).full_name


def rescales_input(model: ModelName) -> bool:
    """Return whether the network changes the normalisation of its input itself when it has pretrained weights."""
    return model.source == "torchvision" and "transform_input" in _accepted(model)


def _accepted(model: ModelName) -> Collection[str]:
    builder = torchvision_models().get_model_builder(model.architecture)
    return inspect.signature(builder.__annotations__["return"].__init__).parameters


def _torchvision_module(model: ModelName, outputs: int, *, image_size: int, random: bool, rescale: bool) -> nn.Module:
    builder = torchvision_models().get_model_builder(model.architecture)
    accepted = _accepted(model)
    wanted = {
        "num_classes": outputs,
        "image_size": image_size,  # transformers with fixed position embeddings
        "input_size": (image_size, image_size),  # and with a fixed number of windows
        "init_weights": random,
        "aux_logits": False,  # the auxiliary classifiers serve training from nothing; their outputs are not used
        "transform_input": rescale,  # Inception and GoogLeNet weights were made for another input range
    }
    arguments = {key: value for key, value in wanted.items() if key in accepted}
    return builder(weights=None, **{**arguments, "num_classes": outputs})


def timm_arguments(model: ModelName, outputs: int, *, channels: int, image_size: int) -> dict[str, Any]:
    """Return what timm is told to make a network of this shape."""
    arguments: dict[str, Any] = {"num_classes": outputs, "in_chans": channels}
    configuration = timm_configuration(model)
    if configuration.fixed_input_size and image_size != configuration.input_size[-1]:
        arguments["img_size"] = image_size
    return arguments


def timm_configuration(model: ModelName) -> Any:
    """Return timm's configuration of a network: from its own list, from a repository in the user's folder of weights,
    or from the Hugging Face hub.
    """
    timm = timm_library()
    if not model.on_hub:
        return timm.models.get_pretrained_cfg(as_published(model).full_name) or timm.models.PretrainedCfg()
    folder = repository_folder(model.architecture.removeprefix("hf_hub:"))
    return _hub_configuration(model) if folder is None else _local_configuration(folder)


def _local_configuration(folder: Path) -> Any:
    timm = timm_library()
    if "#" in str(folder) or "?" in str(folder):
        raise ModelError(f"timm takes what follows '#' or '?' in {folder} for no part of the path: rename that folder.")
    try:
        values, _, _ = timm.models._hub.load_model_config_from_path(folder)
    except Exception as error:  # whatever a damaged file makes timm raise
        raise ModelError(f"The configuration {folder / 'config.json'} cannot be read by timm: {error}") from error
    return timm.models.PretrainedCfg(**{key: value for key, value in values.items() if key != "license"})


@cache
def _hub_configuration(model: ModelName) -> Any:
    """Read a repository's configuration: what was downloaded before as it is, without asking for news."""
    from huggingface_hub import try_to_load_from_cache

    timm, repository = timm_library(), model.architecture.removeprefix("hf_hub:")
    name, _, revision = repository.partition("@")
    here = isinstance(try_to_load_from_cache(name, "config.json", revision=revision or None), str)
    try:
        if not here and not hub_is_offline():
            check_hub_reachable()
        with quiet("huggingface_hub", "timm"), hub_kept_offline(here):
            values, _, _ = timm.models.load_model_config_from_hf(repository)
    except Exception as error:  # whatever the hub's client raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"The repository {repository} of the Hugging Face hub is not on this machine, and its configuration could "
            f"not be downloaded ({reason}). Where there is internet, 'magg weights fetch timm:hf_hub:{repository} --to "
            f"DIR' puts it into a folder for --weights-dir; so does 'hf download {repository}' into the hub's cache "
            "folder, which HF_HUB_CACHE names."
        ) from error
    return timm.models.PretrainedCfg(**{key: value for key, value in values.items() if key != "license"})


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep libraries from logging what the error message says anyway."""
    before = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def with_input_channels(module: nn.Module, channels: int) -> nn.Module:
    """Replace the first convolution by one of ``channels`` input channels, its weights summed over the old ones.

    For a grey image, whose three channels would be equal, the sum gives the same response as before.

    Raises
    ------
    ModelError
        If the network begins with no convolution of three input channels.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3 and layer.groups == 1:
            device = layer.weight.device
            replacement = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                layer.dilation,  # type: ignore[arg-type]
                bias=layer.bias is not None,
                padding_mode=layer.padding_mode,
                device=device,
            )
            with torch.no_grad():
                replacement.weight.copy_(fold_channels(layer.weight, channels))
                if layer.bias is not None and replacement.bias is not None:
                    replacement.bias.copy_(layer.bias)
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, replacement)
            return module
    raise ModelError("The network has no first convolution with three input channels; use channels: 3.")


def fold_channels(weight: Tensor, channels: int) -> Tensor:
    """Return a first layer's weight (out, 3, h, w) for ``channels`` equal input channels: (out, channels, h, w)."""
    return weight.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels
