"""The folder of a user of the earlier program: scripts, settings, images, weights, results and database.

Everything is made from the description of its files, none of its code is used. Two classes, ``ng`` (sensitive) and
``ok``; a single run ``parts_1`` and a group ``parts_timm`` with one run.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from openpyxl import Workbook
from PIL import Image
from torch import nn

from model_aggregation.models.imports import timm_library

CLASSES = ("ng", "ok")
MODEL = "test_resnet"
SINGLE, GROUP = "parts_1", "parts_timm"
SCRIPTS = (
    "model_aggregation", "main_sequence", "various_model", "untils", "parameter_record", "available_model_pytorch",
    "available_model_timm", "cross_validation", "flask_app", "use_transform", "torch", "random", "types", "yaml",
)  # fmt: skip
"""Python files of that folder; the last four stand for what else may lie there."""

TABLE = """CREATE TABLE test_result (id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT, group_name TEXT,
    datetime TEXT, accuracy REAL, sensitivity REAL, specificity REAL, precision REAL, f1 REAL, blanced_accuracy REAL,
    cutoff REAL, auc REAL, log_folder TEXT)"""

TRANSFORMS = """import torchvision

_plain = [torchvision.transforms.Resize((224, 224)), torchvision.transforms.ToTensor(),
          torchvision.transforms.Normalize((0.5,), (0.5,))]
use_transform = {"train": torchvision.transforms.Compose([torchvision.transforms.RandomHorizontalFlip(), *_plain]),
                 "val": torchvision.transforms.Compose(_plain)}
"""


def settings_of(run_name: str, log_folder: str = "log", **changes: object) -> dict[str, object]:
    """Return all 22 keys as the earlier program wrote them."""
    return {
        "run_name": run_name, "cache": True, "sys_split": False, "save_wip_model": None, "test": True,
        "validation": True, "test_best_model": False, "data_dir": "data\\parts", "weight_only": True,
        "weight_freeze": [False, None], "device": "cpu", "source": "timm", "model_name": MODEL, "channel": 3,
        "num_classes": 2, "ss_label": list(CLASSES), "batch_size": 16, "pretrained": False, "epoch": 1, "lr": 0.0001,
        "loss_num": 0, "log_folder": log_folder, **changes,
    }  # fmt: skip


class Wrapped(nn.Module):
    """A network of timm without classifier and the head of two layers, by the names in the old state dicts."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = timm_library().create_model(MODEL, num_classes=0)
        features = self.model.num_features
        self.add_layer = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Dropout(0.5), nn.Linear(features, classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C)."""
        return self.add_layer(self.model(images))


@torch.no_grad()
def old_probabilities(network: nn.Module, path: Path) -> list[float]:
    """Return what the old network gives for an image: squashed to 224 px, mean and deviation 0.5, softmax."""
    image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    return [float(value) for value in network((pixels - 0.5) / 0.5).softmax(1)[0]]


def make_earlier_folder(folder: Path) -> Path:
    """Write the folder and return it."""
    for name in SCRIPTS:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the old folder was imported')\n", "utf-8")
    (folder / "use_transform.py").write_text(TRANSFORMS, "utf-8")
    (folder / "setting").mkdir()
    (folder / "setting" / "plot_setting.yaml").write_text(
        "run_name: plot_setting\ntitle: ROC\nxlabel: FPF\nylabel: TPF\ncutoff_ll: 0.4\ncutoff_ul: 0.6\n", "utf-8"
    )
    for split, count in (("train", 24), ("val", 24), ("test", 24)):
        for number in range(count):
            for label in CLASSES:
                seed = number + len(split) * 1000 + (label == "ng") * 500
                _write_picture(folder / "data" / "parts" / split / label / f"{number}.png", label, seed)
    torch.manual_seed(0)
    rows = [
        _write_run(folder, SINGLE, "single", "log"),
        _write_run(folder, f"{GROUP}_{MODEL}", GROUP, f"log/{GROUP}"),
    ]
    with closing(sqlite3.connect(folder / "log" / "analyze_record.db")) as connection:
        connection.execute(TABLE)
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO test_result ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        connection.commit()
    return folder


def _write_picture(path: Path, label: str, seed: int) -> None:
    """Write colour noise that is a little brighter where something is wrong: the classes overlap."""
    random = np.random.default_rng(seed)
    level = random.normal(110 if label == "ng" else 95, 15)
    pixels = random.normal(level, 30, (20, 20, 3)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_run(root: Path, name: str, group: str, log_folder: str) -> dict[str, object]:
    """Write the files of a finished run and return its row in the database."""
    run = root / log_folder / name
    run.mkdir(parents=True)
    text = yaml.dump(settings_of(name, log_folder.replace("/", "\\")))
    (run / f"{name}.yaml").write_text(text, "utf-8")
    network = _spread(Wrapped(len(CLASSES)).eval(), root / "data" / "parts" / "test")
    torch.save(network.state_dict(), run / "last_model_weight.pth")
    torch.save(network.state_dict(), run / "best_model_all.pth")
    (run / f"{MODEL}_architecture.txt").write_text(str(network), "utf-8")
    table = _predictions(root / "data" / "parts" / "test", network)
    table.to_csv(run / f"{name}_test.csv", index=False)
    cutoff, balanced = 0.5, 0.0
    for step in range(40, 61):
        value = _rates(table, step / 100)["blanced_accuracy"]
        nearer = abs(0.5 - step / 100) < abs(0.5 - cutoff)
        if round(value, 5) > balanced or (round(value, 5) == balanced and nearer):
            cutoff, balanced = step / 100, round(value, 5)
    rates = _rates(table, cutoff)
    labels = [f"{'ng' if score > cutoff else 'ok'}_p" for score in table["ng"]]
    with_labels = table.copy()
    with_labels.insert(2, "predict_label", labels)
    with_labels.to_csv(run / f"{name}_test_p.csv", index=False)
    (run / f"{name}_status.txt").write_text(
        f"you select model is {MODEL}\n[Epoch 0/0][train] Loss: 0.69000 Acc: 0.50000\n"
        f"The maximum value for Balanced Accuracy is {balanced} and CutOff is {cutoff}.(0.4<=CutOff<=0.6)\n",
        "utf-8",
    )
    _write_matrix(run / f"{name}_test_cm.xlsx", table, labels)
    auc = 0.98765  # whatever its rectangles gave
    where = f"C:\\proj\\{log_folder}".replace("/", "\\")
    names = {"run_name": name, "group_name": group, "datetime": "2024-01-02 03:04:05", "cutoff": cutoff, "auc": auc}
    return {**names, **rates, "log_folder": where}


@torch.no_grad()
def _spread(network: Wrapped, folder: Path) -> Wrapped:
    """Let the scores of an untrained network lie on both sides of 0.5, as a trained one's do."""
    last = network.add_layer[3]
    last.weight *= 300 * torch.sign(last.weight.sum(1, keepdim=True))
    scores = torch.tensor(_predictions(folder, network)["ng"].to_numpy()).logit(eps=1e-6)
    last.bias[0] -= float(scores.median())
    return network


