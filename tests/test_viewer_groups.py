"""The best model that the home page names is the first of the leaderboard; what runs stands on top."""

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from results_samples import make_run
from test_results_members import folds, seeds
from viewer_browser import chromium, new_page, running_viewer, shown  # noqa: F401

from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard
from model_aggregation.results.locks import run_lock
from model_aggregation.viewer.reading import LogReader


def compared_with_the_leaderboard(log: Path, tmp_path: Path) -> str:
    """Check the row of the home page and return the best model."""
    first = leaderboard(log, "g").iloc[0]
    row = next(row for row in LogReader(log, cache_folder=tmp_path / "c").groups().rows if row.group == "g")
    assert (row.best_run, row.best_model, row.value) == (first["run_name"], first["model"], first["auc"])
    assert row.low == (None if pd.isna(first["auc_low"]) else first["auc_low"])
    assert row.models == len(leaderboard(log, "g"))
    return str(row.best_model)


@pytest.mark.parametrize("other", [0.65, 0.75])
def test_a_lucky_seed_is_not_the_best(tmp_path: Path, other: float) -> None:
    """The seeds have 0.6, 0.7 and 0.8 on validation images, in the mean 0.7."""
    log = tmp_path / "log"
    seeds(log)
    make_run(log / "g" / "g_other", model="timm:other", validation=other)
    Index(log).rebuild()
    best = compared_with_the_leaderboard(log, tmp_path)
    assert (best == "timm:other") is (other > 0.7)


@pytest.mark.parametrize("other", [0.65, 0.75])
def test_folds_are_ranked_by_their_mean_and_shown_pooled(tmp_path: Path, other: float) -> None:
    """The folds have 0.6, 0.7 and 0.8 on validation images; the pooled run has none."""
    log = tmp_path / "log"
    folds(log)
    make_run(log / "g" / "g_other", model="timm:other", validation=other)
    Index(log).rebuild()
    best = compared_with_the_leaderboard(log, tmp_path)
    assert (best == "timm:other") is (other > 0.7)


def test_no_model_is_the_best_without_validation_images(tmp_path: Path) -> None:
    log = tmp_path / "log"
    make_run(log / "g" / "g_a", validation=None)
    Index(log).rebuild()
    row = LogReader(log, cache_folder=tmp_path / "c").groups().rows[0]
    assert (row.best_run, row.value) == (None, None)


def test_six_cards_show_what_runs_and_the_rest_is_counted(tmp_path, new_page):  # noqa: F811
    log = tmp_path / "log"
    log.mkdir()
    with ExitStack() as locks:
        for number in range(8):
            group = f"g{number}"
            run = f"{group}_a"
            (log / group / run).mkdir(parents=True)
            (log / group / run / f"{run}_status.txt").write_text("epoch 1 of 9\n", encoding="utf-8")
            locks.enter_context(run_lock(log, group, run))
            Index(log).set_state(run, group, "running", model="timm:a")
            Index(log).set_state(f"{group}_b", group, "planned", model="timm:b")
        with running_viewer(log, cache=tmp_path / "cache") as address:
            page = new_page()
            shown(page, address)
            text = page.inner_text("#page")
    assert text.count("epoch 1 of 9") == 6
    assert text.count("0 of 2 runs done") == 6
    assert "and 2 more" in text
