"""Ours against what others offer, same images, model, weights, epochs and batch: timm's loop, fastai and AutoGluon.

    python benchmarks/peers.py [--model resnet18] [--epochs 2] [--train 128] [--test 64] [--rounds 3] [--threads 1]
                               [--peers timm "timm best" fastai autogluon] [--python PEER=PROGRAM …] [--json FILE]

Every side fine-tunes the whole network for the same epochs from the same weights and then predicts the test images;
the time holds both, and reading the images. Ours: ``freeze: false``, its defaults otherwise, two processes that
read, as timm's loader and AutoGluon's have.

timm        a loop over timm's own parts as its documentation describes them: create_dataset, create_loader with its
            default augmentation, create_optimizer_v2, create_scheduler_v2, float32, two workers
timm best   the same with channels-last and bfloat16 autocast
fastai      Learner.fit on ImageDataLoaders with its defaults (needs fastai: pip install fastai)
autogluon   MultiModalPredictor.fit and predict_proba with its defaults (needs autogluon.multimodal); its defaults hold
            back part of the training images, validate twice in an epoch and average the best states

``--python autogluon=ENVIRONMENT/bin/python`` lets a peer run in an environment of its own with the same torch;
AutoGluon needs that, because it wants an older timm.

Images are those of baseline.py. Each side runs in a process of its own, in turn; ratios are medians of the rounds.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from baseline import auc_of, measure
from plain_loop import Clock, plain_network, write_images, write_weights

PEERS = ("timm", "timm best", "fastai", "autogluon")


def ours(task: dict[str, Any]) -> dict[str, float]:
    """Train and test with the program, in this process."""
    import model_aggregation as ma
    import model_aggregation.analysis.groups  # imports do not count on any side
    import model_aggregation.experiment
    from model_aggregation.engine.later import import_the_rest

    import_the_rest()

    clock = Clock()
    folder = Path(tempfile.mkdtemp(dir=task["folder"]))
    with clock.running():
        run = ma.train(
            task["data"], task["model"], weights=(task["weights"],), epochs=task["epochs"], freeze=False, name="one",
            positive="odd", batch_size=task["batch"], optimizer="adam", learning_rate=1e-4, schedule="constant",
            warmup_epochs=0, drop_last=True, normalize="half", image_size=224,
            validation=False, quiet=True, log_folder=folder / "log", cache_folder=folder, allow_duplicates=True,
            workers=2, jobs=0,
        )  # fmt: skip
    return clock.result([auc_of(run)])


def timm_side(task: dict[str, Any]) -> dict[str, float]:
    """Train and test with timm's parts."""
    import torch
    from sklearn.metrics import roc_auc_score

    from model_aggregation.models.imports import timm_library

    timm_library()
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    best = task["peer"] == "timm best"
    layout = torch.channels_last if best else torch.contiguous_format
    network = plain_network(task["model"])
    network.load_state_dict(torch.load(task["weights"], weights_only=True))
    network = network.to(memory_format=layout)
    clock = Clock()

    def loader(split: str, *, training: bool) -> Any:
        return create_loader(
            create_dataset("", root=str(Path(task["data"]) / split)), (3, 224, 224), task["batch"],
            is_training=training, use_prefetcher=False, num_workers=2, device=torch.device("cpu"),
            persistent_workers=False,
        )  # fmt: skip

    with clock.running():
        optimizer = create_optimizer_v2(network, opt="adam", lr=1e-4, weight_decay=0.0)
        loss = torch.nn.CrossEntropyLoss()
        network.train()
        for _ in range(task["epochs"]):
            for images, labels in loader("train", training=True):
                with torch.autocast("cpu", torch.bfloat16, enabled=best):
                    value = loss(network(images.contiguous(memory_format=layout)), labels)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
        network.eval()
        scores, truth = [], []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=best):
            for images, labels in loader("test", training=False):
                output = network(images.contiguous(memory_format=layout)).float()
                scores += torch.softmax(output, 1)[:, 1].tolist()
                truth += labels.tolist()
    return clock.result([float(roc_auc_score(truth, scores))])


