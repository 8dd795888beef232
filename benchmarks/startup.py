"""How long one waits: for the help, for a leaderboard, and for the first batch of a run.

    python benchmarks/startup.py [--rounds 5] [--images 1000] [--size 224] [--model torchvision:resnet18] [--json FILE]

Each command is given as a user gives it, in a process of its own; medians of wall and CPU seconds. ``first batch`` is
the time from the start of ``magg train`` until the first batch lies before the network (``there``) and has been learnt;
what was decoded and inspected before (by a run that is not counted) is there already, as are the timings of the
arithmetic. Whatever process learns it writes
down when: a ``sitecustomize`` beside the program looks over its shoulder. Then the run is stopped.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scale import write_images

WATCHER = """
import importlib.util, os, sys, time

class Watcher:
    def find_spec(self, name, path, target=None):
        if name != "model_aggregation.training.epoch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            learn = module._learn

            def noted(*given, **named):
                there = time.time()
                result = learn(*given, **named)
                try:
                    with open(os.environ["FIRST_BATCH"], "x") as file:
                        file.write(f"{there} {time.time()}")
                except FileExistsError:
                    pass
                return result

            module._learn = noted

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Watcher())
"""
MAGG = (sys.executable, "-m", "model_aggregation")
PATIENCE = 600


def whole_command(words: list[str]) -> dict[str, float]:
    """Run a command to its end and return its seconds."""
    started, before = time.perf_counter(), os.times()
    subprocess.run([*MAGG, *words], check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": time.perf_counter() - started, "cpu": cpu}


def first_batch(words: list[str], folder: Path) -> dict[str, float]:
    """Start a run, wait for its first batch, stop it, and return the seconds until then."""
    note = folder / "first batch.txt"
    note.unlink(missing_ok=True)
    inherited = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    places = os.pathsep.join([str(folder / "watcher"), *inherited])
    environment = {**os.environ, "PYTHONPATH": places, "FIRST_BATCH": str(note)}
    started = time.time()
    process = subprocess.Popen([*MAGG, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while time.time() < started + PATIENCE and process.poll() is None and not (note.exists() and note.read_text()):
        time.sleep(0.02)
    if not note.exists():
        raise SystemExit(f"no batch was learnt: {(process.communicate()[1] or b'').decode(errors='replace')}")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    there, learnt = map(float, note.read_text().split())
    return {"there": there - started, "learnt": learnt - started}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 5), ("images", 1000), ("size", 224)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", default="torchvision:resnet18")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "watcher").mkdir()
        (folder / "watcher" / "sitecustomize.py").write_text(WATCHER, encoding="utf-8")
        data, log = write_images(folder / "images", given.images), ["--log-folder", str(folder / "log")]
        time.sleep(3)  # a file changed a moment ago is inspected again the next time
        same = ["--positive", "odd", "--no-pretrained", "--cache-folder", str(folder / "cache")]
        run = ["train", str(data), "--model", given.model, *same, "--image-size", str(given.size), "--epochs", "1"]
        small = [
            "compare",
            str(data),
            "--models",
            "timm:test_resnet",
            "timm:test_vit",
            *same,
            "--image-size",
            "32",
            "--epochs",
            "1",
            "--name",
            "group",
        ]
        whole_command([*small, *log])
        first_batch([*run, "--log-folder", str(folder / "first")], folder)
        taken = {
            "magg --help": [whole_command(["--help"]) for _ in range(given.rounds)],
            "magg leaderboard": [whole_command(["leaderboard", "group", *log]) for _ in range(given.rounds)],
            "first batch": [
                first_batch([*run, "--log-folder", str(folder / str(number))], folder) for number in range(given.rounds)
            ],
        }
    rows = {
        what: {key: round(statistics.median(one[key] for one in times), 3) for key in times[0]}
        for what, times in taken.items()
    }
    for what, row in rows.items():
        print(f"{what:18}" + "".join(f"{key} {value:.2f} s   " for key, value in row.items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "taken": taken}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
