"""The companion viewer over runs that the program really made: single and in a group, two classes and three."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import write_image
from test_results_companion import ask, look_at_run

import model_aggregation as ma
from model_aggregation.results.index import Index


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, two_classes: Path) -> Path:
    home = tmp_path_factory.mktemp("companion")
    parts = home / "部品"
    for number, label in enumerate(("い", "ろ", "は")):
        for image in range(12):
            write_image(parts / label / f"{image}.png", bright=label == "ろ", seed=1000 * number + image)
    given = {
        "image_size": 32, "epochs": 1, "pretrained": False, "quiet": True, "tensorboard": False, "jobs": 0,
        "log_folder": home / "log", "cache_folder": home / "cache",
    }  # fmt: skip
    models = ["timm:test_resnet", "timm:test_efficientnet"]
    ma.compare(two_classes, models, name="肺", positive="肺炎", recipe="earlier", **{**given, "image_size": 32})
    ma.train(two_classes, models[0], name="単独", positive="肺炎", **given)
    ma.train(parts, models[0], name="部品_1", **given)
    return home


@pytest.mark.parametrize(
    ("group", "run", "classes"),
    [
        ("肺", "肺_test_resnet", ["正常", "肺炎"]),
        ("肺", "肺_test_efficientnet", ["正常", "肺炎"]),
        ("single", "単独", ["正常", "肺炎"]),
        ("single", "部品_1", ["い", "は", "ろ"]),
    ],
)
def test_every_page_can_be_shown(home, monkeypatch, group, run, classes):
    monkeypatch.chdir(home)
    assert look_at_run(group, run) == classes
    assert (run, group) in {tuple(row) for row in ask("select run_name, group_name from test_result")}


def test_the_earlier_program_may_write_into_our_database(home, monkeypatch):
    monkeypatch.chdir(home)
    import sqlite3

    connection = sqlite3.connect("log/analyze_record.db")
    connection.execute("CREATE TABLE IF NOT EXISTS test_result (id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT)")
    columns = "run_name, group_name, datetime, accuracy, sensitivity, specificity, precision, f1, blanced_accuracy"
    connection.execute(
        f"INSERT INTO test_result ({columns}, cutoff, auc, log_folder) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        ("旧", "肺", "2024-01-01 00:00:00", 0.9, 0.8, 1.0, 1.0, 0.88, 0.9, 0.51, 0.95, "log/肺"),
    )
    connection.commit()
    connection.close()
    table = ma.leaderboard("肺", home / "log")
    old = table[table["run_name"] == "旧"].iloc[0]
    assert (old["state"], old["earlier_program_auc"], old["cutoff"]) == ("earlier", 0.95, 0.51)
    assert pd.isna(old["auc"])
    assert "no intervals" in old["reason"]
    Index(home / "log").rebuild()
    assert "旧" in set(ma.leaderboard("肺", home / "log")["run_name"])


def test_a_log_of_the_earlier_program_is_taken_over_and_its_folders_are_listed(tmp_path):
    import sqlite3

    log = tmp_path / "log"
    for folder in ("alone", "group/old-1"):
        name = Path(folder).name
        (log / folder).mkdir(parents=True)
        (log / folder / f"{name}_test.csv").write_text("path,correct_label,a,b\n", encoding="cp932")
    connection = sqlite3.connect(log / "analyze_record.db")
    connection.execute("CREATE TABLE test_result (id INTEGER PRIMARY KEY, run_name TEXT, group_name TEXT, auc TEXT)")
    connection.execute("INSERT INTO test_result VALUES (7, 'alone', 'single', '0.75')")
    connection.commit()
    connection.close()
    report = str(ma.rebuild_index(log))
    assert "1 results of the earlier program" in report
    assert "alone" in report
    assert "group/old-1" in report
    assert ma.leaderboard("single", log)["earlier_program_auc"].tolist() == [0.75]
