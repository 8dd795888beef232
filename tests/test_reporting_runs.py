"""The tables that a finished run and a comparison get at once, seeds, folds, and what is pooled of folds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from run_samples import cross_validate, image_table, make_run
from sklearn.metrics import confusion_matrix, roc_auc_score

from model_aggregation.analysis.groups import analyze_group, write_report, write_tables
from model_aggregation.analysis.repeats import compared_members
from model_aggregation.analysis.run_sets import evaluate_run
from model_aggregation.analysis.shared_images import shared_images
from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder

RUN_TABLES = {"roc_points.csv", "calibration.csv", "net_benefit.csv", "confusion.csv", "methods.md"}
GROUP_TABLES = {"comparisons.csv", "ranking.csv", "methods.md"}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def test_a_run_gets_its_tables_and_the_report_the_same_ones(log: Path):
    run = make_run(log / "run")
    assert write_tables(run.path) == run.path / "report"
    tables = bytes_of(run.path / "report")
    assert set(tables) == RUN_TABLES
    assert not (run.path / "report" / "figures").exists()
    write_report(run.path)
    assert bytes_of(run.path / "report") == tables
    assert (run.path / "report" / "figures" / "roc_test.png").is_file()
    write_tables(run.path)
    assert (run.path / "report" / "figures" / "roc_test.png").is_file()
    assert bytes_of(run.path / "report") == tables


def test_figures_of_other_numbers_are_removed(magg, log: Path):  # noqa: F811
    run = make_run(log / "run")
    write_report(run.path)
    before = bytes_of(run.path / "report")
    table = run.read_predictions("test")
    table[["ng", "ok"]] = table[["ok", "ng"]].to_numpy()
    run.write_predictions("test", table, predicted=["ng"] * 40)
    magg("analyze", run.path)
    after = bytes_of(run.path / "report")
    assert set(after) == RUN_TABLES
    assert after["roc_points.csv"] != before["roc_points.csv"]
    assert not (run.path / "report" / "figures").exists()


def test_a_comparison_gets_its_tables(log: Path):
    for number, model in enumerate(("timm:a", "timm:b", "timm:c")):
        make_run(log / "g" / f"g_{model[-1]}", model=model, skill=1 + 2 * number)
    assert write_tables(log / "g") == log / "g" / "report"
    tables = bytes_of(log / "g" / "report")
    assert set(tables) == GROUP_TABLES
    write_report(log / "g")
    assert bytes_of(log / "g" / "report") == tables
    ranking = pd.read_csv(log / "g" / "report" / "ranking.csv")
    assert list(ranking.columns) == [
        "run_name", "model", "selected", "metric", "value", "low", "high", "method", "n", "rank", "rank_low",
        "rank_high", "top_group", "reason",
    ]  # fmt: skip
    assert dict(zip(ranking["run_name"], ranking["model"], strict=True)) == {f"g_{x}": f"timm:{x}" for x in "abc"}
    assert ranking["selected"].sum() == 1
    comparisons = pd.read_csv(log / "g" / "report" / "comparisons.csv")
    assert list(comparisons.columns[:4]) == ["run_name", "model", "reference_run", "reference"]


def test_a_comparison_that_is_none_any_more_loses_its_report(log: Path):
    for model in ("timm:a", "timm:b"):
        make_run(log / "g" / f"g_{model[-1]}", model=model)
    write_report(log / "g")
    shutil.rmtree(log / "g" / "g_b")
    Index(log).rebuild()
    assert write_tables(log / "g") is None
    assert not (log / "g" / "report").exists()
    with pytest.raises(ResultsError, match="nothing to report"):
        write_report(log / "g")


def test_every_problem_of_tables_is_ours(log: Path):
    run = make_run(log / "run")
    shutil.rmtree(run.path / "report", ignore_errors=True)
    (run.path / "report").write_text("in the way")
    with pytest.raises(ModelAggregationError):
        write_tables(run.path)
    (run.path / "environment.json").write_text('{"versions": 3}')
    with pytest.raises(ModelAggregationError):
        write_tables(run.path)


def test_pooled_predictions_are_decided_fold_by_fold(magg, log: Path):  # noqa: F811
    pooled = cross_validate(log / "g", "timm:a")
    metrics = pooled.read_metrics()
    assert list(metrics) == ["test"]
    found, folds = metrics["test"], pd.read_csv(pooled.path / "folds.csv")
    table = pooled.read_predictions("test")
    images = pooled.read_images().set_index("path")
    limit = images.loc[table["path"], "fold"].astype(int).map(folds.set_index("fold")["cutoff"]).to_numpy()
    truth, called = table["correct_label"] == "ok", table["ok"] > limit
    assert found["confusion"] == confusion_matrix(truth, called).tolist()
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(truth, table["ok"]))
    members = [RunFolder(log / "g" / name).read_metrics()["test"]["auc"]["value"] for name in folds["run_name"]]
    assert found["auc_mean_of_folds"]["value"] == pytest.approx(np.mean(members))
    predicted = pooled.read_predicted_labels("test").set_index("path")["predict_label"]
    assert (predicted.loc[table["path"]].to_numpy() == np.where(called, "ok_p", "ng_p")).all()
    assert found["cutoff"]["source"].startswith("per fold: ")
    before = bytes_of(pooled.path)
    text = magg("analyze", pooled.path)
    assert "cutoff from per fold: " in text
    assert bytes_of(pooled.path) == before
    methods = (pooled.path / "report" / "methods.md").read_text(encoding="utf-8")
    assert "pooled and evaluated once" in methods
    assert "partly a comparison across networks" in methods
    assert "The cutoffs of the folds were" in methods
    spread = found["auc_sd_of_folds"]["value"]
    assert f"mean of the folds' AUC was {np.mean(members):.3f} ± {spread:.3f} (standard deviation" in methods
    assert "no cutoff was applied" not in methods
    write_report(pooled.path)


@pytest.mark.parametrize("broken", ["fold", "cutoff", "folds.csv"])
def test_pooled_predictions_without_fold_or_cutoff_are_refused(log: Path, broken: str):
    pooled = cross_validate(log / "g", "timm:a")
    pooled.checksums.unlink()  # as an earlier version left it
    if broken == "fold":
        pooled.read_images().drop(columns="fold").to_csv(pooled.images_csv, index=False)
    elif broken == "cutoff":
        pd.read_csv(pooled.path / "folds.csv").iloc[:2].to_csv(pooled.path / "folds.csv", index=False)
    else:
        (pooled.path / "folds.csv").unlink()
    with pytest.raises(ModelAggregationError, match=broken):
        evaluate_run(pooled)


def test_folds_are_not_compared_but_their_pooled_runs(log: Path):
    for model in ("timm:a", "timm:b"):
        cross_validate(log / "g", model)
    analysis = analyze_group(log, "g")
    assert list(analysis.runs) == ["g_a", "g_b"]
    assert [member.name for member in compared_members(analysis.members)] == ["g_a", "g_b"]
    assert analysis.comparison.selected is None
    write_report(log / "g")
    report = log / "g" / "report"
    assert set(bytes_of(report)) == {*GROUP_TABLES, "repeats.csv"}
    repeats = pd.read_csv(report / "repeats.csv")
    own = repeats.query("kind == 'run' and model == 'timm:a' and split == 'test' and metric == 'auc' and fold > 0")
    assert own["fold"].tolist() == [1, 2, 3]
    row = repeats.query("kind == 'over folds' and model == 'timm:a' and split == 'test' and metric == 'auc'").iloc[0]
    assert (row["mean"], row["sd"], row["n"]) == pytest.approx((own["value"].mean(), own["value"].std(ddof=1), 3))
    methods = (report / "methods.md").read_text(encoding="utf-8")
    assert "No model was selected on images apart from those tested" in methods
    assert "repeats.csv" in methods


def test_of_several_seeds_the_lowest_is_compared(log: Path):
    for model in ("timm:a", "timm:b"):
        for seed in (3, 1):
            name = f"g_{model[-1]}"
            make_run(log / "g" / f"{name}_s{seed}", model=model, seed=seed, part_of=name, fold=None)
    assert list(analyze_group(log, "g").runs) == ["g_a_s1", "g_b_s1"]
    write_tables(log / "g")
    repeats = pd.read_csv(log / "g" / "report" / "repeats.csv")
    rows = repeats.query("kind == 'over seeds' and metric == 'auc' and split == 'test'")
    assert rows["model"].tolist() == ["timm:a", "timm:b"]
    assert rows["n"].tolist() == [2, 2]
    assert rows["sd"].notna().all()
    methods = (log / "g" / "report" / "methods.md").read_text(encoding="utf-8")
    assert "the lowest, 1, was the reference" in methods
    assert "The seeds of training: 1 and 3." in methods


def test_the_reference_seed_does_not_depend_on_what_finished(log: Path):
    for model in ("timm:a", "timm:b", "timm:c"):
        for seed in (0, 1):
            name = f"g_{model[-1]}"
            make_run(log / "g" / f"{name}_s{seed}", model=model, seed=seed, part_of=name)
    (log / "g" / "g_b_s0" / "metrics.json").unlink()
    Index(log).rebuild()
    assert list(analyze_group(log, "g").runs) == ["g_a_s0", "g_c_s0"]
    write_tables(log / "g")
    methods = (log / "g" / "report" / "methods.md").read_text(encoding="utf-8")
    assert "Without a finished run of this seed, and so left out: timm:b." in methods
    repeats = pd.read_csv(log / "g" / "report" / "repeats.csv")
    row = repeats.query("kind == 'over seeds' and model == 'timm:b' and metric == 'auc' and split == 'test'").iloc[0]
    assert row["n"] == 1
    assert np.isnan(row["sd"])
    assert row["reason"] == "1 of 2 runs are finished; a standard deviation needs 2 runs"


def test_seeds_and_folds_of_one_model_have_repeats_alone(log: Path):
    for seed in (0, 1):
        cross_validate(log / "g", "timm:a", seed=seed)
    assert analyze_group(log, "g") is None
    assert write_tables(log / "g") == log / "g" / "report"
    assert set(bytes_of(log / "g" / "report")) == {"repeats.csv"}
    repeats = pd.read_csv(log / "g" / "report" / "repeats.csv").query("metric == 'auc' and split == 'test'")
    assert repeats.query("kind == 'over folds'")["seed"].tolist() == [0, 1]
    assert repeats.query("kind == 'over seeds'")["n"].tolist() == [2]


def test_the_count_of_test_evaluations_is_told(log: Path):
    make_run(log / "one")
    run = make_run(log / "two")
    write_tables(run.path)
    assert "the test images had been evaluated 2 times" in (run.path / "report" / "methods.md").read_text("utf-8")


def test_pixels_are_compared_where_both_sides_know_them():
    learnt = image_table("train", 4)
    images = image_table("test", 4)
    assert shared_images(images, learnt) == []
    images.loc[0, "pixel_hash"] = learnt.loc[2, "pixel_hash"]
    images.loc[1, ["pixel_hash", "content_hash"]] = learnt.loc[3, ["pixel_hash", "content_hash"]]
    assert shared_images(images, learnt) == [
        "test000.png: the same pixels as train002.png (train)",
        "test001.png: the same file as train003.png (train)",
    ]
    assert shared_images(images, learnt.drop(columns="pixel_hash")) == [
        "test001.png: the same file as train003.png (train)"
    ]


def test_metrics_json_of_pooled_predictions_is_plain(log: Path):
    pooled = cross_validate(log / "g", "timm:a")
    text = pooled.metrics_json.read_text(encoding="utf-8")
    cutoff = json.loads(text)["test"]["cutoff"]
    assert cutoff["value"] is None
    assert [fold["fold"] for fold in cutoff["folds"]] == [1, 2, 3]
