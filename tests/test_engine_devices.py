"""One network on several devices: the same numbers, every image once, and what becomes of a rank that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from engine_samples import write_project

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.engine.places import Place, places
from model_aggregation.engine.session import Session
from model_aggregation.errors import SettingsError
from model_aggregation.launch import Launch
from model_aggregation.prediction import predict_folder
from model_aggregation.ranks import Part, own_positions, part_of, server
from model_aggregation.results.live import read_live
from model_aggregation.results.run_folder import RunFolder

SETTINGS = {
    "device": "cpu", "pretrained": False, "positive": "a", "tensorboard": False, "cache_folder": "cache", "threads": 1,
    "precision": "32", "memory_format": "contiguous", "image_size": 32, "batch_size": 9, "epochs": 2,
}  # fmt: skip
LEARNING = {"learning_rate": 1e-3, "optimizer": "sgd"}  # Adam makes large steps of gradients that are rounding errors

NETWORKS = """
import os
import torch
from torch import nn

RANK = lambda: torch.distributed.get_rank() if torch.distributed.is_initialized() else 0

class Failing(nn.Module):
    '''Does something in its third training step, on the second device alone.'''
    def __init__(self, num_classes, what):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, num_classes)
        self.what, self.steps = what, 0
    def forward(self, images):
        self.steps += self.training
        if self.training and self.steps == 3 and RANK() == 1:
            self.what(images)
        return self.head(self.body(images))

def stumble(images):
    raise ValueError("the second device stumbled")

def lack(images):
    if len(images) > 2:
        raise MemoryError("Unable to allocate 900 GiB")

def stumbling(num_classes):
    return Failing(num_classes, stumble)

def killed(num_classes):
    return Failing(num_classes, lambda images: os.kill(os.getpid(), 9))

def hungry(num_classes):
    return Failing(num_classes, lack)

class Unused(nn.Module):
    '''Has a layer that no image reaches.'''
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.spare, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)
    def forward(self, images):
        return self.head(self.body(images).relu().mean((2, 3)))

def unused(num_classes):
    return Unused(num_classes)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_project(tmp_path, images=25)
    (tmp_path / "troubles.py").write_text(NETWORKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def train(model, name, **given):
    return ma.train("data", model, name=name, quiet=True, **{**SETTINGS, **given})


def facts(name):
    return json.loads(Path("log", name, "environment.json").read_text("utf-8"))


def table(name, split="test"):
    return pd.read_csv(Path("log", name, f"{name}_{split}.csv"))


def assert_alike(name, other, tolerance):
    for split in ("val", "test"):
        one, two = table(name, split), table(other, split)
        assert one["path"].tolist() == two["path"].tolist()
        assert two["path"].is_unique
        np.testing.assert_allclose(two[["a", "b"]], one[["a", "b"]], atol=tolerance, rtol=0)
    for one, two in zip(facts(name)["history"], facts(other)["history"], strict=True):
        assert one.keys() == two.keys()
        for key in one:
            assert two[key] == pytest.approx(one[key], abs=tolerance), key


class FakeFabric:
    def __init__(self, rank, ranks):
        self.global_rank, self.world_size = rank, ranks


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 32])
def test_the_parts_of_all_ranks_make_the_batch(count, ranks):
    parts: list[Part] = [part_of(count, FakeFabric(rank, ranks)) for rank in range(ranks)]
    own = np.concatenate([part.rows[: part.own] for part in parts])
    assert own.tolist() == list(range(count))
    assert all(len(part.rows) >= min(2, count) for part in parts)
    assert all(part.own in (0, len(part.rows)) for part in parts)
    positions = np.concatenate([own_positions(count, FakeFabric(rank, ranks)) for rank in range(ranks)])
    assert positions.tolist() == list(range(count))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"class_weights": "balanced", "accumulate": 2, "clip_gradient": 0.5, "augmentation": "light"},
        {"devices": 3, "batch_size": 11, "augmentation": "flips"},
    ],
    ids=["plain", "weighted", "three"],
)
def test_several_devices_give_the_numbers_of_one(project, given):
    for image in range(10):  # classes of different size
        (project / "data" / "b" / f"{image}.png").unlink()
    given = {"model": "timm:test_vit", "image_size": 160, **LEARNING, **given}
    train(name="one", **{**given, "devices": 1})
    run = train(name="several", **{"devices": 2, **given})
    assert run.state == "finished", run.folder.read_error()
    assert len(table("several")) == 8
    assert_alike("one", "several", 2e-5)
    environment = facts("several")
    assert environment["devices"] == given.get("devices", 2)
    assert environment["strategy"] == "DDP (Fabric)"
    assert environment["reason"] is None
    assert facts("one")["devices"] == 1


