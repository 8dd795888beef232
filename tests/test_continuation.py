"""Names that are taken, inputs that changed, two processes at once, and settings without effect."""

import multiprocessing
import os
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_image

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError, ResultsError, SettingsError
from model_aggregation.files import whole_or_absent
from model_aggregation.models.build import build_network
from model_aggregation.models.imports import torchvision_models
from model_aggregation.models.libraries import rescales_input
from model_aggregation.models.zoo import find_models, parse_model_name
from model_aggregation.prediction import load_trained, predict_folder
from model_aggregation.results.locks import RunIsBusyError, is_locked, run_lock

MODEL = "timm:test_resnet"


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {
        "image_size": 32, "epochs": 1, "pretrained": False, "quiet": True, "tensorboard": False, "jobs": 0,
        "cache_folder": tmp_path / "cache",
    }  # fmt: skip


def small_data(root, labels=("a", "b"), count=15):
    for number, label in enumerate(labels):
        for image in range(count):
            write_image(root / label / f"{image}.png", bright=number == 1, seed=1000 * number + image)
    return root


def test_an_edited_split_makes_no_mixed_group(tmp_path, given):
    data = small_data(tmp_path / "data")
    ma.compare(data, [MODEL], name="g", positive="a", **given)
    path = tmp_path / "log" / "g" / "splits.csv"
    split = pd.read_csv(path, dtype=str)
    test, train = (split.index[split["split"] == name][0] for name in ("test", "train"))
    split.loc[[test, train], "split"] = ["train", "test"]
    split.to_csv(path, index=False)
    with pytest.raises(ResultsError, match="made with another split"):
        ma.compare(data, [MODEL, "timm:test_efficientnet"], name="g", positive="a", split=path, **given)
    group = ma.compare(data, [MODEL], name="h", positive="a", split=path, **given)
    assert group.runs[0].state == "finished"
    used = pd.read_csv(group.runs[0].path / "images.csv").set_index("id")["split"]
    assert used.to_dict() == split.set_index("id")["split"].to_dict()


def test_a_split_table_edited_before_any_run_is_not_overwritten(tmp_path, given):
    data = small_data(tmp_path / "data")
    (tmp_path / "log" / "run").mkdir(parents=True)
    ma.train(data, MODEL, name="other", positive="a", **given)
    split = pd.read_csv(tmp_path / "log" / "other" / "splits.csv", dtype=str)
    split.loc[split.index[split["split"] == "val"][0], "split"] = "train"
    split.to_csv(tmp_path / "log" / "run" / "splits.csv", index=False)
    with pytest.raises(ResultsError, match="give it with --split"):
        ma.train(data, MODEL, name="run", positive="a", **given)


def test_a_transforms_file_that_changed_is_noticed_and_the_run_keeps_its_own(tmp_path, given):
    data = small_data(tmp_path / "data")
    transforms = tmp_path / "my.py"
    text = (
        "import numpy as np, torch\n"
        "def train(image):\n"
        "    pixels = np.asarray(image.resize((32, 32)), dtype=np.float32).copy()\n"
        "    return torch.from_numpy(pixels).permute(2, 0, 1) / 255 * SCALE\n"
        "val = train\nSCALE = 1\n"
    )
    transforms.write_text(text, encoding="utf-8")
    run = ma.train(data, MODEL, name="run", positive="a", transforms=transforms, workers=0, **given)
    assert run.state == "finished", run.folder.failure_reason()
    before = ma.predict(run, data)
    transforms.write_text(text.replace("SCALE = 1", "SCALE = 3"), encoding="utf-8")
    with pytest.raises(ResultsError, match="content of the transforms file has changed"):
        ma.train(data, MODEL, name="run", positive="a", transforms=transforms, workers=0, **given)
    pd.testing.assert_frame_equal(ma.predict(run, data), before)
    test = run.predictions("test").set_index("path")["a"]
    assert np.allclose(before.set_index("path")["a"][test.index], test, atol=1e-6)
    (tmp_path / "bad.py").write_text("train = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="train, val"):
        ma.train(data, MODEL, name="bad", positive="a", transforms=tmp_path / "bad.py", **given)
    assert not (tmp_path / "log" / "bad").exists()


def test_classes_may_be_called_like_columns(tmp_path, given):
    data = small_data(tmp_path / "data", ("error", "path", "predict_label"))
    run = ma.train(data, MODEL, name="run", **given)
    assert run.state == "finished", run.folder.failure_reason()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "broken.png").write_bytes(b"x")
    write_image(tmp_path / "new" / "good.png", bright=True, seed=1)
    table = predict_folder(run.path, tmp_path / "new")
    assert list(table.columns) == ["path", "predict_label", "error", "path", "predict_label", "(error)"]
    assert table.iloc[1, 2:5].astype(float).sum() == pytest.approx(1)
    assert table.iloc[0, 5]
    assert ma.analyze(run.path) == run.metrics()


