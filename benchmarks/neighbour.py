"""How fast a network trains while another program keeps one core busy, against one thread on a quiet machine.

    python benchmarks/neighbour.py [--model resnet18] [--images 128] [--rounds 3] [--batch 16] [--json FILE]

``one thread`` is training with ``--threads 1`` and nothing else; ``busy`` is training as the program does it by itself,
which looks for free cores first, while a neighbour computes on one core (of two, so that one is left). The share is the
rate of the second divided by that of the first, each in turn.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path

from model_aggregation.startup import calm_idle_threads, keep_freed_memory

calm_idle_threads()
os.environ.pop("OMP_NUM_THREADS", None)

from limit import Bench, seconds  # noqa: E402 - torch must load after the settings above


def compute() -> None:
    """Keep one core busy."""
    while True:
        sum(range(100_000))


class Busy:
    """A block in which another process keeps a core busy."""

    def __enter__(self) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=compute, daemon=True)
        self._process.start()
        time.sleep(1)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def rate(arguments: argparse.Namespace, threads: int | None) -> tuple[float, int]:
    """Return images per second of training, and the threads that were used."""
    bench = Bench(arguments.model, argparse.Namespace(**{**vars(arguments), "threads": threads}))
    return bench.images / seconds(bench.our_training, bench.device), bench.arithmetic.threads


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    for name, default in (("images", 128), ("rounds", 3), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.device = "cpu"
    keep_freed_memory()
    rows = []
    for _ in range(arguments.rounds):
        alone, _threads = rate(arguments, 1)
        with Busy():
            busy, threads = rate(arguments, None)
        rows.append({"one_thread": alone, "busy": busy, "threads_while_busy": threads, "share": busy / alone})
        print({key: round(value, 2) for key, value in rows[-1].items()}, flush=True)
    print(f"share {statistics.median(row['share'] for row in rows):.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