def test_thawed_networks_with_batch_norm_predict_as_their_weights_do(project):
    """Frozen first, from a file; then all learns. Ranks must test with equal statistics of batch norm: the stored."""
    train("timm:test_resnet", "start", batch_size=8)
    given = {"pretrained": True, "weights": ("log/start/last_model_weight.pth",), "devices": 2, "batch_size": 8}
    run = train("timm:test_resnet", "two", **given)
    assert run.state == "finished", run.folder.read_error()
    assert "the frozen network is computed in each epoch: 2 devices share the work" in run.folder.status_txt.read_text()
    assert [row["frozen"] for row in facts("two")["history"]] == [True, False]
    assert "batch norm saw the parts, of at most 4 images" in facts("two")["reason"]
    tested = table("two").set_index("path")
    again = predict_folder(project / "log" / "two", project / "data", device="cpu").set_index("path")
    np.testing.assert_allclose(again.loc[tested.index, ["a", "b"]], tested[["a", "b"]], atol=1e-5)


def test_mixed_images_and_layers_out_of_use(project):
    run = train("troubles:unused", "run", devices=2, mixup=0.2, cutmix=1.0, class_weights="balanced")
    assert run.state == "finished", run.folder.read_error()
    assert all(np.isfinite(row["train_loss"]) for row in facts("run")["history"])


def test_a_rank_that_fails_ends_its_run_only(project):
    models = ["troubles:stumbling", "troubles:killed", "networks:network"]
    group = ma.compare("data", models, name="g", quiet=True, devices=2, **SETTINGS)
    reasons = {run.name: run.folder.failure_reason() for run in group.runs}
    assert reasons.pop("g_networks_network") is None
    assert RunFolder(group.path / "g_networks_network").finished
    assert reasons["g_troubles_stumbling"] == "the second device stumbled"
    assert "in stumble" in RunFolder(group.path / "g_troubles_stumbling").read_error()
    if sys.platform != "win32":
        assert reasons["g_troubles_killed"].startswith("the process of device 2 of 2: killed by signal 9 (SIGKILL)")


def test_too_little_memory_of_one_rank_makes_all_begin_again(project):
    run = train("troubles:hungry", "run", devices=2, **LEARNING)
    assert run.state == "finished", run.folder.read_error()
    train("troubles:hungry", "calm", **LEARNING)
    assert facts("run")["arithmetic"]["batch_parts"] == 2
    assert "each batch of 5 was learnt in parts of at most 3 images" in facts("run")["reason"]
    assert_alike("calm", "run", 1e-5)


def test_time_is_over_for_all_at_once(project):
    run = train("networks:slow", "run", devices=2, run_time_limit="1s", epochs=200)
    assert run.state == "finished", run.folder.read_error()
    assert "stopped by the time limit" in facts("run")["reason"]


def started(project, *words, launcher=()):
    flags = []
    for key, value in SETTINGS.items():
        name = key.replace("_", "-")
        if f"--{name}" in words:
            continue
        flags += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "model_aggregation", *map(str, words), *flags], cwd=project, text=True,
        encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1",
             "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip


