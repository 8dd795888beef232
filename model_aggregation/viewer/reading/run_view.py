"""One run folder as a page needs it: each file read for itself, what cannot be read becomes a note."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.results.earlier_evaluation import NO_PREDICTIONS, EarlierEvaluation, earlier_evaluations
from model_aggregation.results.earlier_runs import earlier_cutoff, earlier_positive
from model_aggregation.results.live import read_live
from model_aggregation.results.locks import is_locked
from model_aggregation.results.records import cutoff_value
from model_aggregation.results.run_folder import RunFolder, is_traceback, reason_line
from model_aggregation.results.tables import read_text
from model_aggregation.viewer.reading.catalog import Entry
from model_aggregation.viewer.reading.group_list import time_text
from model_aggregation.viewer.reading.links import refuse_link_outside
from model_aggregation.viewer.reading.log_index import LogIndex
from model_aggregation.viewer.reading.run_numbers import Numbers, numbers_of_run
from model_aggregation.viewer.reading.views import FileEntry, Progress, RunView

_KINDS = {
    ".csv": "table", ".xlsx": "sheet", ".png": "picture", ".svg": "picture", ".pdf": "picture", ".txt": "text",
    ".md": "text", ".json": "text", ".yaml": "settings", ".py": "settings", ".pth": "weights",
}  # fmt: skip
SUBFOLDERS = ("models", "report", "report/figures")
"""Folders of a run folder whose files may be read."""

_TAIL_BYTES = 64 * 1024
_STATUS_LINES = 200

Value = TypeVar("Value")


def no_values() -> dict[str, Any]:
    """Return what stands for a file that could not be read."""
    return {}


class Reading:
    """Reads file after file and collects what could not be read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def of(self, path: Path, read: Callable[[], Value], otherwise: Value) -> Value:
        """Return what ``read`` returns; ``otherwise`` when the file is missing or, with a note, damaged."""
        if not path.is_file():
            return otherwise
        try:
            refuse_link_outside(path)
            return read()
        except (ResultsError, OSError, UnicodeError) as error:
            self.notes.append(str(error))
            return otherwise

    def numbers(self, folder: RunFolder) -> dict[str, Any]:
        """Return the numbers of a run, with notes where they are not as it wrote them; empty when there are none."""
        nothing: Numbers = (no_values(), ())
        metrics, remarks = self.of(folder.metrics_json, lambda: numbers_of_run(folder), nothing)
        self.notes += remarks
        return metrics


def read_run(index: LogIndex, entry: Entry) -> RunView:
    """Return what a run folder and the index hold of a run."""
    sql = "SELECT state, reason, model FROM runs WHERE group_name = ? AND run_name = ?"
    rows, notes = index.ask(lambda found: found.query(sql, (entry.group, entry.run)))
    row = dict(zip(("state", "reason", "model"), rows[0], strict=True)) if rows else {}
    if row.get("state") == "running" and not is_locked(index.log_folder, entry.group, entry.run):
        row["state"] = "interrupted"
    evaluation, earlier = EarlierEvaluation(), entry.earlier
    if earlier is not None:
        found, _ = index.ask(lambda found: earlier_evaluations(found, entry.group, [earlier]))
        evaluation = found[entry.run]
    view = run_view(entry, row, evaluation)
    return replace(view, notes=(*view.notes, *notes))


def run_view(entry: Entry, row: Mapping[str, Any], evaluation: EarlierEvaluation) -> RunView:
    """Return what a run folder holds.

    Parameters
    ----------
    row
        The run's row of the index, empty where there is none.
    evaluation
        What the predictions of a run of the earlier program give; empty for ours.
    """
    reading = Reading()
    if entry.folder is None or not entry.folder.is_dir():
        reading.notes.append(f"The folder of the run {entry.run} is gone; this is what the index says.")
    folder = entry.run_folder
    environment = reading.of(folder.environment_json, folder.read_environment, no_values())
    metrics = reading.numbers(folder)
    settings = reading.of(folder.settings_yaml, folder.read_settings, no_values())
    metrics = metrics or ({"test": dict(evaluation.metrics)} if evaluation.metrics else {})
    error = reading.of(folder.error_txt, folder.read_error, "")
    if evaluation.reason not in (None, NO_PREDICTIONS):
        reading.notes.append(str(evaluation.reason))
    files = files_of(folder.path)
    return RunView(
        group=entry.group,
        name=entry.run,
        path=str(entry.folder or ""),
        model=environment.get("model") or row.get("model") or _text(settings.get("model_name")),
        state=_state(entry, row, folder),
        reason=row.get("reason") or (reason_line(error) if error else None),
        settings=settings,
        settings_text=reading.of(folder.settings_yaml, lambda: read_text(folder.settings_yaml), ""),
        environment=environment,
        metrics=metrics,
        metrics_table=reading.of(folder.metrics_csv, folder.read_metrics_table, pd.DataFrame()),
        history=_history(environment),
        classes=tuple(map(str, environment.get("classes") or evaluation.classes)),
        positive=positive_class(environment, metrics, settings),
        cutoff=earlier_cutoff_of(entry, evaluation.classes) if entry.earlier else stored_cutoff(metrics, "test"),
        sets=sets_of(folder),
        files=files,
        status=_status_lines(reading, folder.status_txt),
        error=error,
        error_is_traceback=is_traceback(error),
        methods=_methods(reading, folder),
        earlier=entry.row,
        members=tuple(map(str, environment.get("members") or ())),
        part_of=_text(environment.get("part_of")),
        notes=tuple(reading.notes),
    )


