"""Repositories of the hub and files with a tag of their own in a folder of weights; every command without a network."""

import pandas as pd
import pytest
import torch
from command_line import magg  # noqa: F401  (a fixture)
from safetensors.torch import save_file
from weights_samples import data, empty_caches, no_network, put  # noqa: F401  (fixtures)

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError
from model_aggregation.files import file_hash
from model_aggregation.models.build import build_network, preprocessing_for
from model_aggregation.models.imports import timm_library
from model_aggregation.models.published import models_here, published_file, weights_in_folder
from model_aggregation.models.weights_folder import LIST, verify
from model_aggregation.models.zoo import find_models, parse_model_name

REPOSITORY = "someone/some-net.v2"
HUB_MODEL = f"timm:hf_hub:{REPOSITORY}"


def make_repository(folder):
    """Write what a repository of the hub holds: weights and configuration; return the network."""
    folder.mkdir(parents=True)
    module = timm_library().create_model("test_vit", num_classes=10, img_size=64)
    save_file(module.state_dict(), folder / "model.safetensors")
    timm_library().models._hub.save_config_for_hf(
        module, str(folder / "config.json"), data_config={"mean": (0.4, 0.5, 0.6)}
    )
    return module


def in_hub_cache(tmp_path):
    """Put a repository where the hub's own client keeps its downloads."""
    snapshot = tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / ("0" * 40)
    (snapshot.parents[1] / "refs").mkdir(parents=True)
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    return make_repository(snapshot)


def given(tmp_path, **more):
    return {
        "image_size": 32, "epochs": 1, "tensorboard": False, "jobs": 0, "workers": 0, "positive": "a", "offline": True,
        "weights_dir": tmp_path / "w", "cache_folder": tmp_path / "cache", "log_folder": tmp_path / "log", **more,
    }  # fmt: skip


