"""Every classification network of the installed libraries: does it build, freeze, give features, and learn?

    python benchmarks/zoo.py [PATTERN…] [--out docs/zoo.csv] [--real-below 60] [--list]

Each network gets a new head for 7 classes at its own image size, on tensors without memory (so that shapes are
checked however large it is), and for 2 classes with real random weights at a small image size that it accepts: frozen
step (only the head moves), thawed step (something else moves), finite loss and logits, features of the frozen body
that give the network's own logits. Networks of ``--real-below`` million parameters and more show their shapes only,
backwards too; their rows say ``meta``.

The whole zoo takes many hours on a CPU. Each result is written to ``--out`` at once; stopped and started again with the
same file it goes on where it was, and tries again what failed, what was tried with other versions of the libraries, and
what is below ``--real-below`` but was not tried with real weights; ``--list`` shows what is known so far.

Columns of the table: ``mode`` (``real``, or ``meta``: shapes only); ``head`` are the layers whose shapes depend on
the classes; ``own_size`` is the image size of the shapes, ``size`` that of the real steps; ``features`` is the shape of
what enters the head, ``no separate`` where the head is no end of its own; ``result`` is ``pass``, ``no classifier``
(encoders, in which nothing depends on the number of classes), or why it failed.
"""

import argparse
import gc
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError
from model_aggregation.files import write_csv
from model_aggregation.models.build import Network, build_network
from model_aggregation.models.counting import known_counts
from model_aggregation.models.heads import find_head_part, layers_of
from model_aggregation.models.zoo import SOURCES, ModelName, known_architectures
from model_aggregation.software import versions

PUBLISHED = Path(__file__).parents[1] / "docs" / "zoo.csv"
COLUMNS = ("model", "mode", "parameters", "head", "own_size", "size", "features", "result", "versions")
DONE = ("pass", "no classifier")
SIZES = (64, 128, 192, 224, 256)
"""Image sizes tried before a network's own: a pass over few pixels shows the same."""

Row = dict[str, str]


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


def check_shapes(model: ModelName, *, backward: bool) -> Row:
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
    return {"head": " ".join(layers_of(network.head)), "own_size": str(size), "parameters": str(network.parameters)}


def check_steps(model: ModelName, sizes: tuple[int, ...]) -> Row:
    """Two classes with real weights: one frozen and one thawed step, features."""
    network, images = smallest(model, sizes)
    before = copy_of(network)
    network.freeze()
    network.train_mode()
    frozen_loss = step(network, images)
    moved = moved_since(before, network)
    assert moved, "a frozen step moved nothing"
    assert moved <= network.head, f"a frozen step moved {sorted(moved - network.head)[:3]}"
    part = find_head_part(network.module, network.head, images)
    network.thaw()
    network.train_mode()
    thawed_loss = step(network, images)
    assert moved_since(before, network) - network.head, "a thawed step moved nothing but the head"
    losses = torch.tensor([frozen_loss, thawed_loss])
    assert losses.isfinite().all(), f"the losses are {losses.tolist()}"
    return {"size": str(images.shape[-1]), "features": "×".join(map(str, part.shape)) if part else "no separate"}


def smallest(model: ModelName, sizes: tuple[int, ...]) -> tuple[Network, torch.Tensor]:
    """Return the network at the smallest of the image sizes that it accepts, else at its own."""
    for size in sizes:
        try:
            network = network_of(model, 2, size)
            images = torch.randn(2, 3, size, size)
            network.train_mode()
            with torch.no_grad():
                network.module(images)
        except Exception:  # noqa: BLE001  (a size too small for it)
            continue
        return network, images
    network = network_of(model, 2)
    size = network.preprocessing.image_size
    return network, torch.randn(2, 3, size, size)


