"""Numbers and files of a run that were changed after it wrote them are noticed, and made again where they can be."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import magg  # noqa: F401  (fixture)
from run_samples import make_run
from sklearn.metrics import roc_auc_score

from model_aggregation.errors import ChangedResultsError, ResultsError
from model_aggregation.evaluation.possible_values import impossible_numbers
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard
from model_aggregation.results.objects import Run
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading import LogReader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


@pytest.fixture
def run(log: Path) -> RunFolder:
    make_run(log / "g" / "g_b", model="timm:b")
    return make_run(log / "g" / "g_a", model="timm:a")


def set_auc(folder: RunFolder, value: object, *, sets: tuple[str, ...] = ("val", "test")) -> None:
    """Edit the numbers of a run by hand, and leave their intervals."""
    metrics = json.loads(folder.metrics_json.read_text(encoding="utf-8"))
    for name in sets:
        metrics[name]["auc"]["value"] = value
    folder.metrics_json.write_text(json.dumps(metrics, indent=1), encoding="utf-8")


def swap_scores(folder: RunFolder, set_name: str = "test", keep: float = 0) -> None:
    """Write other predictions in the place of those of the run; a share of the rows stays as it is."""
    table = pd.read_csv(folder.predictions_csv(set_name))
    swapped = np.arange(len(table)) >= keep * len(table)
    table.loc[swapped, ["ng", "ok"]] = table.loc[swapped, ["ok", "ng"]].to_numpy()
    table.to_csv(folder.predictions_csv(set_name), index=False)


def area(folder: RunFolder, set_name: str = "test") -> float:
    table = pd.read_csv(folder.predictions_csv(set_name))
    return float(roc_auc_score(table["correct_label"] == "ok", table["ok"]))


def row_of(log: Path, name: str) -> pd.Series:
    return leaderboard(log, "g").set_index("run_name").loc[name]


def said_on_disk(folder: RunFolder) -> list[str]:
    return [line for line in folder.checksums.read_text(encoding="utf-8").splitlines() if line.startswith("#")]


def test_the_list_is_that_of_sha256sum_and_the_same_again(magg, run: RunFolder) -> None:  # noqa: F811
    lines = run.checksums.read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for path in run.path.iterdir() if path.is_file() and path != run.checksums]
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    before = {path: path.read_bytes() for path in (*files, run.checksums)}
    magg("analyze", run.path)
    assert {path: path.read_bytes() for path in before} == before


def test_numbers_edited_by_hand_are_made_again_from_the_predictions(magg, log: Path, run: RunFolder) -> None:  # noqa: F811
    right = run.metrics_json.read_bytes()
    set_auc(run, 0.123)
    said = "metrics.json is not what the run wrote; its numbers were made again from the predictions"
    assert f"g_a: {said}" in magg("index", log)
    row = row_of(log, "g_a")
    assert row["auc"] == pytest.approx(area(run))
    assert row["auc_val"] == pytest.approx(area(run, "val"))
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert row["reason"] == said
    assert pd.isna(row_of(log, "g_b")["reason"])
    assert said in re.sub(r"\s+", " ", magg("leaderboard", "g", "--log-folder", log))
    with pytest.raises(ChangedResultsError, match="is not what the run wrote"):
        Run(run.path).metrics()
    view = LogReader(log, cache_folder=log / "cache").run("g", "g_a")
    assert view.metrics == json.loads(right)
    assert view.notes == (said,)
    assert "the metrics.json that was there is not what the run wrote" in magg("analyze", run.path)
    assert run.metrics_json.read_bytes() == right
    assert pd.isna(row_of(log, "g_a")["reason"])


def test_without_predictions_edited_numbers_are_none(log: Path, run: RunFolder) -> None:
    set_auc(run, 0.999)
    run.predictions_csv("test").unlink()
    Index(log).rebuild()
    row = row_of(log, "g_a")
    assert row["state"] == "finished"
    assert pd.isna(row["rank"])
    assert pd.isna(row["auc"])
    assert "is not what the run wrote" in row["reason"]


def test_a_table_edited_by_hand_is_not_shown(run: RunFolder) -> None:
    run.metrics_csv.write_text(run.metrics_csv.read_text(encoding="utf-8").replace(",0.", ",0.1"), encoding="utf-8")
    with pytest.raises(ChangedResultsError, match=r"metrics\.csv is not what the run wrote"):
        Run(run.path).metrics_table()


def test_changed_predictions_are_named_and_count_once_they_are_accepted(magg, log: Path, run: RunFolder) -> None:  # noqa: F811
    before, first = area(run), run.metrics_json.read_bytes()
    original = run.predictions_csv("test").read_bytes()
    swap_scores(run)
    assert "g_a: not what the run wrote: g_a_test.csv" in magg("index", log)
    assert row_of(log, "g_a")["auc"] == pytest.approx(before)  # of the predictions that the run wrote
    for refused in (run.path, run.path.parent):
        words = re.sub(r"\s+", " ", magg("report", refused, expect=1))
        assert (
            "Files of g_a are not what the run wrote: g_a_test.csv (edited, or saved again by a spreadsheet?)" in words
        )
        assert "magg analyze" in words
    reader = LogReader(log, cache_folder=log / "cache")
    assert "not what the run wrote: g_a_test.csv" in reader.predictions("g", "g_a").notes
    warning = "accepted as they are now, though not what the run wrote: g_a_test.csv"
    assert f"warning: {warning}" in magg("analyze", run.path)
    assert row_of(log, "g_a")["auc"] == pytest.approx(1 - before)
    assert row_of(log, "g_a")["reason"] == warning
    assert warning in json.loads(run.metrics_json.read_text(encoding="utf-8"))["test"]["warnings"]
    assert said_on_disk(run) == [f"# accepted: g_a_test.csv, written as {hashlib.sha256(original).hexdigest()}"]
    magg("report", run.path)
    swap_scores(run, keep=0.25)
    assert "g_a_test.csv" in magg("report", run.path, expect=1)
    run.predictions_csv("test").write_bytes(original)
    magg("analyze", run.path)
    assert not said_on_disk(run)
    assert run.metrics_json.read_bytes() == first


def test_numbers_and_predictions_that_were_both_changed_are_not_ranked(magg, log: Path, run: RunFolder) -> None:  # noqa: F811
    set_auc(run, 0.999)
    swap_scores(run, "val")
    magg("index", log)
    row = row_of(log, "g_a")
    assert pd.isna(row["rank"])
    assert pd.isna(row["auc"])
    assert "its numbers cannot be made again: Files of g_a are not what the run wrote: g_a_val.csv" in row["reason"]
    view = LogReader(log, cache_folder=log / "cache").run("g", "g_a")
    assert view.metrics == {}
    assert "g_a_val.csv" in view.notes[0]


def test_other_line_ends_are_no_change(magg, log: Path, run: RunFolder) -> None:  # noqa: F811
    for path in [*run.path.glob("*.csv"), *run.path.glob("*.json"), *run.path.glob("*.yaml"), run.checksums]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "not what" not in magg("index", log)
    assert pd.isna(row_of(log, "g_a")["reason"])
    assert "not what" not in magg("report", run.path)


@pytest.mark.parametrize("value", [0.123, 1.5, "high"])
def test_an_earlier_run_shows_no_number_that_cannot_be_right(magg, log: Path, run: RunFolder, value) -> None:  # noqa: F811
    run.checksums.unlink()
    assert "made again" not in magg("index", log)
    set_auc(run, value)
    assert "g_a: metrics.json holds numbers that cannot be right (val auc: " in magg("index", log)
    assert row_of(log, "g_a")["auc"] == pytest.approx(area(run))
    assert "made again from the predictions" in row_of(log, "g_a")["reason"]


def test_an_earlier_run_is_taken_as_it_is_where_it_may_be_right(log: Path, run: RunFolder) -> None:
    run.checksums.unlink()
    entry = run.read_metrics()["test"]["auc"]
    set_auc(run, (entry["value"] + entry["high"]) / 2, sets=("test",))
    Index(log).rebuild()
    assert row_of(log, "g_a")["auc"] > entry["value"]
    assert pd.isna(row_of(log, "g_a")["reason"])


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"words\n"])
def test_a_damaged_list_is_named(magg, log: Path, run: RunFolder, content: bytes) -> None:  # noqa: F811
    run.checksums.write_bytes(content)
    assert "SHA256SUMS is damaged" in magg("index", log)
    assert pd.isna(row_of(log, "g_a")["auc"])
    assert "remove it" in magg("analyze", run.path, expect=1)
    run.checksums.unlink()
    magg("analyze", run.path)
    assert row_of(log, "g_a")["auc"] == pytest.approx(area(run))


def test_numbers_of_real_evaluations_are_possible(log: Path) -> None:
    for skill in (0.0, 1.0, 9.0):
        found = make_run(log / f"run{skill:g}", model=f"timm:{skill:g}", skill=skill)
        assert not impossible_numbers(found.read_metrics())


def test_a_percentile_interval_may_miss_its_value() -> None:
    biased = "bias of the bootstrap: the value lies outside its percentile interval"
    entry = {"value": 0.35, "low": 0.36, "high": 0.4}
    assert impossible_numbers({"test": {"ece": entry}}) == ["test ece: 0.35 is not within 0.36–0.4"]
    assert not impossible_numbers({"test": {"ece": {**entry, "reason": biased}}})
    turned = {"test": {"classes": {"a": {"f1": {"value": 0.5, "low": 0.6, "high": 0.4}}}}}
    assert impossible_numbers(turned) == ["test class 'a' f1: its interval ends at 0.4 before it begins at 0.6"]
    assert impossible_numbers({"test": {"mcc": {"value": -0.5}, "auc": {"value": np.nextafter(1, 2) + 0.1}}}) == [
        "test auc: 1.1 is not within 0–1"
    ]


def test_the_index_alone_leaves_out_what_it_cannot_make_again(log: Path, run: RunFolder) -> None:
    set_auc(run, 0.123)
    report = Index(log).rebuild()
    assert "is not what the run wrote" in report.problems[0]
    assert pd.isna(row_of(log, "g_a")["auc"])
    with pytest.raises(ResultsError):
        run.read_metrics()
