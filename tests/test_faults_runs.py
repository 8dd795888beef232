"""Little memory, full disks, vanished images, damaged run folders and time limits: what whole runs make of them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fault_samples import GIVEN, small_data, unfinished

import model_aggregation as ma
from model_aggregation.errors import DataError, ResultsError, SettingsError
from model_aggregation.files import read_json
from model_aggregation.forecast import run_state
from model_aggregation.training.checkpoint import stored_states

NETWORK = """
import os
import torch
from torch import nn

class Body(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        most = os.environ["MOST_LEARNT" if self.training else "MOST_PREDICTED"]
        if len(images) > int(most):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return self.fc(self.features(images))

def small(num_classes):
    return Body(num_classes)
"""


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MOST_LEARNT", "100")
    monkeypatch.setenv("MOST_PREDICTED", "100")
    (tmp_path / "faulty.py").write_text(NETWORK, encoding="utf-8")
    small_data(tmp_path / "data")
    yield {**GIVEN, "cache_folder": tmp_path / "cache"}
    sys.modules.pop("faulty", None)


def status_of(run):
    return run.folder.status_txt.read_text(encoding="utf-8")


def test_batches_that_do_not_fit_are_learnt_in_parts(tmp_path, given, monkeypatch):
    free = ma.train(tmp_path / "data", "faulty:small", **{**given, "name": "free"})
    monkeypatch.setenv("MOST_LEARNT", "3")
    monkeypatch.setenv("MOST_PREDICTED", "7")
    tight = ma.train(tmp_path / "data", "faulty:small", **{**given, "name": "tight"})
    assert tight.state == "finished", tight.folder.failure_reason()
    facts = tight.folder.read_environment()
    assert facts["arithmetic"]["batch_parts"] == 4
    assert facts["arithmetic"]["inference"]["batch_size"] == 4
    assert "parts of at most 2 images" in facts["reason"]
    assert "batch norm" in facts["reason"]
    assert status_of(tight).count("half as many images at once") == 4
    first, second = free.predictions("test"), tight.predictions("test")
    assert np.allclose(first["a"], second["a"], atol=1e-5)  # no batch norm: only rounding differs
    reasons = ma.leaderboard().set_index("run_name")["reason"]
    assert "for lack of memory" in reasons["tight"]
    assert "memory" not in (reasons["free"] or "")


def test_timing_a_network_needs_no_more_memory_than_there_is(tmp_path, given, monkeypatch):
    monkeypatch.setenv("MOST_LEARNT", "3")
    monkeypatch.setenv("MOST_PREDICTED", "3")
    open_choice = {**given, "precision": "auto", "memory_format": "auto"}
    run = ma.train(tmp_path / "data", "faulty:small", **open_choice)
    assert run.state == "finished", run.folder.failure_reason()
    assert "timed on this machine" in run.folder.read_environment()["arithmetic"]["origin"]


def test_a_run_that_continues_knows_its_halved_batches(tmp_path, given, monkeypatch):
    monkeypatch.setenv("MOST_LEARNT", "4")
    whole = ma.train(tmp_path / "data", "faulty:small", **{**given, "name": "whole"})
    folder = tmp_path / "log" / "whole"
    weights = (folder / "last_model_weight.pth").read_bytes()
    (folder / "metrics.json").unlink()  # as if it had been stopped before its end
    monkeypatch.setenv("MOST_LEARNT", "100")
    again = ma.train(tmp_path / "data", "faulty:small", **{**given, "name": "whole"})
    assert again.folder.read_environment()["arithmetic"]["batch_parts"] == 2
    assert (folder / "last_model_weight.pth").read_bytes() == weights
    assert whole.path == again.path


def test_too_little_memory_for_one_image_ends_the_run_alone(tmp_path, given, monkeypatch):
    (tmp_path / "sound.py").write_text(NETWORK.replace("int(most)", "100"), encoding="utf-8")
    monkeypatch.setenv("MOST_LEARNT", "0")
    group = ma.compare(tmp_path / "data", ["faulty:small", "sound:small"], **given)
    states = {run.name: run.state for run in group.runs}
    assert states == {"g_faulty_small": "failed", "g_sound_small": "finished"}
    reason = next(run for run in group.runs if run.state == "failed").folder.failure_reason()
    assert "Even one image at a time is too much for learning" in reason


LACKS_ONCE = """
lacked = set()

class LacksOnce(Body):
    def forward(self, images):
        if len(images) > 4 and self.training not in lacked:
            lacked.add(self.training)
            raise MemoryError()
        return super().forward(images)

def once(num_classes):
    return LacksOnce(num_classes)
"""


def test_what_one_seed_halves_changes_no_other(tmp_path, given):
    (tmp_path / "faulty.py").write_text(NETWORK + LACKS_ONCE, encoding="utf-8")
    group = ma.compare(tmp_path / "data", ["faulty:once"], seeds=(1, 2), **given)
    first, second = (run.folder.read_environment()["arithmetic"] for run in group.runs)
    assert (first["batch_parts"], second["batch_parts"]) == (2, 1)
    assert second["inference"]["batch_size"] == 2 * first["inference"]["batch_size"] > 4
    assert {**first, "batch_parts": 1, "whole_batch_size": None, "inference": second["inference"]} == second


def test_predicting_new_images_halves_its_batches_too(tmp_path, given, monkeypatch):
    run = ma.train(tmp_path / "data", "faulty:small", **given)
    before = ma.predict(run, tmp_path / "data")
    monkeypatch.setenv("MOST_PREDICTED", "3")
    after = ma.predict(run, tmp_path / "data")
    assert np.allclose(before["a"], after["a"], atol=1e-6)


SMALL_FILES = """
import resource, sys
import model_aggregation as ma
from fault_samples import GIVEN
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
group = ma.compare("data", ["timm:test_resnet", "faulty:small"], cache_folder="cache", **GIVEN)
for run in group.runs:
    print(run.state, run.folder.failure_reason())
"""


def in_process(tmp_path, code, *words):
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=False,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1"},
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_a_disk_that_takes_no_more_ends_a_run_in_clear_words_and_the_next_one_goes_on(tmp_path, given):
    result = in_process(tmp_path, SMALL_FILES, 400_000)  # the weights of the first network are larger
    assert result.returncode == 0, result.stderr
    finished, failed = result.stdout.splitlines()
    assert failed.startswith("failed Nothing more can be written to ")
    assert "same command again" in failed
    assert finished == "finished None"
    assert not unfinished(tmp_path)
    group = ma.compare(tmp_path / "data", ["timm:test_resnet", "faulty:small"], **given)
    assert [run.state for run in group.runs] == ["finished", "finished"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB, where this user may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.name != "nt" and os.geteuid() == 0
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if not mounted or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be made here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing(tmp_path, given, small_disk, capsys):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 600_000)
    log = small_disk / "log"
    ballast_of_network = "        self.ballast = nn.Linear(250, 500)\n"  # half a megabyte
    large = NETWORK.replace("        self.fc =", f"{ballast_of_network}        self.fc =")
    (tmp_path / "large.py").write_text(large, encoding="utf-8")
    run = ma.train(tmp_path / "data", "large:small", **{**given, "quiet": False}, log_folder=log)
    assert run.state == "failed", capsys.readouterr().err
    assert "the disk is full" in run.folder.failure_reason()
    assert not unfinished(small_disk)
    assert stored_states(run.path / "state")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    again = ma.train(tmp_path / "data", "large:small", **given, log_folder=log)
    assert again.state == "finished", again.folder.failure_reason()
    assert again.folder.read_environment()["epochs_trained"] == 3
    elsewhere = ma.train(tmp_path / "data", "large:small", **{**given, "name": "h"})
    assert (elsewhere.path / "metrics.json").read_bytes() == (again.path / "metrics.json").read_bytes()


def test_a_plan_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, given, small_disk):
    with pytest.raises(ResultsError, match=r"need [0-9.]+ GB.* are free") as refused:
        ma.train(tmp_path / "data", "resnet18", **given, log_folder=small_disk / "log")
    assert "0.00 GB are free" in str(refused.value)
    assert not any(small_disk.iterdir())


def test_a_folder_that_can_only_be_read_is_said_first(tmp_path, given, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SettingsError, match="cannot be written; choose another folder"):
        ma.train(tmp_path / "data", "faulty:small", **given, log_folder=small_disk / "log")


def test_images_that_vanish_fail_in_clear_words(tmp_path, given):
    plan = ma.make_plan(data=tmp_path / "data", models=("faulty:small", "timm:test_resnet"),
                        **{key: value for key, value in given.items() if key != "quiet"})  # fmt: skip
    gone = sorted((tmp_path / "data" / "a").iterdir())[3]
    content = gone.read_bytes()
    gone.unlink()
    group = ma.run(plan, quiet=True)
    for run in group.runs:
        assert run.state == "failed"
        assert gone.name in run.folder.failure_reason()
    assert not unfinished(tmp_path)
    gone.write_bytes(content)
    assert [run.state for run in ma.run(plan, quiet=True).runs] == ["finished", "finished"]
    with pytest.raises((DataError, SettingsError)):
        ma.train(tmp_path / "nothing", "faulty:small", **{**given, "name": "other"})


def test_damaged_files_of_a_run_are_put_aside(tmp_path, given):
    run = ma.train(tmp_path / "data", "faulty:small", **given)
    numbers = run.folder.metrics_json.read_bytes()
    trained = run.folder.weight_pth("last").stat().st_mtime_ns
    run.folder.metrics_json.write_bytes(numbers[:100])
    again = ma.train(tmp_path / "data", "faulty:small", **given)
    assert again.folder.metrics_json.read_bytes() == numbers
    assert again.folder.weight_pth("last").stat().st_mtime_ns == trained  # nothing was computed again
    run.folder.environment_json.write_bytes(b"")
    run.folder.metrics_json.unlink()
    third = ma.train(tmp_path / "data", "faulty:small", **given)
    assert third.state == "finished"
    assert third.folder.metrics_json.read_bytes() == numbers
    edited = numbers.replace(b'"value": 0.', b'"value": 0.1')
    run.folder.metrics_json.write_bytes(edited)
    trained = run.folder.weight_pth("last").stat().st_mtime_ns
    fourth = ma.train(tmp_path / "data", "faulty:small", **given)
    assert fourth.folder.metrics_json.read_bytes() == numbers
    assert (run.path / "metrics.json.changed").read_bytes() == edited
    assert run.folder.weight_pth("last").stat().st_mtime_ns == trained
    run.folder.metrics_json.write_bytes(edited)
    predictions = run.folder.predictions_csv("test")
    predictions.write_bytes(predictions.read_bytes().replace(b",0.", b",0.0"))
    fifth = ma.train(tmp_path / "data", "faulty:small", **given)
    assert fifth.folder.metrics_json.read_bytes() == edited  # nothing is made of predictions that were changed
    assert run.folder.weight_pth("last").stat().st_mtime_ns == trained
    assert ma.leaderboard("single", log_folder=tmp_path / "log")["auc"].isna().all()


@pytest.mark.parametrize("word", ["6", "6 hours", "", "0s", "h"])
def test_a_time_needs_its_unit(tmp_path, given, word):
    with pytest.raises(SettingsError, match="90s, 30m, 6h or 1d12h"):
        ma.train(tmp_path / "data", "faulty:small", time_limit=word, **given)


SLOW = NETWORK.replace("        most =", "        import time; time.sleep(0.35 * self.training)\n        most =")


def test_the_limit_of_a_run_and_going_on_with_more(tmp_path, given):
    (tmp_path / "slow.py").write_text(SLOW.replace("0.35", "0.15"), encoding="utf-8")
    own = {**given, "name": "limited"}
    run = ma.train(tmp_path / "data", "slow:small", run_time_limit="1s", **own)  # an epoch takes 0.6 s
    facts = run.folder.read_environment()
    assert run.state == "finished"
    assert "stopped by the time limit after" in facts["reason"]
    assert facts["reason"] in status_of(run)
    assert "stopped by the time limit" in ma.leaderboard()["reason"][0]
    before = run.folder.metrics_json.stat().st_mtime_ns
    same = ma.train(tmp_path / "data", "slow:small", run_time_limit="1s", **own)
    assert same.folder.metrics_json.stat().st_mtime_ns == before  # finished, and the time is used up
    plan = ma.make_plan(data=tmp_path / "data", model="slow:small", **{k: v for k, v in own.items() if k != "quiet"})
    assert run_state(plan.runs[0]) == "continues"
    whole = ma.train(tmp_path / "data", "slow:small", **own)
    assert whole.folder.read_environment()["epochs_trained"] == 3
    assert whole.folder.read_environment()["reason"] is None
    assert not (whole.path / "state").exists()
    other = ma.train(tmp_path / "data", "slow:small", **{**given, "name": "other"})
    assert (other.path / "metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()


@pytest.mark.parametrize("jobs", [0, 1])
def test_the_limit_of_the_whole_leaves_the_rest_for_the_same_command(tmp_path, given, jobs):
    given = {**given, "jobs": jobs}
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    names = ["slow:small", "faulty:small"]
    ma.compare(tmp_path / "data", names, time_limit="1s", **given)  # the first epoch takes 1.4 s
    states = ma.leaderboard("g").set_index("run_name")["state"]
    assert states.to_dict() == {"g_slow_small": "finished", "g_faulty_small": "stopped"}
    group = ma.compare(tmp_path / "data", names, **given)
    assert [run.state for run in group.runs] == ["finished", "finished"]
    assert [read_json(run.path / "environment.json")["epochs_trained"] for run in group.runs] == [3, 3]
