"""What is written down about runs beside their folders: the index and reports, by the process that leads alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.plan import Plan
from model_aggregation.progress import Reporter
from model_aggregation.results.index import Index
from model_aggregation.results.index_schema import Part
from model_aggregation.results.locks import is_locked
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import PoolPlan, RunPlan


@dataclass(frozen=True)
class Record:
    """The index of the log folder. It can be rebuilt, so its troubles are said and end no run."""

    index: Index
    reporter: Reporter

    def planned(self, plan: Plan) -> None:
        """Note every run that is to be done; those that are finished or in other hands stay as they are."""
        for item in plan.all_runs:
            taken = is_locked(plan.log_folder, item.group_name, item.run_name)
            if not taken and not RunFolder(item.folder).finished:
                self.state(item, "planned")

    def state(self, item: RunPlan | PoolPlan, state: str) -> None:
        """Note the state of a run that has no results yet."""
        with self._said():
            settings = item.settings
            part = Part(item.part_of, settings.seed, settings.fold, settings.folds)
            self.index.set_state(item.run_name, item.group_name, state, model=str(item.model), part=part)

    def result(self, item: RunPlan | PoolPlan) -> None:
        """Take over what the run folder says."""
        with self._said():
            self.index.record(item.folder)

    def report(self, folder: Path) -> None:
        """Write the tables of a run or a comparison; they can be made again, so their troubles end nothing."""
        from model_aggregation.analysis.groups import write_tables  # when a run ends, not before the first begins

        try:
            write_tables(folder)
        except (ModelAggregationError, OSError) as error:
            self.reporter.message(f"  its report was not written (make it with magg report): {error}")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except ResultsError as error:
            self.reporter.message(f"  the index was not written (make it anew with magg index): {error}")
