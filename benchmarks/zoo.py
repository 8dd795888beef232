"""Every classification network of the installed libraries: does it build, freeze, give features, and learn?

    python benchmarks/zoo.py [PATTERN…] [--out zoo.jsonl] [--real-below 60M] [--list]

Each network gets a new head for 7 classes at its own image size, on tensors without memory (so that shapes are
checked however large it is), and for 2 classes with real random weights at a small image size that it accepts: frozen
step (only the head moves), thawed step (something else moves), finite loss and logits, features of the frozen body
that give the network's own logits. Networks above ``--real-below`` parameters take the steps without memory too;
their rows say ``meta``.

The whole zoo takes many hours on a CPU. Each result is written to ``--out`` at once; stopped and started again with the
same file it goes on where it was and tries only failures again; ``--list`` shows what is known so far.
"""

import argparse
import gc
import json
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model_aggregation.config import make_settings
from model_aggregation.models.build import Network, build_network
from model_aggregation.models.counting import known_counts
from model_aggregation.models.heads import find_head_part
from model_aggregation.models.zoo import SOURCES, ModelName, known_architectures

SIZES = (64, 128, 192, 224, 256)
"""Image sizes tried before a network's own: a pass over few pixels shows the same."""


def network_of(model: ModelName, classes: int, image_size: int | None = None) -> Network:
    """Build with random weights, as a run would."""
    settings = make_settings(data="x", model=str(model), pretrained=False, image_size=image_size)
    torch.manual_seed(0)
    return build_network(model, classes, settings)


def without_memory(model: ModelName, classes: int) -> Network:
    """Build on tensors without memory at the network's own image size."""
    try:
        with torch.device("meta"):
            return network_of(model, classes)
    except Exception:  # noqa: BLE001  (architectures that read tensor values while being built)
        network = network_of(model, classes)
        network.module.to("meta")
        return network


def check_shapes(model: ModelName, *, backward: bool) -> dict[str, Any]:
    """Seven classes at the own size: the head is found and learns alone, logits (2, 7), a backward pass if wanted."""
    network = without_memory(model, 7)
    size = network.preprocessing.image_size
    network.freeze()
    trainable = {name for name, parameter in network.module.named_parameters() if parameter.requires_grad}
    assert trainable, "frozen, nothing learns"
    assert trainable <= network.head, f"frozen, {sorted(trainable - network.head)[:3]} still learn"
    network.thaw()
    network.train_mode()
    with torch.set_grad_enabled(backward):
        logits = network.module(torch.empty(2, 3, size, size, device="meta"))
    assert tuple(logits.shape) == (2, 7), f"the logits have the shape {tuple(logits.shape)}"
    if backward:
        nn.functional.cross_entropy(logits, torch.empty(2, dtype=torch.long, device="meta")).backward()
    return {"head": sorted(network.head), "own_size": size, "parameters": network.parameters}


