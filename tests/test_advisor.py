"""Suggesting networks: what is measured and probed, what fits, what is said where nothing can be had."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import magg  # noqa: F401  (a fixture)
from conftest import write_image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import model_aggregation as ma
from model_aggregation.advisor import advice as advising
from model_aggregation.advisor.candidates import seconds_of
from model_aggregation.advisor.memory import training_bytes
from model_aggregation.advisor.probe import Question, features_of, probe, sampled
from model_aggregation.config import make_settings
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import StoredImages
from model_aggregation.errors import DataError, SettingsError
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import parse_model_name

CPU = torch.device("cpu")
SIZE = {"image_size": 32, "epochs": 2}


def network_for(model, **given):
    settings = make_settings(data="x", model=model, pretrained=False, image_size=32, **given)
    torch.manual_seed(0)
    return build_network(parse_model_name(model), 2, settings), settings


@pytest.fixture
def data(tmp_path):
    """Two classes that are easy to tell apart, four groups in each."""
    for number, label in enumerate(("正常", "ill")):
        for image in range(40):
            name = f"P{4 * number + image % 4}_{image}.png"
            write_image(tmp_path / "data" / label / name, bright=number == 1, seed=1000 * number + image)
    return tmp_path / "data"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights of two small networks, one under a tag of its own; the libraries' folders are empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "weights"
    folder.mkdir()
    for model, name in (
        ("timm:test_resnet", "test_resnet.r160_in1k"),
        ("timm:test_efficientnet", "test_efficientnet.own"),
    ):
        save_file(network_for(model)[0].module.state_dict(), folder / f"{name}.safetensors")
    return folder


def given(tmp_path, **more):
    return {**SIZE, "workers": 0, "cache_folder": tmp_path / "cache", "log_folder": tmp_path / "log", **more}


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90min", 5400), ("45 s", 45), ("1h30m", 5400)])
def test_a_budget_is_a_time_with_its_unit(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["2", "much", "-1h", "0s", ""])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(SettingsError, match="--budget: expected a time"):
        seconds_of(text)


def table_of(labels, groups=None):
    rows = {"id": [f"{n:03}" for n in range(len(labels))], "label": labels, "group": groups or [""] * len(labels)}
    hashes = [f"{(7919 * n) % 1000:04}" for n in range(len(labels))]
    return pd.DataFrame(rows | {"content_hash": hashes, "pixel_hash": hashes})


def test_a_sample_keeps_the_shares_and_the_rare_classes():
    rows = table_of(["a"] * 300 + ["b"] * 90 + ["c"] * 12)
    few = sampled(rows, 100)
    assert few["label"].value_counts().to_dict() == {"a": 74, "b": 22, "c": 10}
    assert few["id"].is_monotonic_increasing
    assert few.equals(sampled(rows.sample(frac=1, random_state=1), 100))
    assert sampled(rows, 1000) is rows


def test_a_probe_never_predicts_a_group_that_it_learnt():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)  # features tell the group, and the group the class by chance only
    labels = np.array(["a", "b"])[groups % 2]
    features = np.eye(20)[groups] + generator.normal(0, 0.01, (200, 20))
    rows = table_of(list(labels), [f"g{number}" for number in groups])
    grouped = probe(features, Question(rows, ("a", "b"), "b", "auc", has_groups=True))
    alone = probe(features, Question(rows.assign(group=""), ("a", "b"), "b", "auc", has_groups=False))
    assert grouped["auc"].low < 0.5 < grouped["auc"].high
    assert alone["auc"].value > 0.99
    assert {"balanced_accuracy", "accuracy"} <= grouped.keys()


def test_a_probe_of_separate_classes_finds_them_and_says_what_is_missing():
    generator = np.random.default_rng(0)
    labels = ["a", "b", "c"] * 20
    features = np.eye(3)[[0, 1, 2] * 20] + generator.normal(0, 0.1, (60, 3))
    found = probe(features, Question(table_of(labels), ("a", "b", "c", "empty"), None, "macro_f1", has_groups=False))
    assert found["accuracy"].value == 1
    assert "macro_f1" in found
    rows = table_of(labels, ["one" if label == "a" else f"g{n}" for n, label in enumerate(labels)])
    question = Question(rows, ("a", "b", "c"), None, "macro_auc", has_groups=True)
    with pytest.raises(DataError, match="fewer than two groups"):
        probe(features, question)


@pytest.mark.parametrize(
    ("model", "width"),
    [("resnet18", 512), ("squeezenet1_1", 512), ("timm:test_vit", 64), ("timm:deit_tiny_distilled_patch16_224", 384)],
)
def test_features_are_what_enters_the_head(model, width):
    network, _ = network_for(model)
    pixels = np.random.default_rng(0).integers(0, 256, (19, 32, 32, 3), dtype=np.uint8)
    images = StoredImages(ImageStore(pixels), np.arange(19))
    features = features_of(network, images, CPU)
    assert features.shape == (19, width)
    if model == "resnet18":
        body = network.module.eval()
        body.fc = torch.nn.Identity()
        inputs = network.preprocessing.normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert np.allclose(features, body(inputs).detach().numpy(), atol=1e-4)


def test_memory_is_counted_and_grows_with_the_batch():
    sizes = {}
    for batch in (2, 4, 8):
        network, settings = network_for("resnet18", batch_size=batch)
        before = {name: value.clone() for name, value in network.module.state_dict().items()}
        sizes[batch] = training_bytes(network, settings, CPU)
        assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    assert sizes[8] - sizes[4] == 2 * (sizes[4] - sizes[2])
    parameters = sum(value.numel() for value in network.module.parameters())
    each = (sizes[4] - sizes[2]) / 2
    assert 4 * 4 * parameters < sizes[2] < 4 * 4 * parameters + 2 * each + 1e5  # weights, gradients, two of AdamW
    assert each > 32 * 32 * 3 * 4


def test_what_has_weights_here_is_proposed_within_the_budget(tmp_path, data, weights, magg):  # noqa: F811
    settings = given(tmp_path, weights_dir=weights, positive="ill", group=r"(?P<group>P\d+)_", offline=True)
    advice = ma.suggest(data, quiet=True, **settings)
    assert sorted(advice.models) == ["timm:test_efficientnet.own", "timm:test_resnet"]
    assert not (tmp_path / "log").exists()
    best = advice.candidates[0]
    assert best.probe["auc"].value >= advice.candidates[1].probe["auc"].value
    assert best.seconds > 0
    assert min(best.memory_bytes, best.disk_bytes) > 1e6
    assert advice.probe_images == len(ma.make_plan(data=data, models=advice.models, **settings).table.part("train"))
    little = ma.suggest(data, budget=1e-9, quiet=True, **settings)
    assert little.models == ()
    assert {entry.state for entry in little.candidates} == {"over budget"}
    words = [data, "--weights-dir", weights, "--positive", "ill", "--image-size", 32, "--epochs", 1, "--workers", 0]
    words += ["--cache-folder", tmp_path / "cache", "--log-folder", tmp_path / "log", "--no-tensorboard", "--offline"]
    text = magg("suggest", *words, "--json", tmp_path / "s.json", "--csv", tmp_path / "s.csv")
    command = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["command"]
    assert command in text.replace("\n", "")
    assert "no result" in text
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table["state"]) == ["proposed"] * 2
    assert (table["probe_low"] <= table["probe"]).all()
    magg(*shlex.split(command)[1:])  # the command works as it stands
    assert (tmp_path / "log" / "data").is_dir()


def test_what_cannot_be_looked_at_is_listed_and_never_random(tmp_path, data, weights):
    (weights / "test_vit.pth").write_bytes(b"damaged")
    models = ["timm:test_resnet", "timm:test_vit", "resnet50", "timm:hf_hub:a/b", "timm:vit_giant_patch14_224"]
    settings = given(tmp_path, weights_dir=weights, positive="ill")
    found = {entry.model: entry for entry in ma.suggest(data, models, quiet=True, **settings).candidates}
    assert {name: entry.state for name, entry in found.items()} == {
        "timm:test_resnet": "proposed",
        "timm:test_vit": "failed",
        "torchvision:resnet50": "not here",
        "timm:hf_hub:a/b": "not here",
        "timm:vit_giant_patch14_224": "not here",
    }
    assert "magg weights fetch torchvision:resnet50 --to DIR" in found["torchvision:resnet50"].reason
    assert "publishes no pretrained weights" in found["timm:vit_giant_patch14_224"].reason
    assert "holds more than weights" in found["timm:test_vit"].reason
    assert found["timm:test_vit"].probe is None
    assert ma.suggest(data, models[2:], quiet=True, **settings).models == ()


def test_ctrl_c_leaves_what_was_measured(tmp_path, data, weights, monkeypatch, magg):  # noqa: F811
    forecast, calls = advising.forecast, []

    def stopped(plan):
        calls.append(plan)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return forecast(plan)

    monkeypatch.setattr(advising, "forecast", stopped)
    words = [data, "--weights-dir", weights, "--positive", "ill", "--image-size", 32, "--cache-folder", tmp_path / "c"]
    text = magg("suggest", *words, "--log-folder", tmp_path / "log", expect=130)
    assert "stopped before it was measured" in text
    assert "magg train" in text  # one was measured


@pytest.mark.parametrize(
    "wrong", [{"folds": 3}, {"pretrained": False}, {"transforms": "mine.py"}, {"train": False, "weights": "x.pth"}]
)
def test_settings_without_meaning_are_refused(tmp_path, wrong):
    with pytest.raises(SettingsError, match="Nothing can be suggested"):
        ma.suggest(tmp_path, ["resnet18"], quiet=True, **wrong)


def test_standardised_features_are_learnt_as_by_hand():
    """The probe's out-of-fold predictions are those of a plain loop over its folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    generator = np.random.default_rng(1)
    labels = np.array(["a", "b"] * 30)
    features = generator.normal(0, 1, (60, 8)) + 0.7 * (labels == "b")[:, None]
    rows = table_of(list(labels))
    right = 0
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for learnt, left in folds.split(features, labels, rows["pixel_hash"]):
        scale = StandardScaler().fit(features[learnt])
        model = LogisticRegression(C=0.01, max_iter=500).fit(scale.transform(features[learnt]), labels[learnt])
        right += (model.predict(scale.transform(features[left])) == labels[left]).sum()
    found = probe(features, Question(rows, ("a", "b"), "b", "accuracy", has_groups=False))
    assert found["accuracy"].value == pytest.approx(right / 60)
