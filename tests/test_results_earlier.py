"""The earlier program's database: taken over with every row, and still written by the earlier program."""

import csv
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from results_samples import make_run

from model_aggregation.results.index import Index

COLUMNS = (
    "run_name, group_name, datetime, accuracy, sensitivity, specificity, precision, f1, blanced_accuracy, cutoff, "
    "auc, log_folder"
)
ROW = ("old_a", "single", "2023-04-05 06:07:08", 0.9, 0.8, 0.7, 0.6, 0.5, 0.75, 0.45, 0.95, "log")
NUMBERS = (
    "accuracy {t}, sensitivity {t}, specificity {t}, precision {t}, f1 {t}, blanced_accuracy {t}, cutoff {t}, auc {t}"
)
TABLE = (
    "CREATE TABLE IF NOT EXISTS test_result({id} run_name TEXT, group_name TEXT, datetime TEXT, "
    + NUMBERS
    + ", log_folder TEXT)"
)
WITH_ID = TABLE.format(id="id INTEGER PRIMARY KEY AUTOINCREMENT,", t="REAL")
INSERT = f"INSERT INTO test_result({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty log folder."""
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def earlier_program(log: Path, table: str, *rows: tuple[object, ...], insert: str = INSERT) -> None:
    """Write as the earlier program does: make the table if it is not there, then insert."""
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        connection.execute(table)
        connection.executemany(insert, rows)
        connection.commit()


def named(name: str | None, **changes: object) -> tuple[object, ...]:
    """Return an earlier row with another name."""
    return tuple(changes.get(key, value) for key, value in zip(COLUMNS.split(", "), (name, *ROW[1:]), strict=True))


def seen(log: Path) -> dict[str, tuple[object, ...]]:
    """Return the rows of test_result by name, as any client sees them, without the id."""
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        rows = connection.execute("SELECT * FROM test_result").fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    assert all(type(row[0]) is int for row in rows)
    return {row[1]: row[1:] for row in rows}


