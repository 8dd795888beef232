"""Gradients of depthwise convolutions on a CPU, put together from the parts that oneDNN computes quickly.

Two of its routines are missing, and what takes their place is up to fifty times slower (``benchmarks/depthwise.py``):
the gradient of kernels wider than 3, and in bfloat16 that of the input where the stride is above 1. A kernel's gradient
is a sum for each of its columns by itself, so strips of up to three columns are computed one after the other. The other
gradient is computed in float32 and rounded. Both are torch's own sums, and differ by rounding only.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

_LOW = (torch.bfloat16, torch.float16)
_MEASURED = ("AVX2", "AVX512")
_STRIP = 3  # columns of a kernel, at most, whose gradient oneDNN computes quickly
_Pair = tuple[int, int]
_Where = tuple[_Pair, _Pair]  # stride and padding


def depthwise_convolution(  # noqa: PLR0917  (the arguments of torch.conv2d)
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """Convolve as ``torch.conv2d`` does, with quick gradients; None where torch's are quick, or none are needed."""
    if isinstance(padding, str) or _pair(dilation) != (1, 1) or input.ndim != 4 or not _is_measured():
        return None
    if not (groups == len(weight) == input.shape[1] > 1 and (input.requires_grad or weight.requires_grad)):
        return None
    autocast = torch.is_autocast_enabled(input.device.type)
    kind = torch.get_autocast_dtype(input.device.type) if autocast else weight.dtype
    if weight.shape[3] <= _STRIP and (max(_pair(stride)) == 1 or kind not in _LOW):
        return None
    if autocast:
        input, weight, bias = input.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    convolve = cast(Callable[..., Tensor], _Depthwise.apply)
    return convolve(input, weight, bias, (_pair(stride), _pair(padding)))


@cache
def _is_measured() -> bool:
    """Return whether this is a kind of CPU on which torch's way was found to be slow."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() in _MEASURED


def _pair(value: int | Sequence[int]) -> _Pair:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    return cast(_Pair, pair * 2 if len(pair) == 1 else pair)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of images (N, C, H, W) with a weight (C, 1, h, w) and a bias (C,) or None."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor | None, where: _Where) -> Tensor:
        """Convolve in the precision of the images."""
        context.save_for_backward(images, weight)
        context.where = where
        return torch.conv2d(images, weight, bias, *where, 1, len(weight))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Return the gradients of images, weight and bias from that of the output."""
        images, weight = context.saved_tensors
        needed, where = context.needs_input_grad, context.where
        return (
            _of_images(gradient, images, weight, *where) if needed[0] else None,
            _of_weight(gradient, images, weight, *where) if needed[1] else None,
            gradient.sum((0, 2, 3)) if needed[2] else None,
            None,
        )


def _of_images(gradient: Tensor, images: Tensor, weight: Tensor, stride: _Pair, padding: _Pair) -> Tensor:
    if max(stride) == 1 or images.dtype not in _LOW:
        return _backward(gradient, images, weight, stride, padding)[0]
    shape = torch.empty_like(images, dtype=torch.float32)  # its values are not looked at
    return _backward(gradient.float(), shape, weight.float(), stride, padding)[0].to(images.dtype)


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, stride: _Pair, padding: _Pair) -> Tensor:
    """Return the gradient of the weight, two or three columns at a time: for each, images are moved by its place."""
    width = weight.shape[3]
    if width <= _STRIP:
        return _backward(gradient, images, weight, stride, padding, of_weight=True)[1]
    strips = weight.tensor_split(-(-width // _STRIP), dim=3)
    found, first = [], 0
    for strip in strips:
        seen = (gradient.shape[3] - 1) * stride[1] + strip.shape[3]
        moved = _moved(images, padding[1] - first, seen, padding[0])  # oneDNN is slow at some paddings
        found.append(_backward(gradient, moved, strip, stride, (0, 0), of_weight=True)[1])
        first += strip.shape[3]
    return torch.cat(found, dim=3)


def _moved(images: Tensor, left: int, columns: int, rows: int) -> Tensor:
    """Return so many columns from ``left`` before the images (or after their beginning) on, with ``rows`` of margin.

    What lies outside of the images is zero.
    """
    first, last = max(0, -left), min(images.shape[3], columns - left)
    if first >= last:  # images that are narrower than the kernel
        return images.new_zeros(*images.shape[:2], images.shape[2] + 2 * rows, columns)
    before = max(0, left)
    return functional.pad(images[..., first:last], (before, columns - before - (last - first), rows, rows))


def _backward(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: _Pair, padding: _Pair, *, of_weight: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    wanted = [not of_weight, of_weight, False]
    return torch.ops.aten.convolution_backward(
        gradient, images, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
