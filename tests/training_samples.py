"""A small training that several tests share, and what it means that one continues."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model_aggregation.config import make_settings
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import StoredImages
from model_aggregation.fabric import make_fabric
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.progress import Reporter
from model_aggregation.training.job import LabelledImages, Training, TrainingFiles
from model_aggregation.training.journal import Journal
from model_aggregation.training.loop import run_training

LOGITS = torch.tensor([[1.0, -0.5, 0.2], [0.1, 0.3, -2.0], [0.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 2, 1])


def settings_for(**given):
    fixed = {"data": "x", "model": "timm:test_resnet", "pretrained": False, "image_size": 32, "batch_size": 8}
    return make_settings(**{**fixed, **given})


class Lab:
    """Two classes that differ in brightness, and a network to train on them."""

    def __init__(self, folder, *, validation=True, **given):
        generator = np.random.default_rng(0)
        labels = np.arange(48) % 2
        pixels = generator.integers(0, 100, size=(48, 32, 32, 3)) + 80 * labels[:, None, None, None]
        store = ImageStore(pixels.astype(np.uint8))
        self.settings = settings_for(**given)
        torch.manual_seed(0)
        self.network = build_network(parse_model_name(self.settings.model), 2, self.settings)
        self.lines: list[str] = []

        def part(start, stop):
            rows = np.arange(start, stop)
            return LabelledImages(StoredImages(store, rows), torch.from_numpy(labels[rows]))

        self.files = TrainingFiles(folder / "state.pt", folder / "last.pth", folder / "best.pth", folder / "models")
        self.training = Training(
            self.network, part(0, 32), part(32, 48) if validation else None, self.settings,
            make_fabric(self.settings.model_copy(update={"device": "cpu"})), self.files, Reporter(),
            Journal("run", self.lines.append, None),
        )  # fmt: skip

    def run(self):
        return run_training(self.training)

    def weights(self):
        return {name: tensor.clone() for name, tensor in self.network.module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def continues_alike(make: Callable[[Path], Lab], folder: Path, *, stop_at: str) -> Lab:
    """Stop a training when its journal says so, let it continue, and compare with a whole one, which is returned."""
    whole, cut = make(folder / "whole"), make(folder / "cut")
    history = whole.run().history

    def stop(text):
        if text.startswith(stop_at):
            raise KeyboardInterrupt

    cut.training.journal.note = stop
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = make(folder / "cut")
    assert again.run().history == history
    assert same(whole.weights(), again.weights())
    return whole
