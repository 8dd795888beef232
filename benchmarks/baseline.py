"""The plain textbook loop against ours: same images, model, epochs, batch and seed, in turn, each in its own process.

    python benchmarks/baseline.py [--models resnet18 efficientnet_b0 mobilenet_v3_large] [--phases decode frozen …]
                                  [--rounds 3] [--threads 1] [--train 128] [--val 32] [--test 64] [--batch 16]
                                  [--frozen 3] [--full 1] [--weights MODEL=FILE …] [--data FOLDER] [--json FILE]

The plain side is what people write: ImageFolder, PIL, Resize, random flips, ToTensor, Normalize(0.5, 0.5), one
DataLoader without workers, float32, ``.item()`` and TensorBoard in each step, the whole network forward while frozen,
one image at a time in the test with one line appended to a CSV file. Ours is the program itself. Phases:

decode    every image once, from files (ours: into the store, by as many processes as threads)
frozen    ``--frozen`` epochs in which only the head learns; ``none`` and ``flips`` are two rows
full      ``--full`` epochs in which everything learns
test      predictions of the test images
whole     all models one after the other: both kinds of epochs, validation in each, test; ``direct`` without
          stored features, ``stored`` with them

Without ``--data`` images are handwritten digits drawn large (500 × 400, JPEG), odd against even; a folder of ``--data``
has two classes in each of train, val and test. Models are those of torchvision, or ``timm:NAME``. Without ``--weights``
networks start from random weights whose batch norm has seen some images: times are those of real weights, and so is the
comparison of what both sides reach, but what they reach is low. Every ratio, and every AUC, is the median of the
rounds; each has a seed of its own, the same on both sides.
``peak ratio`` is our largest memory divided by the plain side's (processes that decode not counted); decodes are those
of all runs of a phase, from an empty store only in ``whole``; the last two columns are what the runs wrote down.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from plain_loop import Clock, given_weights, plain_side, write_images, write_weights

COLUMNS = {
    "wall_ratio": 12, "cpu_ratio": 11, "plain_wall": 12, "ours_wall": 11, "plain_auc": 11, "ours_auc": 10,
    "peak_ratio": 12, "ours_decodes": 14, "ours_data_wait": 16, "ours_flop_share": 17,
}  # fmt: skip
PHASES = ("decode", "frozen none", "frozen flips", "full", "test", "whole direct", "whole stored")


# --- our side ------------------------------------------------------------------------------------------


def our_side(task: dict[str, Any]) -> dict[str, float]:
    """Do one phase with the program and return its seconds, and the AUC where there is a test.

    The time of training and of the test holds what is done for it alone: settling the arithmetic too.
    """
    import model_aggregation as ma
    from model_aggregation import api, experiment  # noqa: F401  (imported now, as the plain side is)
    from model_aggregation.analysis import groups  # noqa: F401
    from model_aggregation.engine.later import import_the_rest

    import_the_rest()

    clock = Clock()
    phase, folder = task["phase"], Path(tempfile.mkdtemp(dir=task["folder"]))
    whole = phase.startswith("whole")
    cold = whole or phase == "decode"
    given = {
        "log_folder": folder / "log", "cache_folder": folder if cold else Path(task["folder"]) / "cache",
        "quiet": True, "positive": task["positive"],
        "batch_size": task["batch"], "optimizer": "adam", "learning_rate": 1e-4,
        "schedule": "constant", "warmup_epochs": 0, "drop_last": True, "normalize": "half",
        "interpolation": "bilinear", "image_size": 224, "workers": task["threads"], "test_weights": "last",
        "augmentation": "flips" if task["flips"] else "none", "allow_duplicates": True,
        "seed": task["seed"], "jobs": 0,  # in this process, where it is timed
    }  # fmt: skip
    weights = tuple(f"{model}={task['weights'][model]}" for model in task["models"])
    models = {"models": task["models"], "weights": weights}
    if whole:
        epochs = {"epochs": task["frozen"] + task["full"], "thaw_at": task["frozen"]}
        epochs["cache_features"] = phase == "whole stored"
        runs = clock.timed(ma.compare)(task["data"], name="whole", **models, **epochs, **given).runs
        return clock.result([auc_of(run) for run in runs]) | effort_of(runs)
    one = {"model": task["models"][0], "weights": weights[:1], "name": "one", "validation": False, **given}
    if phase == "decode":
        return decode(task, one, clock)
    counted = ["_predict"] if phase == "test" else ["run_training"]
    for name in ("settle_arithmetic", *counted):
        setattr(experiment, name, clock.timed(getattr(experiment, name)))
    if phase == "test":
        epochs = {"train": False}
    else:
        only = {"epochs": task["full"], "freeze": False}
        epochs = only if phase == "full" else {"epochs": task["frozen"], "thaw_at": None}
    run = ma.train(task["data"], **epochs, **one)
    return clock.result([auc_of(run)]) | effort_of([run])


def auc_of(run: Any) -> float:
    """Return the AUC of a run's test."""
    if run.state != "finished":
        raise SystemExit(f"{run.path} {run.state}: {run.folder.failure_reason()}")
    return run.metrics()["test"]["auc"]["value"]


