"""Importing torchvision, and timm which builds on it, also beside a torch of another build.

A CUDA wheel of torchvision beside a CPU torch cannot load its compiled operators, and its import stops at
``operator torchvision::nms does not exist``. Classification calls none of them, so their schemas alone make the
import succeed.
"""

import sys
from functools import cache
from types import ModuleType

import torch

from model_aggregation.errors import ModelError

_MISSING_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``.

    Raises
    ------
    ModelError
        If torchvision cannot be imported for another reason than the missing operators.
    """
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise ModelError(f"torchvision cannot be imported: {error}") from error
        _define_missing_operators()
        import torchvision.models
    return torchvision.models


@cache
def timm_library() -> ModuleType:
    """Return ``timm``, whose import needs torchvision's."""
    torchvision_models()
    import timm

    return timm


def _define_missing_operators() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left behind
    for name, schema in _MISSING_SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name.split("::")[1]):
            torch.library.define(name, schema)
