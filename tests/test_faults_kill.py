"""A comparison that is killed at random moments ends in the same bits as one that was left alone."""

import os
import random
import signal
import sqlite3
import time

import pytest
from fault_samples import earned, kill, process, small_data, unfinished

from model_aggregation.results.index import Index

KILLS = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_data(tmp_path_factory.mktemp("faults") / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """What the comparison earns when nothing disturbs it, and the seconds it takes."""
    folder = tmp_path_factory.mktemp("faults") / "whole"
    warm = process(folder.with_name("warm"), data, epochs=1)
    warm.join()
    started = time.perf_counter()
    left_alone = process(folder, data)
    left_alone.join()
    assert left_alone.exitcode == 0, (folder / "stderr.txt").read_text(encoding="utf-8")
    return earned(folder), time.perf_counter() - started


def finish(folder, data):
    last = process(folder, data)
    last.join()
    assert last.exitcode == 0, (folder / "stderr.txt").read_text(encoding="utf-8")
    states = Index(folder / "log").runs("g")["state"]
    assert states.tolist() == ["finished"]
    assert not unfinished(folder)
    assert not list((folder / "log").rglob("state"))


def test_killed_at_random_moments(tmp_path, data, whole):
    expected, seconds = whole
    moments = random.Random(8)
    kills = comparisons = 0
    while kills < KILLS:
        folder = tmp_path / str(comparisons)
        comparisons += 1
        for _ in range(7):
            started = process(folder, data)
            started.join(moments.uniform(0.05, 0.8) * seconds)
            if not started.is_alive():
                assert started.exitcode == 0, (folder / "stderr.txt").read_text(encoding="utf-8")
                break
            kill(started)
            kills += 1
        finish(folder, data)
        assert earned(folder) == expected
        with sqlite3.connect(folder / "log" / "analyze_record.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows knows these signals in another form")
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_asked_to_stop(tmp_path, data, whole, number, jobs):
    expected, _ = whole
    started = process(tmp_path / "stopped", data, jobs=jobs)
    status = tmp_path / "stopped" / "log" / "g" / "g_test_resnet" / "g_test_resnet_status.txt"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (status.is_file() and "epoch 1/3 train" in status.read_text("utf-8")):
        time.sleep(0.005)
    os.kill(started.pid, getattr(signal, number))
    started.join(60)
    assert started.exitcode not in (0, None)
    finish(tmp_path / "stopped", data)
    assert earned(tmp_path / "stopped") == expected