def test_a_fetched_repository_is_used_where_there_is_no_hub(tmp_path, magg, no_network, monkeypatch):  # noqa: F811
    module = in_hub_cache(tmp_path)
    folder = tmp_path / "重み"
    magg("weights", "fetch", HUB_MODEL, "--to", folder)
    assert sorted(verify(folder).items()) == [
        (f"{REPOSITORY}/config.json", "same"),
        (f"{REPOSITORY}/model.safetensors", "same"),
    ]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "another machine"))
    settings = make_settings(data="x", model=HUB_MODEL, image_size=96, weights_dir=folder, offline=True)
    network = build_network(find_models([HUB_MODEL])[0], 3, settings)
    assert network.preprocessing.mean == (0.4, 0.5, 0.6)
    assert network.module(torch.randn(2, 3, 96, 96)).shape == (2, 3)
    assert torch.equal(network.module.blocks[0].attn.proj.weight, module.blocks[0].attn.proj.weight)
    assert "some-net.v2" in magg("models", HUB_MODEL, "--weights-dir", folder)
    magg("weights", "fetch", HUB_MODEL, "--to", folder)  # it is there already
    assert no_network == []
    (folder / REPOSITORY / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read by timm"):
        build_network(parse_model_name(HUB_MODEL), 3, settings)


def test_a_repository_without_its_configuration_is_said(tmp_path, no_network, magg):  # noqa: F811
    (tmp_path / "w" / REPOSITORY).mkdir(parents=True)
    (tmp_path / "w" / REPOSITORY / "model.safetensors").touch()
    text = magg("weights", "fetch", HUB_MODEL, "--to", tmp_path / "w", expect=2)
    assert f"https://huggingface.co/{REPOSITORY}/resolve/main/config.json" in text
    assert f"put it as {tmp_path / 'w' / REPOSITORY / 'config.json'}" in text


@pytest.mark.parametrize("name", ["resnet18.own_2", "resnet18-own_2"])
def test_a_tag_of_ones_own_is_a_file_of_that_name(tmp_path, name):
    model = "torchvision:resnet18.own_2"
    with pytest.raises(ModelError, match=r"no weights 'own_2'.*called resnet18\.own_2\.safetensors"):
        find_models([model])
    put(tmp_path / "w", "resnet18", f"{name}.pth")
    with pytest.raises(ModelError, match="no weights 'own_3'"):
        find_models(["torchvision:resnet18.own_3"], weights_dir=tmp_path / "w")
    found = find_models([model], weights_dir=tmp_path / "w")[0]
    assert weights_in_folder(found, tmp_path / "w") == tmp_path / "w" / f"{name}.pth"
    assert weights_in_folder(parse_model_name("resnet18"), tmp_path / "w") is None  # other weights than it asks for
    assert published_file(found) is None
    settings = make_settings(data="x", model=model, image_size=64, weights_dir=tmp_path / "w", offline=True)
    network = build_network(found, 2, settings)
    assert network.weights_origin == str(tmp_path / "w" / f"{name}.pth")
    assert network.preprocessing == preprocessing_for(parse_model_name("resnet18"), settings)
    assert models_here(tmp_path / "w") == [found]
    (tmp_path / "w" / "resnet18.own_2.safetensors").touch()
    with pytest.raises(ModelError, match="several files"):
        weights_in_folder(found, tmp_path / "w")


def test_every_command_asks_no_network(tmp_path, data, no_network, magg):  # noqa: F811
    put(tmp_path / "w", "timm:test_resnet", "test_resnet.r160_in1k.safetensors")
    put(tmp_path / "w", "timm:test_efficientnet", "test_efficientnet.own.pth")
    make_repository(tmp_path / "w" / REPOSITORY)
    models = ["timm:test_resnet", "timm:test_efficientnet.own", HUB_MODEL]
    assert len(ma.suggest(data, models, quiet=True, **given(tmp_path)).models) == 3
    group = ma.compare(data, models, quiet=True, name="g", **given(tmp_path))
    assert set(group.leaderboard()["state"]) == {"finished"}
    assert ma.train(data, HUB_MODEL, quiet=True, name="alone", **given(tmp_path)).state == "finished"
    for run in ("g/g_test_resnet", "alone"):
        magg("predict", tmp_path / "log" / run, data, "--out", tmp_path / "p.csv")
        assert len(pd.read_csv(tmp_path / "p.csv")) == 30
    shown = magg("models", *models, "resnet18", "--weights-dir", tmp_path / "w")
    assert shown.count(" yes") == 3
    magg("models", "timm:resnet1?", "--pretrained", "--sort", "accuracy")
    text = (tmp_path / "log" / "g" / "g_test_efficientnet.own" / "g_test_efficientnet.own_status.txt").read_text(
        "utf-8"
    )
    assert "no tag of timm's: input as its default weights expect" in text
    assert no_network == []


def test_a_folder_that_timm_would_misread_is_refused(tmp_path):
    make_repository(tmp_path / "C#" / REPOSITORY)
    settings = make_settings(data="x", model=HUB_MODEL, weights_dir=tmp_path / "C#", offline=True)
    with pytest.raises(ModelError, match=r"'#' or '\?' in .*C#.*: rename that folder"):
        preprocessing_for(find_models([HUB_MODEL])[0], settings)


def test_lists_of_hashes_are_read_in_every_usual_form(tmp_path):
    names = ["a b.pth", "c.pth", "d-1.0.safetensors", "sub/e.pth", "f.pth"]
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    hashes = {name: file_hash(tmp_path / name) for name in names}
    forms = ["{1}  {0}", "{1} *{0}", "SHA256 ({0}) = {1}", "{0} 123 sha256 {1} maxdiff 1.35e-02", "{0}  {1}"]
    lines = [form.format(name, hashes[name].upper()) for form, name in zip(forms, names, strict=True)]
    (tmp_path / LIST).write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    assert verify(tmp_path) == dict.fromkeys(sorted(names), "same")
