"""What a run reports of its speed."""

import json

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import build_network
from model_aggregation.models.zoo import parse_model_name
from model_aggregation.training.checkpoint import Progress
from model_aggregation.training.effort import convolution_peak, operations_of_pass, timing_of

CPU = torch.device("cpu")
MODEL = "timm:test_resnet"


@pytest.fixture(scope="module")
def network():
    settings = make_settings(data="x", model=MODEL, pretrained=False, image_size=32)
    return build_network(parse_model_name(MODEL), 2, settings)


def test_operations_are_those_of_the_layers(network):
    sizes = {}
    for layer in network.module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, output: sizes.update({layer: output.numel()}))
    network.module.eval()(torch.zeros(1, 3, 32, 32))
    by_hand = sum(2 * count * layer.weight[0].numel() for layer, count in sizes.items())
    network.module.train()
    assert operations_of_pass(network, CPU) == by_hand
    assert network.module.training


def test_shares_are_of_the_speed_of_one_convolution(network, monkeypatch):
    arithmetic, fabric = Arithmetic(), Fabric(accelerator="cpu", devices=1)
    assert 1e8 < convolution_peak(arithmetic.training, CPU) < 1e14
    operations = operations_of_pass(network, CPU)
    monkeypatch.setattr("model_aggregation.training.effort.convolution_peak", lambda mode, device: 100.0 * operations)
    progress = Progress(epoch=1, seconds=10.0, seconds_waited=1.0, images_seen=80, passes=240, pass_seconds=8.0)
    timing = timing_of(network, arithmetic, fabric, progress, tested=50, test_seconds=2.0)
    assert timing == {
        "train_seconds": 10.0, "train_images_per_second": 8.0, "data_wait_share": 0.1, "train_flop_share": 0.3,
        "test_seconds": 2.0, "test_images_per_second": 25.0, "test_flop_share": 0.25,
    }  # fmt: skip
    nothing = timing_of(network, arithmetic, fabric, Progress(), tested=0, test_seconds=0.0)
    assert {value for name, value in nothing.items() if name != "train_seconds"} == {None}


def test_a_network_that_cannot_be_counted_has_no_share(network, monkeypatch):
    monkeypatch.setattr("model_aggregation.training.effort.FlopCounterMode.get_total_flops", lambda self: 0)
    assert operations_of_pass(network, CPU) is None


def test_images_are_decoded_once_for_all_runs_of_a_size(tmp_path, two_classes):
    given = {
        "pretrained": False, "epochs": 2, "cache_folder": tmp_path / "cache", "quiet": True, "tensorboard": False,
        "jobs": 0, "positive": "肺炎", "log_folder": tmp_path / "log", "threads": 1, "image_size": 32,
    }  # fmt: skip
    runs = ma.compare(two_classes, [MODEL], seeds=(1, 2), name="g", **given).runs
    timings = [json.loads((run.path / "environment.json").read_text("utf-8"))["timing"] for run in runs]
    images = sum(1 for _ in two_classes.rglob("*.png"))
    assert [timing["images_decoded"] for timing in timings] == [images, 0]
    assert all(0 < timing[name] < 2 for timing in timings for name in ("train_flop_share", "test_flop_share"))


def test_images_without_a_store_are_counted_whenever_they_are_decoded(tmp_path, two_classes):
    run = ma.train(
        two_classes, MODEL, pretrained=False, epochs=2, cache_folder=tmp_path / "cache", cache_limit="1", quiet=True,
        tensorboard=False, positive="肺炎", log_folder=tmp_path / "log", threads=1, image_size=32, workers=0,
    )  # fmt: skip
    timing = json.loads((run.path / "environment.json").read_text("utf-8"))["timing"]
    assert timing["images_decoded"] > sum(1 for _ in two_classes.rglob("*.png"))  # training images more than once
