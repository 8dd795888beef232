"""The ranking of a group, its files, and runs and groups as objects."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook
from results_samples import make_failed_run, make_run
from rich.console import Console
from test_results_earlier import COLUMNS, ROW, WITH_ID, earlier_program, named

from model_aggregation.errors import ResultsError, SettingsError
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard, write_leaderboard
from model_aggregation.results.leaderboard_text import leaderboard_parts, leaderboard_text
from model_aggregation.results.locks import run_lock
from model_aggregation.results.objects import Group, Run


def group(log: Path, *validation: float | None, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write one run per validation value, and the index."""
    for number, value in enumerate(validation):
        make_run(log / "g" / f"g_m{number}", validation=value, model=f"timm:m{number}", classes=classes, seed=number)
    Index(log).rebuild()
    return log


def shown(table: pd.DataFrame, width: int = 200) -> str:
    """Return what a terminal shows."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(leaderboard_text(table, width=width))
    return console.export_text()


def test_the_ranking_is_made_on_validation_and_ties_share_a_rank(tmp_path: Path) -> None:
    table = leaderboard(group(tmp_path / "log", 0.7, 0.9, 0.9, 0.8), "g")
    assert list(table["run_name"]) == ["g_m1", "g_m2", "g_m3", "g_m0"]
    assert list(table["rank"]) == [1, 1, 3, 4]
    assert list(table["auc_val"]) == [0.9, 0.9, 0.8, 0.7]
    assert set(table["rank_basis"]) == {"validation"}
    assert table.attrs["basis"] == "validation"
    assert table.attrs["labels"] == {"auc_val": "used for choosing"}
    assert table.attrs["test_evaluations"] == 4
    run = Run(tmp_path / "log" / "g" / "g_m1").metrics()["test"]
    first = table.iloc[0]
    assert first[["auc", "auc_low", "auc_high"]].tolist() == [run["auc"][key] for key in ("value", "low", "high")]
    assert first[["cutoff", "cutoff_source", "n_test"]].tolist() == [0.5, "validation", 40]
    assert first[["train_seconds", "test_images_per_second", "parameters"]].tolist() == [1.5, 100.0, 11]
    assert pd.isna(first["precision"])
    assert first["reason"] == "precision: nothing predicted positive"


def test_without_validation_the_ranking_is_exploratory(tmp_path: Path) -> None:
    log = group(tmp_path / "log", None, None)
    table = leaderboard(log, "g")
    assert table.attrs["basis"] == "test (exploratory)"
    assert set(table["rank_basis"]) == {"test (exploratory)"}
    assert table["auc"].is_monotonic_decreasing
    assert table["auc_val"].isna().all()
    assert Group(log, "g").best is None
    text = shown(table)
    assert "exploratory" in text
    assert "used for choosing" not in text


def test_every_run_has_its_row(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.7, None)
    make_failed_run(log / "g" / "g_failed", "no memory")
    Index(log).record(log / "g" / "g_failed")
    Index(log).set_state("g_running", "g", "running", model="timm:r")
    earlier_program(log, WITH_ID, named("g_old", group_name="g"))
    table = leaderboard(log, "g").set_index("run_name")
    assert table["state"].to_dict() == {
        "g_m0": "finished",
        "g_m1": "finished",
        "g_failed": "failed",
        "g_running": "interrupted",  # no process holds it
        "g_old": "earlier",
    }
    assert table["rank"].notna().to_dict() == {name: name == "g_m0" for name in table.index}
    assert "RuntimeError: no memory" in table.loc["g_failed", "reason"]
    assert "not ranked: no auc on validation images" in table.loc["g_m1", "reason"]
    assert table.loc["g_old", "earlier_program_auc"] == ROW[COLUMNS.split(", ").index("auc")]
    text = shown(leaderboard(log, "g"))
    assert "failed: RuntimeError: no memory" in text
    assert "timm:r" in text


def test_numbers_of_an_earlier_attempt_are_not_shown(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.7)
    Index(log).set_state("g_m0", "g", "running")
    row = leaderboard(log, "g").iloc[0]
    assert pd.isna(row["rank"])
    assert pd.isna(row["auc"])


def test_three_classes(tmp_path: Path) -> None:
    table = leaderboard(group(tmp_path / "log", 0.7, 0.8, classes=("い", "ろ", "は")), "g")
    assert table.attrs["primary_metric"] == "balanced_accuracy"
    assert list(table["balanced_accuracy_val"]) == [0.8, 0.7]
    assert {"accuracy", "macro_f1", "macro_f1_low"} <= set(table.columns)
    assert "auc" not in table.columns
    assert "balanced accuracy" in shown(table)


def test_earlier_rows_of_three_classes_show_their_accuracy(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    nothing = dict.fromkeys(COLUMNS.split(", ")[4:11])
    rows = [named(f"g_{k}", group_name="g", accuracy=0.6125 + k / 10, **nothing) for k in range(2)]
    earlier_program(tmp_path / "log", WITH_ID, *rows)
    for width in (80, 200):
        text = shown(leaderboard(tmp_path / "log", "g"), width=width)
        assert "0.613" in text or "0.612" in text
        assert "0.713" in text or "0.712" in text


def test_columns_with_values_come_first_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    earlier_program(tmp_path / "log", WITH_ID, named("g_a", group_name="g", auc=None, sensitivity=None))
    text = shown(leaderboard(tmp_path / "log", "g"), width=80)
    assert "0.700" in text  # the specificity


def test_a_model_that_occurs_twice_is_named_with_its_run(tmp_path: Path) -> None:
    for name, model in (("g_one", "timm:vit"), ("g_two", "timm:vit"), ("g_other", "timm:swin")):
        make_run(tmp_path / "log" / "g" / name, model=model)
    table = leaderboard(tmp_path / "log", "g")
    console = Console(width=100, record=True, file=io.StringIO())
    for part in leaderboard_parts(table, width=100):
        console.print(part)
    text = console.export_text()
    assert text.count("g_one") == text.count("g_two") == 3  # in the ranking, in its notes, in what each took
    assert "g_other" not in text
    assert text.count("timm:swin") == 3


def test_lower_is_better_for_losses(tmp_path: Path) -> None:
    for name, value in (("a", 0.3), ("b", 0.2)):
        folder = make_run(tmp_path / "log" / "g" / f"g_{name}", primary_metric="log_loss")
        metrics = folder.read_metrics()
        metrics["val"]["log_loss"] = {"value": value}
        folder.write_metrics(metrics, folder.read_metrics_table())
    assert list(leaderboard(tmp_path / "log", "g")["run_name"]) == ["g_b", "g_a"]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_run(log / "g" / "g_a")
    folder = make_run(log / "g" / "g_b", test_fingerprint="t2", primary_metric="accuracy")
    metrics = folder.read_metrics()
    metrics["test"]["cutoff"]["source"] = "test"
    folder.write_metrics(metrics, folder.read_metrics_table())
    warnings = leaderboard(log, "g").attrs["warnings"]
    assert len(warnings) == 3
    assert "exploratory" in shown(leaderboard(log, "g"))


def test_the_terminal_shows_three_decimals_and_intervals(tmp_path: Path) -> None:
    table = leaderboard(group(tmp_path / "log", 0.75), "g")
    row = table.iloc[0]
    text = shown(table)
    assert f"{row['auc']:.3f}" in text
    assert f"({row['auc_low']:.3f}–{row['auc_high']:.3f})" in text
    assert "0.750" in text
    assert "used for choosing" in text
    assert "evaluated 1 time so far" in text


def test_a_narrow_terminal_cuts_no_number(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.75)
    make_run(log / "g" / "g_b", model="timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k", validation=0.5)
    Index(log).rebuild()
    text = shown(leaderboard(log, "g"), width=80)
    assert "…" not in text
    assert text.count("–1.000)") + text.count("–0.") == 4


def test_the_terminal_shows_what_each_run_took_and_its_state(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.75)
    timing = {"train_seconds": 123456.7, "test_images_per_second": 98765.4}
    name = "timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k"
    make_run(log / "g" / "g_b", model=name, parameters=1_012_345_678, timing=timing)
    make_failed_run(log / "g" / "g_failed")
    Index(log).rebuild()
    Index(log).set_state("g_stopped", "g", "interrupted", model="timm:s")
    Index(log).set_state("g_running", "g", "running", model="timm:r")
    console = Console(width=80, record=True, file=io.StringIO())
    with run_lock(log, "g", "g_running"):
        table = leaderboard(log, "g")
    for part in leaderboard_parts(table, width=80):
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for words in ("123,457", "98,765", "1012.35", "1.5", "finished", "failed", "interrupted", "running"):
        assert words in text.partition("Runs")[2], words


def test_files_hold_the_same_numbers(tmp_path: Path) -> None:
    table = leaderboard(group(tmp_path / "log", 0.7, 0.8), "g")
    for suffix in ("csv", "xlsx", "json"):
        write_leaderboard(table, tmp_path / "out" / f"表.{suffix}")
    back = pd.read_csv(tmp_path / "out" / "表.csv")
    assert list(back["auc"]) == pytest.approx(list(table["auc"]))
    assert list(back["rank"]) == [1, 2]
    content = json.loads((tmp_path / "out" / "表.json").read_text(encoding="utf-8"))
    assert content["basis"] == "validation"
    assert [row["auc"] for row in content["rows"]] == list(table["auc"])
    assert content["rows"][0]["precision"] is None
    sheet = load_workbook(tmp_path / "out" / "表.xlsx")["leaderboard"]
    assert [cell.value for cell in sheet[1]] == list(table.columns)
    assert [cell.value for cell in sheet[2]][:3] == [1, "validation", "timm:m1"]
    with pytest.raises(SettingsError, match=r"\.txt"):
        write_leaderboard(table, tmp_path / "out.txt")


def test_unknown_groups_name_the_nearest(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.7)
    make_run(log / "lungs" / "lungs_a")
    Index(log).rebuild()
    with pytest.raises(ResultsError, match="did you mean lungs"):
        leaderboard(log, "lung")


def test_objects_read_what_lies_there(tmp_path: Path) -> None:
    log = group(tmp_path / "log", 0.7, 0.9)
    make_failed_run(log / "g" / "g_failed", "no memory")
    one = Group(log, "g")
    assert [run.name for run in one.runs] == ["g_failed", "g_m0", "g_m1"]
    assert one.best is not None
    assert one.best.name == "g_m1"
    assert repr(one.best) == "Run('g_m1', model='timm:m1', state='finished')"
    assert "3 runs" in repr(one)
    best = one.best
    assert list(best.predictions().columns) == ["path", "correct_label", "cat", "dog"]
    assert set(best.metrics_table()["split"]) == {"val", "test"}
    best.folder.settings_yaml.write_text("epochs: 3\n", encoding="utf-8")
    assert best.settings() == {"epochs": 3}
    with pytest.raises(ResultsError, match="is failed: RuntimeError: no memory"):
        one.runs[0].metrics()
    with pytest.raises(ResultsError, match="no run folder"):
        Run(log / "none")


def test_single_runs_are_a_group_too(tmp_path: Path) -> None:
    make_run(tmp_path / "log" / "a_resnet18")
    group = Group(tmp_path / "log", "single")
    assert [run.name for run in group.runs] == ["a_resnet18"]
    assert group.best is not None
