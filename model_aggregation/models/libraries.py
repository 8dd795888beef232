"""What differs between torchvision and timm: making a network, its own preprocessing, its published weights.

Each library is asked for a network that already has the wanted number of classes, so that no list of heads is
kept here. Failed downloads become a ``ModelError`` that says how to bring the file by hand.
"""

import inspect
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.errors import ModelError
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.zoo import ModelName

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class InputFacts:
    """What the published weights of a network expect to see."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def input_facts(model: ModelName) -> InputFacts:
    """Return size (pixels), mean, standard deviation and interpolation that belong to a model's weights.

    Where a library publishes no weights, ImageNet's mean and deviation and the architecture's size are used.
    """
    if model.source == "torchvision":
        return _torchvision_facts(model)
    configuration = _timm_configuration(model)
    values = timm_library().data.resolve_data_config(pretrained_cfg=configuration.to_dict())
    return InputFacts(values["input_size"][-1], tuple(values["mean"]), tuple(values["std"]), values["interpolation"])


def _torchvision_facts(model: ModelName) -> InputFacts:
    entry = _torchvision_weights(model)
    if entry is None:
        return InputFacts(224, *IMAGENET, "bilinear")
    transform = entry.transforms()
    return InputFacts(
        transform.crop_size[0], tuple(transform.mean), tuple(transform.std), transform.interpolation.value
    )


def _torchvision_weights(model: ModelName) -> Any:
    weights = torchvision_models().get_model_weights(model.architecture)
    if model.tag:
        return weights[model.tag]
    return getattr(weights, "DEFAULT", None)


def make_module(model: ModelName, outputs: int, *, channels: int, image_size: int, pretrained: bool) -> nn.Module:
    """Return the architecture with ``outputs`` classes and random weights.

    ``pretrained`` says whether published weights will follow; networks that rescale their own input need to know.
    """
    if model.source == "torchvision":
        rescale = pretrained and channels == 3
        module = _torchvision_module(model, outputs, image_size=image_size, random=not pretrained, rescale=rescale)
        return module if channels == 3 else with_input_channels(module, channels)
    arguments = _timm_arguments(model, outputs, channels=channels, image_size=image_size)
    return timm_library().create_model(model.full_name, pretrained=False, **arguments)


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
        "init_weights": random,
        "aux_logits": False,  # the auxiliary classifiers serve training from nothing; their outputs are not used
        "transform_input": rescale,  # Inception and GoogLeNet weights were made for another input range
    }
    takes_size = "image_size" in accepted
    arguments = {key: value for key, value in wanted.items() if key in accepted and key != "image_size"}
    if takes_size and image_size != input_facts(model).size:
        arguments["image_size"] = image_size
    arguments["num_classes"] = outputs
    return builder(weights=None, **arguments)


def _timm_arguments(model: ModelName, outputs: int, *, channels: int, image_size: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"num_classes": outputs, "in_chans": channels}
    configuration = _timm_configuration(model)
    if configuration.fixed_input_size and image_size != configuration.input_size[-1]:
        arguments["img_size"] = image_size
    return arguments


def _timm_configuration(model: ModelName) -> Any:
    """Return timm's configuration of a network: from its own list, or from the Hugging Face hub."""
    timm = timm_library()
    if not model.on_hub:
        return timm.models.get_pretrained_cfg(model.full_name) or timm.models.PretrainedCfg()
    try:
        with _quiet("huggingface_hub", "timm"):
            values, _, _ = timm.models.load_model_config_from_hf(model.architecture.removeprefix("hf_hub:"))
    except Exception as error:
        raise ModelError(
            _how_to_bring(model, "the Hugging Face hub", "load it once where there is internet", error)
        ) from error
    return timm.models.PretrainedCfg(**{key: value for key, value in values.items() if key != "license"})


def published_weights(
    model: ModelName, outputs: int, *, channels: int, image_size: int
) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that the library publishes for ``model`` and where it came from.

    timm brings it into the wanted shape (input channels, position embeddings) by its own rules.

    Raises
    ------
    ModelError
        If there are none, or if they are not on this machine and cannot be downloaded.
    """
    if model.source == "torchvision":
        return _torchvision_published(model)
    return _timm_published(model, _timm_arguments(model, outputs, channels=channels, image_size=image_size))


def _torchvision_published(model: ModelName) -> tuple[dict[str, Tensor], str]:
    entry = _torchvision_weights(model)
    if entry is None:
        raise ModelError(_no_weights(model))
    target = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[-1]
    try:
        state = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        raise ModelError(_how_to_bring(model, entry.url, f"put it at {target}", error)) from error
    return state, f"{entry.url.rsplit('/', 1)[-1]} ({entry})"


def _timm_published(model: ModelName, arguments: dict[str, Any]) -> tuple[dict[str, Tensor], str]:
    configuration = _timm_configuration(model)
    if not model.on_hub and not configuration.has_weights:
        raise ModelError(_no_weights(model))
    origin = configuration.hf_hub_id or configuration.url or configuration.file
    if configuration.hf_hub_id and "/" in str(configuration.hf_hub_id):
        origin = f"Hugging Face hub: {configuration.hf_hub_id}"
    try:
        with _quiet("huggingface_hub", "timm"):
            donor = timm_library().create_model(model.full_name, pretrained=True, **arguments)
    except Exception as error:
        raise ModelError(_how_to_bring(model, str(origin), "download it elsewhere", error)) from error
    return donor.state_dict(), str(origin)


def _no_weights(model: ModelName) -> str:
    return (
        f"The library publishes no pretrained weights for '{model}'. "
        "Give a file (--weights), or start from random weights (--no-pretrained)."
    )


def _how_to_bring(model: ModelName, origin: str, where: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"The pretrained weights of '{model}' are not on this machine and could not be downloaded "
        f"({reason}). They come from {origin}: {where}, or name the file with --weights {model}=FILE; "
        "--no-pretrained starts from random weights instead."
    )


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
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
