"""Small comparisons to disturb, in processes of their own that start quickly."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from conftest import write_image

import model_aggregation as ma

MODELS = ("timm:test_resnet",)
GIVEN = {
    "image_size": 32, "epochs": 3, "batch_size": 8, "pretrained": False, "tensorboard": False, "quiet": True,
    "name": "g", "positive": "b", "learning_rate": 1e-3, "workers": 0, "device": "cpu",
    "precision": "32", "memory_format": "contiguous", "threads": 1, "jobs": 0,
}  # fmt: skip


def small_data(root: Path, count: int = 20) -> Path:
    """Write two classes of small images."""
    for number, label in enumerate("ab"):
        for image in range(count):
            write_image(root / label / f"{image}.png", bright=number == 1, seed=1000 * number + image)
    return root


def compare(folder: Path, data: Path, given: dict) -> None:
    """Do the small comparison in a folder, in a process group of its own."""
    if hasattr(os, "setsid"):
        os.setsid()
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    sys.stderr = (folder / "stderr.txt").open("a", encoding="utf-8", buffering=1)
    ma.compare(data, MODELS, cache_folder=folder / "cache", **{**GIVEN, **given})


def process(folder: Path, data: Path, **given) -> multiprocessing.Process:
    """Start the comparison; what it imports was imported before, where processes can be forked."""
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["warm_process"])
    started = context.Process(target=compare, args=(folder, data, given))
    started.start()
    return started


def kill(started: multiprocessing.Process) -> None:
    """End a process and those it started, at once."""
    if started.is_alive() and hasattr(os, "killpg"):
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group yet
            started.kill()
    else:
        started.kill()
    started.join()


def earned(folder: Path) -> dict[str, bytes]:
    """Return what must be equal to the last bit: weights, predictions and numbers of every run."""
    names = ("last_model_weight.pth", "best_model_weight.pth", "metrics.json")
    found = {}
    for run in sorted(path for path in (folder / "log" / "g").iterdir() if (path / f"{path.name}.yaml").is_file()):
        for path in [*(run / name for name in names), *run.glob("*_test.csv"), *run.glob("*_val.csv")]:
            found[f"{run.name}/{path.name}"] = path.read_bytes()
    return found


def unfinished(folder: Path) -> list[str]:
    """Return what is left half-written below a folder."""
    return [str(path) for path in (folder / "log").rglob(".*.part*")]
