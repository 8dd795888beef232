"""A user's own network: a function of a Python module, named ``module:function``.

The function is called with ``num_classes`` and gets ``channels``, ``image_size`` and ``pretrained`` too if it takes
them; it returns a ``torch.nn.Module`` that turns images (N, channels, H, W) into logits (N, num_classes)::

    def small(num_classes, channels=3):
        body = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(body, nn.Linear(8, num_classes))

With ``pretrained=True`` it returns the network with weights of its own.
"""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError


def is_module(name: str) -> bool:
    """Return whether a Python module of this name is installed or lies in the current folder."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        return False
    _look_here()
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a package before the dot is missing; __main__ has no origin
        return False


def own_function(module: str, function: str) -> Callable[..., Any]:
    """Return the function that makes a user's own network.

    Raises
    ------
    ModelError
        If the module cannot be imported, has no such function, or the function takes no ``num_classes``.
    """
    _look_here()
    try:
        content = importlib.import_module(module)
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
    return made_by


def make_own(module: str, function: str, outputs: int, **wanted: Any) -> nn.Module:
    """Call a user's function with ``num_classes`` and those of the ``wanted`` arguments that it takes.

    Raises
    ------
    ModelError
        As :func:`own_function`, and if what it returns is no network.
    """
    made_by = own_function(module, function)
    network = made_by(num_classes=outputs, **{key: value for key, value in wanted.items() if _takes(made_by, key)})
    if not isinstance(network, nn.Module):
        raise ModelError(f"'{module}:{function}' must return a torch.nn.Module; it returned {type(network).__name__}.")
    return network


def own_takes(module: str, function: str, argument: str) -> bool:
    """Return whether a user's function takes an argument."""
    return _takes(own_function(module, function), argument)


def _takes(function: Callable[..., Any], argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(entry.kind is entry.VAR_KEYWORD for entry in parameters.values())


def _look_here() -> None:
    """Let modules in the current folder be found, after those that are installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
