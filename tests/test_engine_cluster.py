"""Runs on a real Ray cluster of two machines on this one; a machine that is lost costs no run and changes no number."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from engine_samples import write_project

import model_aggregation as ma
from model_aggregation.engine.cluster import _needs, _room, check_address, do_there
from model_aggregation.engine.task import Task
from model_aggregation.errors import SettingsError
from model_aggregation.results.index import Index
from model_aggregation.results.live import read_live
from model_aggregation.results.run_folder import RunFolder

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="clusters on one machine"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra cluster"),
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning"),
]

SETTINGS = {
    "image_size": 32, "pretrained": False, "positive": "a", "tensorboard": False, "epochs": 24, "threads": 1,
    "workers": 0, "device": "cpu", "precision": "32", "memory_format": "contiguous",
}  # fmt: skip
MODELS = ["more:first", "more:second", "networks:has_no_memory", "timm:test_resnet"]
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("共有")
    write_project(folder)
    (folder / "more.py").write_text("from networks import slow\n\nfirst = second = slow\n", encoding="utf-8")
    for name in ("model_aggregation", "types", "random"):  # no process may take these
        (folder / f"{name}.py").write_text(
            "raise SystemExit('imported from the working directory')\n", encoding="utf-8"
        )
    return folder


@pytest.fixture(autouse=True)
def in_project(project, monkeypatch):
    monkeypatch.chdir(project)


@pytest.fixture(scope="module")
def cluster(project):
    """Two machines of one core each, as Ray sees them; the second one may be lost."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(ma.__file__).parents[1])
    cluster = Cluster(initialize_head=True, head_node_args={**machine, "_system_config": QUICK})
    cluster.add_node(**machine)
    yield cluster
    cluster.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def started(project, address, *, name="g", models=MODELS):
    """Start the comparison with the command, in a process group of its own; without an address Ray starts for it."""
    where = [] if address is None else ["--address", address]
    flags = ["--no-pretrained" if key == "pretrained" else "--no-tensorboard" if key == "tensorboard" else
             f"--{key.replace('_', '-')}={value}" for key, value in SETTINGS.items()]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "model_aggregation", "compare", "data", "--models", *models, "--name", name,
         "--engine", "ray", *where, "--cache-folder", "cache", *flags],
        cwd=project, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip


def pid_of(folder: Path):
    live = read_live(RunFolder(folder).progress_jsonl)
    return live.pid if live else None


def epochs_of(folder: Path) -> int:
    status = RunFolder(folder).status_txt
    return status.read_text("utf-8").count("epoch ") if status.is_file() else 0


def wait_for_epochs(folders, process=None):
    """Wait until each run has come two epochs further than it is now, and return its process."""
    before = [epochs_of(folder) for folder in folders]

    def are_further():
        assert process is None or process.poll() is None, process.communicate()[0]
        return all(epochs_of(folder) > was + 2 for folder, was in zip(folders, before, strict=True))

    wait_for(are_further)
    return [psutil.Process(pid_of(folder)) for folder in folders]


