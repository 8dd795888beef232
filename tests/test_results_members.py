"""Several seeds and folds of a model: one row in the ranking, and every run on request."""

import io
import json
import shutil
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import pytest
from results_samples import make_failed_run, make_run
from rich.console import Console

from model_aggregation.files import write_json
from model_aggregation.results.index import Index
from model_aggregation.results.index_schema import Part
from model_aggregation.results.leaderboard import leaderboard, write_leaderboard
from model_aggregation.results.leaderboard_text import leaderboard_parts
from model_aggregation.results.objects import Group
from model_aggregation.results.run_folder import RunFolder


def seeds(log: Path, model: str = "m", *, count: int = 3, **environment: Any) -> list[RunFolder]:
    """Write one run per seed."""
    return [
        make_run(
            log / "g" / f"g_{model}_s{seed}", model=f"timm:{model}", seed=seed, validation=0.6 + seed / 10,
            part_of=f"g_{model}", fold=None, folds=None, **environment,
        )
        for seed in range(count)
    ]  # fmt: skip


def folds(
    log: Path, name: str = "g_m", *, count: int = 3, seed: int = 0, part_of: str | None = None
) -> list[RunFolder]:
    """Write one run per fold and the pooled run, which has no validation images; return the folds."""
    shared = {"model": "timm:m", "folds": count}
    found = [
        make_run(
            log / "g" / f"{name}_f{fold}", seed=seed, fold=fold, part_of=name, validation=0.5 + fold / 10,
            test_fingerprint=f"fold {fold}", **shared,
        )
        for fold in range(1, count + 1)
    ]  # fmt: skip
    make_run(
        log / "g" / name, seed=seed + 50, validation=None, fold=None, part_of=part_of,
        members=[run.name for run in found], test_fingerprint="all", **shared,
    )  # fmt: skip
    with_seed = {**RunFolder(log / "g" / name).read_environment(), "seed": seed}
    RunFolder(log / "g" / name).write_environment(with_seed)
    return found


def value(run: RunFolder, metric: str = "auc") -> float:
    """Return a test value as the files hold it."""
    return run.read_metrics()["test"][metric]["value"]


def shown(table: pd.DataFrame, width: int = 120) -> str:
    """Return what a terminal shows."""
    console = Console(width=width, record=True, file=io.StringIO())
    for part in leaderboard_parts(table, width=width):
        console.print(part)
    return console.export_text()


def test_seeds_make_one_row_of_mean_and_deviation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = seeds(log)
    make_run(log / "g" / "g_other", model="timm:other", validation=0.72)
    table = leaderboard(log, "g")
    assert list(table["run_name"]) == ["g_other", "g_m"]  # 0.72 before the mean of 0.6, 0.7, 0.8
    row = table.iloc[1]
    assert row["auc_val"] == pytest.approx(0.7)
    assert row["auc"] == pytest.approx(fmean(map(value, runs)))
    assert row["auc_sd"] == pytest.approx(stdev(map(value, runs)))
    assert row[["auc_low", "auc_high", "cutoff"]].isna().all()
    assert (row["rank"], row["state"], row["seeds"], row["n_test"]) == (2, "finished", 3, 40)
    assert row["train_seconds"] == 4.5
    assert row["reason"] == "precision: undefined for 3 of 3 seeds: nothing predicted positive"
    other = table.iloc[0]
    assert pd.notna(other["auc_low"])
    assert pd.isna(other["seeds"])
    assert table.attrs["test_evaluations"] == 4
    assert table.attrs["compared_runs"] == {"g_m": "g_m_s0"}
    text = shown(table)
    assert "3 seeds" in text
    assert f"± {row['auc_sd']:.3f}" in text
    assert "standard deviation" in text


