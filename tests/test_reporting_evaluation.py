"""Tables and figures of one model's report."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import Evaluation, EvaluationOptions, Predictions, choose_cutoff, evaluate
from model_aggregation.reporting.confusion_figure import confusion_figure
from model_aggregation.reporting.curve_figures import (
    net_benefit_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from model_aggregation.reporting.curves import class_curves, corners
from model_aggregation.reporting.evaluation_report import write_evaluation_report
from model_aggregation.reporting.evaluation_tables import roc_points_table

QUICK = EvaluationOptions(resamples=100)
TABLES = ["calibration.csv", "confusion.csv", "net_benefit.csv", "roc_points.csv"]


def two_classes(n: int, *, seed: int = 0, groups: np.ndarray | None = None) -> Predictions:
    """Predictions of two balanced classes with Japanese names."""
    labels = np.arange(n) % 2
    p = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(2 * (labels - 0.5))))
    return Predictions([f"{i:04}" for i in range(n)], labels, np.stack([1 - p, p], 1), ("正常", "肺炎"), groups)


def many_classes(n: int, classes: int) -> Predictions:
    """Predictions of several classes, the last of which has no image."""
    labels = np.arange(n) % (classes - 1)
    logits = np.random.default_rng(0).normal(size=(n, classes))
    logits[np.arange(n), labels] += 2
    p = np.exp(logits)
    names = tuple(f"class {k}" for k in range(classes))
    return Predictions([f"{i:04}" for i in range(n)], labels, p / p.sum(axis=1, keepdims=True), names)


def words_of(figure: object) -> str:
    """Return every word of a figure, line breaks made to spaces."""
    words = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    return " ".join(words).replace("\n", " ")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Evaluation]]:
    """A report of validation and test images, written once."""
    folder = tmp_path_factory.mktemp("報告") / "a run"
    validation = two_classes(80, seed=1)
    cutoff = choose_cutoff(validation, "肺炎", resamples=100)
    sets = {"val": validation, "test": two_classes(60)}
    evaluations = {n: evaluate(p, positive="肺炎", cutoff=cutoff, options=QUICK) for n, p in sets.items()}
    write_evaluation_report(folder, evaluations)
    return folder, evaluations


def test_exactly_these_files(report):
    folder, _ = report
    kinds = ["confusion", "net_benefit", "precision_recall", "reliability", "roc"]
    figures = {f"{kind}_{name}.{form}" for kind in kinds for name in ("val", "test") for form in ("png", "svg", "pdf")}
    assert {path.name for path in folder.iterdir()} == {*TABLES, "methods.md", "figures"}
    assert {path.name for path in (folder / "figures").iterdir()} == figures


def test_figures_are_fit_for_print(report):
    folder, _ = report
    for path in (folder / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert image.width >= 1050  # 3.5 inches
    for path in (folder / "figures").glob("*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert b"/FontFile2" in content  # TrueType, embedded
        assert b"/Type3" not in content
    for path in (folder / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "肺炎" in text
        assert "<text" in text


def test_roc_points_are_those_of_scikit_learn(report):
    folder, evaluations = report
    table = pd.read_csv(folder / "roc_points.csv")
    points = table[(table["set"] == "test") & (table["kind"] == "point")]
    data = evaluations["test"].predictions
    truth, score = data.labels == 1, data.score_of("肺炎")
    fpr, tpr, thresholds = roc_curve(truth, score, drop_intermediate=False)
    assert np.allclose(points["tpr"][::-1], tpr)
    assert np.allclose(points["fpr"][::-1], fpr)
    assert np.allclose(points["balanced_accuracy"], (points["tpr"] + 1 - points["fpr"]) / 2)
    assert points["cutoff"].iloc[0] == -np.inf
    assert np.allclose(points["cutoff"].iloc[1:], thresholds[::-1][:-1])
    precision, _, _ = precision_recall_curve(truth, score)
    assert np.allclose(points["precision"].iloc[:-1], precision[:-1])
    assert np.isnan(points["precision"].iloc[-1])


def test_the_band_is_that_of_the_evaluation(report):
    folder, evaluations = report
    table = pd.read_csv(folder / "roc_points.csv")
    band = table[(table["set"] == "val") & (table["kind"] == "band")]
    expected = evaluations["val"].roc_band()
    assert len(band) == 101
    assert np.array_equal(band["low"], expected["Low"])
    assert np.array_equal(band["high"], expected["High"])
    assert np.array_equal(band["tpr"], expected["Sensitivity"])
    assert np.array_equal(band["fpr"], 1 - expected["Specificity"])


def test_calibration_and_net_benefit(report):
    folder, evaluations = report
    bins = pd.read_csv(folder / "calibration.csv").query("set == 'test'")
    expected = evaluations["test"].reliability()
    assert np.allclose(bins[list(expected.columns)], expected)
    assert bins["n"].sum() == 60
    benefit = pd.read_csv(folder / "net_benefit.csv").query("set == 'test'")
    data = evaluations["test"].predictions
    called = data.score_of("肺炎") > 0.25
    hits, alarms = (called & (data.labels == 1)).sum(), (called & (data.labels == 0)).sum()
    row = benefit[np.isclose(benefit["threshold"], 0.25)].iloc[0]
    assert row["model"] == pytest.approx(hits / 60 - alarms / 60 / 3)
    assert row["all"] == pytest.approx(0.5 - 0.5 / 3)


def test_confusion(report):
    folder, evaluations = report
    table = pd.read_csv(folder / "confusion.csv").query("set == 'test'")
    evaluation = evaluations["test"]
    called = evaluation.predictions.score_of("肺炎") > evaluation.cutoff.value
    expected = confusion_matrix(evaluation.predictions.labels, called)
    assert table["count"].tolist() == expected.ravel().tolist()
    assert table.groupby("actual")["row_percent"].sum().tolist() == pytest.approx([100, 100])


def test_the_same_bytes_again(report, tmp_path):
    folder, evaluations = report
    write_evaluation_report(tmp_path, {"test": evaluations["test"]})
    names = [path.relative_to(tmp_path) for path in (tmp_path / "figures").iterdir()]
    assert names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_many_classes(tmp_path):
    evaluation = evaluate(many_classes(90, 3), options=QUICK)
    write_evaluation_report(tmp_path, {"test": evaluation})
    roc = pd.read_csv(tmp_path / "roc_points.csv")
    points = roc[(roc["class"] == "class 1") & (roc["kind"] == "point")]
    assert np.trapezoid(points["tpr"][::-1], points["fpr"][::-1]) == pytest.approx(
        evaluation.class_metrics["class 1"]["auc"].value
    )
    assert "class 2" not in set(roc["class"])  # it has no image
    bins = pd.read_csv(tmp_path / "calibration.csv", keep_default_na=False)
    top = bins[bins["class"] == ""].astype({"n": float, "predicted": float, "observed": float})
    gap = (top["n"] * (top["predicted"] - top["observed"]).abs()).sum() / 90
    assert gap == pytest.approx(evaluation.metrics["ece"].value)
    confusion = pd.read_csv(tmp_path / "confusion.csv")
    assert confusion.query("actual == 'class 2'")["row_percent"].isna().all()
    svg = (tmp_path / "figures" / "roc_test.svg").read_text(encoding="utf-8")
    assert "no image" in svg
    assert (tmp_path / "figures" / "reliability_by_class_test.pdf").stat().st_size > 1000


def test_figures_say_what_is_undefined():
    labels, score = np.arange(30) % 2, np.random.default_rng(0).normal(size=30)
    only_score = Predictions(np.arange(30), labels, np.empty((30, 0)), ("ng", "ok"), None, score, "ok")
    evaluation = evaluate(only_score, positive="ok", options=QUICK)
    curves = class_curves(evaluation)
    for draw in (reliability_figure, net_benefit_figure):
        assert "only a score is known" in words_of(draw(evaluation, curves, "test"))
    assert "AUC" in words_of(roc_figure(evaluation, curves, "test"))
    one_class = evaluate(two_classes(40).take(np.arange(0, 40, 2)), positive="肺炎", options=QUICK)
    words = words_of(roc_figure(one_class, class_curves(one_class), "test"))
    assert "No ROC curve: the positive class has no image" in words


def test_no_images_at_all():
    evaluation = evaluate(two_classes(4).take(np.array([], dtype=int)), positive="肺炎")
    curves = class_curves(evaluation)
    assert len(roc_points_table({"test": curves})) == 0
    for draw in (roc_figure, precision_recall_figure, reliability_figure, net_benefit_figure):
        assert ": no image" in words_of(draw(evaluation, curves, "test"))
    assert ": no image" in words_of(confusion_figure(evaluation, "test"))


def test_perfect_separation_claims_no_certainty():
    labels = np.arange(40) % 2
    p = np.where(labels, 0.9, 0.1)
    table = Predictions(np.arange(40), labels, np.stack([1 - p, p], 1), ("ng", "ok"))
    evaluation = evaluate(table, positive="ok", options=QUICK)
    (curve,) = class_curves(evaluation)
    assert curve.band.empty
    words = words_of(roc_figure(evaluation, [curve], "test"))
    assert "AUC 1.000 (one-sided bound 0.832–1.000)" in words


def test_wilson_limits_vanish_with_groups():
    table = two_classes(80, groups=np.array([f"g{i // 4}" for i in range(80)]))
    grouped = class_curves(evaluate(table, positive="肺炎", options=QUICK))
    single = class_curves(evaluate(two_classes(80), positive="肺炎", options=QUICK))
    assert grouped[0].reliability[["low", "high"]].isna().all(axis=None)
    assert single[0].reliability[["low", "high"]].notna().all(axis=None)


def test_more_than_twenty_classes_draw_the_weakest():
    evaluation = evaluate(many_classes(500, 26), options=EvaluationOptions(resamples=0))
    curves = class_curves(evaluation)
    drawn = {curve.name for curve in curves if curve.drawn}
    areas = {name: metrics["auc"].value for name, metrics in evaluation.class_metrics.items()}
    del areas["class 25"]
    assert drawn == set(sorted(areas, key=areas.get)[:20])
    words = words_of(roc_figure(evaluation, curves, "test"))
    assert "the 20 of 26 classes with the lowest AUC" in words
    assert set(roc_points_table({"test": curves})["class"]) == set(areas)


def test_corners_keep_the_curve():
    evaluation = evaluate(two_classes(300), positive="肺炎", options=EvaluationOptions(resamples=0))
    roc = evaluation.roc()
    kept = corners(roc)
    assert len(kept) < len(roc)
    x = np.linspace(0.003, 0.997, 50)  # away from the vertical parts
    along = [np.interp(x, table["FPR"][::-1], table["TPR"][::-1]) for table in (roc, kept)]
    assert np.allclose(*along)


@pytest.mark.parametrize("names", [[], ["a/b"], ["test set"]])
def test_names_of_sets(names, tmp_path):
    evaluation = evaluate(two_classes(20), positive="肺炎", options=EvaluationOptions(resamples=0))
    with pytest.raises(ResultsError, match=re.compile("no evaluation|letters, digits")):
        write_evaluation_report(tmp_path / "out", dict.fromkeys(names, evaluation))
    assert not (tmp_path / "out").exists()