def test_results_of_a_table_do_not_take_the_place_of_a_run(tmp_path, given):
    run = ma.train(small_data(tmp_path / "data"), MODEL, name="run", positive="a", **given)
    with pytest.raises(ResultsError, match="folder of a run"):
        ma.analyze(run.path / "run_test.csv", positive="a", out=run.path)


def hold(log_folder, held, stop):
    with run_lock(log_folder, "single", "run"):
        held.set()
        stop.wait(60)


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path, given):
    context = multiprocessing.get_context("spawn")
    held, stop = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "log", held, stop))
    process.start()
    try:
        assert held.wait(60)
        assert is_locked(tmp_path / "log", "single", "run")
        with pytest.raises(RunIsBusyError), run_lock(tmp_path / "log", "single", "run"):
            pass
        run = ma.train(small_data(tmp_path / "data"), MODEL, name="run", positive="a", **given)
        assert run.state == "interrupted"
        assert {path.name for path in run.path.iterdir()} == {"splits.csv", "findings.csv"}
    finally:
        process.kill()  # the lock dies with its process
        process.join()
    deadline = time.monotonic() + 10
    while is_locked(tmp_path / "log", "single", "run") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ma.train(tmp_path / "data", MODEL, name="run", positive="a", **given).state == "finished"


def test_prediction_uses_the_network_that_was_tested(tmp_path, given):
    body = torchvision_models().googlenet(weights=None, aux_logits=False, init_weights=False, num_classes=5)
    torch.save(body.state_dict(), tmp_path / "w.pth")
    settings = {**given, "pretrained": True, "weights": "w.pth", "name": "run", "positive": "a"}
    run = ma.train(small_data(tmp_path / "data"), "googlenet", **settings)
    assert run.state == "finished", run.folder.failure_reason()
    assert load_trained(run.path).network.module.transform_input is True
    grey = make_settings(data="x", model="googlenet", channels=1, weights="w.pth", image_size=64)
    network = build_network(parse_model_name("googlenet"), 2, grey)
    assert network.module.transform_input is False
    assert network.preprocessing.mean == (0.5,)
    assert rescales_input(parse_model_name("inception_v3"))
    assert not rescales_input(parse_model_name("resnet18"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cutoff_value": 0.3}, "cutoff_rule: fixed"),
        ({"momentum": 0.1}, "optimizer: sgd"),
        ({"focal_gamma": 5}, "loss: focal"),
        ({"freeze": False, "thaw_at": 3}, "freeze: true"),
        ({"pretrained": False, "weights": "x.pth"}, "pretrained: true"),
        ({"transforms": "x.py", "augmentation": "flips"}, "no transforms file"),
    ],
)
def test_settings_without_effect_are_refused(settings, words):
    with pytest.raises(SettingsError, match=words):
        make_settings(data="x", model="a", **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"test_share": 0.5}, "the split is made here"),
        ({"patience": 2}, "validation images"),
        ({"cutoff_rule": "youden"}, "two classes"),
        ({"num_classes": 2}, "num_classes is 2"),
        ({"positive": "a"}, "positive belongs to two classes"),
        ({"best_by": "auc"}, "validation images"),
    ],
)
def test_settings_that_this_data_set_gives_no_effect_are_refused(tmp_path, given, settings, words):
    for split in ("train", "test"):
        small_data(tmp_path / "data" / split, ("a", "b", "c"), count=4 if split == "train" else 2)
    for path in (tmp_path / "data" / "test").rglob("*.png"):
        write_image(path, bright=False, seed=hash(path.parent.name + path.name) % 10_000 + 50_000)
    with pytest.raises(SettingsError, match=words):
        ma.train(tmp_path / "data", MODEL, **given, **settings)
    assert not (tmp_path / "log").exists()


def test_repositories_of_the_hub_keep_the_dots_of_their_names():
    assert parse_model_name("timm:hf_hub:timm/resnet18.a1_in1k").architecture == "hf_hub:timm/resnet18.a1_in1k"
    with pytest.raises(ModelError, match="torchvision has no"):
        find_models(["torchvision:hf_hub:x"])


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_log_folder_that_cannot_be_made_is_said_before_anything_is_read(tmp_path, given, where):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    log = tmp_path / "file" if where == "a file" else tmp_path / "file" / "log"
    with pytest.raises(SettingsError, match="is a file, not a folder"):
        ma.train(small_data(tmp_path / "data"), MODEL, positive="a", log_folder=log, **given)


def test_what_a_killed_command_left_beside_its_runs_goes_with_the_next(tmp_path, given):
    data = small_data(tmp_path / "data")
    folder = tmp_path / "log" / "g"
    dead = multiprocessing.get_context("spawn").Process()
    dead.start()
    dead.join()
    (folder / "report").mkdir(parents=True)
    with whole_or_absent(folder / "findings.csv") as temporary:
        temporary.touch()
        left = [temporary.with_name(temporary.name.replace(f"-{os.getpid()}.", f"-{dead.pid}.")), folder / "report"]
    left[1] = left[1] / left[0].name
    for path in left:
        path.write_text("half", encoding="utf-8")
    ma.compare(data, [MODEL], name="g", positive="a", **given)
    assert not [path for path in left if path.exists()]