def _predictions(folder: Path, network: nn.Module) -> pd.DataFrame:
    rows = [
        [str(path.resolve()), label, *old_probabilities(network, path)]
        for label in CLASSES
        for path in sorted((folder / label).glob("*.png"))
    ]
    return pd.DataFrame(rows, columns=["path", "correct_label", *CLASSES])


def _rates(table: pd.DataFrame, cutoff: float) -> dict[str, float]:
    """Return the six numbers of the earlier program at a cutoff: a score strictly above it is positive."""
    truth, called = table["correct_label"] == "ng", table["ng"] > cutoff
    hits, misses = int((truth & called).sum()), int((truth & ~called).sum())
    alarms, rejected = int((~truth & called).sum()), int((~truth & ~called).sum())
    sensitivity, specificity = hits / (hits + misses), rejected / (rejected + alarms)
    precision = hits / (hits + alarms) if hits + alarms else 0.0
    return {
        "accuracy": (hits + rejected) / len(table),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": precision,
        "f1": 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0,
        "blanced_accuracy": (sensitivity + specificity) / 2,
    }


def _write_matrix(path: Path, table: pd.DataFrame, labels: list[str]) -> None:
    book = Workbook()
    sheet = book.active
    sheet.title = "confusion_matrix"
    sheet.cell(1, 3, "predict_label")
    sheet.cell(3, 1, "correct_label")
    for row, truth in enumerate(CLASSES):
        sheet.cell(2, row + 3, truth)
        sheet.cell(row + 3, 2, truth)
        for column, called in enumerate(CLASSES):
            pairs = zip(table["correct_label"], labels, strict=True)
            sheet.cell(row + 3, column + 3, list(pairs).count((truth, f"{called}_p")))
    book.save(path)
