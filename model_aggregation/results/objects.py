"""Runs and groups as Python objects, for notebooks: everything comes back as plain values or DataFrames."""

from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.names import SINGLE
from model_aggregation.results.leaderboard import VALIDATION, leaderboard
from model_aggregation.results.run_folder import RunFolder


class Run:
    """One run, read from its folder."""

    def __init__(self, path: Path | str) -> None:
        self.folder = RunFolder(Path(path))
        if not self.folder.path.is_dir():
            raise ResultsError(f"There is no run folder {self.folder.path}.")

    def __repr__(self) -> str:
        return f"Run({self.name!r}, model={self.model!r}, state={self.state!r})"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def model(self) -> str | None:
        """The model, such as ``torchvision:resnet18``; None where it was not written down."""
        if not self.folder.environment_json.is_file():
            return None
        return self.folder.read_environment().get("model")

    @property
    def state(self) -> str:
        """``finished``, ``failed`` or ``interrupted``."""
        return self.folder.state()

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Return every number: one object per set, in it one per metric with value and interval.

        Raises
        ------
        ResultsError
            If the run is not finished; the reason is given.
        """
        self._need_finished()
        return self.folder.read_metrics()

    def metrics_table(self) -> pd.DataFrame:
        """Return the same numbers as a tidy table, one row each."""
        self._need_finished()
        return self.folder.read_metrics_table()

    def predictions(self, set_name: str = "test") -> pd.DataFrame:
        """Return ``path, correct_label`` and one column of probabilities per class."""
        return self.folder.read_predictions(set_name)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the run as plain values."""
        return self.folder.read_settings()

    def _need_finished(self) -> None:
        if not self.folder.finished:
            reason = self.folder.failure_reason()
            raise ResultsError(f"The run {self.name} is {self.state}" + (f": {reason}" if reason else "."))


class Group:
    """The runs of one comparison.

    >>> Group("log", "lungs").path.as_posix()
    'log/lungs'
    """

    def __init__(self, log_folder: Path | str, name: str) -> None:
        self.log_folder = Path(log_folder)
        self.name = name

    def __repr__(self) -> str:
        return f"Group({str(self.log_folder)!r}, {self.name!r}, {len(self.runs)} runs)"

    @property
    def path(self) -> Path:
        """The folder that holds the run folders; for ``single`` the log folder itself."""
        return self.log_folder if self.name == SINGLE else self.log_folder / self.name

    @property
    def runs(self) -> list[Run]:
        """The runs that have a folder, in the order of their names."""
        if not self.path.is_dir():
            return []
        return [Run(path) for path in sorted(self.path.iterdir()) if path.is_dir() and RunFolder(path).exists]

    def leaderboard(self, *, members: bool = False) -> pd.DataFrame:
        """Return the ranking; see :func:`model_aggregation.results.leaderboard.leaderboard`."""
        return leaderboard(self.log_folder, self.name, members=members)

    @property
    def best(self) -> Run | None:
        """The best run on validation images, of equal ones the first by name; None where there is no ranking.

        Of a model with several seeds it is the run of the first: seeds are repetitions, nothing is chosen among them.
        A ranking by test numbers chooses nothing: it is exploratory.
        """
        table = self.leaderboard()
        first = table[table["rank"] == 1]
        if table.attrs["basis"] != VALIDATION or first.empty:
            return None
        name = first["run_name"].iloc[0]
        return Run(self.path / table.attrs["compared_runs"].get(name, name))
