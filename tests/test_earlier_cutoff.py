"""The earlier program's rule for the cutoff: its numbers to the last digit, marked as chosen on the test images."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import magg, write_table  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.evaluation.earlier_cutoff import THRESHOLDS, earlier_cutoff
from model_aggregation.results.plot_settings import read_plot_settings

SIX = ("sensitivity", "specificity", "accuracy", "precision", "f1", "balanced_accuracy")


def described(table: pd.DataFrame, lower: float, upper: float) -> tuple[float | None, dict[str, float]]:
    """Do what the description says, image by image: positive is ``ok``."""
    best, chosen = 0.0, None
    for threshold in THRESHOLDS:
        if lower <= threshold <= upper:
            numbers = numbers_at(table, threshold)
            balanced = round(((1 - (1 - numbers["specificity"])) + numbers["sensitivity"]) / 2, 5)
            nearer = chosen is not None and abs(0.5 - threshold) < abs(0.5 - chosen)
            if balanced > best or (balanced == best and nearer):
                best, chosen = balanced, threshold
    return chosen, {} if chosen is None else numbers_at(table, chosen)


def numbers_at(table: pd.DataFrame, threshold: float) -> dict[str, float]:
    rows = list(zip(table["correct_label"], table["ok"] > threshold, strict=True))
    hits, misses = rows.count(("ok", True)), rows.count(("ok", False))
    alarms, rejected = rows.count(("ng", True)), rows.count(("ng", False))
    sensitivity, specificity = hits / (hits + misses), rejected / (rejected + alarms)
    precision = hits / (hits + alarms) if hits + alarms else float("nan")
    f1 = 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else float("nan")
    accuracy = (hits + rejected) / len(rows)
    return dict(
        zip(SIX, (sensitivity, specificity, accuracy, precision, f1, (sensitivity + specificity) / 2), strict=True)
    )


def table_of(scores, labels) -> pd.DataFrame:
    return pd.DataFrame({"correct_label": np.where(labels, "ok", "ng"), "ok": scores})


def test_where_it_looked():
    assert len(THRESHOLDS) == len(set(THRESHOLDS)) == 119
    assert THRESHOLDS[:11] == (0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01)
    assert THRESHOLDS[-11:] == (0.99, 0.991, 0.992, 0.993, 0.994, 0.995, 0.996, 0.997, 0.998, 0.999, 1)


score = st.one_of(st.floats(0, 1), st.sampled_from(THRESHOLDS), st.floats(0.45, 0.55))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(score, st.booleans()), min_size=2, max_size=25),
    st.sampled_from([(0.4, 0.6), (0.0, 1.0), (0.5, 0.5), (0.0, 0.02), (0.455, 0.456)]),
)
def test_the_cutoff_is_the_one_described(images, limits):
    scores, labels = np.array([one for one, _ in images]), np.array([label for _, label in images])
    if labels.all() or not labels.any():
        assert earlier_cutoff(scores, labels, *limits) is None
    else:
        assert earlier_cutoff(scores, labels, *limits) == described(table_of(scores, labels), *limits)[0]


def close_scores() -> tuple[np.ndarray, np.ndarray]:
    """Scores that lie so close together that steps of 0.01 miss the best cutoff."""
    scores = [0.55] * 5 + [0.5195] * 2 + [0.3] * 13 + [0.56] * 3 + [0.5185] * 12 + [0.3] * 5
    return np.array(scores), np.repeat([True, False], 20)


def test_analyze_gives_its_six_numbers_exactly(tmp_path, magg):  # noqa: F811
    scores, labels = close_scores()
    path = write_table(tmp_path / "old_test.csv", scores, np.where(labels, "ok", "ng"))
    (tmp_path / "plot.yaml").write_text(
        "run_name: plot_setting\ntitle: ROC\nxlabel: FPF\nylabel: TPF\ncutoff_ll: 0.4\ncutoff_ul: 0.6\n"
    )
    plot = ("--plot-settings", tmp_path / "plot.yaml")
    shown = magg("analyze", path, "--positive", "ok", "--cutoff-rule", "earlier", *plot, "--out", tmp_path / "out")
    assert "exploratory" in shown
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))["test"]
    cutoff, numbers = described(pd.read_csv(path), 0.4, 0.6)
    assert (cutoff, numbers["sensitivity"], numbers["specificity"]) == (0.52, 0.25, 0.85)
    assert (metrics["cutoff"]["value"], metrics["cutoff"]["source"]) == (cutoff, "test")
    assert metrics["cutoff"]["exploratory"]
    assert {name: metrics[name]["value"] for name in SIX} == pytest.approx(numbers, rel=1e-14)
    text = (tmp_path / "out" / "report" / "methods.md").read_text("utf-8")
    assert "the rule of the program used before" in text
    ours = ma.analyze(path, positive="ok", cutoff_from=path)["test"]  # the best cutoff of the same table
    found = (round(ours["cutoff"]["value"], 3), ours["sensitivity"]["value"], ours["specificity"]["value"])
    assert found == (0.519, 0.35, 0.85)
    stored = ma.analyze(path, positive="ok", cutoff=cutoff)["test"]
    assert {name: stored[name]["value"] for name in SIX} == pytest.approx(numbers, rel=1e-14)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--cutoff-rule", "earlier", "--cutoff", "0.5"), "either --cutoff or --cutoff-rule"),
        (("--cutoff-rule", "youden"), "give --cutoff-from"),
        (("--cutoff-rule", "earlier", "--score", "ok"), "must be given with --cutoff"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path, magg, flags, words):  # noqa: F811
    scores, labels = close_scores()
    path = write_table(tmp_path / "table.csv", scores, np.where(labels, "ok", "ng"))
    assert words in magg("analyze", path, "--positive", "ok", *flags, expect=1)


def test_where_the_rule_finds_nothing_it_is_said(tmp_path):
    path = write_table(tmp_path / "table.csv", [0.1, 0.9], ["ok", "ng"])  # everything is wrong at every threshold
    found = ma.analyze(path, positive="ok", cutoff_rule="earlier")["test"]["cutoff"]
    assert (found["value"], found["source"]) == (0.5, "default")
    assert "finds no cutoff" in found["reason"]


def test_the_recipe_takes_the_rule_where_the_cutoff_comes_from_the_test_images():
    base = {"data": "x", "model": "resnet18", "recipe": "earlier"}
    assert make_settings(**base).cutoff_rule == "balanced_accuracy"
    assert make_settings(**base, cutoff_on="test").cutoff_rule == "earlier"
    assert make_settings(**base, cutoff_on="test", cutoff_rule="youden").cutoff_rule == "youden"
    assert make_settings(data="x", model="resnet18", cutoff_on="test").cutoff_rule == "balanced_accuracy"
    assert make_settings(**base, cutoff_on="test", cutoff_lower=0.3).cutoff_lower == 0.3


def test_a_run_of_the_recipe_gives_its_numbers(two_classes, tmp_path):
    here = {"log_folder": tmp_path / "log", "cache_folder": tmp_path / "cache", "tensorboard": False, "quiet": True}
    small = {"image_size": 32, "epochs": 1, "pretrained": False, "jobs": 0, "workers": 0}
    earlier = {"recipe": "earlier", "cutoff_on": "test", "positive": "肺炎"}
    run = ma.train(two_classes, "timm:test_resnet", **earlier, **small, **here)
    table = run.predictions("test")
    renamed = pd.DataFrame({
        "correct_label": np.where(table["correct_label"] == "肺炎", "ok", "ng"), "ok": table["肺炎"],
    })  # fmt: skip
    cutoff, numbers = described(renamed, 0.4, 0.6)
    metrics = run.metrics()["test"]
    assert metrics["cutoff"]["value"] == cutoff
    given = {name: metrics[name]["value"] for name in SIX if metrics[name]["value"] is not None}
    defined = {name: value for name, value in numbers.items() if not np.isnan(value)}
    assert given == pytest.approx(defined, rel=1e-14)


def test_the_plot_settings_that_came_with_it_are_read(tmp_path):
    path = tmp_path / "plot_setting.yaml"
    path.write_text("run_name: plot_setting\ntitle: ROC\nxlabel: FPF\nylabel: TPF\ncutoff_ll: 0.4\ncutoff_ul: 0.6\n")
    assert (read_plot_settings(path).xlabel, read_plot_settings(path).cutoff_ul) == ("FPF", 0.6)
