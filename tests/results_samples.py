"""Small finished, failed and interrupted runs on disk, made as a real run would make them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from model_aggregation.results.run_folder import RunFolder


def number(value: float | None, n: int = 40, reason: str | None = None) -> dict[str, Any]:
    """Return one metric as it stands in ``metrics.json``."""
    around = (None, None) if value is None else (max(0.0, value - 0.1), min(1.0, value + 0.1))
    return {"value": value, "low": around[0], "high": around[1], "method": "sample", "n": n, "reason": reason}


def predictions(classes: Sequence[str], folder: Path, n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return probabilities of ``n`` images that mostly point to the right class."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % len(classes)
    scores = random.random((n, len(classes))) + np.eye(len(classes))[labels] * 0.6
    scores /= scores.sum(axis=1, keepdims=True)
    paths = [str(folder / f"{classes[k]}_{i}.png") for i, k in enumerate(labels)]
    table = pd.DataFrame({"path": paths, "correct_label": [classes[k] for k in labels]})
    return pd.concat([table, pd.DataFrame(scores, columns=list(classes))], axis=1)


def evaluated(table: pd.DataFrame, classes: Sequence[str]) -> tuple[dict[str, Any], list[str], pd.DataFrame | None]:
    """Return the object for ``metrics.json``, the predicted labels and the ROC table (two classes)."""
    scores = table[list(classes)].to_numpy()
    predicted = [classes[k] for k in scores.argmax(axis=1)]
    truth = list(table["correct_label"])
    matrix = confusion_matrix(truth, predicted, labels=list(classes))
    recalls = matrix.diagonal() / matrix.sum(axis=1)
    metrics = {
        "n": len(table),
        "accuracy": number(float(np.mean(np.array(truth) == predicted)), len(table)),
        "balanced_accuracy": number(float(recalls.mean())),
        "confusion": matrix.tolist(),
        "classes": {name: {"sensitivity": number(float(recalls[k]))} for k, name in enumerate(classes)},
        "warnings": [],
    }
    if len(classes) > 2:
        return {**metrics, "macro_f1": number(0.5), "precision": number(0.5)}, predicted, None
    positive = [label == classes[1] for label in truth]
    metrics |= {
        "positive": classes[1],
        "auc": number(float(roc_auc_score(positive, scores[:, 1]))),
        "sensitivity": number(float(recalls[1])),
        "specificity": number(float(recalls[0])),
        "f1": number(0.8),
        "precision": number(None, reason="nothing predicted positive"),
        "cutoff": {"value": 0.5, "source": "validation", "interval": {"low": 0.45, "high": 0.55}},
    }
    return metrics, predicted, roc_table(np.array(positive), scores[:, 1])


def roc_table(positive: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return the ROC by scikit-learn in the program's columns: strictly above the cutoff is positive."""
    false_positive, true_positive, _ = roc_curve(positive, scores, drop_intermediate=False)
    cutoffs = np.unique(scores)
    rows = pd.DataFrame({"CutOff": [-np.inf, *cutoffs], "TPR": true_positive[::-1], "FPR": false_positive[::-1]})
    rows["Balanced Accuracy"] = (rows["TPR"] + 1 - rows["FPR"]) / 2
    return rows


def make_run(
    path: Path,
    *,
    classes: Sequence[str] = ("cat", "dog"),
    validation: float | None = 0.8,
    seed: int = 0,
    **environment: Any,
) -> RunFolder:
    """Write a finished run with every file of its test."""
    folder = RunFolder(path)
    table = predictions(classes, path.parent / "images", seed=seed)
    metrics, predicted, roc = evaluated(table, classes)
    folder.write_environment(
        {
            "model": "torchvision:resnet18",
            "seed": seed,
            "classes": list(classes),
            "primary_metric": "auc" if len(classes) == 2 else "balanced_accuracy",
            "test_fingerprint": "t1",
            "finished": "2025-01-02 03:04:05",
            "parameters": 11,
            "timing": {"train_seconds": 1.5, "test_images_per_second": 100.0},
            **environment,
        }
    )
    folder.write_predictions("test", table, predicted=predicted)
    folder.write_confusion(metrics["confusion"], classes)
    if roc is not None:
        folder.write_roc(roc)
        folder.write_roc_figure(roc, metrics)
    sets = {"test": metrics}
    if validation is not None:
        sets = {"val": {"auc": number(validation), "balanced_accuracy": number(validation)}, **sets}
    rows = [
        {
            "split": name,
            "class": "",
            "metric": metric,
            **{key: entry.get(key) for key in ("value", "low", "high", "n")},
        }
        for name, content in sets.items()
        for metric, entry in content.items()
        if isinstance(entry, dict) and "value" in entry
    ]
    folder.write_metrics(sets, pd.DataFrame(rows))
    return folder


def make_failed_run(path: Path, message: str = "out of memory") -> RunFolder:
    """Write a run that ended with an error."""
    folder = RunFolder(path)
    folder.write_environment({"model": "timm:vit_tiny"})
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        folder.write_error(error)
    return folder