def step(network: Network, images: torch.Tensor) -> float:
    """Take one step towards the class that each image is least taken for, and return the loss before it.

    Other labels may be learnt already: what random weights make of noise can be large, or nothing.
    """
    learning = [parameter for parameter in network.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    logits = network.module(images)
    loss = nn.functional.cross_entropy(logits, logits.detach().argmin(dim=1))
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


def try_model(model: ModelName, *, real_below: float, sizes: tuple[int, ...] = SIZES) -> Row:
    """Return what happened, with the reason of a failure."""
    row = dict.fromkeys(COLUMNS, "") | {"model": str(model), "mode": "meta", "versions": used(model.source)}
    try:
        row |= check_shapes(model, backward=False)
        if int(row["parameters"]) < real_below:
            row |= {"mode": "real", **check_steps(model, sizes)}
        else:
            check_shapes(model, backward=True)
    except Exception as error:  # noqa: BLE001  (each failure becomes a row of the table)
        text = " ".join(str(error).split())
        encoder = isinstance(error, ModelError) and "no classification head" in text
        return row | {"result": "no classifier" if encoder else f"{type(error).__name__}: {text[:300]}"}
    return row | {"result": "pass"}


def used(source: str) -> str:
    """Return the versions that a row depends on, without the kind of build (``+cpu``)."""
    return " ".join(f"{package} {versions()[package].partition('+')[0]}" for package in ("torch", source))


def main() -> None:
    """Go through the zoo, smallest networks first, and print passes and failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="such as 'timm:vit_*'; default: all")
    parser.add_argument("--out", type=Path, default=PUBLISHED, help="default: the published table")
    parser.add_argument("--real-below", type=float, default=60, help="millions of parameters")
    parser.add_argument("--list", action="store_true", help="print what is known, without trying anything")
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    real_below = arguments.real_below * 1e6
    for model in chosen(arguments.patterns):
        if arguments.list or is_enough(rows.get(str(model)), used(model.source), real_below):
            continue
        started = time.perf_counter()
        row = rows[str(model)] = try_model(model, real_below=real_below)
        write_csv(arguments.out, pd.DataFrame([rows[name] for name in sorted(rows)], columns=list(COLUMNS)))
        print(f"{row['model']:50} {row['mode']} {time.perf_counter() - started:6.1f} s  {row['result']}", flush=True)
        gc.collect()
    summary(rows)


def is_enough(row: Row | None, versions_now: str, real_below: float) -> bool:
    """Whether a network need not be tried again."""
    if row is None or row["result"] not in DONE or row["versions"] != versions_now:
        return False
    return row["result"] != "pass" or row["mode"] == "real" or int(row["parameters"]) >= real_below


def read_rows(file: Path) -> dict[str, Row]:
    """Return the rows of earlier calls by the name of the network."""
    if not file.is_file():
        return {}
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    return {row["model"]: row for row in table.to_dict("records")}


def chosen(patterns: list[str]) -> list[ModelName]:
    """Return the networks, smallest first; unknown sizes come last."""
    sizes: dict[tuple[str, str], int] = {}
    for entry in known_counts().values():
        sizes[entry.source, entry.architecture] = entry.parameters
    models = [ModelName(source, name) for source in SOURCES for name in known_architectures(source)]
    models = [model for model in models if any(fnmatchcase(str(model), pattern) for pattern in patterns)]
    return sorted(models, key=lambda model: sizes.get((model.source, model.architecture), 10**12))


def summary(rows: dict[str, Row]) -> None:
    """Print counts, failures, encoders, and networks whose features cannot be told apart."""
    for source in SOURCES:
        own = [row for row in rows.values() if row["model"].startswith(f"{source}:")]
        passed = [row for row in own if row["result"] == "pass"]
        real = [row for row in passed if row["mode"] == "real"]
        whole = [row["model"] for row in real if row["features"] == "no separate"]
        encoders = [row["model"] for row in own if row["result"] == "no classifier"]
        left = len({str(ModelName(source, name)) for name in known_architectures(source)} - rows.keys())
        networks = len(own) - len(encoders)
        print(f"\n{source}: {len(passed)} of {networks} pass, {len(real)} of them with real weights; {left} not tried")
        print(f"  without a classifier, not counted ({len(encoders)}): {', '.join(encoders) or 'none'}")
        print(f"  without separate features ({len(whole)}): {', '.join(whole) or 'none'}")
        for row in own:
            if row["result"] not in DONE:
                print(f"  failed {row['model']} ({row['mode']}): {row['result']}")


if __name__ == "__main__":
    main()
