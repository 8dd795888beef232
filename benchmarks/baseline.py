"""The plain textbook loop against ours: same images, model, epochs, batch and seed, in turn, each in its own process.

    python benchmarks/baseline.py [--models resnet18 efficientnet_b0 mobilenet_v3_large] [--phases decode frozen …]
                                  [--rounds 3] [--threads 1] [--train 128] [--val 32] [--test 64] [--json FILE]
                                  [--weights MODEL=FILE …] [--data FOLDER]

The plain side is what people write: ImageFolder, PIL, Resize, random flips, ToTensor, Normalize(0.5, 0.5), one
DataLoader without workers, float32, ``.item()`` and TensorBoard in each step, the whole network forward while frozen,
one image at a time in the test with one line appended to a CSV file. Ours is the program itself. Phases:

decode    every image once, from files (ours: into the store, by as many processes as threads)
frozen    FROZEN epochs in which only the head learns; ``none`` and ``flips`` are two rows
full      FULL epochs in which everything learns
test      predictions of the test images
whole     all models one after the other: FROZEN epochs, FULL epochs, validation in each, test; ``direct`` without
          stored features, ``stored`` with them

Without ``--data`` images are handwritten digits drawn large (500 × 400, JPEG), odd against even. Without ``--weights``
networks start from random weights whose batch norm has seen some images: times are those of real weights, and so is the
comparison of what both sides reach, but what they reach is low. Every ratio is the median of the rounds.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

FROZEN, FULL = 3, 1
COLUMNS = {"wall_ratio": 12, "cpu_ratio": 11, "plain_wall": 12, "ours_wall": 11, "plain_auc": 11, "ours_auc": 10}
PHASES = ("decode", "frozen none", "frozen flips", "full", "test", "whole direct", "whole stored")


class Clock:
    """Wall and CPU seconds (of this process and its children) spent inside of ``running``."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside the block."""
        before = time.perf_counter(), sum(os.times()[:4])
        try:
            yield
        finally:
            self.wall += time.perf_counter() - before[0]
            self.cpu += sum(os.times()[:4]) - before[1]

    def timed(self, function: Any) -> Any:
        """Return a function that does the same and is counted."""

        def counted(*given: Any, **named: Any) -> Any:
            with self.running():
                return function(*given, **named)

        return counted

    def result(self, areas: list[float]) -> dict[str, float]:
        """Return what is printed: seconds, and the mean AUC where there were tests."""
        return {"wall": self.wall, "cpu": self.cpu, "auc": statistics.mean(areas) if areas else 0.0}


# --- the plain side ------------------------------------------------------------------------------------


