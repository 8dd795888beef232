"""Depthwise convolutions on one thread: milliseconds forward and backward in float32 and bfloat16.

    python benchmarks/depthwise.py

Why training in bfloat16 leaves some of them in float32 on a CPU (``models/float32_layers.py``).
"""

import time

import torch
from torch.nn import functional

from model_aggregation.startup import keep_freed_memory

SHAPES = ((96, 56), (240, 28), (672, 14))  # channels, pixels of a side
ROUNDS = 3


def milliseconds(kernel: int, stride: int, channels: int, side: int, precision: torch.dtype) -> tuple[float, float]:
    """Return the least time forward and backward of a batch of 8."""
    weight = torch.randn(channels, 1, kernel, kernel, dtype=precision, requires_grad=True)
    images = torch.randn(8, channels, side, side, dtype=precision).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        output = functional.conv2d(images, weight, None, stride, kernel // 2, 1, channels)
        between = time.process_time()
        output.backward(torch.ones_like(output))
        taken.append((1000 * (between - started), 1000 * (time.process_time() - between)))
    return min(forward for forward, _ in taken), min(backward for _, backward in taken)


def main() -> None:
    """Print a row for each kernel, stride and shape."""
    keep_freed_memory()
    torch.set_num_threads(1)
    print(f"{'kernel':>6}{'stride':>7}{'channels':>9}{'side':>5}{'float32 f / b':>17}{'bfloat16 f / b':>17}")
    for kernel in (3, 5, 7):
        for stride in (1, 2):
            for shape in SHAPES:
                times = [milliseconds(kernel, stride, *shape, kind) for kind in (torch.float32, torch.bfloat16)]
                cells = "".join(f"{forward:>9.2f} /{backward:>6.1f}" for forward, backward in times)
                print(f"{kernel:>6}{stride:>7}{shape[0]:>9}{shape[1]:>5}{cells}", flush=True)


if __name__ == "__main__":
    main()
