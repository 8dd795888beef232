"""The SQL of the index: its own tables, and the view that keeps clients of the earlier program working."""

import sqlite3
from dataclasses import dataclass

SCHEMA_VERSION = 3

TEST_RESULT_COLUMNS = (
    "id", "run_name", "group_name", "datetime", "accuracy", "sensitivity", "specificity", "precision", "f1",
    "blanced_accuracy", "cutoff", "auc", "log_folder",
)  # fmt: skip
"""Columns of the earlier program's table ``test_result``, spelled as there."""

NUMBER_COLUMNS = TEST_RESULT_COLUMNS[4:12]

RUN_COLUMNS = {
    "group_name": "TEXT NOT NULL",
    "run_name": "TEXT NOT NULL",
    "id": "INTEGER NOT NULL UNIQUE",
    "log_folder": "TEXT NOT NULL",
    "model": "TEXT",
    "state": "TEXT NOT NULL",
    "reason": "TEXT",
    "seed": "INTEGER",
    "fold": "INTEGER",
    "folds": "INTEGER",
    "part_of": "TEXT",
    "device": "TEXT",
    "precision": "TEXT",
    "data_fingerprint": "TEXT",
    "test_fingerprint": "TEXT",
    "classes": "TEXT",
    "number_of_classes": "INTEGER",
    "positive": "TEXT",
    "primary_metric": "TEXT",
    "has_validation": "INTEGER",
    "tested": "INTEGER NOT NULL DEFAULT 0",
    "started": "TEXT",
    "finished": "TEXT",
    "parameters": "INTEGER",
    "image_size": "TEXT",
    "train_seconds": "REAL",
    "test_seconds": "REAL",
    "train_images_per_second": "REAL",
    "test_images_per_second": "REAL",
    "cutoff_source": "TEXT",
    "versions": "TEXT",
    "command": "TEXT",
    "git": "TEXT",
}
"""Columns of the table ``runs``; ``classes``, ``versions`` and ``git`` hold JSON.

``fold`` counts from 1; a run with ``folds`` but no ``fold`` pools the predictions of its folds. ``part_of`` names the
run, or where seeds are not pooled the model's place in the comparison, that the run is one seed or fold of.
"""


@dataclass(frozen=True)
class Part:
    """Which seed or fold of a model a run is; a run with ``folds`` but no ``fold`` pools its folds."""

    part_of: str | None
    seed: int
    fold: int | None = None
    folds: int | None = None


METRIC_COLUMNS = (
    "group_name", "run_name", "set_name", "class", "metric", "value", "low", "high", "method", "n", "reason",
)  # fmt: skip