def csv_names(log: Path) -> list[str]:
    """Return the names in the copy."""
    with (log / "earlier_results.csv").open(encoding="utf-8", newline="") as file:
        return [row["run_name"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("number", ["REAL", "TEXT", "", "INTEGER", "NUMERIC"])
@pytest.mark.parametrize("identity", ["id INTEGER PRIMARY KEY AUTOINCREMENT,", "id INTEGER PRIMARY KEY,", ""])
def test_an_earlier_database_is_taken_over(log: Path, identity: str, number: str) -> None:
    earlier_program(log, TABLE.format(id=identity, t=number), ROW, named("古い,b", cutoff=None))
    Index(log).record(make_run(log / "new").path)
    rows = seen(log)
    assert rows["old_a"] == ROW
    assert rows["古い,b"][9] is None
    assert set(rows) == {"old_a", "古い,b", "new"}
    assert csv_names(log) == ["old_a", "古い,b"]
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        kinds = dict(connection.execute("SELECT name, type FROM sqlite_master").fetchall())
    assert (kinds["test_result"], kinds["earlier_result"]) == ("view", "table")


def test_earlier_ids_are_kept(log: Path) -> None:
    earlier_program(
        log,
        WITH_ID,
        (7, *ROW),
        (9, *named("old_b")),
        insert=f"INSERT INTO test_result(id, {COLUMNS}) VALUES ({'?,' * 12}?)",
    )
    make_run(log / "new")
    results = Index(log).test_results().set_index("run_name")["id"]
    assert results.to_dict() == {"old_a": 7, "old_b": 9, "new": 10}
    Index(log).path.unlink()
    Index(log).rebuild()
    assert Index(log).test_results().set_index("run_name")["id"].to_dict() == {"old_a": 7, "old_b": 9, "new": 10}


def test_ids_that_are_none_are_repaired(log: Path) -> None:
    table = TABLE.format(id="id TEXT,", t="TEXT")
    rows = [("5", *named("a")), ("5", *named("b")), (None, *named("c")), ("x", *named("d"))]
    earlier_program(log, table, *rows, insert=f"INSERT INTO test_result VALUES ({'?,' * 12}?)")
    ids = Index(log).test_results().set_index("run_name")["id"].to_dict()
    assert ids == {"a": 5, "b": 6, "c": 7, "d": 8}


def test_words_are_no_numbers(log: Path) -> None:
    words = ["None", "", "nan", "0.5%", "-0.25", "1e-3", " .5 ", "e5"]
    rows = [named(f"r{k}", auc=word) for k, word in enumerate(words)]
    earlier_program(log, TABLE.format(id="", t="TEXT"), *rows)
    Index(log).rebuild()
    assert [seen(log)[f"r{k}"][10] for k in range(len(words))] == [None, None, None, None, -0.25, 0.001, 0.5, None]


def test_missing_and_further_columns(log: Path) -> None:
    table = 'CREATE TABLE test_result (Run_Name TEXT, accuracy REAL, "my note" TEXT)'
    insert = "INSERT INTO test_result VALUES (?, ?, ?)"
    earlier_program(log, table, ("a", 0.5, "x, y"), insert=insert)
    Index(log).rebuild()
    assert seen(log)["a"][3:5] == (0.5, None)
    Index(log).path.unlink()
    Index(log).rebuild()
    assert seen(log)["a"][3] == 0.5
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        assert connection.execute('SELECT "my note" FROM earlier_result').fetchall() == [("x, y",)]


def test_the_earlier_program_goes_on_writing(log: Path) -> None:
    index = Index(log)
    index.record(make_run(log / "new").path)
    earlier_program(log, WITH_ID, ROW)
    taken = index.test_results().set_index("run_name")["id"]["new"]
    with_id = f"INSERT INTO test_result(id, {COLUMNS}) VALUES ({'?,' * 12}?)"
    earlier_program(log, WITH_ID, (50, *named("old_b")), (int(taken), *named("old_c")), insert=with_id)
    earlier_program(log, WITH_ID, (None, *named("old_d")), insert=f"INSERT INTO test_result VALUES ({'?,' * 12}?)")
    assert set(seen(log)) == {"new", "old_a", "old_b", "old_c", "old_d"}
    assert seen(log)["old_a"] == ROW
    assert index.test_results().set_index("run_name")["id"]["old_b"] == 50
    index.record(make_run(log / "newer").path)
    assert csv_names(log) == ["old_a", "old_b", "old_c", "old_d"]


@pytest.mark.parametrize("loss", ["nothing", "deleted", "words"])
def test_earlier_rows_survive_a_rebuild(log: Path, loss: str) -> None:
    index = Index(log)
    index.record(make_run(log / "new").path)
    earlier_program(log, WITH_ID, ROW, ROW, named("old_b", group_name="g"))  # the same row twice is two rows
    index.set_state("g_x", "g", "running")
    if loss == "deleted":
        index.path.unlink()
    if loss == "words":
        index.path.write_bytes(b"damaged " * 1000)
    report = index.rebuild()
    assert report.earlier_rows == 3
    assert index.rebuild().earlier_rows == 3
    assert sorted(index.earlier_rows()["run_name"]) == ["old_a", "old_a", "old_b"]
    assert csv_names(log) == ["old_a", "old_a", "old_b"]


def test_rows_never_copied_are_rescued_from_a_torn_database(log: Path) -> None:
    earlier_program(log, WITH_ID, *(named(f"old_{k}") for k in range(200)))
    data = bytearray((log / "analyze_record.db").read_bytes())
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        connection.execute("CREATE TABLE more (x)")
        connection.execute("INSERT INTO more VALUES (1)")
        connection.commit()
    data = bytearray((log / "analyze_record.db").read_bytes())
    data[-4096:] = b"\xff" * 4096  # the last page belongs to the other table
    (log / "analyze_record.db").write_bytes(data)
    report = Index(log).rebuild()
    assert report.moved_aside is not None
    assert report.earlier_rows == 200


def test_a_new_database_of_the_earlier_program_joins_the_copy(log: Path) -> None:
    earlier_program(log, WITH_ID, ROW)
    Index(log).rebuild()
    Index(log).path.unlink()
    earlier_program(log, WITH_ID, named("old_b"))  # gets id 1 again
    Index(log).rebuild()
    assert set(seen(log)) == {"old_a", "old_b"}
    assert sorted(csv_names(log)) == ["old_a", "old_b"]


def test_a_copy_in_another_form_is_not_overwritten(log: Path) -> None:
    from model_aggregation.errors import ResultsError

    (log / "earlier_results.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ResultsError, match="Restore it"):
        Index(log).rebuild()
    assert (log / "earlier_results.csv").read_text(encoding="utf-8") == "a,b\n1,2\n"


@pytest.mark.parametrize("constraint", ["auc REAL NOT NULL", "run_name TEXT UNIQUE", "auc REAL CHECK (auc < 0.96)"])
def test_constraints_of_the_earlier_table_do_not_stay(log: Path, constraint: str) -> None:
    name, kind, *_ = constraint.split()
    earlier_program(log, TABLE.format(id="", t="REAL").replace(f"{name} {kind}", constraint), ROW)
    Index(log).rebuild()
    earlier_program(log, WITH_ID, named("old_a", auc=None), named("old_b", auc=0.99))
    assert sorted(Index(log).test_results()["run_name"]) == ["old_a", "old_a", "old_b"]


def test_an_index_taken_over_with_its_constraints_loses_them(log: Path) -> None:
    Index(log).rebuild()
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:  # as the first version left it
        connection.execute("DROP TABLE earlier_result")
        table = TABLE.format(id="id INTEGER PRIMARY KEY AUTOINCREMENT,", t="REAL NOT NULL")
        connection.execute(table.replace("test_result", "earlier_result"))
        connection.execute(INSERT.replace("test_result", "earlier_result"), ROW)
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    assert Index(log).earlier_rows()["run_name"].tolist() == ["old_a"]
    earlier_program(log, WITH_ID, named("old_b", auc=None))
    assert set(seen(log)) == {"old_a", "old_b"}


def test_rows_without_group_and_time_get_what_the_earlier_program_means(log: Path) -> None:
    earlier_program(log, WITH_ID, named("old_a", group_name=None))
    Index(log).rebuild()
    earlier_program(log, WITH_ID, named("old_b", group_name=None, datetime=None))
    rows = seen(log)
    assert rows["old_a"][1] == rows["old_b"][1] == "single"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(rows["old_b"][2]))
    assert set(Index(log).earlier_rows("single")["run_name"]) == {"old_a", "old_b"}


@pytest.mark.parametrize("name", ["Test_Result", "TEST_RESULT"])
def test_the_table_is_known_in_any_case(log: Path, name: str) -> None:
    earlier_program(log, WITH_ID.replace("test_result", name), ROW, insert=INSERT.replace("test_result", name))
    Index(log).record(make_run(log / "new").path)
    assert set(seen(log)) == {"old_a", "new"}


def test_ids_are_kept_beside_rows_without_one(log: Path) -> None:
    rows = [(None, *named("a")), (1, *named("b"))]
    earlier_program(
        log, TABLE.format(id="id,", t="REAL"), *rows, insert=f"INSERT INTO test_result VALUES ({'?,' * 12}?)"
    )
    assert Index(log).test_results().set_index("run_name")["id"].to_dict() == {"a": 2, "b": 1}


@pytest.mark.parametrize("folder", ["log\\g", "C:\\proj\\log\\g", "C:\\proj/log\\g\\", "", None])
def test_folders_stay_as_they_were_written(log: Path, folder: str | None) -> None:
    row = named("old_a", log_folder=folder, group_name="g")
    earlier_program(log, WITH_ID, row)
    Index(log).rebuild()
    assert seen(log)["old_a"] == row
    earlier_program(log, WITH_ID, row)
    assert Index(log).test_results()["log_folder"].tolist() == [folder, folder]


def test_an_index_that_showed_other_folders_shows_them_as_written(log: Path) -> None:
    """Its ids stay, also where the earlier program wrote rows between ours."""
    index = Index(log)
    rows = {name: named(name, log_folder="C:\\proj\\log") for name in ("old_a", "old_b")}
    index.record(make_run(log / "late").path)
    earlier_program(log, WITH_ID, rows["old_a"])
    index.record(make_run(log / "early", finished="2020-01-01 00:00:00").path)
    earlier_program(log, WITH_ID, rows["old_b"])
    before = index.test_results().set_index("run_name")["id"].to_dict()
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:  # as the version before left it
        for view in ("earlier_test_result", "test_result"):
            connection.execute(f"DROP VIEW {view}")
        columns = f"id, {COLUMNS}".replace("log_folder", "replace(log_folder, '\\', '/') AS log_folder")
        connection.execute(f"CREATE VIEW earlier_test_result AS SELECT {columns} FROM earlier_result")
        connection.execute("CREATE VIEW test_result AS SELECT * FROM earlier_test_result")
        connection.execute("DROP TABLE earlier_evaluations")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    assert index.test_results().set_index("run_name")["id"].to_dict() == before
    assert {name: row for name, row in seen(log).items() if name in rows} == rows


@pytest.mark.parametrize(
    "file", ["best_model_weight.pth", "last_model_all.pth", "resnet18_architecture.txt", "models/10.pth", "b_test.csv"]
)
def test_folders_of_the_earlier_program_are_listed(log: Path, file: str) -> None:
    for folder in ("b", "g/b"):
        (log / folder / file).parent.mkdir(parents=True)
        (log / folder / file).write_bytes(b"x")
    own = make_run(log / "own")
    (own.path / "models").mkdir()
    (own.path / "models" / "best_model_weight.pth").write_bytes(b"x")
    assert Index(log).rebuild().earlier_folders == ("b", "g/b")


def test_folders_named_by_earlier_rows_are_listed(log: Path) -> None:
    rows = [
        named("old_a", log_folder="log"),
        named("old_b", log_folder="log\\g", group_name="g"),
        named("old_c", log_folder="before/g", group_name="g"),  # the log folder had another name
        named("gone"),
        named(None),
        named("new"),
    ]
    earlier_program(log, WITH_ID, *rows)
    for folder in ("old_a", "g/old_b", "g/old_c"):
        (log / folder).mkdir(parents=True)
    make_run(log / "new")
    assert Index(log).rebuild().earlier_folders == ("g/old_b", "g/old_c", "old_a")
