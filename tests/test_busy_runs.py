"""Two commands on one log folder: what the other one works on has not failed, and is taken over where it is left."""

import os
from contextlib import ExitStack, contextmanager

import pytest
from command_line import magg  # noqa: F401  (a fixture)
from engine_samples import write_project

from model_aggregation import engine
from model_aggregation.api import make_plan
from model_aggregation.files import write_json
from model_aggregation.progress import Reporter
from model_aggregation.results.index import Index
from model_aggregation.results.locks import RunIsBusyError, run_lock, who_holds
from model_aggregation.results.run_folder import RunFolder

WORDS = [
    "compare", "data", "--models", "networks:network", "timm:test_resnet", "--name", "g", "--epochs", "1",
    "--jobs", "0", "--image-size", "32", "--no-pretrained", "--positive", "a", "--no-tensorboard",
    "--cache-folder", "cache",
]  # fmt: skip
BUSY, FREE = "g_networks_network", "g_test_resnet"


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@contextmanager
def running(log, *runs):
    """Hold runs as another command does that works on them."""
    log.mkdir(exist_ok=True)
    with ExitStack() as locks:
        for run in runs:
            Index(log).set_state(run, "g", "running", model="networks:network")
            locks.enter_context(run_lock(log, "g", run))
        yield locks


class Watcher(Reporter):
    """Does something when a message comes."""

    def __init__(self, word, action):
        self.word, self.action, self.said = word, action, []

    def message(self, text):
        self.said.append(text)
        if self.word in text:
            self.action()


def test_a_run_of_another_command_is_running_not_failed(project, magg):  # noqa: F811
    with running(project / "log", BUSY):
        told = magg(*WORDS, expect=2)
    assert f"1 of 2 runs is running elsewhere: {BUSY} (process {os.getpid()}, since 20" in told
    assert "failed" not in told
    assert "error.txt" not in told
    assert "networks:network: running" in told
    assert "networks:network   running" in told
    assert "timm:test_resnet   finished" in told


def plan_of(project, **more):
    given = {"image_size": 32, "epochs": 1, "pretrained": False, "tensorboard": False, "jobs": 0, "positive": "a"}
    return make_plan(data=project / "data", name="g", cache_folder=project / "cache", **given, **more)


def test_what_the_other_command_leaves_is_done_at_the_end(project):
    plan = plan_of(project, models=("networks:network", "timm:test_resnet"))
    with running(project / "log", BUSY) as locks:
        watcher = Watcher("[2/2]", locks.close)
        outcome = engine.run(plan, watcher)
    assert (outcome.finished, outcome.exit_code) == ([FREE, BUSY], 0)
    assert sum("[1/2]" in text for text in watcher.said) == 2


def test_what_ends_elsewhere_before_the_ranking_is_said_as_it_is_then(project):
    plan = plan_of(project, model="networks:network", seeds=(0, 1))
    engine.run(plan)
    metrics = RunFolder(project / "log" / "g" / "g_networks_network_s0").metrics_json
    kept = metrics.read_bytes()
    metrics.unlink()

    class Finishes(Reporter):
        @contextmanager
        def working(self):
            yield self
            metrics.write_bytes(kept)

    with running(project / "log", "g_networks_network_s0"):
        outcome = engine.run(plan, Finishes())
    assert (outcome.finished, outcome.elsewhere, outcome.exit_code) == ([], {}, 0)
    assert Index(project / "log").runs("g")["state"].tolist() == ["finished", "finished"]


def test_folds_of_another_command_are_not_pooled_here_and_nothing_failed(project):
    plan = plan_of(project, model="networks:network", folds=2)
    with running(project / "log", "g_networks_network_f1"):
        outcome = engine.run(plan)
    assert outcome.failed == {}
    assert outcome.finished == ["g_networks_network_f2"]
    assert outcome.elsewhere.keys() == {"g_networks_network_f1", "g_networks_network"}
    assert outcome.elsewhere["g_networks_network"] == "waits for g_networks_network_f1"
    assert not (project / "log" / "g" / "g_networks_network").exists()


def test_what_a_killed_process_left_beside_its_lock_names_nobody(tmp_path):
    lock = tmp_path / ".locks" / "g.g_a.lock"
    with run_lock(tmp_path, "g", "g_a"):
        pass
    assert not lock.with_suffix(".json").exists()
    write_json(lock.with_suffix(".json"), {"pid": 1, "machine": "node7", "since": "2026-01-02T03:04:05+00:00"})
    assert who_holds(tmp_path, "g", "g_a") is None
    with run_lock(tmp_path, "g", "g_a"):
        assert str(os.getpid()) in who_holds(tmp_path, "g", "g_a")
        write_json(lock.with_suffix(".json"), {"pid": 1, "machine": "node7", "since": "2026-01-02T03:04:05+00:00"})
        with (
            pytest.raises(RunIsBusyError, match=r"process 1 on node7, since 2026-01-0\d"),
            run_lock(tmp_path, "g", "g_a"),
        ):
            pass
        lock.with_suffix(".json").write_text("{", encoding="utf-8")
        assert who_holds(tmp_path, "g", "g_a") == "another process"