def _state(entry: Entry, row: Mapping[str, Any], folder: RunFolder) -> str:
    return "earlier" if entry.origin == "earlier" else row.get("state") or folder.state()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def positive_class(
    environment: Mapping[str, Any], metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> str | None:
    """Return the positive class of two."""
    found = [environment.get("positive"), *(_dict(content).get("positive") for content in metrics.values())]
    return next((str(name) for name in (*found, earlier_positive(settings)) if name is not None), None)


def stored_cutoff(metrics: Mapping[str, Any], set_name: str) -> float | None:
    """Return the cutoff that was applied to a set, as in ``metrics.json``; pooled folds may have no common one."""
    return cutoff_value(_dict(_dict(metrics.get(set_name)).get("cutoff")))


def earlier_cutoff_of(entry: Entry, classes: Sequence[str]) -> float | None:
    """Return the cutoff that the earlier program stored for a run; None with other than two classes."""
    found = earlier_cutoff(entry.run_folder, entry.row) if len(classes) in (0, 2) else None
    return None if found is None else found.value


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _history(environment: Mapping[str, Any]) -> pd.DataFrame:
    rows = environment.get("history")
    return pd.DataFrame([row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else [])


def sets_of(folder: RunFolder) -> tuple[str, ...]:
    """Return the sets with predictions: ``val``, ``test``, then the others by name.

    The earlier program may have left the predicted labels alone.
    """
    pattern = re.compile(rf"{re.escape(folder.name)}_(\w+?)(?:_p)?\.csv")
    with suppress(OSError):
        names = {match[1] for path in folder.path.iterdir() if (match := pattern.fullmatch(path.name))}
        names = {name for name in names if not name.endswith(("_roc", "_cm", "_images"))}
        own = [name for name in ("val", "test") if name in names]
        external = folder.external_sets()
        return (*own, *(name for name in sorted(names) if name in external))
    return ()


def files_of(folder: Path) -> tuple[FileEntry, ...]:
    """Return the files of a run folder, or of a group's, that may be read."""
    found: list[FileEntry] = []
    for place in (folder, *(folder / name for name in SUBFOLDERS)):
        with suppress(OSError):
            for path in sorted(place.iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    status = path.stat()
                    name = path.relative_to(folder).as_posix()
                    kind = _KINDS.get(path.suffix.lower(), "other")
                    found.append(FileEntry(name, status.st_size, kind, time_text(status.st_mtime)))
    return tuple(found)


def _status_lines(reading: Reading, path: Path, lines: int = _STATUS_LINES) -> tuple[str, ...]:
    return reading.of(path, lambda: tail(path, lines), ())


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Return the last lines of a text in UTF-8 or cp932, of a long one only its last 64 KiB."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        data = file.read()
    if size > _TAIL_BYTES:
        data = data.partition(b"\n")[2]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp932", errors="replace")
    return tuple(text.splitlines()[-lines:])


def _methods(reading: Reading, folder: RunFolder) -> str:
    path = folder.path / "report" / "methods.md"
    return reading.of(path, lambda: read_text(path), "")


def progress_of(entry: Entry, state: str, lines: int) -> Progress:
    """Return where a run stands by its status file; a missing file is no line."""
    if entry.folder is None:
        return Progress(entry.run, state, ())
    folder = RunFolder(entry.folder)
    live = read_live(folder.progress_jsonl)
    return Progress(entry.run, state, _status_lines(Reading(), folder.status_txt, lines), live)
