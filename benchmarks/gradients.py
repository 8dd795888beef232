"""Quick gradients against torch's own, for every network of the installed libraries that has convolutions.

    python benchmarks/gradients.py [PATTERN…] [--below 15]

Each network below so many million parameters is built with random weights for two classes, at the smallest image size
that it accepts, in float64 and evaluation mode: the gradients of all its tensors with ``models/quick_gradients.py`` and
without. Printed are the networks in which they differ by more than rounding, and at the end how many were compared and
how large the largest difference was, as a share of the largest gradient of its tensor. Then one step in bfloat16 shows
that its gradients are finite where torch's are.
"""

import argparse
import gc
from contextlib import nullcontext

import torch
from torch import Tensor
from zoo import SIZES, chosen, smallest

from model_aggregation.models.build import Network
from model_aggregation.models.counting import known_counts
from model_aggregation.models.quick_gradients import quick_gradients
from model_aggregation.models.zoo import ModelName

TOLERANCE = 1e-9
CPU = torch.device("cpu")


def gradients(network: Network, images: Tensor, *, quick: bool, low: bool = False) -> dict[str, Tensor]:
    """Return the gradient of each tensor that the loss depends on."""
    network.module.zero_grad()
    network.module.train().eval()  # some keep what they computed in evaluation mode
    with quick_gradients(CPU) if quick else nullcontext(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        loss = network.module(images).float().square().sum() if low else network.module(images).square().sum()
    loss.backward()
    return {name: value.grad.clone() for name, value in network.module.named_parameters() if value.grad is not None}


def difference(model: ModelName) -> float:
    """Return the largest difference in float64; infinite where bfloat16 is finite with torch's gradients alone."""
    network, images = smallest(model, SIZES)
    network.module.eval().double()
    plain, quick = (gradients(network, images.double(), quick=quick) for quick in (False, True))
    assert plain.keys() == quick.keys()
    largest = max(
        float((quick[key] - value).abs().max() / value.abs().max().clamp(min=1e-30)) for key, value in plain.items()
    )
    network.module.float()
    fine = [
        all(bool(value.isfinite().all()) for value in gradients(network, images, quick=quick, low=True).values())
        for quick in (False, True)
    ]
    return float("inf") if fine == [True, False] else largest


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--below", type=float, default=15.0, help="million parameters")
    given = parser.parse_args()
    sizes = {(entry.source, entry.architecture): entry.parameters for entry in known_counts().values()}
    found: dict[str, float] = {}
    for model in chosen(given.patterns):  # the smallest first
        if sizes.get((model.source, model.architecture), float("inf")) >= given.below * 1e6:
            break
        try:
            found[str(model)] = difference(model)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is printed)
            print(f"{model}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
            continue
        if found[str(model)] > TOLERANCE:
            print(f"{model}: differs by {found[str(model)]:.1e}", flush=True)
        gc.collect()
    print(f"{len(found)} networks compared, largest difference {max(found.values(), default=0.0):.1e}")


if __name__ == "__main__":
    main()
