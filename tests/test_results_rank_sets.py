"""Rank sets in the leaderboard: read from the report of the comparison, and only when it is about these results."""

import io
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from results_samples import make_failed_run, make_run
from rich.console import Console

from model_aggregation.evaluation import Predictions, compare_predictions, evaluate
from model_aggregation.reporting.comparison_report import write_comparison_tables
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard
from model_aggregation.results.leaderboard_text import leaderboard_text
from model_aggregation.results.run_folder import RunFolder

STALE = "rank sets are not up to date; `magg report"


def group(log: Path, count: int = 3, **environment: Any) -> list[RunFolder]:
    """Write runs of one comparison, and a failed one."""
    runs = [
        make_run(log / "g" / f"g_m{number}", model=f"timm:m{number}", seed=number, **environment)
        for number in range(count)
    ]
    make_failed_run(log / "g" / "g_failed")
    return runs


def report(log: Path, runs: list[RunFolder]) -> pd.DataFrame:
    """Compare the runs as the program does and store the ranking; return it."""
    tables = {run.name: run.read_predictions("test") for run in runs}
    models = {}
    for name, table in tables.items():
        codes = [["cat", "dog"].index(label) for label in table["correct_label"]]
        models[name] = Predictions(list(table["path"]), codes, table[["cat", "dog"]].to_numpy(), ("cat", "dog"))
    comparison = compare_predictions(models, selected=runs[0].name, positive="dog")
    evaluations = {name: evaluate(one, positive="dog") for name, one in models.items()}
    write_comparison_tables(log / "g" / "report", comparison, evaluations)
    return comparison.ranking.set_index("model")


def caption(table: pd.DataFrame) -> str:
    """Return what the terminal shows."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(leaderboard_text(table, width=200))
    return console.export_text()


def test_the_stored_rank_sets_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ranking = report(log, group(log))
    table = leaderboard(log, "g").set_index("run_name", drop=False)
    for name, row in ranking.iterrows():
        assert table.loc[name, ["rank_set_low", "rank_set_high"]].tolist() == [row["rank_low"], row["rank_high"]]
    assert pd.isna(table.loc["g_failed", "rank_set_low"])
    top = int(ranking["top_group"].sum())
    assert table.attrs["rank_sets"] == f"{top} of 3 models cannot be distinguished from the best"
    text = caption(leaderboard(log, "g"))
    assert f"{top} of 3 models cannot be distinguished from the best." in text
    assert "rank set" in text
    Index(log).path.unlink()
    assert leaderboard(log, "g")["rank_set_low"].notna().sum() == 3


@pytest.mark.parametrize("change", ["none", "new run", "run gone", "trained again", "later", "damaged", "words"])
def test_a_report_about_other_results_is_not_used(tmp_path: Path, change: str) -> None:
    log = tmp_path / "log"
    runs = group(log)
    if change != "none":
        report(log, runs)
    path = log / "g" / "report" / "ranking.csv"
    match change:
        case "new run":
            make_run(log / "g" / "g_new", model="timm:new")
        case "run gone":
            runs[1].metrics_json.unlink()
        case "trained again":  # with its old times, as a copy of a folder may have them
            make_run(runs[1].path, model="timm:m1", seed=77)
            os.utime(runs[1].metrics_json, (1, 1))
        case "later":
            os.utime(path, (1, 1))
        case "damaged":
            path.write_text("run_name,value\ng_m0,0.5,3\n", encoding="utf-8")
        case "words":
            path.write_bytes(b"\xff\xfe\x00\x81")
    table = leaderboard(log, "g")
    assert table[["rank_set_low", "rank_set_high"]].isna().all(axis=None)
    assert table.attrs["rank_sets"].startswith(STALE)
    assert STALE[1:] in caption(table)


def test_runs_on_other_images_are_not_in_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    report(log, group(log))
    make_run(log / "g" / "g_other", test_fingerprint="t2")
    table = leaderboard(log, "g").set_index("run_name")
    assert table["rank_set_low"].notna().sum() == 3
    assert pd.isna(table.loc["g_other", "rank_set_low"])


def test_without_a_comparison_nothing_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group(log, 1)
    make_run(log / "alone")
    make_run(log / "alone_too")
    assert leaderboard(log, "g").attrs["rank_sets"] is None
    assert leaderboard(log, "single").attrs["rank_sets"] is None


def test_why_there_are_no_rank_sets_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    report(log, group(log))
    path = log / "g" / "report" / "ranking.csv"
    ranking = pd.read_csv(path).assign(rank_low=None, rank_high=None, top_group=None, reason="the spread is unknown")
    ranking.to_csv(path, index=False)
    table = leaderboard(log, "g")
    assert table["rank_set_low"].isna().all()
    assert table.attrs["rank_sets"].endswith("from the best is unknown: the spread is unknown")


def test_of_several_seeds_the_first_was_compared(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = [
        make_run(log / "g" / f"g_{model}_s{seed}", model=f"timm:{model}", seed=seed + shift, part_of=f"g_{model}")
        for shift, model in ((0, "a"), (10, "b"))
        for seed in (0, 1)
    ]
    for run in runs:
        run.write_environment({**run.read_environment(), "seed": int(run.name[-1])})
    ranking = report(log, [runs[0], runs[2]])
    table = leaderboard(log, "g").set_index("run_name")
    assert table.loc["g_a", "rank_set_high"] == ranking.loc["g_a_s0", "rank_high"]
    assert "from the best; of several seeds the first was compared" in leaderboard(log, "g").attrs["rank_sets"]
    members = leaderboard(log, "g", members=True).set_index("run_name")
    assert members["rank_set_low"].notna().to_dict() == {name: name.endswith("s0") for name in members.index}
