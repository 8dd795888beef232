"""The index: recording, rebuilding, counting, damage, and two processes at once."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from results_samples import make_failed_run, make_run

from model_aggregation.data.image_table import ImageTable
from model_aggregation.errors import ResultsError
from model_aggregation.files import write_csv, write_json
from model_aggregation.results import records
from model_aggregation.results.index import Index
from model_aggregation.results.locks import run_lock
from model_aggregation.results.run_folder import RunFolder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty log folder below a folder with blanks and Japanese letters."""
    path = tmp_path / "解析 1" / "log"
    path.mkdir(parents=True)
    return path


def query(log: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Ask the database without any code of the program."""
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        rows = connection.execute(sql, values).fetchall()
        connection.commit()
    return rows


def test_a_recorded_run_can_be_read(log: Path) -> None:
    folder = make_run(log / "g" / "g_resnet18", device="cpu", seed=3, git="abc+")
    index = Index(log)
    index.record(folder.path)
    index.record(folder.path)
    runs = index.runs("g")
    assert len(runs) == 1
    row = runs.iloc[0]
    assert (row["state"], row["model"], row["train_seconds"], row["tested"]) == (
        "finished",
        "torchvision:resnet18",
        1.5,
        1,
    )
    metrics = index.metrics("g", "g_resnet18").set_index(["set_name", "class", "metric"])
    content = folder.read_metrics()
    assert metrics.loc[("test", "", "auc"), "value"] == content["test"]["auc"]["value"]
    assert metrics.loc[("test", "", "auc"), "low"] == content["test"]["auc"]["low"]
    assert metrics.loc[("val", "", "auc"), "value"] == 0.8
    assert (
        metrics.loc[("test", "dog", "sensitivity"), "value"]
        == content["test"]["classes"]["dog"]["sensitivity"]["value"]
    )
    assert metrics.loc[("test", "", "precision"), "reason"] == "nothing predicted positive"
    assert metrics.loc[("test", "", "cutoff"), ["value", "low", "method"]].tolist() == [0.5, 0.45, "validation"]


def test_missing_facts_are_null(log: Path) -> None:
    folder = RunFolder(log / "run")
    folder.write_environment({})
    index = Index(log)
    index.record(folder.path)
    row = index.runs().iloc[0]
    assert row["state"] == "interrupted"
    assert row[["model", "seed", "train_seconds", "classes", "has_validation"]].isna().all()


def test_states_follow_a_run(log: Path) -> None:
    index = Index(log)
    index.set_state("g_a", "g", "planned", model="timm:a")
    index.set_state("g_a", "g", "running")
    with run_lock(log, "g", "g_a"):
        assert index.runs().iloc[0][["state", "model"]].tolist() == ["running", "timm:a"]
    assert index.runs().iloc[0]["state"] == "interrupted"  # its process is gone without a word
    index.record(make_failed_run(log / "g" / "g_a", "no memory").path)
    assert index.runs().iloc[0][["state", "reason"]].tolist() == ["failed", "RuntimeError: no memory"]
    with pytest.raises(ValueError, match="a state is one of"):
        index.set_state("g_a", "g", "done")


def test_only_finished_and_tested_runs_are_results(log: Path) -> None:
    index = Index(log)
    index.record(make_run(log / "a").path)
    folder = make_run(log / "b")
    folder.write_metrics({"val": folder.read_metrics()["val"]}, folder.read_metrics_table())
    index.record(folder.path)
    assert list(index.test_results()["run_name"]) == ["a"]
    index.set_state("a", "single", "running")
    assert index.test_results().empty


def test_test_evaluations_are_counted_once_per_run_and_time(log: Path) -> None:
    index = Index(log)
    for name, finished in (("a", "2025-01-01 00:00:00"), ("a", "2025-01-01 00:00:00"), ("a", "2025-01-02 00:00:00")):
        index.record(make_run(log / name, finished=finished).path)
    index.record(make_run(log / "g" / "g_a").path)
    index.record(make_run(log / "other", test_fingerprint="t2").path)
    assert index.test_evaluations("t1") == 3
    shutil.rmtree(log / "g")
    index.rebuild()
    assert index.test_evaluations("t1") == 3  # the images were seen, whatever became of the folder


def add_external_set(folder: RunFolder, name: str, *, weights: str = "w1", hashes: str = "ab") -> None:
    """Write what ``magg test`` leaves of the images of a set."""
    rows = [(f"{c}.png", f"/data/{c}.png", "cat", name, "", "True", f"hash {c}") for c in hashes]
    columns = ["id", "path", "label", "split", "group", "readable", "content_hash"]
    write_csv(folder.set_images_csv(name), pd.DataFrame(rows, columns=columns))
    write_json(folder.set_facts_json(name), {"weights_sha256": weights, "tested": "2025-01-01 00:00:00"})


def test_external_sets_are_counted_as_test_evaluations(log: Path) -> None:
    index = Index(log)
    first, second = make_run(log / "one"), make_run(log / "two")
    add_external_set(first, "hospital_b")
    add_external_set(second, "b")  # the same images under another name
    add_external_set(second, "other", hashes="xy")
    for folder in (first, second, first):
        index.record(folder.path)
    fingerprint = records.read_record(first, log).test_evaluations[1][0]
    assert index.test_evaluations(fingerprint) == 2
    index.path.unlink()
    index.rebuild()
    assert index.test_evaluations(fingerprint) == 2
    add_external_set(first, "hospital_b", weights="w2")  # trained again, tested again
    index.record(first.path)
    assert index.test_evaluations(fingerprint) == 3
    assert index.test_evaluations("t1") == 2


def test_an_external_set_has_the_fingerprint_of_the_same_test_images(log: Path) -> None:
    folder = make_run(log / "one")
    add_external_set(folder, "b")
    frame = folder.read_set_images("b").assign(split="test", readable=True)
    expected = ImageTable(log, frame, ("cat",)).fingerprint()
    assert records.read_record(folder, log).test_evaluations[1] == (expected, "w1")


def test_a_damaged_external_set_is_reported(log: Path) -> None:
    folder = make_run(log / "one")
    add_external_set(folder, "b")
    folder.set_images_csv("b").write_text("id\n1\n", encoding="utf-8")
    report = Index(log).rebuild()
    assert "the set b" in report.problems[0]
    assert list(Index(log).test_results()["run_name"]) == ["one"]


def test_an_index_of_the_older_version_is_rebuilt(log: Path) -> None:
    make_run(log / "g" / "g_m_s0_f1", seed=0, fold=1, folds=5, part_of="g_m")
    Index(log).rebuild()
    for statement in (
        *(f"ALTER TABLE runs DROP COLUMN {name}" for name in ("fold", "folds", "part_of")),
        "ALTER TABLE test_evaluations RENAME COLUMN trained TO finished",
        "INSERT INTO test_evaluations VALUES ('t1', 'single', 'gone', '2024-01-01 00:00:00')",
        "PRAGMA user_version = 1",
    ):
        query(log, statement)
    row = Index(log).runs("g").iloc[0]
    assert row[["seed", "fold", "folds", "part_of"]].tolist() == [0, 1, 5, "g_m"]
    assert Index(log).test_evaluations("t1") == 2
    assert Index(log).path.is_file()


def test_a_rebuild_gives_the_same_index(log: Path) -> None:
    index = Index(log)
    for folder in (make_run(log / "one"), make_run(log / "g" / "g_a"), make_failed_run(log / "g" / "g_b")):
        index.record(folder.path)
    before = index.runs().drop(columns="id"), index.metrics(), index.test_results().drop(columns="id")
    index.path.unlink()
    report = index.rebuild()
    assert (report.runs, report.earlier_rows, report.problems, report.moved_aside) == (3, 0, (), None)
    after = index.runs().drop(columns="id"), index.metrics(), index.test_results().drop(columns="id")
    assert all(one.equals(other) for one, other in zip(before, after, strict=True))


def test_a_run_deleted_by_hand_disappears(log: Path) -> None:
    index = Index(log)
    for name in ("one", "two"):
        index.record(make_run(log / name).path)
    shutil.rmtree(log / "one")
    assert index.rebuild().runs == 1
    assert list(index.runs()["run_name"]) == ["two"]
    assert set(index.metrics()["run_name"]) == {"two"}


def test_a_missing_index_is_built_at_the_first_look(log: Path) -> None:
    make_run(log / "one")
    assert list(Index(log).test_results()["run_name"]) == ["one"]


def test_other_folders_are_no_runs(log: Path) -> None:
    (log / "old").mkdir()
    (log / "old" / "old_test.csv").write_text("path\n", encoding="utf-8")
    (log / "g" / "state").mkdir(parents=True)
    (log / "note.txt").write_text("x", encoding="utf-8")
    assert Index(log).rebuild().runs == 0


def test_a_damaged_metrics_file_is_reported_and_no_result(log: Path) -> None:
    make_run(log / "good")
    make_run(log / "bad").metrics_json.write_text("{", encoding="utf-8")
    report = Index(log).rebuild()
    assert report.runs == 2
    assert "bad" in str(report)
    assert "damaged" in report.problems[0]
    assert list(Index(log).test_results()["run_name"]) == ["good"]


@pytest.mark.parametrize("damage", ["words", "torn"])
def test_a_damaged_index_is_named_and_moved_aside(log: Path, damage: str) -> None:
    index = Index(log)
    for number in range(12):
        index.record(make_run(log / f"run{number}").path)
    data = index.path.read_bytes()
    index.path.write_bytes(
        b"no database at all, " * 500 if damage == "words" else data[:8192] + b"\0" * (len(data) - 8192)
    )
    if damage == "words":
        with pytest.raises(ResultsError, match="magg index"):
            index.runs()
        with pytest.raises(ResultsError, match="magg index"):
            index.record(log / "run1")
    report = index.rebuild()
    assert report.runs == 12
    assert report.moved_aside is not None
    assert report.moved_aside.is_file()
    assert len(index.runs()) == 12


def test_a_process_that_meets_a_damaged_index_makes_it_anew(log: Path) -> None:
    for number in range(12):
        Index(log).record(make_run(log / f"run{number}").path)
    data = Index(log).path.read_bytes()
    Index(log).path.write_bytes(data[:8192] + b"\0" * (len(data) - 8192))
    code = "import sys, pathlib; from model_aggregation.results.index import Index; "
    code += "print(len(Index(pathlib.Path(sys.argv[1])).runs()))"
    words = [sys.executable, "-c", code, str(log)]
    others = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [other.communicate(timeout=60) for other in others]
    assert [output for output, _ in outputs] == ["12\n", "12\n"]
    said = "".join(errors for _, errors in outputs)
    assert said.count("The index was damaged; the old file is now") == 1
    assert len(list(log.glob("analyze_record.damaged_*.db"))) == 1


def test_an_index_of_a_newer_version_is_left_alone(log: Path) -> None:
    Index(log).rebuild()
    query(log, "PRAGMA user_version = 99")
    with pytest.raises(ResultsError, match="newer version"):
        Index(log).runs()


def test_a_failed_transaction_leaves_no_trace(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(log)
    make_run(log / "one")
    index.rebuild()
    make_run(log / "two")
    monkeypatch.setattr(
        "model_aggregation.results.index.read_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        index.rebuild()
    assert list(index.runs()["run_name"]) == ["one"]


def test_folders_elsewhere_are_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="does not"):
        Index(log).record(make_run(tmp_path / "elsewhere" / "run").path)
    with pytest.raises(ResultsError, match="holds no run"):
        Index(log).record(log / "none")
    with pytest.raises(ResultsError, match="no log folder"):
        Index(tmp_path / "nowhere").runs()


def record_many(log: Path, names: list[str]) -> None:
    """Record runs from another process."""
    index = Index(log)
    for name in names:
        index.set_state(name, "g", "running")
        index.record(log / "g" / name)


def test_two_processes_write_at_once(log: Path) -> None:
    names = [[f"g_{process}_{number}" for number in range(15)] for process in "ab"]
    for name in [*names[0], *names[1]]:
        RunFolder(log / "g" / name).write_environment({"model": name})
        RunFolder(log / "g" / name).write_metrics({"test": {"accuracy": {"value": 1, "n": 2}}}, make_table())
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=record_many, args=(log, part)) for part in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    results = Index(log).test_results()
    assert sorted(results["run_name"]) == sorted([*names[0], *names[1]])
    assert results["id"].is_unique
    assert set(results["accuracy"]) == {1.0}


def make_table() -> pd.DataFrame:
    """Return a tidy table of one number."""
    return pd.DataFrame({"metric": ["accuracy"], "value": [1.0]})
