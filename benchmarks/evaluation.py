"""Print how long evaluations take: 30 models compared, DeLong on 100,000 images, ten classes on 100,000 images.

python benchmarks/evaluation.py
"""

import platform
import sys
import time
from collections.abc import Callable

import numpy as np

from model_aggregation.evaluation import (
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    compare_predictions,
    evaluate,
)
from model_aggregation.evaluation.delong import delong


def two_classes(n: int, *, seed: int, skill: float = 1.5) -> Predictions:
    """Return made-up predictions of two classes; the images are the same for every seed."""
    labels = np.random.default_rng(0).integers(0, 2, n)
    score = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(labels * skill - skill / 2)))
    return Predictions([f"{i:07}" for i in range(n)], labels, np.stack([1 - score, score], axis=1), ("ng", "ok"))


def many_classes(n: int, classes: int) -> Predictions:
    """Return made-up predictions of many classes."""
    generator = np.random.default_rng(0)
    labels, logits = generator.integers(0, classes, n), generator.normal(size=(n, classes))
    logits[np.arange(n), labels] += 2
    p = np.exp(logits)
    names = tuple(f"class {k}" for k in range(classes))
    return Predictions([f"{i:07}" for i in range(n)], labels, p / p.sum(axis=1, keepdims=True), names)


def peak_memory() -> str:
    """Return the largest memory the process has held, where the system tells it."""
    if sys.platform == "win32":
        return "unknown"
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{size / (2**30 if platform.system() == 'Darwin' else 2**20):.2f} GiB"


def timed(name: str, work: Callable[[], object]) -> None:
    """Run and print the seconds."""
    start = time.perf_counter()
    work()
    print(f"{name:<75}{time.perf_counter() - start:8.2f} s   peak so far {peak_memory()}")


def evaluate_and_compare(models: dict[str, Predictions]) -> None:
    """Evaluate each model and compare all."""
    for predictions in models.values():
        evaluate(predictions, positive="ok")
    compare_predictions(models, selected="model 0", positive="ok")


def main() -> None:
    """Print all measurements."""
    evaluate(two_classes(50, seed=1), positive="ok")  # the first call imports
    timed("one model, 50 images, 2,000 resamples", lambda: evaluate(two_classes(50, seed=1), positive="ok"))
    timed("cutoff on 1,000 images, 2,000 resamples", lambda: choose_cutoff(two_classes(1000, seed=1), "ok"))
    models = {f"model {k}": two_classes(1000, seed=k + 1) for k in range(30)}
    timed(
        "30 models, 1,000 images, 2,000 resamples: evaluated",
        lambda: [evaluate(m, positive="ok") for m in models.values()],
    )
    timed("30 models, 1,000 images, 2,000 resamples: evaluated and compared", lambda: evaluate_and_compare(models))
    large = two_classes(100_000, seed=1)
    timed("DeLong, 100,000 images", lambda: delong(large.labels, large.score_of("ok")[None]).covariance())
    timed("two classes, 100,000 images, 2,000 resamples", lambda: evaluate(large, positive="ok"))
    ten = many_classes(100_000, 10)
    timed("ten classes, 100,000 images, no bootstrap", lambda: evaluate(ten, options=EvaluationOptions(resamples=0)))
    timed("ten classes, 1,000 images, 2,000 resamples", lambda: evaluate(many_classes(1000, 10)))


if __name__ == "__main__":
    main()
