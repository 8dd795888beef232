"""How far runs are, asked from another process: magg status."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_aggregation.cli.app import app, say

if TYPE_CHECKING:
    from rich.table import Table

    from model_aggregation.results.status import RunStatus

_WATCH_SECONDS = 2.0


@app.command
def status(
    name: str | None = None, /, *, log_folder: Path = Path("log"), watch: bool = False, json: bool = False
) -> int:
    """Show what is planned, running, finished and failed, with epoch, loss, images/s and time left.

    Parameters
    ----------
    name
        Comparison or single run; default: everything that is not finished.
    log_folder
        Folder that holds all results.
    watch
        Show it anew every two seconds, until nothing is planned or running.
    json
        Print the same as JSON, for programs; with --watch one line each time.
    """
    import json as json_text

    from rich.console import Console
    from rich.live import Live

    from model_aggregation.results.status import run_statuses

    if json:
        while True:
            runs = run_statuses(log_folder, name)
            print(json_text.dumps([run.to_dict() for run in runs], ensure_ascii=False), flush=True)  # noqa: T201
            if not (watch and _goes_on(runs)):
                return 0
            time.sleep(_WATCH_SECONDS)
    runs = run_statuses(log_folder, name)
    if not watch:
        say(_counts(runs))
        if runs:
            say(_table(runs))
        return 0
    with Live(_table(runs), console=Console(emoji=False), auto_refresh=False) as live:
        while _goes_on(runs):
            time.sleep(_WATCH_SECONDS)
            runs = run_statuses(log_folder, name)
            live.update(_table(runs), refresh=True)
    say(_counts(runs))
    return 0


def _goes_on(runs: "list[RunStatus]") -> bool:
    return any(run.state in ("planned", "running") for run in runs)


def _counts(runs: "list[RunStatus]") -> str:
    """Return how many runs are in which state."""
    states = list(dict.fromkeys(run.state for run in runs))
    counts = (f"{sum(run.state == state for run in runs)} {state}" for state in states)
    return f"{len(runs)} runs: {', '.join(counts)}." if runs else "Nothing is planned, running or unfinished."


def _table(runs: "list[RunStatus]") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("run", "state", "epoch", "loss", "accuracy", "images/s", "time left", ""):
        right = heading in ("epoch", "loss", "accuracy", "images/s", "time left")
        table.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for run in runs:
        table.add_row(Text(run.name), run.state, *_cells(run), Text(_remark(run)))
    return table


def _cells(run: "RunStatus") -> list[str]:
    from datetime import timedelta

    live: Any = run.live
    if live is None:
        return [""] * 5
    left = live.seconds_left
    return [
        "" if live.epoch is None else f"{live.epoch}/{live.epochs}",
        "" if live.loss is None else f"{live.loss:.4f}",
        "" if live.accuracy is None else f"{live.accuracy:.3f}",
        "" if live.images_per_second is None else f"{live.images_per_second:.0f}",
        "" if left is None or run.state != "running" else str(timedelta(seconds=round(left))),
    ]


def _remark(run: "RunStatus") -> str:
    """Return what is done now, or why a run ended as it did."""
    if run.state != "running" or run.live is None:
        return run.reason or ""
    counted = f" {int(run.live.done or 0)}/{run.live.total}" if run.live.total and run.live.epoch is None else ""
    return run.live.phase + counted
