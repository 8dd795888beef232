"""The viewer's data access: what is in the files comes out unchanged, and what is broken becomes a note."""

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from results_samples import make_failed_run, make_run
from sklearn.metrics import confusion_matrix

from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import Predictions
from model_aggregation.files import csv_text, write_csv
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import leaderboard
from model_aggregation.results.locks import run_lock
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading import ALL_IMAGES, ImageQuery, LogReader, Mark, SortKey
from model_aggregation.viewer.reading.curve_tables import cutoff_table

ODD_CLASSES = ("actual", "path", "p0")


def write_images(folder: RunFolder, table: pd.DataFrame, **columns: object) -> None:
    """Write images.csv for a table of predictions, and the image files."""
    names = [Path(path).name for path in table.iloc[:, 0]]
    for path in table.iloc[:, 0]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 5), 200).save(path)
    facts = {"id": [f"x/{name}" for name in names], "path": table.iloc[:, 0], "label": table.iloc[:, 1]}
    frame = pd.DataFrame({**facts, "split": "test", "group": "", **columns, "readable": "True", "content_hash": ""})
    write_csv(folder.images_csv, frame)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log folder with two groups, a single run and a failed one; Japanese names."""
    log = tmp_path / "作業 1" / "log"
    for name, validation, seed in (("肺_resnet", 0.9, 0), ("肺_vit.a1", 0.8, 1)):
        folder = make_run(log / "肺" / name, validation=validation, seed=seed)
        sites = np.where(np.arange(40) % 4 == 0, "東京", "Lyon")
        write_images(folder, folder.read_predictions(), site=sites)
    folder = make_run(log / "odd" / "odd_model", classes=("actual", "p0", "way"))
    for path in (*folder.path.glob("*.csv"), *folder.path.glob("*.json")):
        path.write_text(path.read_text(encoding="utf-8").replace("way", "path"), encoding="utf-8")
    write_images(folder, folder.read_predictions(), confidence="c", p0="m")
    make_run(log / "単独", classes=("cat", "dog"))
    make_failed_run(log / "肺" / "肺_broken", "<b>no memory</b>")
    Index(log).rebuild()
    return log


@pytest.fixture
def reader(log: Path, tmp_path: Path) -> LogReader:
    """A reader with a cache of its own."""
    return LogReader(log, cache_folder=tmp_path / "cache")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but what SQLite itself lays beside a database that is read."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): path.read_bytes() for path in files}


def test_groups_hold_every_run_and_the_best_on_validation(reader: LogReader) -> None:
    rows = {row.name: row for row in reader.groups().rows}
    assert set(rows) == {"肺", "odd", "単独"}
    lungs = rows["肺"]
    assert (lungs.kind, lungs.models, lungs.states) == ("group", 3, {"finished": 2, "failed": 1})
    assert (lungs.best_run, lungs.metric) == ("肺_resnet", "auc")
    stored = reader.run("肺", "肺_resnet").metrics["test"]["auc"]
    assert (lungs.value, lungs.low, lungs.high) == (stored["value"], stored["low"], stored["high"])
    assert (rows["単独"].kind, rows["単独"].run, rows["単独"].group) == ("single", "単独", "single")
    assert not lungs.running


def test_a_log_folder_is_only_read(reader: LogReader, log: Path) -> None:
    before = files_of(log)
    reader.groups(), reader.leaderboard("肺"), reader.data("肺"), reader.all_models("肺")
    reader.image_page("肺", "肺_resnet", "test", ImageQuery(), limit=3)
    assert files_of(log) == before


def test_the_leaderboard_is_that_of_the_results(reader: LogReader, log: Path) -> None:
    expected = leaderboard(log, "肺")
    board = reader.leaderboard("肺")
    pd.testing.assert_frame_equal(board.table[list(expected.columns)], expected)
    assert (board.primary_metric, board.basis) == ("auc", "validation")
    assert board.table["has_folder"].all()
    assert "auc" in board.metrics


def test_a_running_run_shows_where_it_stands(reader: LogReader, log: Path) -> None:
    folder = log / "肺" / "肺_now"
    folder.mkdir()
    (folder / "肺_now_status.txt").write_text("epoch 1\nepoch 2\n", encoding="utf-8")
    with run_lock(log, "肺", "肺_now"):
        Index(log).set_state("肺_now", "肺", "running", model="m")
        assert reader.groups().rows[0].running
        assert reader.leaderboard("肺").progress["肺_now"].lines == ("epoch 1", "epoch 2")
        assert reader.progress("肺", "肺_now", lines=1).lines == ("epoch 2",)
    assert reader.run("肺", "肺_now").state == "interrupted"


def test_unknown_names_are_errors_that_name_the_nearest(reader: LogReader) -> None:
    with pytest.raises(ResultsError, match="肺_resnet"):
        reader.run("肺", "肺_resnett")
    with pytest.raises(ResultsError, match="odd"):
        reader.leaderboard("oddd")
    with pytest.raises(ResultsError, match="no set of images"):
        reader.predictions("肺", "肺_resnet", "../肺_vit.a1")
    with pytest.raises(ResultsError, match="no log folder"):
        LogReader(reader.log_folder / "nowhere")


def test_a_run_view_holds_the_numbers_unchanged(reader: LogReader, log: Path) -> None:
    view = reader.run("肺", "肺_resnet")
    folder = log / "肺" / "肺_resnet"
    assert view.metrics == json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (view.sets, view.classes, view.positive, view.cutoff) == (("test",), ("cat", "dog"), "dog", 0.5)
    assert {file.name for file in view.files} == {path.name for path in folder.iterdir()}
    assert not view.notes
    failed = reader.run("肺", "肺_broken")
    assert (failed.state, failed.reason) == ("failed", "RuntimeError: <b>no memory</b>")
    assert "Traceback" in failed.error


def test_classes_called_like_columns_stay_apart(reader: LogReader, log: Path) -> None:
    classes = tuple(sorted(ODD_CLASSES))
    table = reader.predictions("odd", "odd_model")
    folder = log / "odd" / "odd_model"
    with (folder / "odd_model_test_p.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    assert table.classes == classes
    assert [table.labels[code] for code in table.actual] == [line[1] for line in lines]
    assert [table.labels[code] for code in table.predicted] == [line[2].removesuffix("_p") for line in lines]
    assert table.probabilities.tolist() == [[float(text) for text in line[3:]] for line in lines]
    page = reader.image_page("odd", "odd_model", "test", ImageQuery(sort=(SortKey("p0", True),)), limit=5)
    assert [row["p0"] for row in page.rows] == sorted(table.probabilities[:, 0], reverse=True)[:5]
    assert page.rows[0]["m0"] == "c"
    assert {column.key: column.title for column in page.columns}["m1"] == "p0"


def test_the_cache_gives_the_same_and_notices_a_change(log: Path, tmp_path: Path) -> None:
    first = LogReader(log, cache_folder=tmp_path / "c").predictions("肺", "肺_resnet")
    again = LogReader(log, cache_folder=tmp_path / "c").predictions("肺", "肺_resnet")
    assert again.probabilities.tobytes() == first.probabilities.tobytes()
    assert again.words.equals(first.words)
    shutil.copytree(tmp_path / "c", tmp_path / "full disk")
    for path in (tmp_path / "full disk").rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    damaged = LogReader(log, cache_folder=tmp_path / "full disk").predictions("肺", "肺_resnet")
    assert damaged.probabilities.tobytes() == first.probabilities.tobytes()
    reader = LogReader(log, cache_folder=tmp_path / "c")
    reader.predictions("肺", "肺_resnet")
    path = log / "肺" / "肺_resnet" / "肺_resnet_test_p.csv"
    text = path.read_text(encoding="utf-8").replace(",cat_p,", ",dog_p,")
    path.write_text(text, encoding="utf-8")
    changed = reader.predictions("肺", "肺_resnet")
    assert {changed.labels[code] for code in changed.predicted} == {"dog"}


def test_a_cache_that_cannot_be_written_changes_nothing(log: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    reader = LogReader(log, cache_folder=tmp_path / "file")
    assert len(reader.predictions("肺", "肺_resnet")) == 40
    assert reader.thumbnail("肺", "肺_resnet", "test", 0).data


def test_decisions_are_those_written_and_else_it_is_said(reader: LogReader, log: Path) -> None:
    folder = log / "肺" / "肺_resnet"
    path = folder / "肺_resnet_test_p.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", encoding="utf-8")  # another order
    table = reader.predictions("肺", "肺_resnet")
    expected = {line.split(",")[0]: line.split(",")[2].removesuffix("_p") for line in lines[1:]}
    paths = table.words.column("path").to_pylist()
    assert [table.labels[code] for code in table.predicted] == [expected[name] for name in paths]
    path.unlink()
    alone = reader.predictions("肺", "肺_resnet")
    assert np.array_equal(alone.predicted, np.where(alone.probabilities[:, 1] > 0.5, 1, 0))
    assert "cutoff 0.5" in alone.notes[0]


def test_confusion_and_cutoffs_agree_with_scikit_learn(reader: LogReader) -> None:
    table = reader.predictions("肺", "肺_resnet")
    assert np.array_equal(reader.confusion("肺", "肺_resnet").counts, confusion_matrix(table.actual, table.predicted))
    slider = reader.cutoffs("肺", "肺_resnet")
    assert slider is not None
    assert slider.cutoffs[slider.stored_at] == 0.5
    for place in (0, 137, slider.stored_at, 1000):
        counts = confusion_matrix(table.actual, table.probabilities[:, 1] > slider.cutoffs[place], labels=[0, 1])
        found = (slider.true_negative, slider.false_positive, slider.false_negative, slider.true_positive)
        assert [int(values[place]) for values in found] == counts.ravel().tolist()
    assert reader.cutoffs("odd", "odd_model") is None


def test_curves_are_those_of_the_files(reader: LogReader, log: Path) -> None:
    curves = reader.curves("肺", "肺_resnet")
    whole = pd.read_csv(log / "肺" / "肺_resnet" / "肺_resnet_test_roc.csv")
    area = -np.trapezoid(curves.roc["TPR"], curves.roc["FPR"])
    assert area == pytest.approx(-np.trapezoid(whole["TPR"], whole["FPR"]), abs=1e-12)
    assert curves.class_name == "dog"
    band = reader.roc_band("肺", "肺_resnet")
    assert ((band["Low"] <= band["Sensitivity"]) & (band["Sensitivity"] <= band["High"])).all()
    pd.testing.assert_frame_equal(LogReader(log, cache_folder=reader._bands.folder.parent).roc_band("肺", "肺_resnet"),
                                  band.reset_index(drop=True))  # fmt: skip
    assert set(reader.curves("odd", "odd_model", class_name="path").roc.columns) >= {"TPR", "FPR"}


QUERIES = [
    (ImageQuery(errors_only=True), lambda t: t["actual"] != t["predicted"]),
    (ImageQuery(actual="cat", predicted="dog"), lambda t: (t["actual"] == "cat") & (t["predicted"] == "dog")),
    (ImageQuery(lowest_confidence=0.6, highest_confidence=0.7), lambda t: t["confidence"].between(0.6, 0.7)),
    (ImageQuery(numbers={"p1": (0.5, None)}), lambda t: t["p1"] >= 0.5),
    (ImageQuery(text="CAT_1"), lambda t: t["path"].str.contains("cat_1")),
    (ImageQuery(metadata={"m0": "東京"}), lambda t: t["m0"] == "東京"),
    (ImageQuery(group="P1"), lambda t: t["group"] == "P1"),
    (ImageQuery(only=(3, 5)), lambda t: t["index"].isin([3, 5])),
    (ImageQuery(actual="no such class"), lambda t: t["actual"] == "no such class"),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_queries_filter_as_pandas_does(reader: LogReader, query: ImageQuery, expected) -> None:
    everything = pd.DataFrame(reader.image_page("肺", "肺_resnet", "test", ImageQuery(), limit=1000).rows)
    page = reader.image_page("肺", "肺_resnet", "test", query, limit=1000)
    wanted = everything[expected(everything)]
    assert [row["index"] for row in page.rows] == wanted["index"].tolist()
    assert page.total == len(wanted)


@pytest.mark.parametrize("column", ["index", "id", "path", "actual", "predicted", "correct", "confidence", "p1", "m0"])
@pytest.mark.parametrize("descending", [False, True])
def test_queries_sort_as_pandas_does_and_page(reader: LogReader, column: str, descending: bool) -> None:
    everything = pd.DataFrame(reader.image_page("肺", "肺_resnet", "test", ImageQuery(), limit=1000).rows)
    expected = everything.sort_values([column, "p0"], ascending=[not descending, True], kind="stable")["index"].tolist()
    query = ImageQuery(sort=(SortKey(column, descending), SortKey("p0")))
    pages = [reader.image_page("肺", "肺_resnet", "test", query, offset=at, limit=15).rows for at in (0, 15, 30)]
    assert [row["index"] for page in pages for row in page] == expected
    near = reader.neighbours("肺", "肺_resnet", "test", query, index=expected[7])
    assert (near.previous, near.following, near.place, near.total) == (expected[6], expected[8], 7, 40)


def test_a_column_that_is_not_there_is_an_error(reader: LogReader) -> None:
    for query in (ImageQuery(sort=(SortKey("p7"),)), ImageQuery(metadata={"m9": ""})):
        with pytest.raises(ResultsError, match="no column"):
            reader.image_page("肺", "肺_resnet", "test", query)


def test_models_are_compared_image_by_image(reader: LogReader) -> None:
    view = reader.all_models("肺")
    assert view.runs == ("肺_resnet", "肺_vit.a1")
    first, second = (reader.predictions("肺", run) for run in view.runs)
    wrong = (~first.correct).astype(int) + ~second.correct
    assert view.models_wrong.tolist() == wrong.tolist()
    page = reader.image_page("肺", "肺_vit.a1", "test", ImageQuery(disagreement=True), limit=1000)
    assert [row["index"] for row in page.rows] == np.flatnonzero(first.predicted != second.predicted).tolist()
    found = reader.image_across_models("肺", "x/cat_0.png")
    assert found.table["run"].tolist() == list(view.runs)
    assert found.table["p1"].tolist() == [first.probabilities[0, 1], second.probabilities[0, 1]]
    assert found.actual == "cat"


def test_runs_in_another_order_are_compared_by_image(reader: LogReader, log: Path) -> None:
    before = reader.all_models("肺")
    for name in ("test", "test_p"):
        path = log / "肺" / "肺_vit.a1" / f"肺_vit.a1_{name}.csv"
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", encoding="utf-8")
    after = reader.all_models("肺")
    assert np.array_equal(after.predicted, before.predicted)
    query = ImageQuery(models_wrong=1)
    ids = {run: {row["id"] for row in reader.image_page("肺", run, "test", query, limit=99).rows} for run in after.runs}
    assert ids["肺_resnet"] == ids["肺_vit.a1"]
    rows = reader.image_page("肺", "肺_resnet", "test", ImageQuery(), limit=99).rows  # few images: told unasked
    assert {row["id"] for row in rows if row["models_wrong"]} == ids["肺_resnet"]


def test_marked_images_are_saved_and_exported(reader: LogReader) -> None:
    mark = Mark("肺", "肺_resnet", "test", "x/cat_0.png", "ぼけ, blurred")
    reader.save_marks("要確認 1", [mark])
    assert reader.marked_lists()[0].marks == (mark,)
    rows = list(csv.DictReader(reader.marks_csv("要確認 1").splitlines()))
    assert (rows[0]["actual"], rows[0]["comment"]) == ("cat", "ぼけ, blurred")
    for name in ("../x", "a/b", "", "CON", ".hidden", "x" * 100, "a\0b"):
        with pytest.raises(ResultsError):
            reader.save_marks(name, [mark])
    reader.delete_marks("要確認 1")
    with pytest.raises(ResultsError, match="no list"):
        reader.marks_csv("要確認 1")


def test_data_counts_images_and_shows_some(reader: LogReader) -> None:
    view = reader.data("肺", samples_per_class=3)
    assert view.counts.to_dict() == {"test": {"cat": 20, "dog": 20}}
    assert len(view.samples) == 6
    sample = view.samples[0]
    path = reader.image_path("肺", view.run or "", ALL_IMAGES, sample.index)
    assert path.name == sample.image_id.removeprefix("x/")
    assert "images.csv" in reader.data("single").notes[0]


def test_no_torch_is_imported() -> None:
    code = "import model_aggregation.viewer.reading, sys; assert not {'torch', 'dash', 'fastapi'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_an_index_that_is_missing_or_damaged_is_replaced_for_reading(reader: LogReader, log: Path) -> None:
    expected = {row.name for row in reader.groups().rows}
    database = log / "analyze_record.db"
    for content in (None, b"no database at all" * 100):
        for path in log.glob("analyze_record.db*"):
            path.unlink()
        if content is not None:
            database.write_bytes(content)
        view = LogReader(log, cache_folder=log.parent / "c").groups()
        assert {row.name for row in view.rows} == expected
        assert "magg index" in view.notes[0]
    assert database.read_bytes() == content


def test_a_locked_index_is_not_waited_for(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log / "analyze_record.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        view = LogReader(log, cache_folder=tmp_path / "c").groups()
        connection.execute("ROLLBACK")
    assert "locked" in view.notes[0]
    assert {row.name for row in view.rows} == {"肺", "odd", "単独"}


def test_a_run_that_vanished_or_broke_is_a_note(reader: LogReader, log: Path) -> None:
    folder = log / "肺" / "肺_resnet"
    reader.run("肺", "肺_resnet")
    (folder / "metrics.json").write_text('{"test": {', encoding="utf-8")
    (folder / "肺_resnet_test.csv").write_text("path,correct_label,cat,dog\na.png,cat,0.5\n", encoding="utf-8")
    view = reader.run("肺", "肺_resnet")
    assert view.metrics == {}
    assert "damaged" in view.notes[0]
    assert len(reader.predictions("肺", "肺_resnet")) == 0
    assert "Expected 4 columns" in " ".join(reader.predictions("肺", "肺_resnet").notes)
    assert reader.curves("肺", "肺_resnet").roc.empty
    assert reader.cutoffs("肺", "肺_resnet") is None
    assert reader.roc_band("肺", "肺_resnet").empty
    assert reader.image_page("肺", "肺_resnet", "test", ImageQuery(errors_only=True)).total == 0
    assert reader.confusion("肺", "肺_resnet").counts.size == 0
    assert reader.all_models("肺").runs == ("肺_vit.a1",)
    shutil.rmtree(folder)
    gone = reader.run("肺", "肺_resnet")
    assert "gone" in gone.notes[0]
    assert gone.model == "torchvision:resnet18"
    assert not reader.leaderboard("肺").table.set_index("run_name").loc["肺_resnet", "has_folder"]
    assert len(reader.predictions("肺", "肺_resnet")) == 0


def test_a_run_of_the_earlier_program_is_browsed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for place in (log / "old_run", log / "古い群" / "古い_a"):
        place.mkdir(parents=True)
        table = pd.DataFrame({"path": ["絵/一.png", "絵/二.png"], "correct_label": ["猫", "犬"]})
        table = table.assign(犬=[0.2, 0.9], 猫=[0.8, 0.1])
        (place / f"{place.name}_test.csv").write_bytes(csv_text(table).encode("cp932"))
        (place / f"{place.name}_status.txt").write_bytes("正解率 1.0\n".encode("cp932"))
    numbers = "accuracy, sensitivity, specificity, precision, f1, blanced_accuracy, cutoff, auc"
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        connection.execute(
            f"CREATE TABLE test_result (id INTEGER, run_name, group_name, datetime, {numbers}, log_folder)"
        )
        row = (1, "old_run", "single", "2023-04-05 06:07:08", *[0.9] * 7, 0.95, "log")
        connection.execute(f"INSERT INTO test_result VALUES ({','.join('?' * 13)})", row)
        connection.commit()
    before = files_of(log)
    reader = LogReader(log, cache_folder=tmp_path / "c")
    rows = {row.name: row for row in reader.groups().rows}
    assert set(rows) == {"old_run", "古い群"}
    assert (rows["old_run"].metric, rows["old_run"].value, rows["old_run"].states) == ("auc", 1.0, {"earlier": 1})
    assert reader.leaderboard("古い群").table[["state", "auc"]].to_numpy().tolist() == [["earlier", 1.0]]
    assert reader.leaderboard("single").table[["auc", "earlier_program_auc"]].to_numpy().tolist() == [[1.0, 0.95]]
    view = reader.run("single", "old_run")
    assert view.status == ("正解率 1.0",)
    assert view.earlier is not None
    table = reader.predictions("single", "old_run")
    assert [table.labels[code] for code in table.predicted] == ["猫", "犬"]
    assert table.notes == (
        "The decisions of this set were not written down; here each is made by the largest probability.",
    )
    assert reader.image_path("single", "old_run", "test", 0) == tmp_path / "絵" / "一.png"
    assert files_of(log) == before


def test_a_score_equal_to_a_cutoff_is_negative() -> None:
    scores = np.array([0.137, 0.5, 0.6, 0.137])
    table = Predictions(list("abcd"), [1, 1, 0, 0], np.stack([1 - scores, scores], axis=1), ("ng", "ok"))
    slider = cutoff_table(table, "ok", 0.1375, ())
    place = {float(cutoff): at for at, cutoff in enumerate(slider.cutoffs)}
    assert slider.stored_at == place[0.1375]
    assert [slider.true_positive[place[at]] for at in (0.136, 0.137, 0.5)] == [2, 1, 0]
    assert [slider.false_positive[place[at]] for at in (0.136, 0.137, 0.6)] == [2, 1, 0]
