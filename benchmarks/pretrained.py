"""Is a pretrained network worth it on small sets of images? The same network with and without pretrained weights.

    python benchmarks/pretrained.py DATA… [--model M] [--weights-dir DIR] [--positive CLASS…] [--most 4000]

Three runs on the same split of each data set: the body frozen with pretrained weights, the body frozen with random
weights (only the head learns in both), and random weights with everything learning. Printed are the numbers of the
test images with their 95 % intervals. Run again, it continues; the runs stay in ``--log-folder``.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import torch

import model_aggregation as ma
from model_aggregation.config import Settings, make_settings
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.scan import scan
from model_aggregation.files import write_csv
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import ModelName, as_published, find_models
from model_aggregation.names import default_name, model_slug
from model_aggregation.training.checkpoint import save_whole

METRICS = ("auc", "macro_auc", "balanced_accuracy", "accuracy")


def written(table: ImageTable, most: int, folder: Path) -> Path:
    """Write a table of about ``most`` images of the data set, each class and split by its share."""
    order = table.frame["id"].map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    shuffled = table.frame.loc[order.sort_values().index]
    groups = shuffled.groupby(["label", "split"])
    kept = shuffled[groups.cumcount() < groups["label"].transform("size") * min(1, most / len(shuffled))]
    columns = ["path", "label", *(name for name in ("group", "split") if (kept[name] != "").any())]
    path = folder / f"{default_name(table.root.name)}.csv"
    write_csv(path, kept.sort_values("id")[columns])
    return path


def random_weights(model: ModelName, settings: Settings, classes: int, folder: Path) -> Path:
    """Write a network with random weights to a file, so that it can be frozen like a pretrained one."""
    torch.manual_seed(settings.seed)
    network = build_network(model, classes, settings, with_weights=False)
    path = folder / f"random_{model_slug(str(model))}_{classes}.pth"
    if not path.exists():
        save_whole(network.module.state_dict(), path)
    return path


def runs_of(data: Path, arguments: argparse.Namespace) -> dict[str, ma.Run]:
    """Train the three networks on one data set."""
    table = scan(data, group=arguments.group)
    folder: Path = arguments.log_folder.resolve().parent / "pretrained_inputs"
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "data": written(table, arguments.most, folder), "group": "group" if table.has_groups else None,
        "positive": next((name for name in arguments.positive if name in table.classes), None),
        "image_size": arguments.image_size, "epochs": arguments.epochs, "learning_rate": arguments.learning_rate,
        "tensorboard": False, "log_folder": arguments.log_folder, "allow_duplicates": True,
    }  # fmt: skip
    frozen = {"model": arguments.model, "thaw_at": None, "weights_dir": arguments.weights_dir}
    model = find_models([arguments.model], weights_dir=arguments.weights_dir)[0]
    random = random_weights(model, make_settings(**given, **frozen), len(table.classes), folder)
    ways = {
        "frozen, pretrained": frozen,
        "frozen, random": {**frozen, "weights": (str(random),)},
        "random, all learns": {"model": str(as_published(model)), "pretrained": False},
    }
    stem = f"{default_name(data.resolve().name)}_{model_slug(arguments.model)}"
    return {
        way: ma.train(**given, **settings, name=f"{stem}_{number}")
        for number, (way, settings) in enumerate(ways.items())
    }


def main() -> None:
    """Train on each data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--model", default="torchvision:squeezenet1_1")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--positive", nargs="*", default=[], help="positive classes of data sets with two classes")
    parser.add_argument("--group", help="what the images are grouped by; see magg train --help")
    parser.add_argument("--most", type=int, default=4000, help="images of a data set, at most about so many")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--log-folder", type=Path, default=Path("log"))
    arguments = parser.parse_args()
    lines = []
    for data in arguments.data:
        for way, run in runs_of(data, arguments).items():
            lines.append(f"{data.name:20} {way:20} {_numbers(run)}")
    print(f"\n{arguments.model}, {arguments.image_size} px, {arguments.epochs} epochs, test images")
    print("\n".join(lines))


def _numbers(run: ma.Run) -> str:
    if not run.folder.finished:
        return f"failed: {run.folder.failure_reason()}"
    test = run.folder.read_metrics()["test"]
    found = {name: test[name] for name in METRICS if name in test}
    words = [f"{name} {entry['value']:.3f} ({entry['low']:.3f}–{entry['high']:.3f})" for name, entry in found.items()]
    return ", ".join(words) + f", n {found['accuracy']['n']}"


if __name__ == "__main__":
    main()
