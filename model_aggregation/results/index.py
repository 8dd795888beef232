"""The index of all runs, ``analyze_record.db``: made from the run folders and rebuilt from them at any time.

Every operation opens the database, does its work in one transaction and closes it. A database that is missing
or was made by the earlier program is built at the first operation. Each process looks it over before its first
operation: one that is damaged is moved aside and made anew, which is logged as a warning.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from model_aggregation.errors import ResultsError, listed
from model_aggregation.results import earlier_results
from model_aggregation.results.damaged_index import is_damaged, move_aside
from model_aggregation.results.earlier_runs import earlier_run_folders
from model_aggregation.results.index_schema import (
    METRIC_COLUMNS,
    RUN_COLUMNS,
    SCHEMA_VERSION,
    TEST_RESULT_COLUMNS,
    Part,
    create_tables,
    create_views,
    is_taken,
    kind_of,
    next_id,
)
from model_aggregation.results.locks import LOCKS, is_locked
from model_aggregation.results.records import (
    ReadNumbers,
    RunRecord,
    log_folder_text,
    read_record,
    run_folders,
    stored_numbers,
)
from model_aggregation.results.run_folder import RunFolder

INDEX_NAME = "analyze_record.db"
EARLIER_CSV_NAME = "earlier_results.csv"
STATES = ("planned", "running", "finished", "failed", "interrupted", "stopped")

_BUSY_SECONDS = 60.0
_LOOKED_OVER: set[Path] = set()  # by this process


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild found: counts, files that could not be read, and where a damaged index was moved.

    Of the results of the earlier program ``earlier_evaluated`` runs were evaluated from their predictions,
    ``earlier_without`` says why others were not.
    """

    runs: int
    earlier_rows: int
    problems: tuple[str, ...] = ()
    moved_aside: Path | None = None
    earlier_folders: tuple[str, ...] = ()
    earlier_evaluated: int = 0
    earlier_without: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"The index holds {self.runs} runs and {self.earlier_rows} results of the earlier program."]
        if self.moved_aside is not None:
            lines.insert(0, f"The index was damaged; the old file is now {self.moved_aside}.")
        lines += listed(self.problems)
        if self.earlier_folders:
            lines += ["Run folders of the earlier program:", *listed(self.earlier_folders)]
        if self.earlier_evaluated:
            lines.append(
                f"AUC and intervals of {self.earlier_evaluated} of its runs were computed from their predictions."
            )
        if self.earlier_without:
            lines += ["Runs of the earlier program without AUC and intervals:", *listed(self.earlier_without)]
        return "\n".join(lines)


