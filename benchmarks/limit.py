"""Ours against the network alone: how near the program comes to the arithmetic of the network itself.

    python benchmarks/limit.py [--models resnet18 efficientnet_b0] [--images 128] [--rounds 3] [--device cpu]
                               [--threads 1] [--batch 16] [--json FILE]

The network alone runs in the same precision, memory format and batches on random tensors that lie in memory (of the
GPU) already: training is forward, backward and the optimiser's step, inference forward with batch norm folded. Ours is
the program's own loop over decoded images, with flips, normalisation and the files it writes. A share of 1 means that
nothing but arithmetic is left. The achieved FLOP/s stand beside those of one large convolution in the same run.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from model_aggregation.config import make_settings
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import StoredImages
from model_aggregation.fabric import make_fabric
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import Network, build_network
from model_aggregation.models.inference import copied_for_inference, example_images, predict_logits
from model_aggregation.models.learning import as_learnt
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.progress import Reporter
from model_aggregation.software import versions
from model_aggregation.startup import keep_freed_memory
from model_aggregation.training.job import LabelledImages, Training, TrainingFiles
from model_aggregation.training.journal import Journal
from model_aggregation.training.loop import run_training
from model_aggregation.training.measurement import Amount, settle_arithmetic
from model_aggregation.training.optimization import make_optimizer


class Bench:
    """One model with its settled arithmetic, and images enough for a round."""

    def __init__(self, model: str, arguments: argparse.Namespace) -> None:
        self.settings = make_settings(
            data="x", model=model, pretrained=False, epochs=1, batch_size=arguments.batch, device=arguments.device,
            threads=arguments.threads, drop_last=True, augmentation="flips", warmup_epochs=0,
        )  # fmt: skip
        self.images = arguments.images
        self.device = make_fabric(self.settings).device
        network = self.network()
        self.arithmetic = settle_arithmetic(network, self.settings, self.device, Amount(10**6, 10**6))
        size = network.preprocessing.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (self.images, size, size, 3)).astype(np.uint8)
        self.source = StoredImages(ImageStore(pixels), np.arange(self.images))

    def network(self) -> Network:
        """Return the network, always the same."""
        torch.manual_seed(0)
        return build_network(parse_model_name(self.settings.model), 2, self.settings)

    def alone_training(self) -> None:
        """Take as many steps as the program does, on one batch that lies there."""
        network, mode = self.network(), self.arithmetic.training
        network.module.to(self.device, memory_format=mode.layout)
        optimizer = make_optimizer(network, self.settings)
        inputs = example_images(network, self.settings.batch_size, self.device).contiguous(memory_format=mode.layout)
        labels = torch.zeros(len(inputs), dtype=torch.int64, device=self.device)
        network.module.train()
        with as_learnt(network, self.device):
            for _ in range(self.images // self.settings.batch_size):
                with mode.autocast(self.device):
                    logits = network.module(inputs)
                torch.nn.functional.cross_entropy(logits, labels).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    def alone_inference(self) -> None:
        """Look at as many batches as the program does."""
        inference, network = self.arithmetic.inference, self.network()
        with copied_for_inference(network, self.device, inference) as (module, _):
            inputs = example_images(network, inference.batch_size, self.device)
            inputs = inputs.contiguous(memory_format=inference.mode.layout)
            for _ in range(self.images // inference.batch_size):
                module(inputs)

    def our_training(self) -> None:
        """Train one epoch with the program's loop."""
        labels = torch.arange(self.images) % 2
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("state.pt", "last.pth", "best.pth", "models")]
            run_training(
                Training(
                    self.network(), LabelledImages(self.source, labels), None, self.settings,
                    make_fabric(self.settings, self.arithmetic.training.precision), TrainingFiles(*paths), Reporter(),
                    Journal("limit", str, None), self.arithmetic,
                )
            )  # fmt: skip

    def our_inference(self) -> None:
        """Predict the images."""
        predict_logits(self.network(), self.source, make_fabric(self.settings), inference=self.arithmetic.inference)

    def flops(self, *, training: bool) -> int:
        """Return the floating-point operations for one image (a multiplication and an addition are two).

        A backward pass counts as two forward passes: torch's own count of it is wrong for grouped convolutions.
        """
        network = self.network()
        inputs = example_images(network, 2, torch.device("cpu"))
        network.module.eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.module(inputs)
        return counter.get_total_flops() // 2 * (3 if training else 1)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Return the wall seconds of an action, all its work on the device included."""
    started = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def convolution_peak(arithmetic: Arithmetic, device: torch.device, *, training: bool) -> float:
    """Return the FLOP/s of one large convolution in the settled precision."""
    mode = arithmetic.training if training else arithmetic.inference.mode
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, memory_format=mode.layout)
    inputs = torch.randn(16, 256, 28, 28, device=device).contiguous(memory_format=mode.layout)
    with torch.no_grad(), mode.autocast(device):
        layer(inputs)
        fastest = min(seconds(lambda: layer(inputs), device) for _ in range(10))
    return 2 * 16 * 28 * 28 * 256 * 256 * 9 / fastest


def compare(bench: Bench, kind: str, rounds: int) -> dict[str, Any]:
    """Measure ours and the network alone in turn and return the row of the table."""
    sides = {side: getattr(bench, f"{side}_{kind}") for side in ("alone", "our")}
    taken: dict[str, list[float]] = {side: [] for side in sides}
    sides["alone"]()  # warms up
    for _ in range(rounds):
        for side, action in sides.items():
            taken[side].append(seconds(action, bench.device))
    shares = [alone / ours for alone, ours in zip(taken["alone"], taken["our"], strict=True)]
    speed = bench.images / statistics.median(taken["our"])
    training = kind == "training"
    peak = convolution_peak(bench.arithmetic, bench.device, training=training)
    return {
        "model": str(bench.settings.model), "kind": kind, "share": round(statistics.median(shares), 3),
        "shares": [round(share, 3) for share in shares], "images_per_second": round(speed, 1),
        "of_convolution_peak": round(speed * bench.flops(training=training) / peak, 3),
        "arithmetic": str(bench.arithmetic),
    }  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "efficientnet_b0"])
    for name, default in (("images", 128), ("rounds", 3), ("threads", 1), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    rows = []
    for model in arguments.models:
        bench = Bench(model, arguments)
        print(f"{model}: {bench.arithmetic}", flush=True)
        for kind in ("training", "inference"):
            row = compare(bench, kind, arguments.rounds)
            rows.append(row)
            words = f"{row['images_per_second']:.1f} images/s, of the convolution peak {row['of_convolution_peak']:.2f}"
            print(f"  {kind:10} share of the network alone {row['share']:.2f}, {words}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "versions": versions()}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
