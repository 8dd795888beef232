"""The earlier program's description in plain PyTorch beside our recipe ``earlier``, on the same images and split.

    python benchmarks/earlier.py DATA [--positive NAME] [--model resnet18] [--weights FILE] [--epochs 3]
                                 [--image-size N] [--log-folder DIR] [--group PATTERN]

Prints every metric of both. The plain side is written from the description: images squashed, mean and deviation 0.5,
flips, Adam at a constant rate, drop_last, batch norm in training mode while frozen, best epoch by accuracy with ties
to the later, head of two layers; AUC by the rectangle rule over its ROC table, cutoff chosen on the test images.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

import model_aggregation as ma
from model_aggregation.models.imports import torchvision_models

FREEZE_EPOCHS = 1


class Plain:
    """The earlier program, in plain PyTorch."""

    def __init__(self, arguments: argparse.Namespace, images: pd.DataFrame, classes: list[str]) -> None:
        self.arguments, self.classes = arguments, classes
        parts = {name: images[images["split"] == name] for name in ("train", "val", "test")}
        self.labels = {name: torch.tensor([classes.index(x) for x in part["label"]]) for name, part in parts.items()}
        self.pixels = {name: torch.stack([self.read(path) for path in part["path"]]) for name, part in parts.items()}

    def read(self, path: str) -> torch.Tensor:
        """Read one image as (3, H, W) between -1 and 1."""
        size = self.arguments.image_size
        image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 - 0.5) / 0.5

    def build(self) -> nn.Module:
        """Return the network with the head of two layers."""
        net = torchvision_models().get_model(self.arguments.model, weights=None)
        if self.arguments.weights:
            net.load_state_dict(torch.load(self.arguments.weights, weights_only=True))
        inputs = net.fc.in_features
        hidden = inputs if inputs < 512 else 512 if inputs < 1024 else 1024
        net.fc = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, len(self.classes))
        )
        return net

    def train(self) -> nn.Module:
        """Train and return the network with the best weights on validation."""
        net = self.build()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
        pixels, labels = self.pixels["train"], self.labels["train"]
        best, best_state = -1.0, net.state_dict()
        for epoch in range(self.arguments.epochs):
            for name, parameter in net.named_parameters():
                parameter.requires_grad = name.startswith("fc.") or epoch >= FREEZE_EPOCHS or not self.arguments.weights
            net.train()
            order = torch.randperm(len(labels))
            for start in range(0, len(labels) - self.arguments.batch_size + 1, self.arguments.batch_size):
                rows = order[start : start + self.arguments.batch_size]
                batch = pixels[rows]
                for dimension in (3, 2):
                    chosen = torch.rand(len(rows)) < 0.5
                    batch = torch.where(chosen.view(-1, 1, 1, 1), batch.flip(dimension), batch)
                loss = nn.functional.cross_entropy(net(batch), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            accuracy = float((self.predict(net, "val").argmax(1) == self.labels["val"].numpy()).mean())
            print(f"  plain epoch {epoch + 1}: validation accuracy {accuracy:.4f}", flush=True)
            if accuracy >= best:
                best, best_state = accuracy, {key: value.clone() for key, value in net.state_dict().items()}
        net.load_state_dict(best_state)
        return net

    @torch.inference_mode()
    def predict(self, net: nn.Module, split: str) -> np.ndarray:
        """Return probabilities (N, C)."""
        net.eval()
        return torch.cat([torch.softmax(net(part), 1) for part in self.pixels[split].split(32)]).double().numpy()


def earlier_numbers(probabilities: np.ndarray, labels: np.ndarray, positive: int | None) -> dict[str, float]:
    """Return the numbers as the earlier program computed them."""
    if positive is None:
        return {"accuracy": float((probabilities.argmax(1) == labels).mean())}
    score, truth = probabilities[:, positive], labels == positive
    cutoffs = np.concatenate([[-np.inf], np.unique(score)])
    sensitivity = np.array([(score[truth] > cutoff).mean() for cutoff in cutoffs])
    false_alarms = np.array([(score[~truth] > cutoff).mean() for cutoff in cutoffs])
    rectangles = float(np.sum((false_alarms[:-1] - false_alarms[1:]) * sensitivity[1:]))
    inside = (cutoffs >= 0.4) & (cutoffs <= 0.6)
    balanced = (sensitivity + 1 - false_alarms) / 2
    cutoff = float(cutoffs[inside][balanced[inside].argmax()]) if inside.any() else 0.5
    return {"auc": rectangles, **at_cutoff(score, truth, cutoff)}


def at_cutoff(score: np.ndarray, truth: np.ndarray, cutoff: float) -> dict[str, float]:
    """Return the metrics of a decision."""
    called = score > cutoff
    hits, false_alarms = float((called & truth).sum()), float((called & ~truth).sum())
    sensitivity, specificity = hits / truth.sum(), float((~called & ~truth).sum() / (~truth).sum())
    precision = hits / max(1.0, hits + false_alarms)
    return {
        "cutoff": cutoff,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": float((called == truth).mean()),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "precision": precision,
        "f1": 2 * precision * sensitivity / max(1e-12, precision + sensitivity),
    }


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--positive")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--log-folder", type=Path, default=Path("log"))
    parser.add_argument("--group")
    arguments = parser.parse_args()
    run = ma.train(
        arguments.data, arguments.model, recipe="earlier", positive=arguments.positive, epochs=arguments.epochs,
        batch_size=arguments.batch_size, image_size=arguments.image_size, log_folder=arguments.log_folder,
        group=arguments.group, tensorboard=False, name=f"earlier_{arguments.data.stem}".replace("-", "_"),
        **({"weights": str(arguments.weights)} if arguments.weights else {"pretrained": False}),
    )  # fmt: skip
    ours = run.metrics()["test"]
    images = pd.read_csv(run.path / "images.csv", dtype=str)
    classes = [str(name) for name in ours["class_names"]]
    torch.manual_seed(0)
    plain = Plain(arguments, images, classes)
    probabilities = plain.predict(plain.train(), "test")
    labels = plain.labels["test"].numpy()
    positive = classes.index(arguments.positive) if arguments.positive else None
    theirs = earlier_numbers(probabilities, labels, positive)
    predictions = run.predictions("test")
    same = earlier_numbers(
        predictions.iloc[:, 2:].to_numpy(), np.array([classes.index(x) for x in predictions["correct_label"]]), positive
    )
    print(f"\n{'metric':20} {'ours':>8} {'95 % interval':>17} {'plain':>8} {'ours, by its rules':>19}")
    for name, value in theirs.items():
        entry = ours[name]
        interval = f"{entry['low']:.3f}–{entry['high']:.3f}" if entry.get("low") is not None else ""
        print(f"{name:20} {entry['value']:8.4f} {interval:>17} {value:8.4f} {same[name]:19.4f}")


if __name__ == "__main__":
    main()
