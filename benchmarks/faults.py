"""Disturb real comparisons at random moments and count what is lost and what differs: both should be 0.

A small comparison is left alone once. Then the same command is given again and again in other folders, and each time
killed at a random moment (or asked to stop), now and then with a state, the index or a run's numbers damaged before the
next attempt, until it ends by itself. Its weights, predictions and numbers must be those of the first, to the last bit.

    python benchmarks/faults.py --faults 200
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

MODELS = ("timm:test_resnet", "timm:test_vit")
NAMES = ("last_model_weight.pth", "best_model_weight.pth", "metrics.json")
FAULTS_OF_ONE = 7  # a comparison is disturbed at most so often before it may end


def write_images(folder: Path, count: int = 24) -> Path:
    """Write two classes of noise, one of them brighter on the left."""
    generator = np.random.default_rng(0)
    for label in ("dark", "bright"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 120, size=(32, 32))
            pixels[:, :16] += 100 * (label == "bright")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


def start(folder: Path, images: Path) -> subprocess.Popen[bytes]:
    """Give the command in a folder, in a process group of its own."""
    folder.mkdir(exist_ok=True)
    words = [
        "compare", images, "--models", *MODELS, "--positive", "bright", "--name", "g", "--image-size", "32",
        "--epochs", "4", "--batch-size", "8", "--no-pretrained", "--cache-folder", folder / "cache", "--workers", "0",
        "--device", "cpu", "--threads", "1", "--precision", "32", "--memory-format", "contiguous",
    ]  # fmt: skip
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "model_aggregation", *map(str, words)],
            cwd=folder, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def earned(folder: Path) -> dict[str, bytes]:
    """Return what every run of a comparison has earned, by run and file."""
    found = {}
    for model in MODELS:
        run = folder / "log" / "g" / f"g_{model.partition(':')[2]}"
        paths = [*(run / name for name in NAMES), run / f"{run.name}_test.csv", run / f"{run.name}_val.csv"]
        found |= {f"{run.name}/{path.name}": path.read_bytes() for path in paths if path.is_file()}
    return found


def truncate(path: Path) -> None:
    """Cut the end of a file off."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "state truncated": ("log/g/*/state/checkpoint_*.pt", truncate),
    "state with a flipped bit": ("log/g/*/state/checkpoint_*.pt", flip_a_bit),
    "state emptied": ("log/g/*/state/checkpoint_*.pt", lambda path: path.write_bytes(b"") and None),
    "best weights with a flipped bit": ("log/g/*/state/best_*.pth", flip_a_bit),
    "index truncated": ("log/analyze_record.db", truncate),
    "numbers truncated": ("log/g/*/metrics.json", truncate),
}


def disturb(process: subprocess.Popen[bytes], chance: random.Random, seconds: float) -> str | None:
    """Wait for a random moment and end the process; None if it ended by itself before."""
    try:
        process.wait(chance.uniform(0.02, 0.95) * seconds)
    except subprocess.TimeoutExpired:
        number = chance.choice([signal.SIGKILL] * 8 + [signal.SIGTERM, signal.SIGINT])
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait()
        return signal.Signals(number).name
    return None


def damage(folder: Path, chance: random.Random) -> str | None:
    """Now and then damage a file that a command left; None if none was."""
    name = chance.choice(list(DAMAGES))
    pattern, harm = DAMAGES[name]
    files = sorted(folder.glob(pattern))
    if not files or chance.random() < 0.6:
        return None
    harm(chance.choice(files))
    return name


def disturbed(folder: Path, images: Path, chance: random.Random, seconds: float) -> Counter[str]:
    """Disturb one comparison until it ends by itself; return the faults."""
    faults: Counter[str] = Counter()
    while sum(faults.values()) < FAULTS_OF_ONE:
        fault = disturb(start(folder, images), chance, seconds)
        if fault is None:
            return faults
        faults[fault] += 1
        if harm := damage(folder, chance):
            faults[harm] += 1
    start(folder, images).wait()
    return faults


def main() -> None:
    """Count faults, runs lost and results that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no other comparison after so long")
    given = parser.parse_args()
    chance, began = random.Random(given.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images = write_images(place / "images")
        started = time.monotonic()
        start(place / "whole", images).wait()
        seconds, expected = time.monotonic() - started, earned(place / "whole")
        files = len(MODELS) * (len(NAMES) + 2)
        if len(expected) != files:
            sys.exit((place / "whole" / "output.txt").read_text(encoding="utf-8"))
        faults: Counter[str] = Counter()
        comparisons = lost = differ = 0
        while sum(faults.values()) < given.faults and time.monotonic() - began < 60 * given.minutes:
            folder = place / str(comparisons)
            faults += disturbed(folder, images, chance, seconds)
            comparisons += 1
            now = earned(folder)
            lost += sum(f"g_{model.partition(':')[2]}/metrics.json" not in now for model in MODELS)
            differ += sum(now.get(file, content) != content for file, content in expected.items())
            if now != expected:
                print((folder / "output.txt").read_text(encoding="utf-8"))
            print(f"{comparisons} comparisons, {sum(faults.values())} faults, {lost} lost, {differ} differ", flush=True)
    print(f"left alone: {seconds:.1f} s; disturbed: {comparisons} comparisons of {len(MODELS)} runs")
    for fault, count in faults.most_common():
        print(f"{count:5}  {fault}")
    print(f"{sum(faults.values()):5}  faults in all\n{lost:5}  runs lost\n{differ:5}  results that differ")


if __name__ == "__main__":
    main()
