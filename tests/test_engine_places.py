"""Shares of the machine, words for deaths, and the file that tells where a run stands."""

import torch

import model_aggregation as ma
from model_aggregation import processes
from model_aggregation.config import make_settings
from model_aggregation.engine.deaths import meaning_of
from model_aggregation.engine.places import Place, place_warnings, places
from model_aggregation.results.live import LiveFile, live_state, read_live
from model_aggregation.results.run_folder import RunFolder


def settings(**given):
    return make_settings(data="x", model="a", **given)


def test_without_several_gpus_one_run_at_a_time(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert places(settings(), most=5) == [Place(1)]
    assert places(settings(jobs=3), most=5) == [Place(3)] * 3
    assert places(settings(jobs=3), most=2) == [Place(2)] * 2
    assert places(settings(jobs=0), most=5) == []


def test_a_run_for_each_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert places(settings(), most=5) == [Place(2, "0"), Place(2, "1")]
    assert [place.gpu for place in places(settings(jobs=4), most=5)] == ["0", "1", "0", "1"]
    assert places(settings(device="cuda:1"), most=5) == [Place(1)]
    assert places(settings(device="cpu"), most=5) == [Place(1)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [place.gpu for place in places(settings(), most=5)] == ["5", "7"]


def test_more_threads_than_cores_are_said():
    assert len(list(place_warnings(settings(threads=100_000), 2))) == 1
    assert not list(place_warnings(settings(threads=100_000), 1))
    assert not list(place_warnings(settings(), 8))


def test_deaths_in_plain_words():
    assert meaning_of(-9).startswith("killed by signal 9 (SIGKILL): usually the kernel's out-of-memory killer")
    assert meaning_of(0xC0000005) == "a crash in compiled code (access violation)"
    assert meaning_of(-63) == "killed by signal 63"


def test_the_last_whole_line_counts_and_the_file_stays_small(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert read_live(folder.progress_jsonl) is None
    file = LiveFile(folder)
    for number in range(1500):
        file.append(live_state(phase="training", done=float(number), total=2000))
    assert len(folder.progress_jsonl.read_text("utf-8").splitlines()) == 500
    with folder.progress_jsonl.open("a", encoding="utf-8") as half:
        half.write('{"time": "2030-01-01", "pid"')
    assert read_live(folder.progress_jsonl).done == 1499
    folder.progress_jsonl.write_text("\n[]\n", encoding="utf-8")
    assert read_live(folder.progress_jsonl) is None
    file.remove()
    assert not folder.progress_jsonl.exists()


def test_runs_are_spawned_where_there_is_no_server(two_classes, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_FORKS", False)
    run = ma.train(
        two_classes, "timm:test_resnet", positive="肺炎", image_size=32, epochs=1, pretrained=False, quiet=True,
        tensorboard=False, log_folder=tmp_path / "log", cache_folder=tmp_path / "cache",
    )  # fmt: skip
    assert run.state == "finished", run.folder.failure_reason()
