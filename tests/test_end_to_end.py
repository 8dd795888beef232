"""One real comparison through the command line, and everything that is read from it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score

import model_aggregation as ma
from model_aggregation.disk_space import planned_files
from model_aggregation.errors import ModelAggregationError
from model_aggregation.forecast import run_state
from model_aggregation.models.imports import timm_library

QUICK = [
    "--image-size", "32", "--epochs", "2", "--batch-size", "16", "--no-pretrained", "--channels", "1", "--jobs", "0",
]  # fmt: skip
RUN_FILES = {
    "{run}.yaml", "images.csv", "{run}_status.txt", "{model}_architecture.txt", "last_model_weight.pth",
    "best_model_weight.pth", "last_model_weight.json", "best_model_weight.json", "{run}_val.csv", "{run}_test.csv",
    "{run}_test_p.csv", "metrics.json", "metrics.csv", "environment.json", "{run}_test_cm.xlsx",
    "SHA256SUMS",
}  # fmt: skip
REPORT_FILES = {
    f"report/{name}" for name in ("roc_points.csv", "calibration.csv", "net_benefit.csv", "confusion.csv", "methods.md")
}
TWO_CLASS_FILES = {"{run}_test_roc.csv", "{run}_test_roc.png"}


def magg(*words, cwd, expect=0):
    result = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "model_aggregation", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "COLUMNS": "150"},
    )  # fmt: skip
    assert result.returncode == expect, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, two_classes):
    """A folder in which a comparison of three models was made; the weights of the third do not fit."""
    folder = tmp_path_factory.mktemp("work place 作業")
    torch.save({"weight": torch.zeros(2)}, folder / "foreign.pth")
    torch.manual_seed(0)
    command = [
        "compare", two_classes, "--models", "timm:test_resnet", "timm:test_efficientnet", "timm:test_vit",
        "--positive", "肺炎", "--name", "first", "--cache-folder", folder / "cache",
        "--image-size", "32", "--epochs", "2", "--batch-size", "16", "--channels", "1",
        "--weights", "timm:test_vit=foreign.pth", "--learning-rate", "3e-3",
    ]  # fmt: skip
    donors(folder)
    command += ["--weights", "timm:test_resnet=resnet.pth", "--weights", "timm:test_efficientnet=efficientnet.pth"]
    output = magg(*command, cwd=folder, expect=2)
    return folder, command, output


def donors(folder):
    timm = timm_library()
    for name in ("resnet", "efficientnet"):
        torch.save(timm.create_model(f"test_{name}", in_chans=1).state_dict(), folder / f"{name}.pth")


def run_folder(workplace, model="test_resnet"):
    return workplace[0] / "log" / "first" / f"first_{model}"


def expected_files(run, model, *, two):
    names = RUN_FILES | REPORT_FILES | (TWO_CLASS_FILES if two else set())
    return {name.format(run=run, model=model) for name in names}


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_a_run_are_exactly_those_promised(workplace):
    folder = run_folder(workplace)
    assert files_in(folder) == expected_files("first_test_resnet", "test_resnet", two=True)
    failed = {path.name for path in run_folder(workplace, "test_vit").iterdir()}
    assert "error.txt" in failed
    assert "metrics.json" not in failed
    assert {path.name for path in folder.parent.iterdir() if path.is_file()} == {
        "splits.csv", "findings.csv", "plan.json",
    }  # fmt: skip
    assert list((workplace[0] / "runs" / "first_test_resnet").glob("events*"))
    assert not list(workplace[0].rglob("*.part*"))


def test_the_output_says_what_happened_and_what_to_type_next(workplace):
    output = workplace[2]
    for words in ("epoch 2/2", "1 of 3 runs failed: first_test_vit", "magg predict", "magg leaderboard first"):
        assert words in output, words
    assert "Thumbs.db" in (workplace[0] / "log" / "first" / "findings.csv").read_text(encoding="utf-8")


def test_predictions_and_metrics_agree_with_scikit_learn(workplace):
    folder = run_folder(workplace)
    test = pd.read_csv(folder / "first_test_resnet_test.csv")
    assert list(test.columns) == ["path", "correct_label", "正常", "肺炎"]
    assert len(test) == 24
    assert np.allclose(test[["正常", "肺炎"]].sum(axis=1), 1, atol=1e-12)
    assert all(Path(path).is_file() for path in test["path"])
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    truth = test["correct_label"] == "肺炎"
    assert abs(metrics["test"]["auc"]["value"] - roc_auc_score(truth, test["肺炎"])) < 1e-12
    cutoff = metrics["test"]["cutoff"]
    assert cutoff == metrics["val"]["cutoff"]
    predicted = np.where(test["肺炎"] > cutoff["value"], "肺炎", "正常")
    matrix = confusion_matrix(test["correct_label"], predicted, labels=["正常", "肺炎"])
    assert metrics["test"]["confusion"] == matrix.tolist()
    assert metrics["test"]["sensitivity"]["value"] == pytest.approx(matrix[1, 1] / matrix[1].sum(), abs=1e-15)
    assert metrics["val"]["role"] == "used for choosing"
    labelled = pd.read_csv(folder / "first_test_resnet_test_p.csv")
    assert list(labelled.columns[:3]) == ["path", "correct_label", "predict_label"]
    assert labelled["predict_label"].tolist() == [f"{label}_p" for label in predicted]
    sheet = openpyxl.load_workbook(folder / "first_test_resnet_test_cm.xlsx")["confusion_matrix"]
    assert [[sheet.cell(3 + i, 3 + j).value for j in range(2)] for i in range(2)] == matrix.tolist()
    roc = pd.read_csv(folder / "first_test_resnet_test_roc.csv")
    assert roc.iloc[0].tolist() == [-np.inf, 1, 1, 0.5]
    assert len(roc) == 1 + test["肺炎"].nunique()


def test_the_split_is_stratified_and_files_stay_where_they_are(workplace, two_classes):
    split = pd.read_csv(workplace[0] / "log" / "first" / "splits.csv")
    counts = split.groupby(["label", "split"]).size().unstack()
    for label in ("正常", "肺炎"):
        assert counts.loc[label, "test"] == 12
        assert abs(counts.loc[label, "train"] - 0.8 * 48) < 1
    assert len(list(two_classes.rglob("*.png"))) == 120


def test_the_database_is_what_the_earlier_clients_read(workplace):
    connection = sqlite3.connect(workplace[0] / "log" / "analyze_record.db")
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("select * from test_result where group_name = 'first'")]
    connection.close()
    assert {row["run_name"] for row in rows} == {"first_test_resnet", "first_test_efficientnet"}
    for row in rows:
        assert row["log_folder"] == "log/first"
        folder = workplace[0] / row["log_folder"] / row["run_name"]
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        for column, metric in (("auc", "auc"), ("blanced_accuracy", "balanced_accuracy"), ("accuracy", "accuracy")):
            assert row[column] == metrics["test"][metric]["value"]
        assert row["cutoff"] == metrics["test"]["cutoff"]["value"]


def test_evaluating_again_gives_the_same_bytes(workplace):
    folder = run_folder(workplace)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".csv")}
    output = magg("analyze", folder, cwd=workplace[0])
    assert "balanced_accuracy" in output
    for name, data in before.items():
        assert (folder / name).read_bytes() == data, name


def test_the_same_command_skips_what_is_finished_and_other_settings_are_refused(workplace):
    folder, command, _ = workplace
    before = (run_folder(workplace) / "last_model_weight.pth").stat().st_mtime_ns
    output = magg(*command, cwd=folder, expect=2)
    assert output.count("finished before") == 2
    assert (run_folder(workplace) / "last_model_weight.pth").stat().st_mtime_ns == before
    refused = magg(*command, "--seed", "5", cwd=folder, expect=1)
    assert "seed was 0, now 5" in refused


def test_a_runs_own_yaml_continues_it_and_repeats_it_under_another_name(workplace):
    folder = run_folder(workplace)
    output = magg("run", folder / "first_test_resnet.yaml", cwd=workplace[0])
    assert "finished before" in output
    group = workplace[0] / "log" / "first"
    magg("run", folder / "first_test_resnet.yaml", "--name", "first_again", cwd=workplace[0])
    again = json.loads((group / "first_again" / "metrics.json").read_text(encoding="utf-8"))
    assert again == json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    first, second = (
        torch.load(path / "last_model_weight.pth", weights_only=True) for path in (folder, group / "first_again")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_leaderboard_on_screen_and_in_files(workplace, tmp_path):
    output = magg(
        "leaderboard", "first", "--csv", tmp_path / "a.csv", "--xlsx", tmp_path / "a.xlsx",
        "--json", tmp_path / "a.json", cwd=workplace[0],
    )  # fmt: skip
    assert output.count("failed") >= 2
    assert "images/s" in output
    table = pd.read_csv(tmp_path / "a.csv")
    ranked = table[table["state"] == "finished"]
    assert ranked["rank"].is_monotonic_increasing
    assert ranked.loc[ranked["rank"] == 1, "auc_val"].iloc[0] == ranked["auc_val"].max()
    assert "do not fit the network" in table.loc[table["state"] == "failed", "reason"].iloc[0]
    assert "did you mean first" in magg("leaderboard", "firts", cwd=workplace[0], expect=1)


def test_predicting_new_images(workplace, tmp_path):
    images = tmp_path / "new 画像"
    images.mkdir()
    test = pd.read_csv(run_folder(workplace) / "first_test_resnet_test.csv")
    for number, path in enumerate(test["path"]):
        Image.open(path).save(images / f"{number:02d}.png")
    (images / "broken.png").write_bytes(b"not an image")
    (images / "notes.txt").write_text("no image", encoding="utf-8")
    magg("predict", run_folder(workplace), images, "--out", tmp_path / "out.csv", cwd=workplace[0])
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    good = table[table["(error)"] == ""]
    assert len(table) == len(test) + 1
    assert np.allclose(good["肺炎"].astype(float), test["肺炎"], atol=1e-6)
    labelled = pd.read_csv(run_folder(workplace) / "first_test_resnet_test_p.csv")
    assert (good["predict_label"] + "_p").tolist() == labelled["predict_label"].tolist()
    broken = table[table["path"].str.endswith("broken.png")].iloc[0]
    assert broken["(error)"]
    assert broken["predict_label"] == ""


def test_rebuilding_the_index_loses_nothing(workplace):
    database = workplace[0] / "log" / "analyze_record.db"
    query = "select run_name, group_name, accuracy, auc, cutoff, log_folder from test_result order by run_name"
    connection = sqlite3.connect(database)
    before = connection.execute(query).fetchall()
    connection.close()
    database.write_bytes(b"damaged" * 1000)
    for left in database.parent.glob("analyze_record.db-*"):
        left.unlink()
    said = magg("leaderboard", "first", cwd=workplace[0])
    assert "damaged" in said
    assert "timm:test_resnet" in said
    connection = sqlite3.connect(database)
    assert connection.execute(query).fetchall() == before
    connection.close()


def test_three_classes_from_yaml_in_their_published_split(three_classes, tmp_path):
    settings = {
        "data": str(three_classes), "model": "timm:test_resnet", "name": "parts", "pretrained": False, "image_size": 32,
        "epochs": 2, "cache_folder": str(tmp_path / "cache"), "tensorboard": False, "transforms": None, "jobs": 0,
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    assert "Nothing was written" in magg("plan", "s.yaml", cwd=tmp_path)
    planned = magg("plan", "s.yaml", "--json", "plan.json", cwd=tmp_path)
    assert "Nothing was written" not in planned
    assert "written: plan.json" in planned
    assert "parts_test_cm.xlsx" in planned
    assert not (tmp_path / "log").exists()
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert plan["images"]["splits.csv"]["b"] == {"train": 12, "val": 5, "test": 6}
    assert plan["forecast"][0]["seconds"] > 0
    assert plan["forecast"][0]["state"] == "new"
    magg("run", "s.yaml", cwd=tmp_path)
    folder = tmp_path / "log" / "parts"
    extra = {"splits.csv", "findings.csv"}
    assert files_in(folder) == expected_files("parts", "test_resnet", two=False) | extra
    assert {str(path) for path in folder.rglob("*") if path.is_file()} == set(plan["forecast"][0]["files"])
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert metrics["cutoff"] is None
    assert sum(map(sum, metrics["confusion"])) == 18
    connection = sqlite3.connect(tmp_path / "log" / "analyze_record.db")
    row = connection.execute("select group_name, accuracy, auc, sensitivity, log_folder from test_result").fetchone()
    connection.close()
    assert row == ("single", metrics["accuracy"]["value"], None, None, "log")


def test_ctrl_c_stores_the_state_and_the_same_command_continues(two_classes, tmp_path):
    words = ["train", two_classes, "--model", "timm:test_resnet", "--positive", "肺炎", "--name", "stopped", *QUICK]
    words[words.index("--epochs") + 1] = "40"
    words += ["--cache-folder", tmp_path / "cache", "--no-tensorboard"]
    process = subprocess.Popen(
        [sys.executable, "-m", "model_aggregation", *map(str, words)], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )  # fmt: skip
    status = tmp_path / "log" / "stopped" / "stopped_status.txt"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (status.is_file() and "epoch 3/40" in status.read_text("utf-8")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "same command again" in errors
    assert "Traceback" not in errors
    connection = sqlite3.connect(tmp_path / "log" / "analyze_record.db")
    assert connection.execute("select state from runs").fetchall() == [("interrupted",)]
    connection.close()
    output = magg(*words, cwd=tmp_path)
    assert "continues after epoch" in output
    assert (tmp_path / "log" / "stopped" / "metrics.json").is_file()
    assert not (tmp_path / "log" / "stopped" / "state").exists()


def test_the_positive_class_is_never_guessed(two_classes, tmp_path):
    output = magg("train", two_classes, "--model", "timm:test_resnet", *QUICK, cwd=tmp_path, expect=1)
    assert "--positive 正常 or --positive 肺炎" in output
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "missing", "--model", "resnet18"], "missing"),
        (["train", ".", "--model", "resnet19"], "did you mean resnet18"),
        (["train", ".", "--model", "resnet18", "--epochs", "0"], "epochs"),
        (["train", ".", "--model", "resnet18", "--epoch", "3"], "--epochs"),
        (["train", ".", "--model", "resnet18", "--device", "cuda:7"], "--device"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["predict", ".", "."], "finished run"),
        (["leaderboard", "x"], "log folder"),
    ],
)
def test_errors_are_one_message_and_write_nothing(words, expected, tmp_path, two_classes):
    words = [two_classes if word == "." and words[0] == "train" else word for word in words]
    if "--device" in words:
        words += ["--positive", "肺炎"]
    output = magg(*words, cwd=tmp_path, expect=1)
    assert expected in output
    assert "Traceback" not in output
    assert not any(tmp_path.iterdir())


def test_the_same_verbs_in_python(two_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "positive": "肺炎", "pretrained": False, "image_size": 32, "epochs": 1, "cache_folder": tmp_path / "cache",
        "tensorboard": False, "test_share": 0.3,
    }  # fmt: skip
    group = ma.compare(two_classes, ["timm:test_resnet"], name="python", quiet=True, **given)
    assert group.leaderboard()["state"].tolist() == ["finished"]
    run = group.runs[0]
    assert run.metrics()["test"]["n"] == len(run.predictions()) == 36
    kept = {"save_every": 1, "whole_model": True}
    plan = ma.make_plan(data=two_classes, model="timm:test_resnet", name="alone", **given, **kept)
    planned, before = planned_files(plan, plan.runs[0]), run_state(plan.runs[0])
    alone = ma.run(plan, quiet=True)
    assert {path for path in alone.path.rglob("*") if path.is_file()} == set(planned)
    assert (before, run_state(plan.runs[0])) == ("new", "finished")
    other = ma.make_plan(data=two_classes, model="timm:test_resnet", name="alone", **given)
    assert run_state(other.runs[0]) == "name taken"
    assert alone.metrics() == run.metrics()
    assert ma.analyze(alone.path) == alone.metrics()
    assert len(ma.predict(alone, two_classes / "正常")) == 60
    with pytest.raises(ModelAggregationError, match="did you mean"):
        ma.train(two_classes, "resnet18", epoch=1)


@pytest.mark.parametrize("encoding", ["cp932", "ascii"])
def test_no_console_breaks_on_names(workplace, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "model_aggregation", "analyze", str(run_folder(workplace))]
    result = subprocess.run(words, capture_output=True, cwd=workplace[0], env=environment, check=False)
    assert result.returncode == 0, result.stderr.decode(encoding, "replace")
    assert b"Traceback" not in result.stderr
    text = result.stdout.decode(encoding)
    assert "sensitivity" in text
    words = [sys.executable, "-m", "model_aggregation", "train", "無い é 😀", "--model", "resnet18"]
    result = subprocess.run(words, capture_output=True, cwd=workplace[0], env=environment, check=False)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
