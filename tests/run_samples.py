"""Runs as training leaves them, without training: predictions by chance, evaluated, recorded, pooled over folds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.analysis.run_sets import evaluate_run
from model_aggregation.config import Settings
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.settings_files import write_settings


def image_table(split: str, n: int, start: int = 0) -> pd.DataFrame:
    names = [f"{split}{number:03}.png" for number in range(start, start + n)]
    rows = {"id": names, "path": [f"/data/{name}" for name in names], "label": ["ng", "ok"] * (n // 2), "split": split}
    hashes = {"content_hash": names, "pixel_hash": [f"pixels of {name}" for name in names]}
    return pd.DataFrame(rows | {"group": "", "readable": True} | hashes)


def scores(images: pd.DataFrame, seed: int, skill: float) -> pd.DataFrame:
    truth = (images["label"] == "ok").to_numpy()
    p = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(skill * (truth - 0.5))))
    return pd.DataFrame({"path": images["path"], "correct_label": images["label"], "ng": 1 - p, "ok": p})


def make_run(
    path: Path, *, model: str = "timm:a", seed: int = 0, skill: float = 2.0, test: pd.DataFrame | None = None,
    **facts: Any,
) -> RunFolder:  # fmt: skip
    """Write a run as training does, evaluate it and put it into the index."""
    folder = RunFolder(path)
    settings = Settings(data=Path("/data"), model=model, positive="ok", seed=seed)
    images = pd.concat([image_table("val", 60), image_table("test", 40) if test is None else test])
    start(folder, settings, images, {"model": model, "seed": seed, "has_validation": True, **facts})
    place = sum(map(ord, model)) + 100 * seed + 10_000 * (facts.get("fold") or 0)
    for name, offset in (("val", 1), ("test", 2)):
        own = images[images["split"] == name]
        predicted = ["ng"] * len(own) if name == "test" else None
        folder.write_predictions(name, scores(own, place + offset, skill), predicted=predicted)
    evaluate_run(folder)
    log = next(parent for parent in path.parents if parent.name == "log")
    Index(log).record(path)
    return folder


def start(folder: RunFolder, settings: Settings, images: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    write_settings(settings, folder.settings_yaml)
    images.to_csv(folder.images_csv, index=False)
    folder.write_environment(
        {"test_fingerprint": "t", "primary_metric": "auc", "finished": "2025-01-01 00:00:00", "classes": ["ng", "ok"]}
        | facts
    )


def make_pooled(path: Path, members: list[RunFolder], *, model: str, **facts: Any) -> RunFolder:
    """Pool runs as a cross-validation does."""
    folder = RunFolder(path)
    images = pd.concat(
        [
            member.read_images().query("split == 'test'").assign(fold=fold)
            for fold, member in enumerate(members, start=1)
        ]
    )
    names = [member.name for member in members]
    settings = Settings(data=Path("/data"), model=model, positive="ok", folds=len(members))
    start(folder, settings, images, {"model": model, "seed": 0, "members": names, "folds": len(members), **facts})
    tables = pd.concat([member.read_predictions("test") for member in members])
    folder.write_predictions("test", tables, predicted=["ng"] * len(tables))
    cutoffs = [member.read_metrics()["test"]["cutoff"] for member in members]
    rows = [
        {"fold": fold, "run_name": name, "cutoff": one["value"], "cutoff_source": one["source"],
         "reason": one["reason"], "n_test": 20}
        for fold, (name, one) in enumerate(zip(names, cutoffs, strict=True), start=1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder.path / "folds.csv", index=False)
    evaluate_run(folder)
    Index(next(parent for parent in path.parents if parent.name == "log")).record(path)
    return folder


def cross_validate(group: Path, model: str, *, seed: int | None = None, folds: int = 3) -> RunFolder:
    name = f"g_{model[-1]}" + ("" if seed is None else f"_s{seed}")
    members = [
        make_run(
            group / f"{name}_f{fold}", model=model, seed=seed or 0, test=image_table("test", 20, 20 * fold),
            fold=fold, folds=folds, part_of=name, test_fingerprint=f"fold {fold}",
        )
        for fold in range(1, folds + 1)
    ]  # fmt: skip
    facts = {} if seed is None else {"part_of": f"g_{model[-1]}"}
    return make_pooled(group / name, members, model=model, **{"seed": seed or 0, **facts})