@pytest.mark.parametrize("end", ["failed", "running"])
def test_nothing_is_averaged_over_what_failed(tmp_path: Path, end: str) -> None:
    log = tmp_path / "log"
    seeds(log)
    broken = log / "g" / "g_m_s1"
    shutil.rmtree(broken)
    if end == "failed":
        make_failed_run(broken, "no memory")
        write_json(broken / "environment.json", {"model": "timm:m", "seed": 1, "part_of": "g_m"})
        Index(log).rebuild()
    else:
        Index(log).rebuild()
        Index(log).set_state("g_m_s1", "g", "planned", model="timm:m", part=Part("g_m", seed=1))
    row = leaderboard(log, "g").iloc[0]
    assert (row["run_name"], row["state"]) == ("g_m", "failed" if end == "failed" else "planned")
    assert row[["rank", "auc", "auc_sd", "auc_val"]].isna().all()
    assert "2 of 3 runs finished" in row["reason"]
    assert ("no memory" in row["reason"]) == (end == "failed")
    assert len(leaderboard(log, "g", members=True)["auc"].dropna()) == 2


def test_folds_make_one_row_of_their_pooled_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = folds(log)
    pooled = RunFolder(log / "g" / "g_m").read_metrics()["test"]["auc"]
    table = leaderboard(log, "g")
    assert len(table) == 1
    row = table.iloc[0]
    assert row[["auc", "auc_low", "auc_high"]].tolist() == [pooled[key] for key in ("value", "low", "high")]
    assert row["auc_fold_mean"] == pytest.approx(fmean(map(value, runs)))
    assert row["auc_fold_sd"] == pytest.approx(stdev(map(value, runs)), abs=1e-15)
    assert row["auc_val"] == pytest.approx(0.7)
    assert (row["run_name"], row["folds"], row["rank"], row["state"]) == ("g_m", 3, 1, "finished")
    assert "seeds" not in table
    assert "auc_sd" not in table
    assert table.attrs["warnings"] == []  # that folds differ in their images is no finding
    assert table.attrs["test_evaluations"] == 1
    best = Group(log, "g").best
    assert best is not None
    assert best.name == "g_m"
    assert "3 folds" in shown(table)
    assert "folds 0." in shown(table)


def test_a_pooled_run_without_all_its_folds_has_no_mean(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = folds(log)
    shutil.rmtree(runs[1].path)
    make_run(log / "g" / "g_other", model="timm:other")
    row = leaderboard(log, "g").set_index("run_name").loc["g_m"]
    assert pd.notna(row["auc_low"])
    assert pd.isna(row["auc_val"])
    assert "2 of 3 folds are there" in row["reason"]
    assert "not ranked" in row["reason"]


@pytest.mark.parametrize("pooled", ["absent", "failed"])
def test_folds_that_were_not_pooled_have_no_number(tmp_path: Path, pooled: str) -> None:
    log = tmp_path / "log"
    runs = folds(log)
    shutil.rmtree(log / "g" / "g_m")
    runs[0].metrics_json.unlink()
    if pooled == "failed":
        make_failed_run(log / "g" / "g_m", "it needs every fold")
        (log / "g" / "g_m" / "environment.json").unlink()
    Index(log).rebuild()
    table = leaderboard(log, "g")
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["run_name"], row["state"]) == ("g_m", "failed" if pooled == "failed" else "interrupted")
    assert pd.isna(row["auc"])
    assert "2 of " in row["reason"]
    assert "g_m_f1 interrupted" in row["reason"]
    assert ("it needs every fold" in row["reason"]) == (pooled == "failed")


def test_seeds_and_folds_are_averaged_over_the_pooled_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for seed in (3, 4):
        folds(log, f"g_m_s{seed}", seed=seed, part_of="g_m")
    pooled = [RunFolder(log / "g" / f"g_m_s{seed}") for seed in (3, 4)]
    table = leaderboard(log, "g")
    assert len(table) == 1
    row = table.iloc[0]
    assert row["auc"] == pytest.approx(fmean(map(value, pooled)))
    assert row["auc_sd"] == pytest.approx(stdev(map(value, pooled)))
    assert (row["run_name"], row["seeds"], row["folds"], row["rank"]) == ("g_m", 2, 3, 1)
    assert row["auc_val"] == pytest.approx(0.7)
    assert pd.isna(row["auc_low"])
    assert "2 seeds × 3 folds" in shown(table)
    best = Group(log, "g").best
    assert best is not None
    assert best.name == "g_m_s3"


