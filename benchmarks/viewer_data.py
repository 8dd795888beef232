"""Times the viewer's data access on a large log: one group of many runs, one test set of many images.

    python benchmarks/viewer_data.py large_log --runs 500 --images 100000 --classes 10

The log is made once and kept; most runs are hard links to the files of a few. Images are not made.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.config import make_settings
from model_aggregation.files import write_csv, write_json
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import predictions_table
from model_aggregation.settings_files import write_settings
from model_aggregation.viewer.reading import ImageQuery, LogReader, SortKey

GROUP = "large"
DIFFERENT = 4
"""Runs with predictions of their own."""


def make_log(log: Path, runs: int, images: int, classes: int) -> None:
    """Write the log folder and its index."""
    names = [f"class_{number}" for number in range(classes)]
    labels = np.arange(images) % classes
    ids = [f"{names[label]}/image_{number:06d}.png" for number, label in enumerate(labels)]
    paths = [f"/data/large set/{name}" for name in ids]
    words = np.array(names, dtype=object)[labels]
    facts = pd.DataFrame({"id": ids, "path": paths, "label": words, "split": "test"})
    facts["group"] = [f"P{number // 5}" for number in range(images)]
    facts["site"] = np.array(["東京", "Lyon", "Oslo"], dtype=object)[np.arange(images) % 3]
    facts["readable"], facts["content_hash"] = "True", ""
    for number in range(runs):
        folder = RunFolder(log / GROUP / f"{GROUP}_model{number:03d}")
        template = RunFolder(log / GROUP / f"{GROUP}_model{number % DIFFERENT:03d}")
        folder.path.mkdir(parents=True, exist_ok=True)
        if number < DIFFERENT:
            _write_predictions(folder, facts, names, seed=number)
            write_csv(folder.images_csv, facts)
        else:
            for own, other in _pairs(folder, template):
                own.unlink(missing_ok=True)
                os.link(other, own)
        _write_facts(folder, names, images, quality=0.6 + 0.3 * number / runs)
        settings = make_settings(data="/data/large set", model="timm:resnet18", name=folder.name, validation=False)
        write_settings(settings, folder.settings_yaml)
    Index(log).rebuild()


def _pairs(folder: RunFolder, template: RunFolder) -> list[tuple[Path, Path]]:
    return [
        (folder.images_csv, template.images_csv),
        (folder.predictions_csv("test"), template.predictions_csv("test")),
        (folder.predicted_labels_csv("test"), template.predicted_labels_csv("test")),
    ]


def _write_predictions(folder: RunFolder, facts: pd.DataFrame, names: list[str], seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.array([names.index(name) for name in facts["label"]])
    scores = random.random((len(facts), len(names))) ** 2 + np.eye(len(names))[labels] * 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    head = pd.DataFrame({"path": facts["path"], "correct_label": facts["label"]})
    table = predictions_table(pd.concat([head, pd.DataFrame(scores, columns=names)], axis=1))
    folder.write_predictions("test", table, predicted=[names[k] for k in scores.argmax(axis=1)])


def _write_facts(folder: RunFolder, names: list[str], images: int, quality: float) -> None:
    def number(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01, "method": "made up", "n": images}

    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "macro_auc", "hand_till_auc", "mcc", "brier")
    content = {
        **{name: number(quality) for name in metrics},
        "classes": {name: {metric: number(quality) for metric in metrics} for name in names},
    }
    folder.write_environment(
        {
            "model": f"timm:model_{folder.name}", "classes": names, "primary_metric": "balanced_accuracy",
            "test_fingerprint": "t", "finished": "2025-01-02 03:04:05", "parameters": 11_000_000, "image_size": 224,
            "timing": {"train_seconds": 100.0, "test_images_per_second": 900.0},
        }
    )  # fmt: skip
    write_json(folder.metrics_json, {"val": content, "test": content})


def timed(what: str, call: Callable[[], Any]) -> float:
    """Print and return the seconds of a call."""
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    print(f"{what:<58} {1000 * seconds:9.1f} ms")
    return seconds


def measure(log: Path, cache: Path) -> dict[str, float]:
    """Time every method, with an empty cache and with a full one."""
    found: dict[str, float] = {}

    def take(what: str, call: Callable[[], Any]) -> None:
        found[what] = timed(what, call)

    shutil.rmtree(cache, ignore_errors=True)
    for again in ("empty cache", "full cache, new process"):
        print(f"-- {again}")
        run = LogReader(log, cache_folder=cache).groups().rows[0].best_run or ""
        reader = LogReader(log, cache_folder=cache)
        for name, call in _calls(reader, run).items():
            take(f"{name}, {again}", call)
    print("-- again")
    take("groups again", reader.groups)
    take("leaderboard again", lambda: reader.leaderboard(GROUP))
    take("image across models again", lambda: reader.image_across_models(GROUP, IMAGE))
    for name, query in QUERIES.items():
        take(f"page: {name}", lambda query=query: reader.image_page(GROUP, run, "test", query, offset=500))
    last = QUERIES["errors, two sort keys"]
    take("page: next page", lambda: reader.image_page(GROUP, run, "test", last, offset=600))
    take("neighbours", lambda: reader.neighbours(GROUP, run, "test", last, index=7))
    return found


def _calls(reader: LogReader, run: str) -> dict[str, Callable[[], Any]]:
    return {
        "groups": reader.groups,
        "leaderboard": lambda: reader.leaderboard(GROUP),
        "run": lambda: reader.run(GROUP, run),
        "predictions": lambda: reader.predictions(GROUP, run),
        "confusion": lambda: reader.confusion(GROUP, run),
        "curves": lambda: reader.curves(GROUP, run),
        "all models (20)": lambda: reader.all_models(GROUP),
        "image across models": lambda: reader.image_across_models(GROUP, IMAGE),
        "data": lambda: reader.data(GROUP),
    }


IMAGE = "class_3/image_000003.png"
QUERIES = {
    "all": ImageQuery(),
    "sort by probability": ImageQuery(sort=(SortKey("p3", True),)),
    "sort by path": ImageQuery(sort=(SortKey("path", True),)),
    "sort by group": ImageQuery(sort=(SortKey("group"),)),
    "errors, two sort keys": ImageQuery(errors_only=True, sort=(SortKey("actual"), SortKey("confidence", True))),
    "text": ImageQuery(text="IMAGE_0099"),
    "metadata and pair": ImageQuery(actual="class_1", predicted="class_2", metadata={"m0": "東京"}),
    "confidence range": ImageQuery(lowest_confidence=0.3, highest_confidence=0.4),
    "disagreement, sort by models wrong": ImageQuery(disagreement=True, sort=(SortKey("models_wrong", True),)),
}


def main() -> None:
    """Make the log where it is missing, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    log = arguments.folder / "log"
    if not (log / "analyze_record.db").is_file():
        timed("making the log", lambda: make_log(log, arguments.runs, arguments.images, arguments.classes))
    figures = measure(log, arguments.folder / "cache")
    (arguments.folder / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
