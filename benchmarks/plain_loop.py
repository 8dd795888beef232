"""The plain side of ``baseline.py``: images and weights for both sides, and the loop that people write."""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_aggregation.processes import peak_memory_bytes


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
        """Return what is printed: seconds, the mean AUC where there were tests, and the most memory so far."""
        area = statistics.mean(areas) if areas else 0.0
        return {"wall": self.wall, "cpu": self.cpu, "auc": area, "peak_mb": peak_memory_bytes() / 1e6}


class Plain:
    """One model, trained and tested as people do."""

    def __init__(self, task: dict[str, Any], model: str) -> None:
        import torch
        from torch.utils.tensorboard import SummaryWriter

        self.task, self.torch, self.folder = task, torch, Path(task["folder"])
        self.net = plain_network(model)
        self.net.load_state_dict(torch.load(task["weights"][model], weights_only=True))
        torch.manual_seed(task["seed"])
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
    """Return a network of torchvision, or with ``timm:`` before its name of timm, for two classes."""
    from model_aggregation.models.imports import timm_library, torchvision_models

    if model.startswith("timm:"):
        return timm_library().create_model(model.removeprefix("timm:"), num_classes=2)
    return torchvision_models().get_model(model, weights=None, num_classes=2)


def plain_side(task: dict[str, Any]) -> dict[str, float]:
    """Do one phase the plain way and return its seconds, and the AUC where there is a test."""
    phase, clock = task["phase"], Clock()
    if phase.startswith("whole"):
        areas = []
        for model in task["models"]:
            plain = Plain(task, model)
            with clock.running():
                plain.train(task["frozen"], task["full"], validation=True)
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
        plain.train(*((task["frozen"], 0) if phase.startswith("frozen") else (0, task["full"])), validation=False)
    return clock.result([plain.test()])


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
    return saved(network, folder, model)


def given_weights(folder: Path, model: str, file: Path) -> Path:
    """Write the weights of a file with a new head for two classes, which both sides start from."""
    import torch
    from safetensors.torch import load_file

    torch.manual_seed(0)
    network = plain_network(model)
    found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    state = network.state_dict()
    fitting = {name: value.to(state[name].dtype) for name, value in found.items() if value.shape == state[name].shape}
    network.load_state_dict(state | fitting)
    return saved(network, folder, model)


def saved(network: Any, folder: Path, model: str) -> Path:
    """Write the state of a network and return its file."""
    import torch

    path = folder / f"{model.replace(':', '_')}.pth"
    torch.save(network.state_dict(), path)
    return path
