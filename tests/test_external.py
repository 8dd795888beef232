"""A finished run tested on other images, evaluated again, and by subgroups."""

import json
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from conftest import write_image
from PIL import Image
from sklearn.metrics import roc_auc_score

import model_aggregation as ma
from model_aggregation.results.run_folder import RunFolder


@pytest.fixture(scope="module")
def trained(two_classes, tmp_path_factory):
    """The log folder of a small run on a table with a column ``site``."""
    folder = tmp_path_factory.mktemp("external")
    paths = sorted(two_classes.rglob("*.png"))
    table = pd.DataFrame({"path": [str(path) for path in paths], "label": [path.parts[-2] for path in paths]})
    table["label"] = ["肺炎" if "肺炎" in path else "正常" for path in table["path"]]
    table["site"] = ["north", "south", ""] * 40
    (folder / "data").mkdir()
    table.to_csv(folder / "data" / "images.csv", index=False)
    ma.train(
        folder / "data" / "images.csv", "timm:test_resnet", positive="肺炎", pretrained=False, image_size=32, epochs=1,
        name="run", log_folder=folder / "log", cache_folder=folder / "cache", tensorboard=False, jobs=0, test_share=0.3,
        quiet=True, batch_size=16, device="cpu",
    )  # fmt: skip
    return folder / "log"


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "log")
    return tmp_path / "log" / "run"


@pytest.fixture
def other(tmp_path):
    """A folder of 2 × 12 images that the run has not seen."""
    root = tmp_path / "病院 B-2"
    for number in range(12):
        write_image(root / "正常" / f"{number}.png", bright=False, seed=50_000 + number)
        write_image(root / "肺炎" / f"{number}.png", bright=True, seed=60_000 + number)
    return root


def contents(folder):
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".json", ".png", ".xlsx")
    }


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_the_set_stands_beside_the_first_and_is_reproduced(magg, run, other):  # noqa: F811
    before = metrics_of(run)
    text = magg("test", run, other)
    assert "病院_B_2" in text
    names = {path.name for path in run.iterdir() if "病院_B_2" in path.name}
    endings = (".csv", "_p.csv", "_roc.csv", "_roc.png", "_cm.xlsx", "_images.csv", ".json")
    assert names == {f"run_病院_B_2{ending}" for ending in endings}
    metrics = metrics_of(run)
    assert {name: metrics[name] for name in ("val", "test")} == before
    found = metrics["病院_B_2"]
    assert found["cutoff"] == before["test"]["cutoff"]
    assert (found["role"], found["n"]) == ("external", 24)
    table = pd.read_csv(run / "run_病院_B_2.csv")
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(table["correct_label"] == "肺炎", table["肺炎"]))
    assert "病院_B_2" in set(pd.read_csv(run / "metrics.csv")["split"])
    stored = contents(run)
    magg("analyze", run)
    assert contents(run) == stored
    magg("test", run, other)
    later = contents(run)
    assert later.keys() == stored.keys()
    assert all(later[name] == data for name, data in stored.items() if name != "run_病院_B_2.json")
    connection = sqlite3.connect(run.parent / "analyze_record.db")
    query = "select value from metrics where set_name = ? and metric = 'auc' and class = ''"
    assert connection.execute(query, ("病院_B_2",)).fetchall() == [(found["auc"]["value"],)]
    connection.close()


def test_its_own_test_images_give_the_same_numbers(magg, run, tmp_path):  # noqa: F811
    images = pd.read_csv(run / "images.csv")
    images.rename(columns={"id": "old"})[["path", "label", "split"]].to_csv(tmp_path / "again.csv", index=False)
    magg("test", run, tmp_path / "again.csv", "--device", "cpu")
    metrics = metrics_of(run)
    assert {"role": "external", **metrics["test"]} == metrics["again"]


