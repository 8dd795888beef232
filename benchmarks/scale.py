"""How seconds and memory of a comparison grow with images, models and epochs, and with which slope.

    python benchmarks/scale.py [--images 1000 10000 100000] [--models 1 2 4] [--epochs 1 2 4] [--size 32] [--alike]
        [--json FILE]

One number varies at a time, the others stay at the first of their list. Each comparison runs in a process of its own,
on noisy digits (PNG), with timm's test_resnet from random weights; all models in that same process (``jobs: 0``), so
that memory and CPU time are those of everything but the processes that read. ``anonymous`` is the largest memory that
is not a mapped file (Linux: RssAnon, sampled); ``full`` is the second run, with images decoded and looked at before.
The slope is that of a line through the second runs of a row. With ``--alike`` the digits have little noise, and most
are near duplicates of another.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_images(folder: Path, count: int, *, alike: bool = False) -> Path:
    """Write ``count`` noisy digits as PNG files of 32 × 32 pixels: folder/(even|odd)/number.png.

    ``alike``: with little noise, so that of more than 1,797 images most have near duplicates.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits, generator = load_digits(), np.random.default_rng(0)
    for name in ("even", "odd"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shown = number % len(digits.images)
        digit = digits.images[shown] * 12 if alike else digits.images[shown] * 6 + generator.integers(0, 96, (8, 8))
        pixels = np.kron(digit, np.ones((4, 4))) + generator.integers(0, 60, (32, 32))
        label = "odd" if digits.target[shown] % 2 else "even"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:06d}.png")
    return folder


class AnonymousMemory(threading.Thread):
    """Samples this process's memory that is no mapped file, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest, self.stopped = 0, False

    def run(self) -> None:
        """Sample until stopped."""
        while not self.stopped:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("RssAnon:"):
                    self.largest = max(self.largest, int(line.split()[1]) * 1024)
            time.sleep(0.05)


def one_side(task: dict[str, Any]) -> dict[str, float]:
    """Run one comparison and return its wall and CPU seconds and its largest anonymous memory."""
    from model_aggregation.startup import share_freed_memory

    share_freed_memory()  # as the command line does
    import model_aggregation as ma
    import model_aggregation.analysis.groups  # imports do not count
    import model_aggregation.experiment
    from model_aggregation.engine.later import import_the_rest

    import_the_rest()

    memory = AnonymousMemory()
    memory.start()
    started, cpu = time.perf_counter(), sum(os.times()[:4])
    names = ["timm:test_resnet", "timm:test_efficientnet", "timm:test_convnext", "timm:test_vit"][: task["models"]]
    ma.compare(
        task["data"], names, epochs=task["epochs"], image_size=task["size"], positive="odd", pretrained=False,
        name="scale", quiet=True, tensorboard=False, log_folder=task["log"], cache_folder=task["cache"],
        batch_size=64, precision="32", memory_format="contiguous", workers=1, jobs=0,
    )  # fmt: skip
    memory.stopped = True
    memory.join()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": sum(os.times()[:4]) - cpu,
        "anonymous_mb": memory.largest / 1e6,
    }


def measure(task: dict[str, Any]) -> dict[str, float]:
    """Run one comparison in a process of its own."""
    words = [sys.executable, __file__, "--task", json.dumps(task)]
    result = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return dict(json.loads(result.stdout.strip().splitlines()[-1]))


def sweep(varied: str, values: list[int], base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure a comparison for each value of one number, first with an empty store and then with a full one."""
    rows = []
    for value in values:
        task = {**base, varied: value, "cache": str(folder / f"cache {varied} {value}")}
        task["data"] = str(folder / f"images {task['images']}")
        if not Path(task["data"]).is_dir():
            write_images(Path(task["data"]), task["images"], alike=task["alike"])
        for store in ("empty", "full"):
            taken = measure({**task, "log": str(folder / f"log {varied} {value} {store}")})
            rows.append({varied: value, "store": store, **{key: round(number, 2) for key, number in taken.items()}})
            print(rows[-1], flush=True)
    full = [row for row in rows if row["store"] == "full"]
    if len(values) < 2:
        return {"rows": rows}
    slopes = {
        key: float(np.polyfit([row[varied] for row in full], [row[key] for row in full], 1)[0])
        for key in ("seconds", "cpu_seconds", "anonymous_mb")
    }
    print(f"slope per unit of {varied}:", {key: f"{slope:.4g}" for key, slope in slopes.items()}, flush=True)
    return {"rows": rows, "slopes": slopes}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", [1000, 10_000, 100_000]), ("models", [1, 2, 4]), ("epochs", [1, 2, 4])):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--alike", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(one_side(json.loads(given.task))))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    base = {"images": given.images[0], "models": given.models[0], "epochs": given.epochs[0], "size": given.size}
    base["alike"] = given.alike
    with tempfile.TemporaryDirectory() as folder:
        found = {
            varied: sweep(varied, getattr(given, varied), base, Path(folder))
            for varied in ("images", "models", "epochs")
        }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
