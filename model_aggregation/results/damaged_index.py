"""An index that is damaged: finding out, and moving it aside so that a new one can be made."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from model_aggregation.errors import ResultsError

_BUSY_SECONDS = 60.0


def is_damaged(path: Path) -> bool:
    """Return whether SQLite finds the file damaged.

    Raises
    ------
    ResultsError
        If it cannot be read now.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone()[0] != "ok")
    except sqlite3.OperationalError as error:
        raise ResultsError(f"The index {path} cannot be read now: {error}.") from error
    except sqlite3.DatabaseError:
        return True


def move_aside(path: Path) -> Path:
    """Rename the database and what belongs to it: a journal left behind would spoil its successor."""
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S_%f")
    target = path.with_name(f"analyze_record.damaged_{stamp}.db")
    try:
        path.rename(target)
        for ending in ("-wal", "-shm", "-journal"):
            left = path.with_name(path.name + ending)
            if left.exists():
                left.rename(target.with_name(target.name + ending))
    except OSError as error:
        raise ResultsError(f"{path} cannot be moved aside: {error}. Close what has it open.") from error
    return target
