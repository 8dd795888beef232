"""What the earlier program called AUC is none: the true one comes from its predictions, its own is only reported."""

import io
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from earlier_samples import TRACEBACK, close_scores, earlier_run, rectangles, write_rows
from results_samples import make_failed_run, make_run, predictions
from rich.console import Console
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

import model_aggregation as ma
from model_aggregation.results.earlier_runs import earlier_cutoff, earlier_folder
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard, write_leaderboard
from model_aggregation.results.leaderboard_text import leaderboard_text
from model_aggregation.results.run_folder import RunFolder, reason_line

CUTOFF = 0.51


def true_auc(table: pd.DataFrame) -> float:
    return float(roc_auc_score(table["correct_label"] == "ng", table["ng"]))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A group with two runs of ours and two of the earlier program, one of which lost its predictions."""
    log = tmp_path / "log"
    for number, value in enumerate((0.7, 0.8)):
        make_run(log / "g" / f"g_m{number}", validation=value, model=f"timm:m{number}", classes=("ng", "ok"))
    kept = earlier_run(log / "g" / "g_kept", close_scores(), cutoff=CUTOFF)
    lost = earlier_run(log / "g" / "g_lost", close_scores(seed=1), cutoff=CUTOFF, kept=("_status.txt", ".yaml"))
    place = {"group_name": "g", "log_folder": "C:\\proj\\log\\g"}
    write_rows(log, {"run_name": "g_kept", **place, **kept}, {"run_name": "g_lost", **place, **lost})
    return log


def row_of(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("run_name").loc[name]


def test_its_rectangles_are_no_area() -> None:
    """The closer the scores of the same order lie, the larger; within one step of its grid they make 1."""
    within_a_step = close_scores(spread=0.001).assign(ng=lambda table: table["ng"] + 0.005)
    for scores, reported in (
        (close_scores(spread=1.0), 0.721),
        (close_scores(spread=0.04), 0.811),
        (close_scores(spread=0.01), 0.867),
        (within_a_step, 1.0),
    ):
        positive = (scores["correct_label"] == "ng").to_numpy()
        assert true_auc(scores) == pytest.approx(0.709, abs=5e-4)
        assert rectangles(positive, scores["ng"].to_numpy()) == pytest.approx(reported, abs=5e-4)


def test_the_auc_is_that_of_the_predictions(log: Path) -> None:
    table = leaderboard(log, "g")
    scores = close_scores()
    kept = row_of(table, "g_kept")
    assert kept["earlier_program_auc"] > 0.8
    assert kept["auc"] == pytest.approx(true_auc(scores), abs=1e-12)
    assert kept["auc_low"] < kept["auc"] < kept["auc_high"] < kept["earlier_program_auc"]
    called = scores["ng"] > CUTOFF
    sensitivity = recall_score(scores["correct_label"] == "ng", called)
    assert kept["sensitivity"] == pytest.approx(sensitivity, abs=1e-12)
    assert kept["sensitivity_low"] < sensitivity < kept["sensitivity_high"]
    assert (kept["cutoff"], kept["cutoff_source"], kept["n_test"]) == (CUTOFF, "test", 120)
    assert f"as the earlier program reported it: {kept['earlier_program_auc']:.3f}" in kept["reason"]
    assert "exploratory" in kept["reason"]


def test_without_predictions_there_is_no_auc_and_never_a_rank(log: Path) -> None:
    table = leaderboard(log, "g")
    lost = row_of(table, "g_lost")
    assert pd.isna(lost[["auc", "auc_low", "accuracy_low"]]).all()
    assert lost["accuracy"] > 0
    assert "its predictions are not there" in lost["reason"]
    assert table["rank"].notna().to_list() == [True, True, False, False]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(leaderboard_text(table))
    text = console.export_text()
    assert "– *" in text
    assert "* No AUC without readable predictions" in text
    assert f"{true_auc(close_scores()):.3f}" in text


def test_ranked_by_test_images_they_have_no_rank_either(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_run(log / "g" / "g_ours", validation=None, classes=("ng", "ok"))
    row = earlier_run(log / "g" / "g_old", close_scores(), cutoff=CUTOFF)
    write_rows(log, {"run_name": "g_old", "group_name": "g", **row})
    table = leaderboard(log, "g")
    assert table.attrs["basis"] == "test (exploratory)"
    assert table.set_index("run_name")["rank"].notna().to_dict() == {"g_ours": True, "g_old": False}


def test_the_database_keeps_its_number_and_files_hold_both(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        before = connection.execute("SELECT * FROM test_result ORDER BY id").fetchall()
    table = leaderboard(log, "g")
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        after = connection.execute("SELECT * FROM test_result WHERE run_name LIKE 'g\\__o%' ESCAPE '\\'").fetchall()
        after += connection.execute("SELECT * FROM test_result WHERE run_name = 'g_kept'").fetchall()
    assert sorted(after) == sorted(before)
    write_leaderboard(table, tmp_path / "board.csv")
    stored = pd.read_csv(tmp_path / "board.csv").set_index("run_name")
    assert stored.loc["g_kept", "earlier_program_auc"] == before[0][11]
    assert stored.loc["g_kept", "auc"] == pytest.approx(true_auc(close_scores()), abs=1e-12)


def test_what_was_computed_is_kept_until_a_file_changes(log: Path) -> None:
    file = log / "g" / "g_kept" / "g_kept_test.csv"
    first = row_of(leaderboard(log, "g"), "g_kept")["auc"]
    state, text = file.stat(), file.read_bytes()
    file.write_bytes(b"x" * len(text))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert row_of(leaderboard(log, "g"), "g_kept")["auc"] == first  # nobody read it again
    file.write_bytes(b"x" * len(text))
    damaged = row_of(leaderboard(log, "g"), "g_kept")
    assert pd.isna(damaged["auc"])
    assert "should begin with the columns" in damaged["reason"]
    file.write_bytes(text)
    assert row_of(leaderboard(log, "g"), "g_kept")["auc"] == first


def test_the_index_command_evaluates_them_all(log: Path) -> None:
    report = ma.rebuild_index(log)
    assert (report.earlier_rows, report.earlier_evaluated) == (2, 1)
    assert report.earlier_without == ("g g_lost: its predictions are not there: no AUC, no intervals",)
    assert set(Index(log).earlier_evaluations("g")) == {"g_kept"}


def test_numbers_that_its_predictions_do_not_give_stay_as_reported_without_interval(tmp_path: Path) -> None:
    """An older version decided by the second class and chose its cutoff by the first."""
    log = tmp_path / "log"
    row = earlier_run(log / "old", close_scores(), cutoff=CUTOFF)
    write_rows(log, {"run_name": "old", **row, "sensitivity": 0.123})
    old = row_of(leaderboard(log, "single"), "old")
    assert old["sensitivity"] == 0.123
    assert pd.isna(old["sensitivity_low"])
    assert old["specificity_low"] < old["specificity"]
    assert "not what its predictions give" in old["reason"]


def test_without_settings_the_auc_alone_is_known(tmp_path: Path) -> None:
    log = tmp_path / "log"
    row = earlier_run(log / "old", close_scores(), cutoff=CUTOFF, kept=("_test_p.csv",))
    write_rows(log, {"run_name": "old", **row})
    old = row_of(leaderboard(log, "single"), "old")
    assert old["auc"] == pytest.approx(true_auc(close_scores()), abs=1e-12)
    assert old["sensitivity"] == row["sensitivity"]
    assert pd.isna(old["sensitivity_low"])


def test_three_classes_have_intervals_and_no_word_of_a_cutoff(tmp_path: Path) -> None:
    log = tmp_path / "log"
    table = predictions(("a", "b", "c"), tmp_path, n=60)
    write_rows_of_three = {"run_name": "g_three", "group_name": "g", **earlier_run(log / "g" / "g_three", table)}
    write_rows(log, write_rows_of_three)
    three = row_of(leaderboard(log, "g"), "g_three")
    called = table[["a", "b", "c"]].idxmax(axis=1)
    assert three["accuracy"] == pytest.approx(accuracy_score(table["correct_label"], called))
    assert three["accuracy_low"] < three["accuracy"] < three["accuracy_high"]
    assert "cutoff" not in three["reason"]


@pytest.mark.parametrize(
    ("group", "text", "place"),
    [
        ("single", r"C:\proj\log", "run"),
        ("g", r"C:\proj\log\g", "g/run"),
        ("g", r"D:\log\proj\LOG\deep\g", "deep/g/run"),
        ("g", "/home/someone/log/g/", "g/run"),
        ("g", "log/g", "g/run"),
        ("g", r"before\g", "g/run"),
        ("single", None, "run"),
        ("single", r"C:\proj\log\..\..", None),
        ("gone", r"C:\proj\log\gone", None),
        ("..", r"C:\proj\log", None),
    ],
)
def test_the_folder_of_a_result_is_found_wherever_it_was_written(
    tmp_path: Path, group: str, text: str | None, place: str | None
) -> None:
    log = tmp_path / "proj" / "log"
    for folder in ("g/run", "deep/g/run", *(["run"] if place == "run" else [])):
        (log / folder).mkdir(parents=True)
    (tmp_path / "run").mkdir()
    assert earlier_folder(log, group, "run", text) == (None if place is None else log / place)


def test_a_folder_that_holds_a_run_of_ours_is_none_of_its(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_run(log / "new")
    assert earlier_folder(log, "single", "new", r"C:\proj\log") is None


def test_its_cutoff_is_that_of_the_row_or_else_of_the_status_file(tmp_path: Path) -> None:
    earlier_run(tmp_path / "old", close_scores(), cutoff=CUTOFF)
    folder = RunFolder(tmp_path / "old")
    of_both, of_status, of_row = (earlier_cutoff(folder, row) for row in ({"cutoff": CUTOFF}, None, {"cutoff": 0.4}))
    assert of_both == of_status
    assert of_status is not None
    assert (of_status.value, of_status.limits) == (CUTOFF, (0.4, 0.6))
    assert of_row is not None
    assert (of_row.value, of_row.limits) == (0.4, None)
    folder.status_txt.unlink()
    assert earlier_cutoff(folder, None) is None


def test_a_traceback_is_told_by_its_last_exception(tmp_path: Path) -> None:
    expected = "RuntimeError: CUDA out of memory. 割り当て失敗"
    (tmp_path / "log" / "old").mkdir(parents=True)
    (tmp_path / "log" / "old" / "error.txt").write_text(TRACEBACK, encoding="cp932", newline="\r\n")
    assert Index(tmp_path / "log").runs()[["state", "reason"]].to_numpy().tolist() == [["failed", expected]]
    assert reason_line("Traceback (most recent call last):\n") == "Traceback (most recent call last):"
    ours = make_failed_run(tmp_path / "log" / "ours", "no\nmemory")
    assert ours.failure_reason() == "RuntimeError: no memory"


def test_an_error_left_beside_results_is_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    row = earlier_run(log / "old", close_scores(), cutoff=CUTOFF)
    (log / "old" / "error.txt").write_text(TRACEBACK, encoding="cp932")
    write_rows(log, {"run_name": "old", **row})
    assert Index(log).runs().empty
    assert leaderboard(log, "single")["state"].tolist() == ["earlier"]
