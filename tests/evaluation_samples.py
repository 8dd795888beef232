"""Small tables of predictions for the tests of evaluation, and a published data set."""

import numpy as np
from hypothesis import strategies as st

from model_aggregation.evaluation import Predictions

# 41 patients with a poor and 72 with a good outcome after a bleeding in the brain: data "aSAH" of R's package pROC,
# from Turck et al. (2010), Intensive Care Medicine 36:107. Only the order of the values matters here, so each value
# is given as its place among the poor outcomes, doubled to be whole; poor outcomes first.
ASAH_PLACES = {
    "s100b": """
        24 16 29 21 52 70 57 5 45 12 5 49 47 55 70 37 70 70 70 5 70 41 1 12 32 70 37 70 9 37 24 16
        19 32 70 27 70 43 70 70 52 24 27 16 2 54 30 16 16 2 9 2 12 19 5 30 5 19 24 30 2 29 27 46 12
        58 54 29 5 50 54 19 9 12 9 2 24 16 27 28 2 2 12 2 12 9 29 12 9 45 19 40 5 16 43 5 2 34 48 16
        28 9 27 16 5 2 30 28 54 30 28 58 55
    """,
    "wfns": """
        29 16 38 64 64 64 64 16 64 16 2 16 64 38 38 16 64 64 64 16 64 16 64 16 38 64 38 38 2 38 38
        16 16 64 64 16 16 64 64 64 64 2 2 2 2 64 2 16 16 2 16 16 2 2 2 16 2 16 2 2 29 38 2 38 2 64
        64 2 2 16 38 2 2 16 16 2 16 2 16 16 2 2 2 2 16 2 16 2 2 29 16 38 16 2 38 2 2 64 38 16 16 2 2
        2 29 2 16 16 38 38 2 2 2
    """,
    "ndka": """
        55 35 39 52 5 15 27 70 77 70 70 21 46 60 9 12 42 1 81 60 23 27 33 42 65 37 60 12 79 49 5 19
        60 5 17 70 31 46 75 27 52 0 14 10 24 8 49 8 56 40 56 54 76 16 8 34 8 8 80 36 20 20 56 2 10 8
        19 38 10 48 74 10 8 34 16 10 38 66 64 22 32 78 8 54 20 24 24 48 2 54 34 16 24 56 24 32 10 20
        24 66 14 34 37 74 30 34 16 66 22 44 64 8 40
    """,
}
ASAH_SCORES = np.array([places.split() for places in ASAH_PLACES.values()], dtype=np.float64)
ASAH_POOR = np.arange(113) < 41


def two_classes(labels, score, *, groups=None) -> Predictions:
    """Predictions of the classes ng and ok, whose score is the probability of ok."""
    score = np.asarray(score, dtype=np.float64)
    ids = [f"{i:05}" for i in range(len(score))]
    return Predictions(ids, labels, np.stack([1 - score, score], axis=1), ("ng", "ok"), groups)


def random_two_classes(n: int, *, seed: int = 0, skill: float = 1.0, groups=None) -> Predictions:
    """n predictions of two balanced classes, better with more skill; the labels do not depend on the seed."""
    labels = np.arange(n) % 2
    logits = np.random.default_rng(seed).normal(skill * (labels - 0.5))
    return two_classes(labels, 1 / (1 + np.exp(-logits)), groups=groups)


def random_many_classes(n: int, classes: int, *, seed: int = 0, skill: float = 1.0, groups=None) -> Predictions:
    """n predictions of several balanced classes."""
    labels = np.arange(n) % classes
    logits = np.random.default_rng(seed).normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    p = np.exp(logits)
    names = tuple(f"class {k}" for k in range(classes))
    return Predictions([f"{i:05}" for i in range(n)], labels, p / p.sum(axis=1, keepdims=True), names, groups)


@st.composite
def two_class_tables(draw, *, fewest: int = 2, most: int = 40) -> Predictions:
    """Predictions with both classes, often unbalanced and full of ties."""
    n = draw(st.integers(fewest, most))
    labels = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=np.int64)
    labels[:2] = (0, 1)
    steps = draw(st.sampled_from([2, 5, 20, 1000]))
    score = np.array(draw(st.lists(st.integers(0, steps), min_size=n, max_size=n))) / steps
    return two_classes(labels, score)


@st.composite
def many_class_tables(draw, *, most: int = 40) -> Predictions:
    """Predictions of three to twelve classes that all occur, with ties."""
    classes = draw(st.integers(3, 12))
    n = draw(st.integers(classes, most))
    seed = draw(st.integers(0, 2**16))
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    raw = generator.integers(1, draw(st.sampled_from([3, 10, 1000])), size=(n, classes)).astype(np.float64)
    names = tuple(f"class {k:02}" for k in range(classes))
    return Predictions([f"{i:05}" for i in range(n)], labels, raw / raw.sum(axis=1, keepdims=True), names)
