"""Each run has a process: what happens to it ends that run only, and nothing outlives what started it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from engine_samples import write_project

import model_aggregation as ma
from model_aggregation.errors import SettingsError
from model_aggregation.results.index import Index
from model_aggregation.results.live import read_live
from model_aggregation.results.run_folder import RunFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SETTINGS = {"image_size": 32, "pretrained": False, "positive": "a", "tensorboard": False}
FLAGS = ["--image-size", "32", "--no-pretrained", "--positive", "a", "--no-tensorboard", "--cache-folder", "cache"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def started(project, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "model_aggregation", *map(str, words), *FLAGS], cwd=project, text=True,
        encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )  # fmt: skip


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def in_epoch(folder: Path, epoch: int):
    status = RunFolder(folder).status_txt
    return status.is_file() and f"epoch {epoch}/" in status.read_text("utf-8")


def pid_of(folder: Path):
    live = read_live(RunFolder(folder).progress_jsonl)
    return live.pid if live else None


def test_a_process_that_dies_ends_its_run_only(project):
    models = [f"networks:{name}" for name in ("aborts", "network", "crashes", "is_killed", "leaves", "has_no_memory")]
    group = ma.compare("data", models, name="g", epochs=1, quiet=True, cache_folder="cache", **SETTINGS)
    reasons = {run.name.removeprefix("g_networks_"): run.folder.failure_reason() for run in group.runs}
    assert reasons.pop("network") is None
    assert RunFolder(group.path / "g_networks_network").finished
    assert reasons["aborts"].startswith("killed by signal 6 (SIGABRT)")
    assert reasons["crashes"].startswith("killed by signal 11 (SIGSEGV)")
    assert "killed by signal 9 (SIGKILL): usually the kernel's out-of-memory killer" in reasons["is_killed"]
    assert reasons["leaves"] == "its process ended by itself with code 3"
    assert "Unable to allocate 900 GiB" in reasons["has_no_memory"]
    error = RunFolder(group.path / "g_networks_aborts").read_error()
    assert "about to abort" in error
    assert "in aborts" in error  # where in the code it was
    assert "MiB of memory" in error
    assert "model networks:aborts" in error  # the end of its log
    states = Index(project / "log").runs("g").set_index("run_name")["state"]
    assert states.value_counts().to_dict() == {"failed": 5, "finished": 1}


def test_jobs_change_no_number(project):
    models = ["timm:test_resnet", "networks:network"]
    same = {**SETTINGS, "epochs": 2, "threads": 1, "quiet": True, "cache_folder": "cache", "seeds": (1, 2)}
    folders = [ma.compare("data", models, name=f"jobs{jobs}", jobs=jobs, **same).path for jobs in (0, 1, 3)]
    for path in sorted(folders[0].glob("*/*")):
        if path.name in ("metrics.json", "last_model_weight.pth", "best_model_weight.pth"):
            for other in folders[1:]:
                run = path.parent.name.replace("jobs0", other.name)
                assert (other / run / path.name).read_bytes() == path.read_bytes(), (other.name, path)
    runs = [json.loads(path.read_text("utf-8")) for path in folders[2].glob("*/environment.json")]
    assert len(runs) == 4
    assert all(run["peak_memory_bytes"] > 2**20 and run["threads"] == 1 for run in runs)
    settled = {model: [run["arithmetic"] for run in runs if run["model"] == model] for model in models}
    assert all(first == second for first, second in settled.values())
    assert not list(folders[2].glob("*/progress.jsonl"))


def test_a_script_without_a_guard_runs_once(project):
    script = project / "script.py"
    script.write_text(
        "import model_aggregation as ma\n"
        "print('started')\n"
        "ma.compare('data', ['networks:network'], name='g', epochs=1, quiet=True, cache_folder='cache', jobs=2,\n"
        f"           seeds=(1, 2), **{SETTINGS!r})\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, script], cwd=project, capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert result.stdout == "started\n", result.stderr
    assert len(list((project / "log").glob("g/*/metrics.json"))) == 2


def test_a_killed_run_continues_with_the_same_command_and_ends_in_the_same_bits(project):
    words = ["train", "data", "--model", "networks:slow", "--epochs", "20", "--seed", "1", "--threads", "1"]
    calm = started(project, *words, "--name", "calm")
    output, _ = calm.communicate(timeout=120)
    assert calm.returncode == 0, output
    folder = project / "log" / "hit"
    process = started(project, *words, "--name", "hit")
    wait_for(lambda: in_epoch(folder, 2))
    os.kill(pid_of(folder), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "killed by signal 9" in output
    assert "epoch 2/20" in RunFolder(folder).read_error()
    again = started(project, *words, "--name", "hit")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "continues after epoch" in output
    for name in ("metrics.json", "last_model_weight.pth"):
        assert (folder / name).read_bytes() == (project / "log" / "calm" / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_outlives_the_command(project, number):
    process = started(
        project, "compare", "data", "--models", "networks:slow", "--seeds", "1", "2", "3", "--name", "g",
        "--epochs", "200", "--jobs", "2",
    )  # fmt: skip
    folders = [project / "log" / "g" / f"g_networks_slow_s{seed}" for seed in (1, 2)]
    wait_for(lambda: all(in_epoch(folder, 2) for folder in folders))
    family = psutil.Process(process.pid).children(recursive=True)
    assert {pid_of(folder) for folder in folders} <= {member.pid for member in family}
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert "Traceback" not in output
    if number != signal.SIGKILL:
        assert process.returncode == 130, output
        assert "same command again" in output
    for folder in folders:
        assert RunFolder(folder).status_txt.read_text("utf-8").splitlines()[-1].startswith("interrupted")
    states = Index(project / "log").runs("g").set_index("run_name")["state"].to_dict()
    assert list(states.values()) == ["interrupted", "interrupted", "planned"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stop_before_the_first_run_says_how_to_go_on(project, number):
    process = started(project, "train", "data", "--model", "networks:network", "--name", "run", "--epochs", "1")
    wait_for((project / "cache" / "inspections.sqlite3").exists)  # the images are about to be read
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), output  # a shell says 130 to both; Python may choose
    assert "Stopped while no run went on. What was done is stored; give the same command again" in output
    assert "Traceback" not in output
    assert not (project / "log" / "run").exists()


def test_status_is_told_from_another_process_without_torch(project):
    process = started(project, "train", "data", "--model", "networks:slow", "--name", "run", "--epochs", "200")
    folder = RunFolder(project / "log" / "run")
    wait_for(lambda: (live := read_live(folder.progress_jsonl)) and live.images_per_second)
    code = (
        "import sys\nfrom model_aggregation.cli import app\n"
        "app(['status', 'run', '--json'], result_action='return_value')\nassert 'torch' not in sys.modules"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert told.returncode == 0, told.stderr
    (run,) = json.loads(told.stdout)
    assert (run["state"], run["live"]["phase"], run["live"]["epochs"]) == ("running", "training", 200)
    assert {run["live"][name] is None for name in ("loss", "images_per_second", "seconds_left")} == {False}
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    told = subprocess.run(
        [sys.executable, "-m", "model_aggregation", "status"], cwd=project, capture_output=True, text=True,
        encoding="utf-8", check=True,
    )  # fmt: skip
    assert "1 runs: 1 interrupted." in told.stdout


def test_two_equal_commands_share_the_work(project):
    words = ["compare", "data", "--models", "networks:slow", "--seeds", "1", "2", "--name", "g", "--epochs", "3"]
    both = [started(project, *words) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert all("Traceback" not in output for output in outputs)
    assert len(list((project / "log" / "g").glob("*/metrics.json"))) == 2
    assert Index(project / "log").runs("g")["state"].tolist() == ["finished", "finished"]


def test_negative_jobs_are_refused():
    with pytest.raises(SettingsError, match="jobs"):
        ma.make_plan(data="x", model="a", jobs=-1)
