"""Where the runs of a log folder stand now: the index for their states, the run folders for their progress."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_aggregation.errors import ResultsError
from model_aggregation.names import SINGLE
from model_aggregation.results.index import INDEX_NAME, STATES, Index
from model_aggregation.results.live import LiveState, read_live
from model_aggregation.results.run_folder import RunFolder


@dataclass(frozen=True)
class RunStatus:
    """A run, its state, why it failed, and where it stands or stood; ``live`` is None for those without progress."""

    group: str
    name: str
    model: str | None
    state: str
    reason: str | None
    finished: str | None
    live: LiveState | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def run_statuses(log_folder: Path, name: str | None = None) -> list[RunStatus]:
    """Return the runs of a group, a single run, or without a name all that are not finished; the running ones first.

    Raises
    ------
    ResultsError
        If there is no index, or no group and no run of the name.
    """
    if not (log_folder / INDEX_NAME).is_file():
        raise ResultsError(f"There is no index in {log_folder}: nothing was started there. Give --log-folder.")
    table = Index(log_folder).runs().astype(object)
    rows: list[dict[Any, Any]] = table.where(table.notna(), None).to_dict("records")
    if name is None:
        rows = [row for row in rows if row["state"] != "finished"]
    else:
        groups = [row for row in rows if row["group_name"] == name != SINGLE]
        rows = groups or [row for row in rows if row["run_name"] == name]
        if not rows:
            raise ResultsError(f"There is no comparison and no run '{name}' in {log_folder}.")
    found = [_status(log_folder, row) for row in rows]
    order = ("running", "planned", *(state for state in STATES if state not in ("running", "planned")))
    return sorted(found, key=lambda run: order.index(run.state))


def _status(log_folder: Path, row: dict[Any, Any]) -> RunStatus:
    group, name, state = (str(row[key]) for key in ("group_name", "run_name", "state"))
    folder = RunFolder((log_folder if group == SINGLE else log_folder / group) / name)
    live = read_live(folder.progress_jsonl) if state not in ("planned", "finished") else None
    return RunStatus(group, name, row["model"], state, row["reason"], row["finished"], live)