def test_images_of_the_training_are_leakage(magg, run, other):  # noqa: F811
    images = pd.read_csv(run / "images.csv")
    seen = images[(images["split"] == "train") & (images["label"] == "正常")]["path"].iloc[0]
    shutil.copy(seen, other / "正常" / "copy.png")
    before = contents(run)
    text = magg("test", run, other, expect=1)
    assert "正常/copy.png: the same file as" in text
    assert "(train)" in text
    assert contents(run) == before
    text = magg("test", run, other, "--allow-duplicates", "--name", "leaky")
    assert "warning: 1 of 25 images are also among the run's train or val images" in text


def test_images_of_the_training_saved_in_another_form_are_leakage(magg, run, other):  # noqa: F811
    images = pd.read_csv(run / "images.csv")
    seen = images[(images["split"] == "train") & (images["label"] == "正常")]["path"].iloc[0]
    with Image.open(seen) as image:
        image.save(other / "正常" / "copy.bmp")
    assert "正常/copy.bmp: the same pixels as" in magg("test", run, other, expect=1)
    magg("test", run, other, "--allow-duplicates", "--name", "leaky")
    assert "warning: 1 of 25 images are also among the run's train or val images" in magg("analyze", run)


def test_the_report_tables_follow(magg, run, other):  # noqa: F811
    magg("analyze", run)
    before = (run / "report" / "roc_points.csv").read_bytes()
    magg("test", run, other, "--name", "B")
    assert (run / "report" / "roc_points.csv").read_bytes().startswith(before)
    assert "the images of ‘B’ had been evaluated once" in (run / "report" / "methods.md").read_text(encoding="utf-8")


def test_changed_weights_predict_nothing(magg, run, other):  # noqa: F811
    which = RunFolder(run).tested_weights()
    magg("predict", run, other, "--out", run / "new.csv")
    for path in (RunFolder(run).weight_pth(which), RunFolder(run).weight_json(which)):
        right = path.read_bytes()
        path.write_bytes(right.replace(b"0.5", b"0.6") if path.suffix == ".json" else right[:-500] + bytes(500))
        assert f"are not what the run wrote: {path.name}" in magg("predict", run, other, expect=1)
        assert f"are not what the run wrote: {path.name}" in magg("test", run, other, expect=1)
        path.write_bytes(right)
    magg("predict", run, other, "--out", run / "new.csv")


def test_groups_of_the_training_are_named(magg, run, other):  # noqa: F811
    images = pd.read_csv(run / "images.csv", keep_default_na=False)
    images["group"] = [f"P{number}" for number in range(len(images))]
    images.to_csv(run / "images.csv", index=False)
    assert "images.csv" in magg("test", run, other, expect=1)  # it is not what the run wrote
    magg("analyze", run)  # accepts it
    paths = sorted(other.rglob("*.png"))
    learnt = images[images["split"] == "train"]["group"].iloc[0]
    groups = [learnt, learnt, *(f"Q{number}" for number in range(len(paths) - 2))]
    table = pd.DataFrame({"path": map(str, paths), "label": [path.parent.name for path in paths], "group": groups})
    table.to_csv(other.parent / "t.csv", index=False)
    assert f"the numbers are too high: {learnt}" in magg("test", run, other.parent / "t.csv")
    assert metrics_of(run)["t"]["unit"] == "group"


def test_classes_must_match_by_name(magg, run, other):  # noqa: F811
    write_image(other / "肺癌" / "1.png", bright=True, seed=1)
    text = magg("test", run, other, expect=1)
    assert "'肺癌': 1 images" in text
    shutil.rmtree(other / "肺癌")
    shutil.rmtree(other / "肺炎")
    text = magg("test", run, other)
    assert "warning: no image of: 肺炎" in text
    found = metrics_of(run)["病院_B_2"]
    assert found["auc"]["value"] is None
    assert found["auc"]["reason"]


