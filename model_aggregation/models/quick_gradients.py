"""Gradients on a CPU that take torch many times longer than they need: the same sums, computed another way.

What calls torch inside the block is watched, so networks need not be known: whoever writes their layers, and however
these pad their input or change their weight, in the end they call these functions.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from model_aggregation.models.depthwise import depthwise_convolution


def quick_gradients(device: torch.device) -> AbstractContextManager[Any]:
    """Let what is computed on a CPU inside the block have quick gradients; elsewhere nothing changes."""
    return _QuickGradients() if device.type == "cpu" else nullcontext()


class _QuickGradients(TorchFunctionMode):
    """Takes the place of convolutions and of means over the plane of an image, where something is learnt."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: dict[str, Any] | None = None
    ) -> Any:
        del types
        quick = _QUICK.get(function) if torch.is_grad_enabled() else None
        result = None if quick is None else quick(*arguments, **(named or {}))
        return function(*arguments, **(named or {})) if result is None else result


def _mean(input: Tensor, dim: Any = None, keepdim: bool = False, **others: Any) -> Tensor | None:
    """Return the mean over the plane with its quick gradient; None where it is another mean."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if others or input.ndim != 4 or sorted(number % 4 for number in dims) != [2, 3] or not input.requires_grad:
        return None
    mean = cast(Tensor, _PlaneMean.apply(input))
    return mean if keepdim else mean.flatten(1)


def _pool(input: Tensor, output_size: Any) -> Tensor | None:
    whole = output_size in (1, (1, 1), [1, 1])
    return _mean(input, (2, 3), keepdim=True) if whole else None


class _PlaneMean(torch.autograd.Function):
    """The mean over height and width of images (N, C, H, W), which stay as dimensions of size 1.

    Its gradient is one number for each plane. Torch writes it out for each pixel, plane after plane; where the images
    lie channels-last, adding it to other gradients, which do too, takes fifteen times as long as it should.
    """

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        """Return the means (N, C, 1, 1)."""
        context.shape = images.shape
        return images.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the images without writing it out."""
        height, width = context.shape[2:]
        return (gradient / (height * width)).expand(context.shape)


_QUICK: dict[Any, Any] = {
    torch.conv2d: depthwise_convolution,
    torch.mean: _mean,
    torch.Tensor.mean: _mean,
    functional.adaptive_avg_pool2d: _pool,
}
