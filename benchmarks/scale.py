"""How seconds and memory of a comparison grow with images, models and epochs, and with which slope.

    python benchmarks/scale.py [--images 1000 10000 100000] [--models 2 3 4] [--epochs 1 2 4] [--size 32] [--alike]
        [--json FILE]

One number varies at a time, the others stay at the first of their list. Each comparison is a command as a user gives
it, on noisy digits (PNG), with timm's test_resnet and others from random weights, each run in a process of its own.
``anonymous`` is the largest memory that is not a mapped file (Linux: Pss_Anon, sampled) of all its processes together;
``full`` is the second run, with images decoded and looked at before. The slope is that of a line through the second
runs of a row. With ``--alike`` the digits have little noise, and most are near duplicates of another.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MODELS = ("timm:test_resnet", "timm:test_efficientnet", "timm:test_convnext", "timm:test_vit")


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


class Use(threading.Thread):
    """Samples what a process and all that it starts take together: memory that is no mapped file, CPU seconds."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._seconds: dict[psutil.Process, float] = {}
        self.most_bytes = 0

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds of all processes so far."""
        return sum(self._seconds.values())

    def run(self) -> None:
        """Sample until the process ends."""
        with suppress(psutil.NoSuchProcess):
            while self._process.status() != psutil.STATUS_ZOMBIE:
                family = [self._process, *self._process.children(recursive=True)]
                self.most_bytes = max(self.most_bytes, sum(map(anonymous_bytes, family)))
                for process in family:
                    with suppress(psutil.NoSuchProcess):
                        self._seconds[process] = sum(process.cpu_times()[:2])
                time.sleep(0.05)


def anonymous_bytes(process: psutil.Process) -> int:
    """Return what a process holds now, of what several share its part; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    return 0


def measure(task: dict[str, Any]) -> dict[str, float]:
    """Give a command as a user gives it; return wall and CPU seconds and the largest anonymous memory."""
    words = [
        *(sys.executable, "-m", "model_aggregation", "compare", task["data"], "--models", *MODELS[: task["models"]]),
        *("--epochs", str(task["epochs"]), "--image-size", str(task["size"]), "--positive", "odd", "--no-pretrained"),
        *("--batch-size", "64", "--precision", "32", "--memory-format", "contiguous", "--workers", "1"),
        *("--threads", "1", "--no-tensorboard", "--name", "scale"),
        *("--log-folder", task["log"], "--cache-folder", task["cache"]),
    ]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
        use = Use(psutil.Process(command.pid))
        use.start()
        if command.wait():
            output.seek(0)
            raise SystemExit(output.read())
    use.join()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": use.cpu_seconds,
        "anonymous_mb": use.most_bytes / 1e6,
    }


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
    for name, default in (("images", [1000, 10_000, 100_000]), ("models", [2, 3, 4]), ("epochs", [1, 2, 4])):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--alike", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
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