def test_ctrl_c_leaves_no_machine_computing(project, cluster):
    folders = [project / "log" / "g" / f"g_more_{name}" for name in ("first", "second")]
    process = started(project, cluster.address)
    runs = wait_for_epochs(folders, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(runs, timeout=30)
    assert not alive
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "same command again" in output
    for folder in folders:
        assert RunFolder(folder).status_txt.read_text("utf-8").splitlines()[-1].startswith("interrupted")
    states = Index(project / "log").runs("g")["state"]
    assert states.value_counts().to_dict() == {"interrupted": 2, "planned": 2}


def lose(cluster, folders):
    """Kill the second machine, with all its processes, while one of the runs is computed there."""
    (machine,) = cluster.worker_nodes
    raylet = psutil.Process(machine.all_processes["raylet"][0].process.pid)
    wait_for_epochs(folders)
    family = raylet.children(recursive=True)
    assert {pid_of(folder) for folder in folders} & {process.pid for process in family}
    cluster.remove_node(machine, allow_graceful=False)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_lost_machine_costs_no_run_and_changes_no_number(project, cluster):
    same = {"models": MODELS, "cache_folder": "cache", "quiet": True, **SETTINGS}
    folders = [project / "log" / "g" / f"g_more_{name}" for name in ("first", "second")]
    with ThreadPoolExecutor() as threads:
        loss = threads.submit(lose, cluster, folders)
        group = ma.compare("data", name="g", engine="ray", address=cluster.address, **same)
        loss.result()
    calm = ma.compare("data", name="calm", jobs=2, **same)
    for path in calm.path.glob("*/*"):
        if path.name in ("metrics.json", "last_model_weight.pth", "best_model_weight.pth"):
            run = path.parent.name.replace("calm", "g")
            assert (group.path / run / path.name).read_bytes() == path.read_bytes(), path
    rows = Index(project / "log").runs("g").set_index("run_name")
    assert rows["state"].value_counts().to_dict() == {"finished": 3, "failed": 1}
    assert "900 GiB" in rows.loc["g_networks_has_no_memory", "reason"]
    assert not list((project / "log" / ".locks").glob("cluster.*"))


def test_without_an_address_ray_starts_here_and_a_stopped_command_continues(project):
    models = MODELS[:2]
    folders = [project / "log" / "here" / f"here_more_{name}" for name in ("first", "second")]
    for number in (signal.SIGKILL, signal.SIGINT):
        process = started(project, None, name="here", models=models)
        runs = wait_for_epochs(folders, process)
        os.kill(process.pid, number) if number == signal.SIGKILL else os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=60)
        assert "Traceback" not in output
        assert not psutil.wait_procs(runs, timeout=30)[1]
    assert process.returncode == 130, output
    process = started(project, None, name="here", models=models)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert "continues after epoch" in output
    same = {"models": models, "cache_folder": "cache", "quiet": True, **SETTINGS}
    undisturbed = ma.compare("data", name="undisturbed", **same)
    for path in undisturbed.path.glob("*/*"):
        if path.name in ("metrics.json", "last_model_weight.pth", "best_model_weight.pth"):
            run = path.parent.name.replace("undisturbed", "here")
            assert (project / "log" / "here" / run / path.name).read_bytes() == path.read_bytes(), path
    assert Index(project / "log").runs("here")["state"].tolist() == ["finished", "finished"]


def test_a_machine_that_sees_no_log_folder_says_so(project):
    plan = ma.make_plan(data="data", model="networks:network", cache_folder="cache", **SETTINGS)
    with pytest.raises(FileNotFoundError, match=f"{socket.gethostname()} does not see the log folder .*log; data and"):
        do_there(Task(plan, plan.runs[0]), project / "elsewhere")
    assert not plan.runs[0].folder.exists()


def test_what_would_be_ignored_is_refused(monkeypatch):
    given = {"data": "data", "model": "networks:network", **SETTINGS}
    for setting in ({"jobs": 2}, {"keep_cache": False}, {"device": "cuda:1"}):
        with pytest.raises(SettingsError, match=next(iter(setting))):
            ma.make_plan(**{**given, **setting}, engine="ray")
    with pytest.raises(SettingsError, match="address has an effect with engine: ray only"):
        ma.make_plan(**given, address="auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'model_aggregation\[cluster\]'"):
        ma.make_plan(**given, engine="ray")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:x"])
def test_a_wrong_address_is_said_at_once(address):
    with pytest.raises(SettingsError, match=f"--address {address}: expected"):
        check_address(address)


def test_a_run_takes_the_share_of_a_machine_that_it_computes_with():
    small, large, gpus = {"CPU": 4.0}, {"CPU": 16.0}, {"CPU": 16.0, "GPU": 4.0}
    assert _needs("cpu", None, [small, large]) == {"CPU": 4}
    assert _needs("auto", None, [small, gpus]) == {"CPU": 4, "GPU": 1}
    assert _needs("cuda", 8, [small, gpus]) == {"CPU": 8, "GPU": 1}
    assert _room({"CPU": 8, "GPU": 1}, [small, large, gpus]) == 2
    with pytest.raises(SettingsError, match="no machine of the cluster has 1 cores and a GPU"):
        _needs("cuda", None, [small, {"memory": 1.0}])
