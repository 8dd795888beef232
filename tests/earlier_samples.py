"""Runs as the earlier program left them: its files, its row of the database, and what it called AUC."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results_samples import roc_table
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from model_aggregation.files import csv_text
from model_aggregation.results.run_folder import RunFolder

NUMBERS = ("accuracy", "sensitivity", "specificity", "precision", "f1", "blanced_accuracy", "cutoff", "auc")
COLUMNS = ("run_name", "group_name", "datetime", *NUMBERS, "log_folder")
TABLE = (
    "CREATE TABLE IF NOT EXISTS test_result(id INTEGER PRIMARY KEY AUTOINCREMENT,run_name TEXT,group_name TEXT,"
    "datetime TEXT,accuracy REAL,sensitivity REAL,specificity REAL,precision REAL,f1 REAL,blanced_accuracy REAL,"
    "cutoff REAL,auc REAL,log_folder TEXT)"
)
GRID = np.concatenate([np.arange(10) / 1000, np.arange(1, 99) / 100, 0.99 + np.arange(11) / 1000]).round(5)
"""Its cutoffs: in steps of 0.001 below 0.01 and above 0.99, of 0.01 between."""

TRACEBACK = """Traceback (most recent call last):
  File "main_sequence.py", line 88, in main_sequence
    traing_sequence(yaml_path)
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "main_sequence.py", line 90, in main_sequence
    traing_sequence(yaml_path)
  File "untils.py", line 141, in train_model
    outputs = model(inputs)
RuntimeError: CUDA out of memory. 割り当て失敗
(GPU 0; 8.00 GiB total capacity)
"""


def rectangles(positive: np.ndarray, score: np.ndarray) -> float:
    """Return what the earlier program called AUC: rectangles as high as their right end, over its grid of cutoffs."""
    rates = [[(score[part] > cutoff).mean() for part in (positive, ~positive)] for cutoff in GRID]
    table = pd.DataFrame(rates, columns=["TPR", "FPR"]).sort_values(by="FPR")
    area = 0.0
    for place in range(len(table) - 1):
        width = table["FPR"].iloc[place + 1] - table["FPR"].iloc[place]
        area += width * table["TPR"].iloc[place + 1]
    return float(area)


def close_scores(n: int = 120, *, seed: int = 0, spread: float = 0.04, apart: float = 0.6) -> pd.DataFrame:
    """Return predictions of a network that has learnt little: probabilities of two classes close to one half.

    The order of the images does not depend on the ``spread`` of their scores, nor does the AUC.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    score = 1 / (1 + np.exp(-(random.normal(0, spread, n) + apart * spread * labels)))
    names = np.array(["ok", "ng"])[labels]
    return pd.DataFrame({"path": [rf"data\x\test\{i}.png" for i in range(n)], "correct_label": names}).assign(
        ng=score, ok=1 - score
    )


def earlier_run(
    folder: Path, table: pd.DataFrame, *, cutoff: float | None = None, kept: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the files of a run, ``ng`` the positive class of two, and return the numbers of its row.

    ``kept`` are endings of the files that are still there, all of them without any.
    """
    classes = [str(name) for name in table.columns[2:]]
    truth, scores = table["correct_label"], table[classes].to_numpy()
    row: dict[str, Any] = dict.fromkeys(NUMBERS)
    called = np.array(classes)[scores.argmax(axis=1)]
    if len(classes) == 2:
        positive = (truth == "ng").to_numpy()
        called = np.where(table["ng"] > cutoff, "ng", "ok")
        sensitivity, specificity = (recall_score(truth, called, pos_label=name) for name in ("ng", "ok"))
        row |= {"sensitivity": sensitivity, "specificity": specificity, "cutoff": cutoff}
        row |= {"precision": precision_score(truth, called, pos_label="ng", zero_division=0)}
        row |= {"f1": f1_score(truth, called, pos_label="ng"), "blanced_accuracy": (sensitivity + specificity) / 2}
        row["auc"] = rectangles(positive, table["ng"].to_numpy())
    row["accuracy"] = accuracy_score(truth, called)
    run, name = RunFolder(folder), folder.name
    folder.mkdir(parents=True)
    settings = f"run_name: {name}\nmodel_name: resnet18\nlr: 0.0001\nss_label: {['ng', 'ok'] if cutoff else ['', '']}\n"
    chosen = f"The maximum value for Balanced Accuracy is 0.55 and CutOff is {cutoff}.(0.4<=CutOff<=0.6)\n"
    texts = {
        "_test.csv": csv_text(table),
        "_test_p.csv": csv_text(table.assign(predict_label=[f"{word}_p" for word in called])[
            ["path", "correct_label", "predict_label", *classes]
        ]),
        "_status.txt": "Test Accuracy: 正解\n" + (chosen if cutoff else ""),
        ".yaml": settings,
    }  # fmt: skip
    for ending, text in texts.items():
        (folder / f"{name}{ending}").write_bytes(text.encode("cp932"))
    run.write_confusion(confusion_matrix(truth, called, labels=classes), classes)
    if len(classes) == 2:
        run.write_roc(roc_table(positive, table["ng"].to_numpy()))
    for path in folder.iterdir():
        if kept and path.name.removeprefix(name) not in kept:
            path.unlink()
    return {key: None if value is None else float(value) for key, value in row.items()}


def write_rows(log: Path, *rows: dict[str, Any]) -> None:
    """Insert rows as the earlier program does."""
    usual = {"group_name": "single", "datetime": "2023-04-05 06:07:08", "log_folder": "C:\\proj\\log"}
    values = [tuple({**usual, **row}.get(name) for name in COLUMNS) for row in rows]
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        connection.execute(TABLE)
        marks = ", ".join("?" * len(COLUMNS))
        connection.executemany(f"INSERT INTO test_result({', '.join(COLUMNS)}) VALUES ({marks})", values)
        connection.commit()
