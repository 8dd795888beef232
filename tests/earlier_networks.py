"""Networks and run folders as the earlier program made them, written down anew from what is known of it."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from model_aggregation.models.imports import timm_library, torchvision_models

LAST_CHILD = {
    "vgg": "classifier",
    "alexnet": "classifier",
    "efficientnet": "classifier",
    "swin": "head",
    "vit": "heads",
}
CLASS_FILE = """
from torch import nn


class FineTuning(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.model, self.add_layer = body, head

    def forward(self, images):
        return self.add_layer(self.model(images))
"""
"""A stand-in for the file that holds the class of its timm networks, ``available_model_timm.py``."""


def two_layers(features: int, classes: int, source: str) -> nn.Sequential:
    """Return its head: below 512 features as wide as these, below 1024 512 wide, else 1024; in timm half below 2048."""
    wide = features // 2 if source == "timm" and features < 2048 else 1024
    width = min(features, 512) if features < 1024 else wide
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, classes))


class Wrapped(nn.Module):
    """A network of timm without classifier, and the head behind it."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model, self.add_layer = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.add_layer(self.model(images))


def earlier_network(
    source: str, name: str, classes: int, *, pretrained: bool = False, channels: int = 3, wrapper: type = Wrapped
) -> nn.Module:
    """Return a network as the earlier program built it, with random weights.

    ``pretrained`` makes what published weights bring beside themselves: the rescaling of the input, and no auxiliary
    classifiers in GoogLeNet.
    """
    if source == "timm":
        body = timm_library().create_model(name, num_classes=0, in_chans=channels)
        size = body.default_cfg["input_size"][-1] if body.default_cfg.get("fixed_input_size") else 224
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, channels, size, size)).shape[1]
        return wrapper(body, two_layers(features, classes, "timm"))
    given = {"transform_input": pretrained, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    if name == "googlenet":
        given["aux_logits"] = not pretrained
    network = getattr(torchvision_models(), name)(weights=None, **given)
    child = next((child for prefix, child in LAST_CHILD.items() if name.startswith(prefix)), "fc")
    place = getattr(network, child)
    first = next(layer for layer in place.modules() if isinstance(layer, nn.Linear))
    setattr(network, child, two_layers(first.in_features, classes, "torchvision"))
    if name == "inception_v3":
        network.aux_logits = False
    return network


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> nn.Module:
    """Let random weights tell images apart: batch norm has seen them, and their logits differ."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for layer in norms:
            layer.momentum = None  # the plain mean of what it sees
        network.train()
        network(images)
    network.eval()
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    last = network.add_layer[3] if hasattr(network, "add_layer") else head_of(network)[3]
    logits = network(images)
    last.weight.mul_(2 / logits.std(dim=0).mean().clamp_min(1e-6))
    last.bias.sub_(network(images).mean(dim=0))
    return network


def head_of(network: nn.Module) -> nn.Sequential:
    """Return the head of a network of torchvision."""
    return next(getattr(network, name) for name in ("classifier", "fc", "head", "heads") if hasattr(network, name))


def as_it_saw(path: Path, size: int, channels: int = 3) -> Tensor:
    """Return an image as the earlier program gave it to a network: (1, C, size, size)."""
    with Image.open(path) as opened:
        image = opened.convert("RGB" if channels == 3 else "L").resize((size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image).reshape(size, size, channels)).permute(2, 0, 1)[None]
    return (pixels.float() / 255 - 0.5) / 0.5


@torch.no_grad()
def probabilities(network: nn.Module, path: Path, size: int = 224, channels: int = 3) -> np.ndarray:
    """Return the (C,) probabilities that a network gave."""
    return network.eval()(as_it_saw(path, size, channels)).softmax(1)[0].numpy()


def write_images(folder: Path, classes: tuple[str, ...], *, count: int = 3) -> None:
    """Write folder/{train,val,test}/class/image.png, of every split the same number."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number, name in enumerate(classes):
            for image in range(count):
                pixels = np.clip(generator.normal(60 + 50 * number, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
                path = folder / split / name / f"{image}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def settings_of(name: str, source: str, classes: int, **changes: object) -> dict[str, object]:
    """Return settings as they stand in a run folder of the earlier program."""
    given = {
        "run_name": "old", "cache": True, "sys_split": False, "save_wip_model": None, "test": True, "validation": True,
        "test_best_model": False, "data_dir": "data", "weight_only": False, "weight_freeze": [False, None],
        "device": "cpu", "source": source, "model_name": name, "channel": 3, "num_classes": classes,
        "batch_size": 8, "pretrained": False, "epoch": 1, "lr": 0.0001, "loss_num": 0, "log_folder": "log",
    }  # fmt: skip
    return given | changes


def write_weights(folder: Path, network: nn.Module) -> None:
    """Write all files of weights; the names of the best network and of its state dict are swapped, as they were."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name in ("last_model_weight.pth", "best_model_all.pth", "models/0.pth"):
        torch.save(network.state_dict(), folder / name)
    for name in ("best_model_weight.pth", "last_model_all.pth"):
        torch.save(network, folder / name)


def write_settings(folder: Path, settings: dict[str, object]) -> Path:
    """Write the settings of a run into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@contextmanager
def earlier_class(folder: Path) -> Iterator[type]:
    """Give the class of its timm networks from a file in a folder; after the block nothing finds it by itself."""
    (folder / "available_model_timm.py").write_text(CLASS_FILE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("available_model_timm").FineTuning
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("available_model_timm", None)
