"""The companion viewer: a client that runs beside the log folder and knows nothing of this program."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from earlier_samples import write_rows
from openpyxl import load_workbook
from PIL import Image
from results_samples import make_failed_run, make_run

from model_aggregation.results.index import Index

COLUMNS = [
    *("id", "run_name", "group_name", "datetime", "accuracy", "sensitivity", "specificity", "precision", "f1"),
    *("blanced_accuracy", "cutoff", "auc", "log_folder"),
]


def ask(query: str, *values: str) -> list[sqlite3.Row]:
    """Query as the viewer does: relative to the directory it runs in, columns by name."""
    with closing(sqlite3.connect("log/analyze_record.db")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query, values).fetchall()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that holds the log folder, with three groups of runs, as the viewer's current directory."""
    home = tmp_path / "作業 1"
    log = home / "log"
    for path, classes in (
        (log / "単独_resnet18", ["異常", "正常"]),
        (log / "lungs" / "lungs_resnet18", ["cat", "dog"]),
        (log / "lungs" / "lungs_vit.a1", ["cat", "dog"]),
        (log / "three" / "three_resnet18", ["い", "ろ", "は"]),
    ):
        make_run(path, classes=sorted(classes))
        images = path.parent / "images"
        images.mkdir(exist_ok=True)
        for name in {line.split(",")[0] for line in _lines(path / f"{path.name}_test_p.csv")[1:]}:
            Image.new("L", (2, 2)).save(name)
    make_failed_run(log / "lungs" / "lungs_broken")
    Index(log).rebuild()
    monkeypatch.chdir(home)
    return home


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def test_the_list_of_runs(home: Path) -> None:
    found = {tuple(row) for row in ask("select run_name, group_name from test_result")}
    assert found == {
        ("単独_resnet18", "single"),
        ("lungs_resnet18", "lungs"),
        ("lungs_vit.a1", "lungs"),
        ("three_resnet18", "three"),
    }
    for run_name, group_name in found:  # addresses are group/<group> and grouplist/<group>-<run>
        assert f"{group_name}-{run_name}".split("-") == [group_name, run_name]


def test_the_page_of_a_group(home: Path) -> None:
    rows = ask("select * from test_result where group_name = ?", "lungs")
    assert len(rows) == 2
    for row in rows:
        assert list(row.keys()) == COLUMNS
        assert row["log_folder"] == "log/lungs"
        assert row["datetime"] == "2025-01-02 03:04:05"
        assert isinstance(row["id"], int)
        assert all(isinstance(row[name], float) for name in ("accuracy", "auc", "f1", "blanced_accuracy", "cutoff"))
        assert row["precision"] is None  # undefined, never 0
    types = ask("select typeof(accuracy), typeof(auc), typeof(id) from test_result where group_name = 'lungs'")
    assert {tuple(row) for row in types} == {("real", "real", "integer")}
    assert [row["log_folder"] for row in ask("select * from test_result where group_name = 'single'")] == ["log"]


@pytest.mark.parametrize(("second", "shown"), [(0.5, 0.5), (0.6, None)])
def test_pooled_folds_have_a_cutoff_where_all_have_the_same(tmp_path: Path, second: float, shown: float | None) -> None:
    folder = make_run(tmp_path / "log" / "pooled", folds=2)
    metrics = folder.read_metrics()
    folds = [{"fold": 1, "value": 0.5, "source": "fixed"}, {"fold": 2, "value": second, "source": "fixed"}]
    metrics["test"]["cutoff"] = {"value": None, "source": "per fold", "folds": folds}
    folder.write_metrics(metrics, folder.read_metrics_table())
    results = Index(tmp_path / "log").test_results()
    assert results["cutoff"].astype(object).where(results["cutoff"].notna(), None).tolist() == [shown]


def test_the_companion_finds_the_individual_page_of_a_windows_row(home: Path) -> None:
    """It puts --- for each / in the address, and turns back the first alone."""
    stored = "C:\\proj\\log"
    write_rows(home / "log", {"run_name": "old", "log_folder": stored, "accuracy": 0.5})
    folder = ask("select log_folder from test_result where run_name = 'old'")[0]["log_folder"]
    assert folder == stored
    assert folder.replace("/", "---").replace("---", "/", 1) == stored


def test_more_classes_have_only_an_accuracy(home: Path) -> None:
    row = ask("select * from test_result where group_name = ?", "three")[0]
    assert isinstance(row["accuracy"], float)
    assert all(row[name] is None for name in COLUMNS[5:12])


@pytest.mark.parametrize(
    ("group", "run"), [("single", "単独_resnet18"), ("lungs", "lungs_vit.a1"), ("three", "three_resnet18")]
)
def test_the_page_of_a_run(home: Path, group: str, run: str) -> None:
    assert len(look_at_run(group, run)) >= 2


def look_at_run(group: str, run: str) -> list[str]:
    """Read what the viewer's page of a run reads, from the current directory; return the class names."""
    row = ask("select * from test_result where group_name = ? and run_name = ?", group, run)[0]
    files = f"{row['log_folder']}/{row['run_name']}/{row['run_name']}"
    table = [list(line) for line in load_workbook(f"{files}_test_cm.xlsx")["confusion_matrix"].iter_rows(
        min_row=2, min_col=2, values_only=True
    )]  # fmt: skip
    classes = table[0][1:]
    assert [line[0] for line in table[1:]] == classes
    lines = [line.split(",") for line in _lines(Path(f"{files}_test_p.csv"))]
    assert lines[0] == ["path", "correct_label", "predict_label", *classes]
    counted = pd.crosstab([line[1] for line in lines[1:]], [line[2].removesuffix("_p") for line in lines[1:]])
    counted = counted.reindex(index=classes, columns=classes, fill_value=0)
    assert counted.to_numpy().tolist() == [line[1:] for line in table[1:]]
    for line in lines[1:]:
        assert os.path.isabs(line[0])  # noqa: PTH117
        Image.open(line[0]).close()
        assert line[2].endswith("_p")
        assert sum(map(float, line[3:])) == pytest.approx(1)
    assert Path(f"{files}_test_roc.png").is_file() == (len(classes) == 2)
    return [str(name) for name in classes]
