"""Importing torchvision, and timm which builds on it, also beside a torch of another build."""

import importlib
from functools import cache
from types import ModuleType

from model_aggregation.errors import ModelError
from model_aggregation.torchvision_operators import with_operators


@cache
def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``.

    Raises
    ------
    ModelError
        If torchvision cannot be imported for another reason than missing operators.
    """
    try:
        return with_operators(lambda: importlib.import_module("torchvision.models"))
    except RuntimeError as error:
        raise ModelError(f"torchvision cannot be imported: {error}") from error


@cache
def timm_library() -> ModuleType:
    """Return ``timm``, whose import needs torchvision's."""
    torchvision_models()
    import timm

    return timm