_NEXT_ID = """
    1 + max(coalesce((SELECT max(id) FROM runs), 0),
            coalesce((SELECT max(CAST(id AS INTEGER)) FROM earlier_result), 0))
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the program's own tables where they are missing.

    ``test_evaluations.trained`` tells the weights of a run from those it had before: the time it finished, or for
    an external set the hash of the weights. ``earlier_evaluations`` keeps what the predictions of runs of the earlier
    program give (``content`` is JSON), and ``stamp`` what changes with their files.
    """
    runs = ", ".join(f"{name} {kind}" for name, kind in RUN_COLUMNS.items())
    statements = (
        f"CREATE TABLE IF NOT EXISTS runs ({runs}, PRIMARY KEY (group_name, run_name))",
        """CREATE TABLE IF NOT EXISTS metrics (
            group_name TEXT NOT NULL, run_name TEXT NOT NULL, set_name TEXT NOT NULL,
            class TEXT NOT NULL, metric TEXT NOT NULL,
            value REAL, low REAL, high REAL, method TEXT, n INTEGER, reason TEXT,
            PRIMARY KEY (group_name, run_name, set_name, class, metric))""",
        """CREATE TABLE IF NOT EXISTS test_evaluations (
            test_fingerprint TEXT NOT NULL, group_name TEXT NOT NULL, run_name TEXT NOT NULL,
            trained TEXT NOT NULL,
            PRIMARY KEY (test_fingerprint, group_name, run_name, trained))""",
        """CREATE TABLE IF NOT EXISTS earlier_evaluations (
            group_name TEXT NOT NULL, run_name TEXT NOT NULL, stamp TEXT NOT NULL, content TEXT NOT NULL,
            PRIMARY KEY (group_name, run_name))""",
        "CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    )
    for statement in statements:
        connection.execute(statement)


def create_earlier_table(connection: sqlite3.Connection) -> None:
    """Make an empty table for rows of the earlier program where there is none."""
    kinds = {"id": "INTEGER PRIMARY KEY", **dict.fromkeys(NUMBER_COLUMNS, "REAL")}
    columns = ", ".join(f"{name} {kinds.get(name, 'TEXT')}" for name in TEST_RESULT_COLUMNS)
    connection.execute(f"CREATE TABLE IF NOT EXISTS earlier_result ({columns})")


def create_views(connection: sqlite3.Connection) -> None:
    """Make the view ``test_result``, which takes inserts, and ``earlier_test_result``, its earlier rows."""
    for kind, name in (("VIEW", "test_result"), ("VIEW", "earlier_test_result")):
        connection.execute(f"DROP {kind} IF EXISTS {name}")
    earlier = ", ".join(_earlier_value(name) for name in TEST_RESULT_COLUMNS)
    ours = ", ".join(_our_value(name) for name in TEST_RESULT_COLUMNS)
    connection.execute(f"CREATE VIEW earlier_test_result AS SELECT {earlier} FROM earlier_result")  # noqa: S608
    connection.execute(
        f"""CREATE VIEW test_result AS
        SELECT {ours} FROM runs WHERE state = 'finished' AND tested
        UNION ALL SELECT {", ".join(TEST_RESULT_COLUMNS)} FROM earlier_test_result"""  # noqa: S608
    )
    rest = TEST_RESULT_COLUMNS[1:]
    # An id that is taken is replaced, because losing a finished run would be worse than renumbering it.
    connection.execute(
        f"""CREATE TRIGGER test_result_insert INSTEAD OF INSERT ON test_result BEGIN
        INSERT INTO earlier_result (id, {", ".join(rest)}) VALUES (
            CASE WHEN typeof(NEW.id) = 'integer'
                 AND NOT EXISTS (SELECT 1 FROM runs WHERE id = NEW.id)
                 AND NOT EXISTS (SELECT 1 FROM earlier_result WHERE CAST(id AS INTEGER) = NEW.id)
            THEN NEW.id ELSE {_NEXT_ID} END,
            {", ".join(_inserted_value(name) for name in rest)});
        END"""  # noqa: S608
    )


def next_id(connection: sqlite3.Connection) -> int:
    """Return an id that neither a run nor an earlier row has."""
    return int(connection.execute(f"SELECT {_NEXT_ID}").fetchone()[0])


def is_taken(connection: sqlite3.Connection, number: int) -> bool:
    """Tell whether a run or an earlier row has this id."""
    query = "SELECT 1 FROM runs WHERE id = ? UNION ALL SELECT 1 FROM earlier_result WHERE CAST(id AS INTEGER) = ?"
    return connection.execute(query, (number, number)).fetchone() is not None


def kind_of(connection: sqlite3.Connection, name: str) -> str | None:
    """Return whether a name, in upper or lower case, stands for a ``table`` or a ``view``; None for neither."""
    found = connection.execute("SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE", (name,)).fetchone()
    return found[0] if found else None


def _inserted_value(name: str) -> str:
    defaults = {"group_name": "'single'", "datetime": "datetime('now', 'localtime')"}
    return f"coalesce(NEW.{name}, {defaults[name]})" if name in defaults else f"NEW.{name}"


def _earlier_value(name: str) -> str:
    if name == "id":
        return "CAST(id AS INTEGER) AS id"
    if name == "group_name":
        return "coalesce(group_name, 'single') AS group_name"
    if name not in NUMBER_COLUMNS:
        return name
    # Text is a number only when it looks like one: a plain CAST would turn 'None' into 0.
    return f"""CASE
        WHEN typeof({name}) IN ('integer', 'real') THEN CAST({name} AS REAL)
        WHEN typeof({name}) = 'text' AND trim({name}) GLOB '[-+.0-9]*' AND {name} GLOB '*[0-9]*'
             AND trim({name}) NOT GLOB '*[^-+.0-9eE]*' THEN CAST(trim({name}) AS REAL)
        END AS {name}"""


def _our_value(name: str) -> str:
    if name == "datetime":
        return "finished AS datetime"
    if name not in NUMBER_COLUMNS:
        return name
    metric = "balanced_accuracy" if name == "blanced_accuracy" else name
    value = f"""(SELECT value FROM metrics WHERE metrics.group_name = runs.group_name
        AND metrics.run_name = runs.run_name AND set_name = 'test' AND class = '' AND metric = '{metric}')"""  # noqa: S608
    return f"{value} AS {name}" if name == "accuracy" else f"CASE WHEN number_of_classes = 2 THEN {value} END AS {name}"
