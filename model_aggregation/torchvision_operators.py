"""Importing torchvision, and what builds on it, beside a torch of another build.

A CUDA wheel of torchvision beside a CPU torch cannot load its compiled operators, and its import stops at
``operator torchvision::nms does not exist``. Classification calls none of them, so their schemas alone make the
import succeed.
"""

import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_MISSING_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def with_operators(imports: Callable[[], Result]) -> Result:
    """Call a function that imports torchvision or a user's code that may; once more where operators were missing."""
    try:
        return imports()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _define_missing_operators()
    return imports()


def _define_missing_operators() -> None:
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left behind
    for name, schema in _MISSING_SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name.split("::")[1]):
            torch.library.define(name, schema)