def test_a_set_keeps_its_images(magg, run, other):  # noqa: F811
    magg("test", run, other, "--name", "B")
    write_image(other / "正常" / "more.png", bright=False, seed=77_777)
    assert "not there before, or changed: 正常/more.png" in magg("test", run, other, "--name", "B", expect=1)
    assert "differs from b only in case" in magg("test", run, other, "--name", "b", expect=1)
    magg("test", run, other, "--name", "C")
    assert list(metrics_of(run)) == ["val", "test", "B", "C"]


@pytest.mark.parametrize("name", ["test", "Val", "x_cm", "a-b", "1"])
def test_names_that_no_set_may_have(magg, run, other, name):  # noqa: F811
    assert "name" in magg("test", run, other, "--name", name, expect=1)


def test_unreadable_images(magg, run, other):  # noqa: F811
    (other / "正常" / "broken.png").write_bytes(b"no image")
    assert "--skip-unreadable" in magg("test", run, other, expect=1)
    magg("test", run, other, "--skip-unreadable")
    found = metrics_of(run)["病院_B_2"]
    assert found["n"] == 24
    assert found["unreadable"]["n"] == 1


def test_only_the_test_split_is_used(magg, run, tmp_path):  # noqa: F811
    for number, split in enumerate(("train", "test")):
        for label in ("正常", "肺炎"):
            write_image(tmp_path / "set" / split / label / "1.png", bright=label == "肺炎", seed=900 + number)
    magg("test", run, tmp_path / "set")
    assert metrics_of(run)["set"]["n"] == 2
    shutil.rmtree(tmp_path / "set" / "test")
    assert "no test images" in magg("test", run, tmp_path / "set", expect=1)


def test_other_weights_make_a_set_outdated(magg, run, other):  # noqa: F811
    magg("test", run, other, "--name", "B")
    with (run / "best_model_weight.pth").open("ab") as file:
        file.write(b"\0")
    assert "the set B was predicted by other weights" in magg("analyze", run)
    assert list(metrics_of(run)) == ["val", "test"]


def test_no_finished_run(magg, other, tmp_path):  # noqa: F811
    assert "finished run" in magg("test", tmp_path, other, expect=1)


def test_subgroups_of_a_run_change_none_of_its_numbers(magg, run, other):  # noqa: F811
    magg("test", run, other, "--name", "B")
    before = contents(run)
    text = magg("analyze", run, "--by", "site")
    table = pd.read_csv(run / "subgroups.csv", keep_default_na=False)
    after = contents(run)
    assert set(after) - set(before) == {"subgroups.csv"}
    assert all(after[name] == data for name, data in before.items())
    assert set(table["split"]) == {"val", "test", "B"}
    assert set(table.loc[table["split"] == "test", "subgroup"]) == {"north", "south", "(missing)"}
    assert set(table.loc[table["split"] == "B", "subgroup"]) == {"(missing)"}
    images = pd.read_csv(run / "images.csv", keep_default_na=False)
    size = int(((images["split"] == "test") & (images["site"] == "north")).sum())
    row = table.query("split == 'test' and subgroup == 'north' and metric == 'accuracy' and cutoff_source != '0.5'")
    assert row["n"].astype(int).tolist() == [size]
    assert "(missing)" in text
    unknown = magg("analyze", run, "--by", "sit", expect=1)
    assert "Did you mean 'site'" in unknown
    assert "only --by belongs to it" in magg("analyze", run, "--positive", "肺炎", expect=1)


def test_evaluating_again_refreshes_the_index(magg, run):  # noqa: F811
    table = pd.read_csv(run / "run_test.csv")
    table.iloc[:, 2:] = np.where(table[["correct_label"]] == table.columns[2], [[0.9, 0.1]], [[0.1, 0.9]])
    table.to_csv(run / "run_test.csv", index=False)
    magg("analyze", run)
    connection = sqlite3.connect(run.parent / "analyze_record.db")
    assert connection.execute("select auc from test_result").fetchall() == [(1.0,)]
    connection.close()


def test_the_same_in_python(run, other):
    found = ma.test(run, other, name="B", quiet=True)
    assert found["B"]["n"] == 24
    assert ma.analyze(run) == found
