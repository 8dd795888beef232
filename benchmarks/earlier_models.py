"""Each network of the earlier program's lists is built as it built it, trained for one step, and predicts.

    python benchmarks/earlier_models.py [@earlier_torchvision @earlier_timm] [--json FILE]

Random weights, two images of the network's own size (224, Inception 299), Adam, head of two layers.
"""

import argparse
import gc
import json
import time
from pathlib import Path

import torch
from torch import nn

from model_aggregation.config import make_settings
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import ModelName, find_models


def try_model(model: ModelName) -> dict[str, object]:
    """Build, take one step, predict; return what happened."""
    started = time.perf_counter()
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
        reason = "" if finite else "not finite"
        parameters = network.parameters
    except Exception as error:  # noqa: BLE001  (each failure becomes a row of the table)
        reason, parameters = f"{type(error).__name__}: {error}", 0
    seconds = round(time.perf_counter() - started, 1)
    return {"model": str(model), "parameters": parameters, "seconds": seconds, "failed": reason}


def main() -> None:
    """Try every model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["@earlier_torchvision", "@earlier_timm"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for model in find_models(arguments.models):
        rows.append(try_model(model))
        print(f"{rows[-1]['model']:40} {rows[-1]['parameters']:>12,} {rows[-1]['seconds']:>7} s  {rows[-1]['failed']}")
        gc.collect()
    failed = [row["model"] for row in rows if row["failed"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} pass; failed: {', '.join(map(str, failed)) or 'none'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
