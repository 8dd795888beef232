"""Tables and figures of a comparison's report."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import (
    Comparison,
    Evaluation,
    EvaluationOptions,
    Predictions,
    compare_predictions,
    evaluate,
)
from model_aggregation.reporting.comparison_figures import forest_figure, roc_overlay_figure
from model_aggregation.reporting.comparison_report import write_comparison_report
from model_aggregation.results.drawing import plain_style, save_for_paper

QUICK = EvaluationOptions(resamples=60)


def compared(
    count: int, *, classes: int = 2, n: int = 60, selected: str | None = "model 1", only: int | None = None
) -> tuple[Comparison, dict[str, Evaluation]]:
    """Compare models of growing skill; ``only`` keeps the images of a single class."""
    labels = np.arange(n) % classes
    rows = np.arange(n) if only is None else np.flatnonzero(labels == only)
    models = {}
    for k in range(count):
        logits = np.random.default_rng(k).normal(size=(n, classes))
        logits[np.arange(n), labels] += 0.5 + 2 * k / count
        p = np.exp(logits)
        names = tuple(f"class {c}" for c in range(classes))
        table = Predictions([f"{i:04}" for i in range(n)], labels, p / p.sum(axis=1, keepdims=True), names)
        models[f"model {k}" if k else "模型 0"] = table.take(rows)
    positive = "class 1" if classes == 2 else None
    comparison = compare_predictions(models, selected=selected, positive=positive, options=QUICK)
    return comparison, {name: evaluate(table, positive=positive, options=QUICK) for name, table in models.items()}


def words_of(figure: object) -> str:
    """Return every word of a figure, line breaks made to spaces."""
    words = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    return " ".join(words).replace("\n", " ")


def test_the_files_and_their_numbers(tmp_path: Path):
    comparison, evaluations = compared(3)
    write_comparison_report(tmp_path, comparison, evaluations)
    assert {path.name for path in tmp_path.iterdir()} == {"comparisons.csv", "ranking.csv", "methods.md", "figures"}
    figures = {f"{name}.{form}" for name in ("forest", "roc_overlay") for form in ("png", "svg", "pdf")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == figures
    table = pd.read_csv(tmp_path / "comparisons.csv")
    for column in ("difference", "low", "high", "p", "p_holm"):
        assert np.allclose(table[column], comparison.comparisons[column], equal_nan=True)
    ranking = pd.read_csv(tmp_path / "ranking.csv").set_index("model")
    for name, evaluation in evaluations.items():
        auc = evaluation.metrics["auc"]
        assert tuple(ranking.loc[name, ["value", "low", "high"]]) == pytest.approx((auc.value, auc.low, auc.high))
    assert ranking["selected"].sum() == 1
    assert list(ranking["rank"]) == sorted(ranking["rank"])


def test_the_figures(tmp_path: Path):
    comparison, evaluations = compared(8)
    write_comparison_report(tmp_path, comparison, evaluations)
    with Image.open(tmp_path / "figures" / "forest.png") as image:
        assert image.size[0] == 2160  # 7.2 inches
    forest = (tmp_path / "figures" / "forest.svg").read_text(encoding="utf-8")
    for name, evaluation in evaluations.items():
        assert name in forest
        assert evaluation.metrics["auc"].text() in forest
    assert comparison.sentence[1:] in forest
    assert "model 1 (selected)" in forest
    overlay = (tmp_path / "figures" / "roc_overlay.svg").read_text(encoding="utf-8")
    assert "2 others" in overlay
    assert (tmp_path / "figures" / "forest.pdf").read_bytes().startswith(b"%PDF")


def test_fifty_models_stay_on_the_page(tmp_path: Path):
    comparison, evaluations = compared(50, n=40)
    with plain_style(7.0):
        figure = forest_figure(comparison, evaluations)
        save_for_paper(figure, tmp_path, "forest")
    assert figure.get_size_inches()[1] <= 9.6
    left = figure.axes[0]
    assert left.get_tightbbox().x0 >= 0
    boxes = [label.get_window_extent() for label in left.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def test_many_classes_have_a_panel_each():
    comparison, evaluations = compared(3, classes=4)
    figure = roc_overlay_figure(comparison, evaluations)
    assert [axes.get_title() for axes in figure.axes] == [f"class {c}" for c in range(4)]
    assert all(len(axes.lines) == 4 for axes in figure.axes)  # three models and the diagonal
    assert "macro one-vs-rest AUC" in words_of(figure)


def test_undefined_is_said():
    comparison, evaluations = compared(2, only=0)
    assert "not defined: the positive class has no image" in words_of(forest_figure(comparison, evaluations))
    assert "No rank sets" in words_of(forest_figure(comparison, evaluations))
    assert "No ROC curve: the positive class has no image" in words_of(roc_overlay_figure(comparison, evaluations))


def test_without_a_selected_model(tmp_path: Path):
    comparison, evaluations = compared(2, selected=None)
    write_comparison_report(tmp_path, comparison, evaluations)
    assert (tmp_path / "comparisons.csv").read_text(encoding="utf-8").count("\n") == 1
    assert "selected" not in words_of(forest_figure(comparison, evaluations))


def test_evaluations_of_other_numbers_are_refused(tmp_path: Path):
    comparison, evaluations = compared(3)
    mixed = evaluations | {"model 1": evaluations["model 2"], "stranger": evaluations["model 2"]}
    del mixed["模型 0"]
    with pytest.raises(ResultsError, match="do not belong") as caught:
        write_comparison_report(tmp_path / "out", comparison, mixed)
    assert len(caught.value.problems) == 3
    more_images = compared(3, n=80)[1]
    with pytest.raises(ResultsError, match="evaluated on 80 images, compared on 60"):
        write_comparison_report(tmp_path / "out", comparison, more_images)
    assert not (tmp_path / "out").exists()