def check_steps(model: ModelName, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Two classes with real weights: one frozen and one thawed step, features."""
    network, images, labels = smallest(model, sizes)
    before = copy_of(network)
    network.freeze()
    network.train_mode()
    frozen_loss = step(network, images, labels)
    moved = moved_since(before, network)
    assert moved, "a frozen step moved nothing"
    assert moved <= network.head, f"a frozen step moved {sorted(moved - network.head)[:3]}"
    part = find_head_part(network.module, network.head, images)
    network.thaw()
    network.train_mode()
    thawed_loss = step(network, images, labels)
    assert moved_since(before, network) - network.head, "a thawed step moved nothing but the head"
    losses = torch.tensor([frozen_loss, thawed_loss])
    assert losses.isfinite().all(), f"the losses are {losses.tolist()}"
    return {"size": images.shape[-1], "features": list(part.shape) if part else None}


def smallest(model: ModelName, sizes: tuple[int, ...]) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """Return the network at the smallest of the image sizes that it accepts, else at its own."""
    labels = torch.tensor([0, 1])
    for size in sizes:
        try:
            network = network_of(model, 2, size)
            images = torch.randn(2, 3, size, size)
            network.train_mode()
            with torch.no_grad():
                network.module(images)
        except Exception:  # noqa: BLE001  (a size too small for it)
            continue
        return network, images, labels
    network = network_of(model, 2)
    size = network.preprocessing.image_size
    return network, torch.randn(2, 3, size, size), labels


def step(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Take one step and return the loss before it."""
    learning = [parameter for parameter in network.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    loss = nn.functional.cross_entropy(network.module(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def copy_of(network: Network) -> dict[str, torch.Tensor]:
    """Return a copy of every tensor."""
    return {name: value.clone() for name, value in network.module.state_dict().items()}


def moved_since(before: dict[str, torch.Tensor], network: Network) -> set[str]:
    """Return the names of the tensors that are not what they were."""
    return {name for name, value in network.module.state_dict().items() if not torch.equal(value, before[name])}


def try_model(model: ModelName, *, real_below: float, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Return what happened, with the reason of a failure."""
    started = time.perf_counter()
    row: dict[str, Any] = {"model": str(model), "mode": "meta", "failed": ""}
    try:
        row |= check_shapes(model, backward=False)
        if row["parameters"] < real_below:
            row |= {"mode": "real", **check_steps(model, sizes)}
        else:
            check_shapes(model, backward=True)
    except Exception as error:  # noqa: BLE001  (each failure becomes a row of the table)
        text = " ".join(str(error).split())
        row["failed"] = f"{type(error).__name__}: {text[:300]}"
    return {**row, "seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """Go through the zoo, smallest networks first, and print passes and failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="such as 'timm:vit_*'; default: all")
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"))
    parser.add_argument("--real-below", type=float, default=60, help="millions of parameters")
    parser.add_argument("--list", action="store_true", help="print what is known, without trying anything")
    arguments = parser.parse_args()
    rows = {row["model"]: row for row in read_rows(arguments.out)}
    real_below = arguments.real_below * 1e6
    for model in chosen(arguments.patterns):
        done = rows.get(str(model))
        if arguments.list or (done and is_enough(done, real_below)):
            continue
        row = rows[str(model)] = try_model(model, real_below=real_below)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['model']:50} {row['mode']} {row['seconds']:>6} s  {row['failed'] or 'pass'}", flush=True)
        gc.collect()
    summary(rows)


def is_enough(row: dict[str, Any], real_below: float) -> bool:
    """Whether a network need not be tried again."""
    return not row["failed"] and (row["mode"] == "real" or row["parameters"] >= real_below)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of earlier calls; of several for one network the last counts."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def chosen(patterns: list[str]) -> list[ModelName]:
    """Return the networks, smallest first; unknown sizes come last."""
    sizes: dict[tuple[str, str], int] = {}
    for entry in known_counts().values():
        sizes[entry.source, entry.architecture] = entry.parameters
    models = [ModelName(source, name) for source in SOURCES for name in known_architectures(source)]
    models = [model for model in models if any(fnmatchcase(str(model), pattern) for pattern in patterns)]
    return sorted(models, key=lambda model: sizes.get((model.source, model.architecture), 10**12))


def summary(rows: dict[str, dict[str, Any]]) -> None:
    """Print counts, failures, and networks whose features cannot be told apart."""
    for source in SOURCES:
        own = [row for row in rows.values() if row["model"].startswith(source)]
        real = [row for row in own if row["mode"] == "real" and not row["failed"]]
        failed = [row for row in own if row["failed"]]
        whole = [row["model"] for row in real if row["features"] is None]
        print(f"\n{source}: {len(own) - len(failed)} of {len(own)} pass, {len(real)} of them with real weights")
        print(f"  without separate features ({len(whole)}): {', '.join(whole) or 'none'}")
        for row in failed:
            print(f"  failed {row['model']} ({row['mode']}): {row['failed']}")


if __name__ == "__main__":
    main()
