"""What the first visitor would wait for, done while the browser still opens."""

from contextlib import suppress

from model_aggregation.errors import ResultsError
from model_aggregation.viewer.reading import LogReader


def warm(reader: LogReader) -> None:
    """Read what changed last, as a visitor would; with it comes what the statistics and curves import.

    What cannot be read here is told by its page.
    """
    with suppress(ResultsError):
        row = max(reader.groups().rows, key=lambda row: row.changed or "", default=None)
        if row is None:
            return
        run = row.run
        if run is None:
            board = reader.leaderboard(row.group)
            finished = board.table["run_name"][board.table["has_folder"].astype(bool)]
            run = next((board.compared_runs.get(name, name) for name in finished), None)
        if run is not None:
            reader.curves(row.group, run)
