"""Each network of the earlier program's lists: the probabilities of its old weights, and one training step.

    python benchmarks/earlier_models.py [@earlier_torchvision @earlier_timm] [--train] [--json FILE]

A network is built in plain PyTorch as the earlier program built it, with random weights, and its state dict is put into
a run folder of the earlier program. `ma.predict` on that folder must give its probabilities. Inception and GoogLeNet
are tried as with and without published weights, which rescale their input. With --train each network of ours also takes
a step of Adam with the recipe `earlier`.
"""

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from earlier_networks import as_it_saw, earlier_network, probabilities, settings_of, settle, write_settings

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import ModelName, find_models

CLASSES = ("a", "b", "c")
TOLERANCE = 1e-5


def try_weights(model: ModelName, folder: Path, *, pretrained: bool) -> dict[str, object]:
    """Predict an image with old weights in two ways; return the largest difference of the probabilities."""
    started = time.perf_counter()
    row: dict[str, object] = {"model": str(model), "pretrained": pretrained, "failed": ""}
    try:
        size = 299 if model.architecture.startswith("inception") else 224
        images = _write_images(folder)
        torch.manual_seed(0)
        network = earlier_network(model.source, model.architecture, len(CLASSES), pretrained=pretrained)
        settle(network, torch.cat([as_it_saw(path, size) for path in images]))
        expected = np.stack([probabilities(network, path, size) for path in images])
        row["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        run = folder / "log" / "old"
        source = "pytorch" if model.source == "torchvision" else model.source
        write_settings(run, settings_of(model.architecture, source, len(CLASSES), pretrained=pretrained))
        torch.save(network.state_dict(), run / "last_model_weight.pth")
        del network
        table = ma.predict(run, folder / "images", classes=CLASSES, device="cpu", quiet=True)
        found = table[list(CLASSES)].to_numpy()
        row["difference"] = float(np.abs(found - expected).max())
        row["spread"] = float(np.ptp(expected, axis=0).max())
        row["failed"] = "" if row["difference"] <= TOLERANCE else "probabilities differ"
    except Exception as error:  # noqa: BLE001  (each failure becomes a row of the table)
        row["failed"] = f"{type(error).__name__}: {error}"
    row["seconds"] = round(time.perf_counter() - started, 1)
    return row


def _write_images(folder: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [folder / "images" / f"{number}.png" for number in range(4)]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        rough = generator.integers(0, 256, (3 + number, 4, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((300, 200 + 20 * number), Image.Resampling.BICUBIC).save(path)
    return paths


def try_training(model: ModelName) -> str:
    """Build, take one step, predict; return why it failed."""
    try:
        settings = make_settings(data="x", model=str(model), recipe="earlier", pretrained=False)
        torch.manual_seed(0)
        network = build_network(model, 2, settings)
        network.train_mode()
        size = network.preprocessing.image_size
        images, labels = torch.randn(2, 3, size, size), torch.tensor([0, 1])
        optimizer = torch.optim.Adam(network.module.parameters(), lr=settings.learning_rate)
        loss = nn.CrossEntropyLoss()(network.module(images), labels)
        loss.backward()
        optimizer.step()
        network.module.eval()
        with torch.inference_mode():
            finite = bool(network.module(images).isfinite().all() and loss.isfinite())
    except Exception as error:  # noqa: BLE001  (each failure becomes a row of the table)
        return f"training: {type(error).__name__}: {error}"
    return "" if finite else "training: not finite"


def main() -> None:
    """Try every model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["@earlier_torchvision", "@earlier_timm"])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for model in find_models(arguments.models):
        for pretrained in (False, True) if model.architecture in ("inception_v3", "googlenet") else (False,):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(try_weights(model, Path(folder), pretrained=pretrained))
            gc.collect()
            row = rows[-1]
            if arguments.train and not row["failed"]:
                row["failed"] = try_training(model)
                gc.collect()
            name = f"{row['model']}{' (pretrained)' if pretrained else ''}"
            difference, spread = row.get("difference", float("nan")), row.get("spread", float("nan"))
            print(
                f"{name:42} {row.get('parameters', 0):>12,} {difference:10.1e} of {spread:5.3f} {row['seconds']:>7} s"
                f"  {row['failed']}",
                flush=True,
            )
    failed = [str(row["model"]) for row in rows if row["failed"]]
    largest = max((float(str(row["difference"])) for row in rows if "difference" in row), default=float("nan"))
    equal = len(rows) - len(failed)
    print(f"{equal} of {len(rows)} equal; largest difference {largest:.1e}; failed: {', '.join(failed) or 'none'}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