def fastai_side(task: dict[str, Any]) -> dict[str, float]:
    """Train and test with fastai's defaults."""
    import torch

    from model_aggregation.models.imports import torchvision_models

    torchvision_models()  # makes the import possible beside a torch of another build
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, aug_transforms
    from sklearn.metrics import roc_auc_score

    network = plain_network(task["model"])
    network.load_state_dict(torch.load(task["weights"], weights_only=True))
    clock = Clock()
    with clock.running():
        loaders = ImageDataLoaders.from_folder(
            task["data"], train="train", valid="test", item_tfms=Resize(224), batch_tfms=aug_transforms(), seed=0,
            bs=task["batch"], num_workers=0,
        )  # fmt: skip
        learner = Learner(loaders, network, loss_func=CrossEntropyLossFlat())
        with learner.no_bar(), learner.no_logging():
            learner.fit(task["epochs"], 1e-4)
            scores, truth = learner.get_preds(dl=loaders.test_dl(loaders.valid.items, with_labels=True))
    return clock.result([float(roc_auc_score(truth.tolist(), scores[:, 1].tolist()))])


def autogluon_side(task: dict[str, Any]) -> dict[str, float]:
    """Train and test with AutoGluon's defaults; weights lie in a folder as it wants them."""
    import pandas as pd
    import torch

    from model_aggregation.models.imports import timm_library

    timm = timm_library()
    from autogluon.multimodal import MultiModalPredictor
    from sklearn.metrics import roc_auc_score

    folder = Path(tempfile.mkdtemp(dir=task["folder"]))
    body = timm.create_model(task["model"], num_classes=0)
    weights = torch.load(task["weights"], weights_only=True)
    (folder / "weights").mkdir()
    torch.save({name: weights[name] for name in body.state_dict()}, folder / "weights" / "pytorch_model.bin")
    about = {"architecture": task["model"], "num_features": body.num_features, "pretrained_cfg": body.pretrained_cfg}
    (folder / "weights" / "config.json").write_text(json.dumps(about), encoding="utf-8")
    tables = {}
    for split in ("train", "test"):
        paths = sorted((Path(task["data"]) / split).glob("*/*"))
        rows = [(str(path), int(path.parent.name == "odd")) for path in paths]
        tables[split] = pd.DataFrame(rows, columns=["image", "label"])
    chosen = {
        "model.names": ["timm_image"], "model.timm_image.checkpoint_name": str(folder / "weights"),
        "optim.max_epochs": task["epochs"], "optim.lr": 1e-4, "env.num_gpus": 0, "env.batch_size": task["batch"],
        "env.per_gpu_batch_size": task["batch"],
    }  # fmt: skip
    clock = Clock()
    with clock.running():
        predictor = MultiModalPredictor(label="label", path=str(folder / "model"), verbosity=0)
        predictor.fit(tables["train"], hyperparameters=chosen, seed=0)
        scores = predictor.predict_proba(tables["test"])
    return clock.result([float(roc_auc_score(tables["test"]["label"], scores[1]))])


SIDES = {"ours": ours, "timm": timm_side, "timm best": timm_side, "fastai": fastai_side, "autogluon": autogluon_side}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--peers", nargs="+", default=list(PEERS[:2]), choices=PEERS)
    for name, default in (("rounds", 3), ("threads", 1), ("train", 128), ("test", 64), ("batch", 16), ("epochs", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PROGRAM")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(SIDES[given.side](json.loads(given.task))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_images(folder / "images", {"train": given.train, "test": given.test})
        task = {
            **{name: getattr(given, name) for name in ("model", "threads", "batch", "epochs")},
            "folder": str(folder), "data": str(data), "weights": str(write_weights(folder, given.model, data)),
        }  # fmt: skip
        pythons = dict(pair.split("=", 1) for pair in given.python)
        rows = [compare(task, peer, given.rounds, pythons.get(peer)) for peer in given.peers]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def compare(task: dict[str, Any], peer: str, rounds: int, python: str | None) -> dict[str, Any]:
    """Measure a peer and ours in turn, print and return the medians."""
    taken: dict[str, list[dict[str, float]]] = {peer: [], "ours": []}
    for _ in range(rounds):
        for side, values in taken.items():
            program = python if side == peer else None
            values.append(measure(side, {**task, "peer": side}, script=__file__, python=program))
    row: dict[str, Any] = {"peer": peer}
    for kind in ("wall", "cpu"):
        ratios = [other[kind] / own[kind] for other, own in zip(taken[peer], taken["ours"], strict=True)]
        row[f"{kind}_ratio"] = round(statistics.median(ratios), 2)
    row |= {f"{side}_auc": statistics.median(v["auc"] for v in values) for side, values in taken.items()}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
