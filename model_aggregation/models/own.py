"""A user's own network: a function of a Python module, named ``module:function``.

The function is called with ``num_classes`` and gets ``channels``, ``image_size`` and ``pretrained`` too if it takes
them; it returns a ``torch.nn.Module`` that turns images (N, channels, H, W) into logits (N, num_classes)::

    def small(num_classes, channels=3):
        body = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(body, nn.Linear(8, num_classes))

With ``pretrained=True`` it returns the network with weights of its own.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError
from model_aggregation.models.custom_modules import import_module, module_spec
from model_aggregation.torchvision_operators import with_operators

_OFFERED = ("channels", "image_size", "pretrained")


def is_module(name: str) -> bool:
    """Return whether a Python module of this name is installed or lies in the working directory."""
    return module_spec(name) is not None


def own_function(module: str, function: str) -> Callable[..., Any]:
    """Return the function that makes a user's own network.

    Raises
    ------
    ModelError
        If the module cannot be imported, has no such function, or the function cannot be called as is said above.
    """
    try:
        content = with_operators(partial(import_module, module))
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"The module '{module}' of the model '{module}:{function}' cannot be imported: {error}"
        ) from error
    made_by = getattr(content, function, None)
    if not callable(made_by):
        functions = [name for name, value in vars(content).items() if callable(value) and not name.startswith("_")]
        raise ModelError(f"The module '{module}' has no function '{function}'; {nearest(function, functions)}")
    if not _takes(made_by, "num_classes"):
        raise ModelError(f"The function '{module}:{function}' must take 'num_classes', the number of classes.")
    try:
        inspect.signature(made_by).bind(num_classes=2, **_taken(made_by, dict.fromkeys(_OFFERED)))
    except TypeError as error:
        raise ModelError(
            f"The function '{module}:{function}' is called as {function}(num_classes=…), with {', '.join(_OFFERED)} if "
            f"it takes them; this fails: {error}."
        ) from error
    return made_by


def make_own(module: str, function: str, outputs: int, **wanted: Any) -> nn.Module:
    """Call a user's function with ``num_classes`` and those of the ``wanted`` arguments that it takes.

    Raises
    ------
    ModelError
        As :func:`own_function`, and if what it returns is no network.
    """
    made_by = own_function(module, function)
    network = made_by(num_classes=outputs, **_taken(made_by, wanted))
    if not isinstance(network, nn.Module):
        raise ModelError(f"'{module}:{function}' must return a torch.nn.Module; it returned {type(network).__name__}.")
    return network


@torch.no_grad()
def check_logits(network: nn.Module, name: str, images: Tensor, classes: int) -> None:
    """Refuse a network that does not turn ``images`` (N, C, H, W) into logits (N, classes)."""
    wanted = (len(images), classes)
    must = f"'{name}' must turn images {tuple(images.shape)} into logits {wanted}"
    network.eval()
    try:
        logits = network(images)
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"{must}; it failed: {type(error).__name__}: {error}") from error
    network.train()
    if not isinstance(logits, Tensor):
        raise ModelError(f"{must}; it returned {type(logits).__name__}.")
    if logits.shape != wanted:
        raise ModelError(f"{must}; it returned {tuple(logits.shape)}.")


def own_takes(module: str, function: str, argument: str) -> bool:
    """Return whether a user's function takes an argument."""
    return _takes(own_function(module, function), argument)


def _taken(function: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in offered.items() if _takes(function, key)}


def _takes(function: Callable[..., Any], argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(entry.kind is entry.VAR_KEYWORD for entry in parameters.values())
