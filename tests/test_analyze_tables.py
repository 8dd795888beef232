"""Several tables compared and subgroups, through the command line, against scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import magg, write_table  # noqa: F401  (fixture)
from sklearn.metrics import recall_score, roc_auc_score

import model_aggregation as ma
from model_aggregation.errors import ModelAggregationError
from model_aggregation.files import write_text

LABELS = ["ng"] * 40 + ["ok"] * 40


def scores_of(seed, shift, labels=LABELS):
    noise = np.random.default_rng(seed).normal(0, 1.2, len(labels))
    return 1 / (1 + np.exp(-(noise + np.where(np.array(labels) == "ok", shift, -shift))))


@pytest.fixture
def tables(tmp_path):
    return {
        name: write_table(tmp_path / f"{name}.csv", scores_of(seed, shift), LABELS)
        for seed, (name, shift) in enumerate({"good": 1.0, "fair": 0.5, "bad": 0.1}.items())
    }


def test_a_comparison_is_printed_and_written(magg, tables, tmp_path):  # noqa: F811
    words = [*tables.values(), "--positive", "ok", "--selected", "fair"]
    text = magg("analyze", *words, "--out", tmp_path / "out")
    assert "models cannot be distinguished from the best." in text
    assert "fair (selected)" in text
    assert "Differences to fair" in text
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"comparisons.csv", "ranking.csv", "methods.md", "figures", "metrics.json", "metrics.csv"}
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    truth = np.array(LABELS) == "ok"
    for name, path in tables.items():
        area = roc_auc_score(truth, pd.read_csv(path)["ok"])
        assert metrics[name]["auc"]["value"] == pytest.approx(area, abs=1e-12)
        assert f"{area:.3f}" in text
    comparisons = pd.read_csv(tmp_path / "out" / "comparisons.csv")
    assert set(comparisons["model"]) == {"good", "bad"}
    row = comparisons[(comparisons["model"] == "bad") & (comparisons["metric"] == "auc")].iloc[0]
    assert row["difference"] == pytest.approx(metrics["bad"]["auc"]["value"] - metrics["fair"]["auc"]["value"])


def test_without_a_selected_model_the_ranking_is_exploratory(magg, tables):  # noqa: F811
    text = magg("analyze", *tables.values(), "--positive", "ok")
    assert "Exploratory: nothing says which model was selected" in text
    assert "Differences" not in text


def test_each_model_has_its_own_cutoff(magg, tables, tmp_path):  # noqa: F811
    validation = [write_table(tmp_path / f"v{i}.csv", scores_of(10 + i, 1.0), LABELS) for i in range(3)]
    out = tmp_path / "out"
    words = ["--positive", "ok", "--out", out, "--no-report", "--cutoff-from", *validation]
    magg("analyze", *tables.values(), *words)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    truth = np.array(LABELS) == "ok"
    assert len({entry["cutoff"]["value"] for entry in metrics.values()}) > 1
    for name, path in tables.items():
        called = pd.read_csv(path)["ok"] > metrics[name]["cutoff"]["value"]
        assert metrics[name]["sensitivity"]["value"] == pytest.approx(recall_score(truth, called))
    assert "3 tables" in magg("analyze", *tables.values(), *words[:5], "--cutoff-from", validation[0], expect=1)


def test_a_cutoff_from_the_same_images_is_exploratory(magg, tables):  # noqa: F811
    path = tables["good"]
    text = magg("analyze", path, "--positive", "ok", "--cutoff-from", path)
    assert "exploratory: the cutoff was chosen on the images it is applied to" in text


def test_tables_over_other_images_are_refused_with_a_list(magg, tables, tmp_path):  # noqa: F811
    table = pd.read_csv(tables["fair"])
    table.loc[0, "path"] = "other.png"
    table.to_csv(tables["fair"], index=False)
    text = magg("analyze", *tables.values(), "--positive", "ok", "--out", tmp_path / "out", expect=1)
    assert "fair: lacks 0000.png" in text
    assert "fair: has other.png" in text
    table.loc[0, ["path", "correct_label"]] = ["0000.png", "ok"]
    table.to_csv(tables["fair"], index=False)
    assert "another label for 0000.png" in magg("analyze", *tables.values(), "--positive", "ok", expect=1)
    assert not (tmp_path / "out").exists()


def test_subgroups_of_a_table(magg, tmp_path):  # noqa: F811
    sites = ["north", "south"] * 38 + ["", "", "east", "east"]
    path = write_table(tmp_path / "t.csv", scores_of(0, 1), LABELS, site=sites)
    out = tmp_path / "out"
    text = magg("analyze", path, "--positive", "ok", "--by", "site", "--out", out, "--no-report")
    assert "east: no AUC, specificity, balanced accuracy: the negative class has no image" in text
    table = pd.read_csv(out / "subgroups.csv", keep_default_na=False)
    assert list(table.columns[:6]) == ["column", "subgroup", "split", "class", "metric", "value"]
    assert list(dict.fromkeys(table["subgroup"])) == ["east", "north", "south", "(missing)"]
    row = table[(table["subgroup"] == "north") & (table["metric"] == "auc")].iloc[0]
    part = pd.read_csv(path).query("site == 'north'")
    assert float(row["value"]) == pytest.approx(roc_auc_score(part["correct_label"] == "ok", part["ok"]))
    assert float(row["low"]) < float(row["value"]) < float(row["high"])
    undefined = table[(table["subgroup"] == "east") & (table["metric"] == "auc")].iloc[0]
    assert (undefined["value"], undefined["reason"]) == ("", "the negative class has no image")


def test_a_column_of_many_values_is_refused(magg, tmp_path):  # noqa: F811
    path = write_table(tmp_path / "t.csv", scores_of(0, 1, LABELS * 2), LABELS * 2)
    assert "160 different values" in magg("analyze", path, "--positive", "ok", "--by", "path", expect=1)


def test_three_classes_are_compared(magg, tmp_path):  # noqa: F811
    for seed in range(2):
        values = np.random.default_rng(seed).dirichlet(np.ones(3), 90)
        words = {"path": [f"{i}.png" for i in range(90)], "correct_label": np.repeat(["a", "b", "c"], 30)}
        pd.DataFrame(words | dict(zip("abc", values.T, strict=True))).to_csv(tmp_path / f"m{seed}.csv", index=False)
    paths = [tmp_path / "m0.csv", tmp_path / "m1.csv"]
    text = magg("analyze", *paths, "--selected", "m1.csv")
    assert "balanced accuracy" in text
    assert "--positive belongs to two classes" in magg("analyze", *paths, "--positive", "a", expect=1)


def test_the_same_in_python(tables):
    found = ma.analyze(list(tables.values()), positive="ok", selected="good")
    assert set(found["evaluations"]) == set(tables)
    assert found["comparison"]["selected"] == "good"
    assert ma.analyze(tables["good"], positive="ok")["test"] == found["evaluations"]["good"]
    with pytest.raises(ModelAggregationError, match="did you mean positive"):
        ma.analyze(tables["good"], positiv="ok")


PLOT = "title: 胸部 ROC\nxlabel: 偽陽性率\nylabel: TPF\ncutoff_ll: 0.55\ncutoff_ul: 0.58\n"


def test_plot_settings_of_the_earlier_program_shape_figure_and_cutoff(magg, tables, tmp_path):  # noqa: F811
    write_text(tmp_path / "plot.yaml", PLOT)
    validation = write_table(tmp_path / "v.csv", scores_of(10, 1.0), LABELS)
    words = [tables["good"], "--positive", "ok", "--no-report", "--out", tmp_path / "plain"]
    magg("analyze", *words, "--cutoff-from", validation)
    words[-1] = tmp_path / "titled"
    magg("analyze", *words, "--plot-settings", tmp_path / "plot.yaml")
    figures = [(tmp_path / name / f"{name}_test_roc.png").read_bytes() for name in ("plain", "titled")]
    assert figures[0] != figures[1]
    words[-1] = tmp_path / "limited"
    magg("analyze", *words, "--cutoff-from", validation, "--plot-settings", tmp_path / "plot.yaml")
    stored = {
        name: json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))["test"]["cutoff"]
        for name in ("plain", "limited")
    }
    assert not 0.55 <= stored["plain"]["value"] <= 0.58
    assert 0.55 <= stored["limited"]["value"] <= 0.58
    found = ma.analyze(tables["good"], positive="ok", cutoff_from=validation, plot_settings=str(tmp_path / "plot.yaml"))
    assert found["test"]["cutoff"]["value"] == stored["limited"]["value"]


def test_plot_settings_without_effect_are_refused(magg, tables, tmp_path):  # noqa: F811
    plot = tmp_path / "plot.yaml"
    write_text(plot, PLOT)
    needed = "--plot-settings has an effect on the ROC figure of one table (--out) and on a cutoff that is chosen"
    for words in (
        [tables["good"]],
        [tables["good"], "--cutoff", "0.5"],
        [*tables.values(), "--out", tmp_path / "out"],
    ):
        assert needed in magg("analyze", *words, "--positive", "ok", "--plot-settings", plot, expect=1)
    values = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    rows = {"path": [f"{i}.png" for i in range(30)], "correct_label": np.repeat(["a", "b", "c"], 10)}
    pd.DataFrame(rows | dict(zip("abc", values.T, strict=True))).to_csv(tmp_path / "m.csv", index=False)
    text = magg("analyze", tmp_path / "m.csv", "--plot-settings", plot, "--out", tmp_path / "out", expect=1)
    assert "--plot-settings belongs to two classes; here are 3: a, b, c." in text
    write_text(plot, "titel: x\n")
    text = magg(
        "analyze", tables["good"], "--positive", "ok", "--plot-settings", plot, "--out", tmp_path / "out", expect=1
    )
    assert "did you mean title" in text
    assert not (tmp_path / "out").exists()