def effort_of(runs: list[Any]) -> dict[str, float]:
    """Return what the runs say of themselves: images decoded in all, longest share of waiting, mean share of speed."""
    timings = [run.folder.read_environment()["timing"] for run in runs]
    shares = [timing["train_flop_share"] for timing in timings if timing["train_flop_share"] is not None]
    waits = [timing["data_wait_share"] for timing in timings if timing["data_wait_share"] is not None]
    effort = {"decodes": sum(timing["images_decoded"] for timing in timings)}
    return (
        effort
        | ({"data_wait": max(waits)} if waits else {})
        | ({"flop_share": statistics.mean(shares)} if shares else {})
    )


def decode(task: dict[str, Any], given: dict[str, Any], clock: Clock) -> dict[str, float]:
    """Build the store of all images."""
    import model_aggregation as ma
    from model_aggregation.data.image_cache import Cache
    from model_aggregation.data.image_store import open_store
    from model_aggregation.models.build import pixel_rule
    from model_aggregation.run_images import stored_images

    given = {key: value for key, value in given.items() if key != "quiet"}
    plan = ma.make_plan(data=task["data"], **given)
    rule = pixel_rule(plan.runs[0].preprocessing, plan.runs[0].settings)
    with clock.running():
        open_store(stored_images(plan), rule, cache=Cache(given["cache_folder"]), workers=task["threads"])
    return clock.result([])


# --- images, weights, and the comparison -----------------------------------------------------------------


def measure(side: str, task: dict[str, Any], *, script: str = __file__, python: str | None = None) -> dict[str, float]:
    """Do one phase of one side in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(task["threads"]), "PYTHONUTF8": "1"}
    if side == "ours":
        environment["GOMP_SPINCOUNT"] = "1000"  # as the command line sets it
    words = [python or sys.executable, script, "--side", side, "--task", json.dumps(task)]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return json.loads(result.stdout.strip().splitlines()[-1])


def ratio_of(taken: dict[str, list[dict[str, float]]], kind: str) -> list[float]:
    """Return how many times the plain side's seconds are ours, for each round."""
    return [round(plain[kind] / ours[kind], 2) for plain, ours in zip(taken["plain"], taken["ours"], strict=True)]


def compare(task: dict[str, Any], phase: str, rounds: int) -> dict[str, Any]:
    """Measure a phase of both sides in turn and return the row of the table."""
    task = {**task, "phase": phase, "flips": phase not in ("frozen none", "decode", "test")}
    taken: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for seed in range(rounds):
        for side, values in taken.items():
            values.append(measure(side, {**task, "seed": seed}))
    model = "all" if phase.startswith("whole") or phase == "decode" else task["models"][0]
    row: dict[str, Any] = {"phase": phase, "model": model}
    for kind in ("wall", "cpu"):
        row[f"{kind}_ratios"] = ratio_of(taken, kind)
        row[f"{kind}_ratio"] = statistics.median(row[f"{kind}_ratios"])
    for side, values in taken.items():
        row |= {f"{side}_{key}": round(statistics.median(v[key] for v in values), 4) for key in values[0]}
    row |= {f"{side}_aucs": [value["auc"] for value in values] for side, values in taken.items()}
    row["peak_ratio"] = round(row["ours_peak_mb"] / row["plain_peak_mb"], 2)
    return row


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "efficientnet_b0", "mobilenet_v3_large"])
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    numbers = {"rounds": 3, "threads": 1, "train": 128, "val": 32, "test": 64, "batch": 16, "frozen": 3, "full": 1}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", type=Path, help="folder with train, val and test, in each two classes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=["plain", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"plain": plain_side, "ours": our_side}[arguments.side](arguments.task)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = run_all(arguments, Path(temporary))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def run_all(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure every phase and return all figures."""
    from model_aggregation.models.imports import torchvision_models
    from model_aggregation.software import versions

    torchvision_models()
    counts = {name: getattr(arguments, name) for name in ("train", "val", "test")}
    data = arguments.data or write_images(folder / "images", counts)
    given = dict(word.split("=", 1) for word in arguments.weights)
    weights = {
        model: str(
            given_weights(folder, model, Path(given[model])) if model in given else write_weights(folder, model, data)
        )
        for model in arguments.models
    }
    positive = sorted(path.name for path in (data / "train").iterdir())[1]
    task = {"data": str(data), "positive": positive, "folder": str(folder), "weights": weights,
            "models": arguments.models,
            **{name: getattr(arguments, name) for name in ("threads", "batch", "frozen", "full")}}  # fmt: skip
    rows = []
    print(
        f"{'phase':14}{'model':32}" + "".join(f"{key.replace('_', ' '):>{width}}" for key, width in COLUMNS.items()),
        flush=True,
    )
    for phase in arguments.phases:
        alone = not phase.startswith("whole") and phase != "decode"
        for models in [[model] for model in arguments.models] if alone else [arguments.models]:
            row = compare({**task, "models": models}, phase, arguments.rounds)
            rows.append(row)
            cells = (f"{row[key]:>{width}.2f}" if key in row else " " * width for key, width in COLUMNS.items())
            print(f"{row['phase']:14}{row['model']:32}" + "".join(cells), flush=True)
    return {
        "rows": rows, "counts": counts, "threads": arguments.threads, "batch": arguments.batch,
        "machine": platform.processor() or platform.machine(), "versions": versions(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "epochs": {name: task[name] for name in ("frozen", "full")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