class Plain:
    """One model, trained and tested as people do."""

    def __init__(self, task: dict[str, Any], model: str) -> None:
        import torch
        from torch.utils.tensorboard import SummaryWriter

        self.task, self.torch, self.folder = task, torch, Path(task["folder"])
        torch.manual_seed(0)
        self.net = plain_network(model)
        self.net.load_state_dict(torch.load(task["weights"][model], weights_only=True))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4)
        self.loss = torch.nn.CrossEntropyLoss()
        self.writer = SummaryWriter(log_dir=str(self.folder / "plain_events"))
        self.step = 0

    def images(self, split: str, *, training: bool) -> Any:
        """Return the data set of a split."""
        from torchvision import datasets, transforms

        flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
        steps = [transforms.Resize((224, 224)), *(flips if training and self.task["flips"] else [])]
        steps += [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        return datasets.ImageFolder(Path(self.task["data"]) / split, transforms.Compose(steps))

    def train(self, frozen: int, full: int, *, validation: bool) -> None:
        """Train, and validate after each epoch."""
        loader = self.torch.utils.data.DataLoader(
            self.images("train", training=True), self.task["batch"], shuffle=True, num_workers=0, drop_last=True
        )
        for epoch in range(frozen + full):
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad = epoch >= frozen or name.startswith(("fc.", "classifier.", "head."))
            self.net.train()
            for images, labels in loader:
                logits = self.net(images)
                loss = self.loss(logits, labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.writer.add_scalar("loss", loss.item(), self.step)
                self.writer.add_scalar("acc", (logits.argmax(1) == labels).float().mean().item(), self.step)
                self.step += 1
            if validation:
                self.validate()

    def validate(self) -> None:
        """Compute loss and accuracy of the validation images."""
        self.net.eval()
        loader = self.torch.utils.data.DataLoader(self.images("val", training=False), self.task["batch"])
        with self.torch.no_grad():
            for images, labels in loader:
                self.loss(self.net(images), labels).item()

    def test(self) -> float:
        """Test one image at a time and return the AUC."""
        from sklearn.metrics import roc_auc_score

        self.net.eval()
        scores, labels = [], []
        with self.torch.no_grad():
            for image, label in self.torch.utils.data.DataLoader(self.images("test", training=False), 1):
                scores.append(self.torch.softmax(self.net(image), 1)[0, 1].item())
                labels.append(label.item())
                with (self.folder / "plain.csv").open("a", encoding="utf-8") as file:
                    file.write(f"{label.item()},{scores[-1]}\n")
        return float(roc_auc_score(labels, scores))


def plain_network(model: str) -> Any:
    """Return a torchvision network for two classes."""
    from model_aggregation.models.imports import torchvision_models

    return torchvision_models().get_model(model, weights=None, num_classes=2)


def plain_side(task: dict[str, Any]) -> dict[str, float]:
    """Do one phase the plain way and return its seconds, and the AUC where there is a test."""
    phase, clock = task["phase"], Clock()
    if phase.startswith("whole"):
        areas = []
        for model in task["models"]:
            plain = Plain(task, model)
            with clock.running():
                plain.train(FROZEN, FULL, validation=True)
                areas.append(plain.test())
        return clock.result(areas)
    plain = Plain(task, task["models"][0])
    if phase == "decode":
        with clock.running():
            for split in ("train", "val", "test"):
                for _ in plain.images(split, training=False):
                    pass
        return clock.result([])
    if phase == "test":
        return clock.result([clock.timed(plain.test)()])
    with clock.running():
        plain.train(*((FROZEN, 0) if phase.startswith("frozen") else (0, FULL)), validation=False)
    return clock.result([plain.test()])


# --- our side ------------------------------------------------------------------------------------------


def our_side(task: dict[str, Any]) -> dict[str, float]:
    """Do one phase with the program and return its seconds, and the AUC where there is a test.

    The time of training and of the test holds what is done for it alone: settling the arithmetic too.
    """
    import model_aggregation as ma
    from model_aggregation import api, experiment  # noqa: F401  (imported now, as the plain side is)

    clock = Clock()
    phase, folder = task["phase"], Path(tempfile.mkdtemp(dir=task["folder"]))
    whole = phase.startswith("whole")
    cold = whole or phase == "decode"
    given = {
        "log_folder": folder / "log", "cache_folder": folder if cold else Path(task["folder"]) / "cache",
        "quiet": True, "positive": "odd", "batch_size": task["batch"], "optimizer": "adam", "learning_rate": 1e-4,
        "schedule": "constant", "warmup_epochs": 0, "drop_last": True, "normalize": "half",
        "interpolation": "bilinear", "image_size": 224, "workers": task["threads"], "test_weights": "last",
        "augmentation": "flips" if task["flips"] else "none", "allow_duplicates": True,
        "jobs": 0,  # in this process, where it is timed
    }  # fmt: skip
    weights = tuple(f"{model}={task['weights'][model]}" for model in task["models"])
    models = {"models": task["models"], "weights": weights}
    if whole:
        epochs = {"epochs": FROZEN + FULL, "thaw_at": FROZEN, "cache_features": phase == "whole stored"}
        runs = clock.timed(ma.compare)(task["data"], name="whole", **models, **epochs, **given).runs
        return clock.result([auc_of(run) for run in runs])
    one = {"model": task["models"][0], "weights": weights[:1], "name": "one", "validation": False, **given}
    if phase == "decode":
        return decode(task, one, clock)
    counted = ["_predict"] if phase == "test" else ["run_training"]
    for name in ("settle_arithmetic", *counted):
        setattr(experiment, name, clock.timed(getattr(experiment, name)))
    if phase == "test":
        epochs = {"train": False}
    else:
        epochs = {"epochs": FULL, "freeze": False} if phase == "full" else {"epochs": FROZEN, "thaw_at": None}
    return clock.result([auc_of(ma.train(task["data"], **epochs, **one))])


def auc_of(run: Any) -> float:
    """Return the AUC of a run's test."""
    if run.state != "finished":
        raise SystemExit(f"{run.path} {run.state}: {run.folder.failure_reason()}")
    return run.metrics()["test"]["auc"]["value"]


def decode(task: dict[str, Any], given: dict[str, Any], clock: Clock) -> dict[str, float]:
    """Build the store of all images."""
    import model_aggregation as ma
    from model_aggregation.data.image_cache import Cache
    from model_aggregation.data.image_store import open_store
    from model_aggregation.prediction import pixel_rule
    from model_aggregation.run_images import stored_images

    given = {key: value for key, value in given.items() if key != "quiet"}
    plan = ma.make_plan(data=task["data"], **given)
    rule = pixel_rule(plan.runs[0].preprocessing, plan.runs[0].settings)
    with clock.running():
        open_store(stored_images(plan), rule, cache=Cache(given["cache_folder"]), workers=task["threads"])
    return clock.result([])


# --- images, weights, and the comparison -----------------------------------------------------------------


def write_images(folder: Path, counts: dict[str, int]) -> Path:
    """Write digits as JPEG files of 500 × 400 pixels: folder/split/(even|odd)/number.jpg."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits, generator = load_digits(), np.random.default_rng(0)
    numbers = iter(generator.permutation(len(digits.images)))
    for split, count in counts.items():
        for name in ("even", "odd"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number = next(numbers)
            image = Image.fromarray((digits.images[number] * (255 / 16)).astype(np.uint8)).resize((500, 400))
            noisy = np.asarray(image.convert("RGB")) + generator.normal(0, 12, (400, 500, 3))
            label = "odd" if digits.target[number] % 2 else "even"
            path = folder / split / label / f"{number:04d}.jpg"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def write_weights(folder: Path, model: str, data: Path) -> Path:
    """Write random weights whose batch norm has the statistics of some images."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = plain_network(model).train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the plain mean over batches
    task = {"data": str(data), "flips": False}
    plain = Plain.__new__(Plain)
    plain.task, plain.torch = task, torch
    images = plain.images("train", training=False)
    with torch.no_grad():
        for start in range(0, min(64, len(images)), 16):
            network(torch.stack([images[number][0] for number in range(start, min(start + 16, len(images)))]))
    torch.save(network.state_dict(), folder / f"{model}.pth")
    return folder / f"{model}.pth"


def measure(side: str, task: dict[str, Any], *, script: str = __file__) -> dict[str, float]:
    """Do one phase of one side in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(task["threads"]), "PYTHONUTF8": "1"}
    if side == "ours":
        environment["GOMP_SPINCOUNT"] = "1000"  # as the command line sets it
    words = [sys.executable, script, "--side", side, "--task", json.dumps(task)]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return json.loads(result.stdout.strip().splitlines()[-1])


def ratio_of(taken: dict[str, list[dict[str, float]]], kind: str) -> list[float]:
    """Return how many times the plain side's seconds are ours, for each round."""
    return [round(plain[kind] / ours[kind], 2) for plain, ours in zip(taken["plain"], taken["ours"], strict=True)]


def compare(task: dict[str, Any], phase: str, rounds: int) -> dict[str, Any]:
    """Measure a phase of both sides in turn and return the row of the table."""
    task = {**task, "phase": phase, "flips": phase not in ("frozen none", "decode", "test")}
    taken: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        for side, values in taken.items():
            values.append(measure(side, task))
    model = "all" if phase.startswith("whole") or phase == "decode" else task["models"][0]
    row: dict[str, Any] = {"phase": phase, "model": model}
    for kind in ("wall", "cpu"):
        row[f"{kind}_ratios"] = ratio_of(taken, kind)
        row[f"{kind}_ratio"] = statistics.median(row[f"{kind}_ratios"])
    for side, values in taken.items():
        row |= {f"{side}_{key}": round(statistics.median(v[key] for v in values), 4) for key in ("wall", "cpu", "auc")}
    return row


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "efficientnet_b0", "mobilenet_v3_large"])
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    for name, default in (("rounds", 3), ("threads", 1), ("train", 128), ("val", 32), ("test", 64), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", type=Path, help="folder with train, val and test, in each even and odd")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=["plain", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"plain": plain_side, "ours": our_side}[arguments.side](arguments.task)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = run_all(arguments, Path(temporary))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def run_all(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure every phase and return all figures."""
    from model_aggregation.models.imports import torchvision_models
    from model_aggregation.software import versions

    torchvision_models()
    counts = {name: getattr(arguments, name) for name in ("train", "val", "test")}
    data = arguments.data or write_images(folder / "images", counts)
    given = dict(word.split("=", 1) for word in arguments.weights)
    weights = {model: given.get(model) or str(write_weights(folder, model, data)) for model in arguments.models}
    task = {"data": str(data), "folder": str(folder), "weights": weights, "models": arguments.models,
            "threads": arguments.threads, "batch": arguments.batch}  # fmt: skip
    rows = []
    print(
        f"{'phase':14}{'model':20}" + "".join(f"{key.replace('_', ' '):>{width}}" for key, width in COLUMNS.items()),
        flush=True,
    )
    for phase in arguments.phases:
        alone = not phase.startswith("whole") and phase != "decode"
        for models in [[model] for model in arguments.models] if alone else [arguments.models]:
            row = compare({**task, "models": models}, phase, arguments.rounds)
            rows.append(row)
            cells = (f"{row[key]:>{width}.2f}" for key, width in COLUMNS.items())
            print(f"{row['phase']:14}{row['model']:20}" + "".join(cells), flush=True)
    return {
        "rows": rows, "counts": counts, "threads": arguments.threads, "batch": arguments.batch,
        "machine": platform.processor() or platform.machine(), "versions": versions(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"), "epochs": {"frozen": FROZEN, "full": FULL},
    }  # fmt: skip


if __name__ == "__main__":
    main()
