"""Run folders of the earlier program: what is taken from which file, what is asked for, and nothing is written."""

import shlex
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import magg  # noqa: F401  (fixture)
from conftest import write_image
from earlier_networks import earlier_network, probabilities, settings_of, settle, write_images, write_settings
from PIL import Image

import model_aggregation as ma
from model_aggregation.errors import ResultsError, SettingsError, UntrustedCodeError
from model_aggregation.results.earlier_network import earlier_network as found_of
from model_aggregation.results.earlier_sources import EarlierSources

RUN = Path("log/old")
IMAGE = Path("data/test/ng/0.png")
STATUS = (
    "Test Accuracy: 3/6 (50.0%)The maximum value for Balanced Accuracy is 0.7 and CutOff is 0.55.(0.4<=CutOff<=0.6)\n"
)


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A network of two classes; its run folder with settings and weights, and images, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_images(Path("data"), ("ng", "ok"))
    torch.manual_seed(0)
    network = settle(earlier_network("timm", "test_resnet", 2), torch.randn(4, 3, 64, 64))
    write_settings(RUN, settings_of("test_resnet", "timm", 2, ss_label=["ok", "ng"]))
    torch.save(network.state_dict(), RUN / "last_model_weight.pth")
    return network


def found(**given):
    return found_of(RUN, EarlierSources(**given))


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def write_row(path, cutoff, run="old", group="single"):
    """Write a result into a database as the earlier program made it."""
    columns = "accuracy, sensitivity, specificity, precision, f1, blanced_accuracy, cutoff, auc".replace(",", " REAL,")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS test_result (id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT, "
            f"group_name TEXT, datetime TEXT, {columns} REAL, log_folder TEXT)"
        )
        query = "INSERT INTO test_result (run_name, group_name, cutoff, log_folder) VALUES (?, ?, ?, 'log')"
        connection.execute(query, (run, group, cutoff))
    connection.close()


@pytest.mark.usefixtures("network")
def test_classes_come_from_the_table_of_predictions_else_from_the_data_else_from_the_user():
    assert found().classes == ("ng", "ok")
    assert f"classes: ng, ok (class folders of {Path('data/train')})" in found().said
    (RUN / "old_test.csv").write_bytes("path,correct_label,不良,良\na.png,良,0.4,0.6\n".encode("cp932"))
    assert found(positive="良").classes == ("不良", "良")
    assert found(classes=("x", "y"), positive="x").classes == ("x", "y")
    (RUN / "old_test.csv").unlink()
    Path("data").rename("elsewhere")
    with pytest.raises(ResultsError, match=r"neither .*old_test\.csv nor its data folder data is there; .*--classes"):
        found()


@pytest.mark.usefixtures("network")
def test_all_that_is_missing_is_asked_for_at_once():
    (RUN / "old.yaml").rename("kept.yaml")
    (RUN / "last_model_weight.pth").rename(RUN / "other.pth")
    with pytest.raises(ResultsError) as caught:
        found()
    words = [problem.partition(":")[0] for problem in caught.value.problems]
    assert words == ["settings", "classes", "weights"]
    for flag in ("--settings FILE", "--classes A B C", "--weights FILE"):
        assert flag in str(caught.value)
    assert f"(there are {RUN / 'other.pth'})" in str(caught.value)
    assert found(settings=Path("kept.yaml"), weights=RUN / "other.pth").weights == (RUN / "other.pth",)


@pytest.mark.usefixtures("network")
def test_a_number_of_classes_that_is_not_that_of_the_network_is_refused():
    with pytest.raises(ResultsError, match=r"--classes names 3 .*but num_classes of the settings is 2"):
        found(classes=("a", "b", "c"))
    settings = settings_of("test_resnet", "timm", 2)
    del settings["num_classes"]
    write_settings(RUN, settings)
    with pytest.raises(ResultsError, match=r"network of .* has 2 classes, but --classes names 3"):
        ma.predict(RUN, IMAGE, classes=["a", "b", "c"], quiet=True)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("files", "best", "expected"),
    [
        (("best_model_all.pth", "best_model_weight.pth"), True, ("best_model_all.pth", "best_model_weight.pth")),
        (("best_model_weight.pth",), True, ("best_model_weight.pth",)),
        ((), True, ("last_model_weight.pth",)),
        (("best_model_all.pth",), False, ("last_model_weight.pth",)),
    ],
)
def test_weights_are_those_that_were_tested(files, best, expected):
    for name in files:
        (RUN / name).touch()
    write_settings(RUN, settings_of("test_resnet", "timm", 2, ss_label=["ok", "ng"], test_best_model=best))
    assert found().weights == tuple(RUN / name for name in expected)


@pytest.mark.usefixtures("network")
def test_the_cutoff_is_the_stored_one_of_the_database_else_of_the_status_file():
    assert (found().positive, found().cutoff) == ("ok", 0.5)
    assert any(line.startswith("cutoff: 0.5 (none is stored)") for line in found().said)
    (RUN / "old_status.txt").write_text(STATUS.replace("0.55", "0.41") + STATUS, encoding="utf-8")
    assert found().cutoff == 0.55
    write_row(Path("log/analyze_record.db"), 0.6)
    write_row(Path("log/analyze_record.db"), 0.43)
    write_row(Path("log/analyze_record.db"), 0.47, group="other")
    assert found().cutoff == 0.43
    assert any("above 0.43 (from" in line for line in found().said)
    ma.rebuild_index("log")  # the database in today's form
    assert found().cutoff == 0.43
    RUN.rename("log/renamed")
    assert found_of(Path("log/renamed"), EarlierSources()).cutoff == 0.43
    Path("log/renamed").rename(RUN)
    Path("log/analyze_record.db").write_bytes(b"no database")
    assert found().cutoff == 0.55
    assert any("analyze_record.db cannot be read" in line for line in found().said)