def wait_for_epoch(process, folder, epoch):
    status, deadline = RunFolder(folder).status_txt, time.monotonic() + 120
    while not (status.is_file() and f"epoch {epoch}/" in status.read_text("utf-8")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_outlives_the_command_and_it_continues(project, number):
    words = ["train", "data", "--model", "networks:slow", "--devices", "2", "--epochs", "6"]
    train("networks:slow", "calm", devices=2, epochs=6)
    folder = project / "log" / "hit"
    process = started(project, *words, "--name", "hit")
    wait_for_epoch(process, folder, 2)
    family = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert not psutil.wait_procs(family, timeout=40)[1]
    assert "Traceback" not in output
    assert RunFolder(folder).status_txt.read_text("utf-8").splitlines()[-1].startswith("interrupted")
    run = train("networks:slow", "hit", devices=2, epochs=6)
    assert run.state == "finished", run.folder.read_error()
    assert [row["epoch"] for row in facts("hit")["history"]] == list(range(6))
    assert_alike("calm", "hit", 1e-6)


TORCHRUN = (
    "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
)  # fmt: skip


def test_torchrun_says_how_many_devices_there_are(project):
    words = ["compare", "data", "--models", "troubles:killed", "networks:network", "--name", "g"]
    process = started(project, *words, launcher=TORCHRUN)
    output, _ = process.communicate(timeout=180)
    assert process.returncode, output  # torchrun's own: one run has failed
    assert output.count("Group g") == 1, output  # one process speaks
    assert RunFolder(project / "log/g/g_troubles_killed").failure_reason().startswith("the process of device 2 of 2")
    finished = json.loads((project / "log/g/g_networks_network/environment.json").read_text("utf-8"))
    assert (finished["state"], finished["devices"]) == ("finished", 2)
    assert "devices: 2" in (project / "log/g/g_networks_network/g_networks_network.yaml").read_text("utf-8")
    assert len(pd.read_csv(project / "log/g/g_networks_network/g_networks_network_test.csv")) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_nothing_outlives_torchrun(project):
    words = ["train", "data", "--model", "networks:slow", "--name", "run", "--epochs", "500"]
    process = started(project, *words, launcher=TORCHRUN)
    folder = project / "log" / "run"
    wait_for_epoch(process, folder, 2)
    assert read_live(RunFolder(folder).progress_jsonl)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not psutil.wait_procs(family, timeout=40)[1]
    assert RunFolder(folder).status_txt.read_text("utf-8").splitlines()[-1].startswith("interrupted")


def test_large_plans_reach_the_other_processes():
    served = server("localhost", 0, own=True)
    session = Session(Launch(0, 2, 0, "localhost", served.port, serves=False))
    content = np.random.default_rng(0).bytes(9 * 2**20)  # more than PyTorch's store takes at once
    assert session.told("order/0") is None
    session.tell("order/0", content)
    assert session.told("order/0") == content


def test_a_team_of_gpus_for_each_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = make_settings(data="x", model="a", devices=2)
    assert places(settings, most=5) == [Place(2, "0", ("1",)), Place(2, "2", ("3",))]
    assert places(settings, most=1) == [Place(1, "0", ("1",))]
    assert places(make_settings(data="x", model="a", devices=2, device="cpu"), most=5) == [Place(1, None, (None,))]
    with pytest.raises(SettingsError, match=r"--devices: expected 6 devices .* this machine has 5 GPUs"):
        ma.make_plan(data="x", model="a", devices=6)


def test_what_excludes_several_devices_is_refused_at_once():
    with pytest.raises(SettingsError) as raised:
        make_settings(data="x", model="a", devices=4, jobs=0, device="cuda:1", batch_size=7, cache_features=False)
    for word in ("jobs: 0 starts none", "device: cuda:1", "batch_size must be at least 8", "cache_features"):
        assert word in str(raised.value)
    with pytest.raises(SettingsError, match="Ray cluster has one device"):
        make_settings(data="x", model="a", devices=2, engine="ray")
