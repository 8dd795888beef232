"""Depthwise convolutions on one thread: milliseconds forward and backward, torch's way and ours.

    python benchmarks/depthwise.py

Why training on a CPU computes some of their gradients another way (``models/depthwise.py``).
"""

import time
from contextlib import nullcontext

import torch
from torch.nn import functional

from model_aggregation.models.quick_gradients import quick_gradients
from model_aggregation.startup import keep_freed_memory

SHAPES = ((96, 56), (240, 28), (672, 14))  # channels, pixels of a side
ROUNDS = 3
CPU = torch.device("cpu")


def milliseconds(
    kernel: int, stride: int, shape: tuple[int, int], precision: torch.dtype, *, ours: bool
) -> tuple[float, float]:
    """Return the least time forward and backward of a batch of 8."""
    channels, side = shape
    weight = torch.randn(channels, 1, kernel, kernel, dtype=precision, requires_grad=True)
    images = torch.randn(8, channels, side, side, dtype=precision).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        with quick_gradients(CPU) if ours else nullcontext():
            output = functional.conv2d(images, weight, None, stride, kernel // 2, 1, channels)
        between = time.process_time()
        output.backward(torch.ones_like(output))
        taken.append((1000 * (between - started), 1000 * (time.process_time() - between)))
    return min(forward for forward, _ in taken), min(backward for _, backward in taken)


def main() -> None:
    """Print a row for each kernel, stride and shape."""
    keep_freed_memory()
    torch.set_num_threads(1)
    names = [f"{kind} {whose}" for kind in ("float32", "bfloat16") for whose in ("torch", "ours")]
    print(f"{'kernel':>6}{'stride':>7}{'channels':>9}{'side':>5}" + "".join(f"{name + ' f / b':>22}" for name in names))
    for kernel in (3, 5, 7):
        for stride in (1, 2):
            for shape in SHAPES:
                times = [
                    milliseconds(kernel, stride, shape, kind, ours=ours)
                    for kind in (torch.float32, torch.bfloat16)
                    for ours in (False, True)
                ]
                cells = "".join(f"{forward:>14.2f} /{backward:>6.2f}" for forward, backward in times)
                print(f"{kernel:>6}{stride:>7}{shape[0]:>9}{shape[1]:>5}{cells}", flush=True)


if __name__ == "__main__":
    main()