@pytest.mark.usefixtures("network")
def test_a_cutoff_without_its_class_is_not_applied():
    write_settings(RUN, settings_of("test_resnet", "timm", 2))
    assert (found().positive, found().cutoff) == (None, 0.5)
    (RUN / "old_status.txt").write_text(STATUS, encoding="utf-8")
    with pytest.raises(ResultsError, match=r"which the settings do not name \(ss_label\); give it: --positive CLASS"):
        found()
    assert (found(positive="ng").positive, found(positive="ng").cutoff) == ("ng", 0.55)


def test_predict_applies_the_cutoff_says_what_it_took_and_writes_nothing(network, magg):  # noqa: F811
    image = probabilities(network, IMAGE)
    (RUN / "old_status.txt").write_text(STATUS, encoding="utf-8")
    write_row(Path("log/analyze_record.db"), float(image[1]) + 1e-3)
    before = contents(Path("log"))
    text = magg("predict", RUN, "data/test/ng", "--out", "p.csv")
    for words in ("settings: log/old/old.yaml", "classes: ng, ok", "cutoff: ok above", "weights: of the last epoch"):
        assert words in text.replace("\\", "/")
    table = pd.read_csv("p.csv")
    expected = np.stack([probabilities(network, Path(path)) for path in table["path"]])
    assert np.allclose(table[["ng", "ok"]].to_numpy(), expected, rtol=0, atol=1e-5)
    labels = np.where(expected[:, 1] > image[1] + 1e-3, "ok", "ng")
    assert table["predict_label"].tolist() == labels.tolist()
    assert contents(Path("log")) == before


def test_what_belongs_to_earlier_runs_is_refused_for_others(tmp_path):
    with pytest.raises(SettingsError, match=r"--classes, --pickle-folder: for a run folder of the earlier"):
        ma.predict(tmp_path, tmp_path, classes=["a"], pickle_folder=tmp_path, quiet=True)
    (tmp_path / "group" / "old").mkdir(parents=True)
    (tmp_path / "group" / "old" / "last_model_weight.pth").touch()
    with pytest.raises(ResultsError, match=r"It holds runs of the earlier program; give one of old\."):
        ma.predict(tmp_path / "group", tmp_path, quiet=True)
    with pytest.raises(SettingsError, match="--pickle-folder has an effect with --trust-pickle only"):
        ma.predict(tmp_path / "group" / "old", tmp_path, pickle_folder=tmp_path, quiet=True)
    with pytest.raises(SettingsError, match="did you mean classes"):
        ma.predict(tmp_path, tmp_path, clases=["a"])


@pytest.mark.usefixtures("network")
def test_code_that_its_settings_name_needs_a_yes():
    Path("transforms.py").write_text("raise SystemExit('not asked')\n", encoding="utf-8")
    write_settings(RUN, settings_of("test_resnet", "timm", 2, transforms="transforms.py"))
    with pytest.raises(UntrustedCodeError, match=r"transforms\.py"):
        ma.predict(RUN, IMAGE, quiet=True)


@pytest.mark.parametrize("form", ["classes", "splits", "table"])
def test_the_test_of_an_earlier_run_says_the_command_that_does_it(network, magg, form):  # noqa: F811
    other = Path("病院 B")
    for number, name in enumerate(("ng", "ok")):
        for image in range(3):
            path = other / ("test" if form == "splits" else "") / name / f"{image}.png"
            write_image(path, bright=number == 1, seed=number * 10 + image)
    if form == "table":
        paths = sorted(other.rglob("*.png"))
        rows = [(path.resolve(), path.parent.name) for path in paths]
        other = other / "other.csv"
        pd.DataFrame(rows, columns=["path", "label"]).to_csv(other, index=False)
    write_row(Path("log/analyze_record.db"), 0.43)
    before = contents(RUN)
    text = magg("test", RUN, other, expect=1)
    assert "is a run of the earlier program, whose files stay as they are" in text
    [command] = [line for line in text.splitlines() if line.strip().startswith("magg run")]
    magg(*shlex.split(command)[1:], "--jobs", 0)
    [folder] = [path for path in Path("log").iterdir() if path.is_dir() and path.name.startswith("old_")]
    table = pd.read_csv(folder / f"{folder.name}_test.csv")
    expected = np.stack([probabilities(network, Path(path)) for path in table["path"]])
    assert len(table) == 6
    assert np.allclose(table[["ng", "ok"]].to_numpy(), expected, rtol=0, atol=1e-5)
    cutoff = ma.Run(folder).metrics()["test"]["cutoff"]
    assert (cutoff["value"], cutoff["source"], cutoff["positive"]) == (0.43, "fixed", "ok")
    assert contents(RUN) == before


@pytest.mark.usefixtures("network")
def test_classes_of_the_test_must_be_those_of_the_network(magg):  # noqa: F811
    for name in ("ng", "OK"):
        Path("other", name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(Path("other", name, "1.png"))
    text = magg("test", RUN, "other", expect=1)
    assert "The classes of other must be those of the network: ng, ok" in text
    assert "'OK'" in text
    assert "no image of 'ok'" in text