@pytest.mark.parametrize("pooled", ["absent", "failed"])
def test_a_seed_that_was_not_pooled_is_not_left_out_of_the_mean(tmp_path: Path, pooled: str) -> None:
    log = tmp_path / "log"
    for seed in (3, 4, 5):
        folds(log, f"g_m_s{seed}", seed=seed, part_of="g_m")
    shutil.rmtree(log / "g" / "g_m_s4")
    if pooled == "failed":
        make_failed_run(log / "g" / "g_m_s4", "it needs every fold")
        (log / "g" / "g_m_s4" / "environment.json").unlink()
    Index(log).rebuild()
    table = leaderboard(log, "g")
    assert list(table["run_name"]) == ["g_m"]
    row = table.iloc[0]
    assert row[["rank", "auc", "auc_val"]].isna().all()
    assert ("it needs every fold" if pooled == "failed" else "2 of 3 pooled results are there") in row["reason"]


def test_one_seed_of_folds_shows_its_pooled_run(tmp_path: Path) -> None:
    folds(tmp_path / "log", "g_m_s3", seed=3, part_of="g_m")
    row = leaderboard(tmp_path / "log", "g").iloc[0]
    assert row["run_name"] == "g_m_s3"
    assert pd.notna(row["auc_low"])


def test_members_are_rows_of_their_own_on_request(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for seed in (0, 1):
        folds(log, f"g_m_s{seed}", seed=seed, part_of="g_m")
    make_run(log / "g" / "g_other", model="timm:other")
    table = leaderboard(log, "g", members=True)
    assert table["rank"].isna().all()
    assert list(table["run_name"]) == [
        "g_m_s0", "g_m_s0_f1", "g_m_s0_f2", "g_m_s0_f3", "g_m_s1", "g_m_s1_f1", "g_m_s1_f2", "g_m_s1_f3", "g_other",
    ]  # fmt: skip
    by_name = table.set_index("run_name")
    assert by_name.loc["g_m_s1_f2", ["seed", "fold", "folds", "part_of"]].tolist() == [1, 2, 3, "g_m_s1"]
    assert by_name.loc["g_m_s1", ["seed", "folds", "part_of"]].tolist() == [1, 3, "g_m"]
    assert pd.isna(by_name.loc["g_m_s1", "fold"])
    assert by_name["auc_low"].notna().all()
    assert "not ranked" in shown(table)
    assert "g_m_s1_f2" in shown(table)


def test_a_group_of_single_runs_has_no_columns_of_seeds(tmp_path: Path) -> None:
    make_run(tmp_path / "log" / "g" / "g_a", part_of=None, fold=None, folds=None)
    table = leaderboard(tmp_path / "log", "g")
    assert not {"seeds", "folds", "seed", "part_of"} & set(table.columns)
    assert not [name for name in table.columns if name.endswith(("_sd", "_fold_mean"))]


def test_members_survive_states_rebuilds_and_files(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (log / "g").mkdir(parents=True)
    index = Index(log)
    index.set_state("g_m_s0_f2", "g", "planned", model="timm:m", part=Part("g_m_s0", seed=0, fold=2, folds=3))
    index.set_state("g_m_s0_f2", "g", "running")
    row = index.runs("g").iloc[0]
    assert row[["model", "seed", "fold", "folds", "part_of"]].tolist() == ["timm:m", 0, 2, 3, "g_m_s0"]
    seeds(log)
    index.rebuild()
    table = leaderboard(log, "g")
    write_leaderboard(table, tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert content["rows"][0]["seeds"] == 3
    assert content["compared_runs"] == {"g_m": "g_m_s0"}


def test_loops_of_part_of_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_run(log / "g" / "g_a", part_of="g_b", folds=2)
    make_run(log / "g" / "g_b", part_of="g_a", fold=1, folds=2)
    assert len(leaderboard(log, "g")) >= 1


def test_the_work_of_a_ranking_grows_with_its_models_and_not_with_their_square(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for number in range(10):
        index.set_state(f"g_m{number}", "g", "planned", model=f"timm:m{number}")
    asked: list[str] = []
    sys.setprofile(lambda frame, event, _: asked.append(frame.f_code.co_name) if event == "call" else None)
    try:
        leaderboard(index, "g")
    finally:
        sys.setprofile(None)
    assert asked.count("averages_seeds") <= 5 * 10
