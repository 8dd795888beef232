"""Weights on a machine without internet: found by name, never asked for, and told how to bring."""
# ruff: noqa: F811  (fixtures are imported)

import pytest
import torch
from command_line import magg  # noqa: F401  (a fixture)
from safetensors.torch import save_file
from weights_samples import data, empty_caches, no_network, put  # noqa: F401  (fixtures)

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.errors import ModelError
from model_aggregation.models.build import build_network
from model_aggregation.models.imports import timm_library
from model_aggregation.models.published import Whereabouts, find_or_bring, published_file, weights_in_folder
from model_aggregation.models.weights_folder import LIST, fetch, verify
from model_aggregation.models.zoo import find_models, parse_model_name

MODEL = "timm:test_resnet"


def given(tmp_path, **more):
    return {
        "image_size": 32, "epochs": 1, "quiet": True, "tensorboard": False, "jobs": 0, "workers": 0, "positive": "a",
        "cache_folder": tmp_path / "cache", "log_folder": tmp_path / "log", **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("torchvision:resnet18", "resnet18-f37072fd.pth"),
        ("torchvision:resnet18", "resnet18.pth"),
        ("torchvision:resnet18.IMAGENET1K_V1", "resnet18.safetensors"),
        ("torchvision:resnet50.IMAGENET1K_V1", "resnet50-0676ba61.pth"),
        ("timm:test_resnet", "test_resnet.r160_in1k.safetensors"),
        ("timm:test_resnet", "timm/test_resnet.r160_in1k/model.safetensors"),
        ("timm:test_resnet.r160_in1k", "test_resnet.pth"),
        ("timm:hf_hub:someone/some-net.v2", "some-net.v2.safetensors"),
        ("timm:legacy_seresnet18", "seresnet18-4bb0ce65.pth"),
    ],
)
def test_a_folder_is_searched_for_the_names_that_libraries_and_people_use(tmp_path, model, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert weights_in_folder(find_models([model])[0], tmp_path) == tmp_path / name


def test_other_weights_of_the_same_network_are_not_taken_for_it(tmp_path):
    for name in ("resnet50-0676ba61.pth", "resnet50.pth"):  # the older weights; the default ones
        (tmp_path / name).touch()
    older, default = (parse_model_name(f"torchvision:resnet50.{tag}") for tag in ("IMAGENET1K_V1", "IMAGENET1K_V2"))
    assert weights_in_folder(older, tmp_path).name == "resnet50-0676ba61.pth"
    assert weights_in_folder(default, tmp_path).name == "resnet50.pth"
    (tmp_path / "resnet50.safetensors").touch()
    with pytest.raises(ModelError, match="several files"):
        weights_in_folder(default, tmp_path)
    with pytest.raises(ModelError, match="is not there"):
        weights_in_folder(default, tmp_path / "missing")


def test_weights_that_do_not_fit_are_told_in_a_line_and_listed_in_the_run(tmp_path, data):
    state = dict(list(put(tmp_path, MODEL, "whole.safetensors").items())[::2])
    save_file(state, tmp_path / "half.safetensors")
    options = given(tmp_path, weights=str(tmp_path / "half.safetensors"))
    run = ma.train(data, MODEL, name="refused", **options)
    reason = run.folder.failure_reason()
    assert "do not fit the network (--allow-partial-weights takes what fits):" in reason
    assert reason.count("missing in the file") == 2
    missing = int(reason.rpartition("… and ")[2].removesuffix(" more in error.txt")) + 2
    assert missing > 20
    assert run.folder.read_error().partition("\n\n")[0].count("missing in the file") == missing
    run = ma.train(data, MODEL, name="taken", allow_partial_weights=True, **options)
    assert f"half.safetensors (in part: {missing} tensors" in next(run.path.glob("*_status.txt")).read_text("utf-8")


def test_training_offline_asks_no_network_and_uses_the_folder(tmp_path, data, no_network):
    state = put(tmp_path / "重み", MODEL, "test_resnet.r160_in1k.safetensors")
    options = given(tmp_path, offline=True, weights_dir=tmp_path / "重み", thaw_at=None)
    run = ma.train(data, MODEL, name="run", **options)
    assert run.state == "finished", run.folder.failure_reason()
    trained = torch.load(run.path / "last_model_weight.pth", weights_only=True)
    body = [name for name in state if name.endswith("conv1.weight")]
    assert body
    assert all(torch.equal(trained[name], state[name]) for name in body)  # frozen: as it came
    assert ma.train(data, MODEL, name="run", **options).state == "finished"
    torch.manual_seed(99)  # other weights, whatever ran before
    put(tmp_path / "重み", MODEL, "test_resnet.r160_in1k.safetensors")
    with pytest.raises(ma.ModelAggregationError, match="content of the weights file has changed"):
        ma.train(data, MODEL, name="run", **options)
    assert no_network == []


def test_what_is_missing_offline_is_said_for_all_models_before_anything_is_done(tmp_path, data, no_network):
    put(tmp_path / "w", MODEL, "test_resnet.pth")
    (tmp_path / "w" / "resnet50-other.pth").touch()
    models = [MODEL, "resnet50", "timm:test_vit", "timm:hf_hub:a/b", "timm:test_byobnet"]
    with pytest.raises(ModelError) as caught:
        ma.compare(data, models[:4], **given(tmp_path, offline=True, weights_dir=tmp_path / "w"))
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    for words in (
        "offline mode",
        "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        f"put it as resnet50-11ad3fa6.pth into {tmp_path / 'w'}",
        "holds resnet50-other.pth, which is not the same",
        "https://huggingface.co/timm/test_vit.r160_in1k/resolve/main/model.safetensors",
        "--weights timm:test_vit=FILE",
        "magg weights fetch timm:test_vit --to DIR",
    ):
        assert words in text
    assert not (tmp_path / "log").exists()
    assert no_network == []


def test_the_environment_of_the_hub_means_offline_too(no_network, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for model in (MODEL, "torchvision:resnet18"):
        with pytest.raises(ModelError, match="offline mode"):
            find_or_bring(parse_model_name(model))
    assert no_network == []


@pytest.mark.parametrize("model", [MODEL, "torchvision:resnet18", "timm:legacy_seresnet18"])
def test_a_download_that_fails_says_what_to_do_without_trying_for_long(model, no_network, tmp_path):
    with pytest.raises(ModelError) as caught:
        find_or_bring(parse_model_name(model), Whereabouts(tmp_path))
    text = str(caught.value)
    published = published_file(parse_model_name(model))
    for words in ("no network in this test", published.address, f"put it as {published.name} into {tmp_path}"):
        assert words in text
    assert 1 <= len(no_network) <= 4  # one question, perhaps for both families of addresses; no retries
    assert not list(tmp_path.rglob("*.part*"))


def test_a_network_without_published_weights_is_refused_before_anything_is_done(tmp_path, data):
    with pytest.raises(ModelError, match="publishes no pretrained weights"):
        ma.train(data, "timm:vit_giant_patch14_224", **given(tmp_path))
    assert not (tmp_path / "log").exists()


def test_a_user_network_brings_its_own_weights_or_is_refused(tmp_path, monkeypatch):
    from model_aggregation.models.published import published_weights

    (tmp_path / "weighted_networks.py").write_text(
        "from torch import nn\n"
        "def itself(num_classes, pretrained=False):\n"
        "    layer = nn.Conv2d(3, 4, 3)\n"
        "    if pretrained:\n        nn.init.constant_(layer.weight, 0.25)\n"
        "    return nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))\n"
        "def without(num_classes):\n    return itself(num_classes)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    state, origin = published_weights(parse_model_name("weighted_networks:itself"))
    assert (state["0.weight"] == 0.25).all()
    assert origin == "weighted_networks:itself itself"
    with pytest.raises(ModelError, match="takes no 'pretrained'"):
        published_weights(parse_model_name("weighted_networks:without"))
    (tmp_path / "without.pth").touch()
    assert weights_in_folder(parse_model_name("weighted_networks:without"), tmp_path).name == "without.pth"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_repository_that_the_hub_left_on_this_machine_is_used_without_network(tmp_path, no_network, channels):
    snapshot = tmp_path / "hub" / "models--someone--some-net.v2" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    timm = timm_library()
    module = timm.create_model("test_vit", num_classes=10, img_size=64)
    save_file(module.state_dict(), snapshot / "model.safetensors")
    timm.models._hub.save_config_for_hf(module, str(snapshot / "config.json"), data_config={"mean": (0.4, 0.5, 0.6)})
    name = "timm:hf_hub:someone/some-net.v2"
    settings = make_settings(data="x", model=name, image_size=96, channels=channels)
    network = build_network(find_models([name])[0], 3, settings)
    assert network.preprocessing.mean == ((0.4, 0.5, 0.6) if channels == 3 else (pytest.approx(0.5),))
    assert network.module(torch.randn(2, channels, 96, 96)).shape == (2, 3)
    assert torch.equal(network.module.blocks[0].attn.proj.weight, module.blocks[0].attn.proj.weight)
    assert "someone/some-net.v2" in network.weights_origin
    assert no_network == []


def test_a_repository_that_is_not_here_is_said(no_network):
    settings = make_settings(data="x", model="timm:hf_hub:a/b", offline=True)
    with pytest.raises(ModelError, match="hf download a/b"):
        build_network(parse_model_name("timm:hf_hub:a/b"), 3, settings)
    assert no_network == []


def in_download_folder(tmp_path, name):
    """Put weights where torchvision keeps its downloads."""
    return put(tmp_path / "torch" / "hub" / "checkpoints", "squeezenet1_1", name)


def test_fetching_fills_a_folder_that_is_then_verified(tmp_path, magg, no_network):
    in_download_folder(tmp_path, "squeezenet1_1-b8a52dc0.pth")
    folder = tmp_path / "重み"
    text = magg("weights", "fetch", "squeezenet1_1", MODEL, "--to", folder, expect=2)
    assert "1 of 2 are in" in text
    assert "could not be downloaded" in text
    assert (folder / LIST).read_text(encoding="utf-8").endswith("  squeezenet1_1-b8a52dc0.pth\n")
    assert weights_in_folder(parse_model_name("squeezenet1_1"), folder)
    assert "1 files are as listed, 0 are not" in magg("weights", "verify", folder)
    assert [result.reason for result in fetch([parse_model_name("squeezenet1_1")], folder)] == [""]  # once more
    (folder / "another.pth").touch()
    assert verify(folder) == {"squeezenet1_1-b8a52dc0.pth": "same", "another.pth": "not listed"}
    with (folder / "squeezenet1_1-b8a52dc0.pth").open("ab") as file:
        file.write(b"x")
    assert "changed" in magg("weights", "verify", folder, expect=1)
    (folder / "squeezenet1_1-b8a52dc0.pth").unlink()
    assert verify(folder)["squeezenet1_1-b8a52dc0.pth"] == "missing"


def test_a_folder_without_a_readable_list_is_refused(tmp_path):
    with pytest.raises(ModelError, match="sha256sum"):
        verify(tmp_path)
    (tmp_path / LIST).write_text("a.pth 5\n", encoding="utf-8")
    with pytest.raises(ModelError, match="expected 'HASH  FILE'"):
        verify(tmp_path)