class Index:
    """The database of one log folder.

    Parameters
    ----------
    log_folder
        The folder that holds all results; the database lies in it.
    """

    earlier_seconds: float | None = None
    """After so long no more predictions of earlier runs are evaluated at a time; None: all are."""

    def __init__(self, log_folder: Path) -> None:
        self.log_folder = Path(log_folder)
        self.path = self.log_folder / INDEX_NAME
        self.earlier_csv = self.log_folder / EARLIER_CSV_NAME

    # --- writing ----------------------------------------------------------------------------------------

    def record(self, run_folder: Path) -> None:
        """Take over what a run folder holds: its row, its metrics, and the count of test evaluations.

        Raises
        ------
        ResultsError
            If the folder lies elsewhere or holds no run, or the index is damaged.
        """
        folder = RunFolder(Path(run_folder))
        if not folder.exists:
            raise ResultsError(f"{folder.path} holds no run: none of environment.json, metrics.json, error.txt.")
        record = read_record(folder, self.log_folder)
        with self._writing() as connection:
            _put(connection, record)

    def set_state(
        self,
        run_name: str,
        group_name: str,
        state: str,
        *,
        model: str | None = None,
        part: Part | None = None,
    ) -> None:
        """Note the state of a run: planned, running, finished, failed, interrupted or stopped.

        ``part`` says which seed or fold of a model it is; what is not given stays as it was.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        facts = {"model": model, **({} if part is None else vars(part))}
        with self._writing() as connection:
            row = {
                "group_name": group_name,
                "run_name": run_name,
                "id": next_id(connection),
                "log_folder": log_folder_text(group_name, self.log_folder),
                "state": state,
                **facts,
            }
            kept = "".join(f", {name} = coalesce(excluded.{name}, {name})" for name in facts)
            connection.execute(
                f"""INSERT INTO runs ({", ".join(row)}) VALUES ({", ".join("?" * len(row))})
                ON CONFLICT (group_name, run_name) DO UPDATE SET state = excluded.state, reason = NULL{kept}""",  # noqa: S608
                list(row.values()),
            )

    def rebuild(self, read_numbers: ReadNumbers = stored_numbers) -> RebuildReport:
        """Make the index anew from the run folders and the copy of earlier rows, in one transaction.

        Runs whose folder is gone disappear; earlier rows and counted test evaluations stay. A damaged
        database is moved aside first, and what can still be read of it is used. Numbers that are not what their run
        wrote are left out, unless ``read_numbers`` makes them again.
        """
        with self._alone():
            return self._rebuild(read_numbers)

    def _rebuild(self, read_numbers: ReadNumbers = stored_numbers) -> RebuildReport:
        moved: Path | None = None
        earlier: list[dict[str, Any]] = []
        evaluations: list[tuple[Any, ...]] = []
        if self.path.is_file() and is_damaged(self.path):
            earlier, evaluations = earlier_results.rescue_rows(self.path)
            moved = move_aside(self.path)
        with self._writing(prepare=False) as connection:
            create_tables(connection)
            earlier_results.add_rows(connection, earlier)
            _count_evaluations(connection, evaluations)
            records = self._build(connection, read_numbers)
            query = "SELECT log_folder, group_name, run_name FROM earlier_test_result"
            places = connection.execute(query).fetchall()
        problems = tuple(f"{record.row['run_name']}: {record.problem}" for record in records if record.problem)
        folders = tuple(earlier_run_folders(self.log_folder, places))
        return RebuildReport(len(records), len(places), problems, moved, folders)

    # --- reading ----------------------------------------------------------------------------------------

    def runs(self, group_name: str | None = None) -> pd.DataFrame:
        """Return one row per run, of one group or of all."""
        table = self._select("runs", list(RUN_COLUMNS), group_name=group_name)
        table["state"] = [
            # a process that was killed cannot note it, but its lock is gone
            "interrupted" if state == "running" and not is_locked(self.log_folder, group, run) else state
            for state, group, run in zip(table["state"], table["group_name"], table["run_name"], strict=True)
        ]
        return table

    def metrics(
        self, group_name: str | None = None, run_name: str | None = None, *, class_name: str | None = None
    ) -> pd.DataFrame:
        """Return one row per number: ``set_name, class, metric, value, low, high, method, n, reason``.

        A ``class_name`` of "" asks for the numbers of whole sets only.
        """
        conditions = {"group_name": group_name, "run_name": run_name, "class": class_name}
        return self._select("metrics", METRIC_COLUMNS, **conditions)

    def earlier_rows(self, group_name: str | None = None) -> pd.DataFrame:
        """Return the results that the earlier program wrote, in its columns."""
        return self._select("earlier_test_result", TEST_RESULT_COLUMNS, group_name=group_name)

    def earlier_evaluations(self, group_name: str) -> dict[str, tuple[str, str]]:
        """Return stamp and content of what the predictions of a group's earlier runs give, by run."""
        query = "SELECT run_name, stamp, content FROM earlier_evaluations WHERE group_name = ?"
        with self._reading() as connection:
            rows = connection.execute(query, (group_name,)).fetchall()
        return {run: (stamp, content) for run, stamp, content in rows}

    def keep_earlier_evaluations(self, group_name: str, found: Mapping[str, tuple[str, str]]) -> None:
        """Keep stamp and content of what the predictions of a group's earlier runs give, by run."""
        rows = [(group_name, run, *values) for run, values in found.items()]
        with self._writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO earlier_evaluations VALUES (?, ?, ?, ?)", rows)

    def test_results(self) -> pd.DataFrame:
        """Return the view ``test_result`` as clients of the earlier program see it."""
        return self._select("test_result", TEST_RESULT_COLUMNS)

    def test_evaluations(self, test_fingerprint: str) -> int:
        """Return how often a model was evaluated on the images with this fingerprint, as own test or external set."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT count(*) FROM test_evaluations WHERE test_fingerprint = ?", (test_fingerprint,)
            )
            return int(found.fetchone()[0])

    def _select(self, table: str, columns: Sequence[str], **conditions: str | None) -> pd.DataFrame:
        given = {name: value for name, value in conditions.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        order = ", ".join(name for name in METRIC_COLUMNS[:5] if name in columns)
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY {order}"  # noqa: S608
        with self._reading() as connection:
            rows = connection.execute(query, list(given.values())).fetchall()
        return pd.DataFrame.from_records(rows, columns=list(columns))

    # --- opening and building ---------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time move the database aside."""
        self._check_folder()
        folder = self.path.parent / LOCKS
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "index.lock"):
            _LOOKED_OVER.add(self.path.resolve())
            yield

    def _look_over(self) -> None:
        """Make a damaged database anew, once in each process: afterwards damage is an error."""
        if self.path.resolve() in _LOOKED_OVER or not self.path.is_file():
            return
        _LOOKED_OVER.add(self.path.resolve())
        if is_damaged(self.path):
            with self._alone():
                if is_damaged(self.path):  # nobody else has made it anew meanwhile
                    logging.getLogger(__name__).warning("%s", self._rebuild())

    def _check_folder(self) -> None:
        if not self.log_folder.is_dir():
            raise ResultsError(f"There is no log folder {self.log_folder}. Give the right one with --log-folder.")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection:
            if _is_built(connection):
                yield connection
                return
        with self._writing() as connection:  # builds what is missing
            yield connection

    @contextmanager
    def _writing(self, *, prepare: bool = True) -> Iterator[sqlite3.Connection]:
        """Open a transaction; it is committed when the block ends well and leaves no trace otherwise."""
        with self._opened() as connection:
            with suppress(sqlite3.OperationalError):  # some network file systems; the default works there
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            try:
                if prepare:
                    self._prepare(connection)
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.rollback()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _is_built(connection):
            earlier_results.copy_to_csv(connection, self.earlier_csv)
        else:
            self._build(connection)

    def _build(self, connection: sqlite3.Connection, read_numbers: ReadNumbers = stored_numbers) -> list[RunRecord]:
        """Fill the index from what lies in the log folder; earlier rows first, to keep their ids."""
        ids = _ids_of_runs(connection)
        create_tables(connection)
        evaluations = connection.execute("SELECT * FROM test_evaluations").fetchall()
        for table in ("runs", "metrics", "test_evaluations"):  # an older version made them in another form
            connection.execute(f"DROP TABLE {table}")
        create_tables(connection)
        _count_evaluations(connection, evaluations)
        earlier_results.take_over_table(connection)
        earlier_results.forget_copy(connection)
        earlier_results.copy_to_csv(connection, self.earlier_csv)
        create_views(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        records = [read_record(folder, self.log_folder, read_numbers) for folder in run_folders(self.log_folder)]
        for record in sorted(records, key=lambda record: (_key_of(record) not in ids, record.row["finished"] or "~")):
            _put(connection, record, ids.get(_key_of(record)))
        return records

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self._check_folder()
        self._look_over()
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > SCHEMA_VERSION:
                    raise ResultsError(
                        f"The index {self.path} was written by a newer version (its form is {version}; "
                        f"this one knows {SCHEMA_VERSION}). Update the program."
                    )
                yield connection
        except sqlite3.OperationalError as error:
            raise ResultsError(
                f"The index {self.path} cannot be used now: {error}. Close programs that keep it open; "
                "the folder must be writable and the disk not full."
            ) from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a subclass is a mistake of ours, not of the file
                raise
            raise ResultsError(
                f"The index {self.path} is damaged: {error}. 'magg index' makes it anew from the run folders."
            ) from error


def _is_built(connection: sqlite3.Connection) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return bool(version == SCHEMA_VERSION and kind_of(connection, "test_result") == "view")


def _key_of(record: RunRecord) -> tuple[str, str]:
    return record.row["group_name"], record.row["run_name"]


def _ids_of_runs(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return the ids that runs have in an index of any form, by group and run."""
    if kind_of(connection, "runs") != "table":
        return {}
    return {
        (group, run): number for group, run, number in connection.execute("SELECT group_name, run_name, id FROM runs")
    }


def _put(connection: sqlite3.Connection, record: RunRecord, usual_id: int | None = None) -> None:
    """Insert or replace a run and its metrics; a run keeps its id, and gets the usual one where that is free."""
    row, key = record.row, _key_of(record)
    known = connection.execute("SELECT id FROM runs WHERE group_name = ? AND run_name = ?", key).fetchone()
    if known is None and usual_id is not None and not is_taken(connection, usual_id):
        known = (usual_id,)
    values = {**row, "id": known[0] if known else next_id(connection)}
    connection.execute("DELETE FROM runs WHERE group_name = ? AND run_name = ?", key)
    connection.execute("DELETE FROM metrics WHERE group_name = ? AND run_name = ?", key)
    _insert(connection, "runs", list(values), [tuple(values.values())])
    _insert(connection, "metrics", METRIC_COLUMNS, record.metrics)
    _count_evaluations(connection, [(fingerprint, *key, trained) for fingerprint, trained in record.test_evaluations])


def _count_evaluations(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.executemany("INSERT OR IGNORE INTO test_evaluations VALUES (?, ?, ?, ?)", rows)


def _insert(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608
