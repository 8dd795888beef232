"""What stands in one row of a leaderboard: a run, the seeds or folds of a model, or a result of the earlier program.

Nothing is averaged over what failed or is missing: then the row has no number and a reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from model_aggregation.names import parent_name
from model_aggregation.results.tables import plain_rows

Row = dict[str, Any]

Numbers = Mapping[tuple[str, str], Mapping[str, Any]]
"""Of one run, by set and metric: value, low, high, n, reason."""

_UNFINISHED = ("running", "failed", "interrupted", "stopped", "planned")
"""The state of several runs is the first of these that one of them has."""

EARLIER_AUC = "earlier_program_auc"
"""The column of what the earlier program called AUC: a sum of rectangles, never ranked and never shown as an AUC."""

EARLIER = "result of the earlier program: not ranked, no validation values"
EARLIER_CUTOFF = "its cutoff was chosen on the test images, so its decisions are exploratory"
EARLIER_FOLDER = "run folder of the earlier program without a result in the index"
_ROUNDING = 1e-6

_FACTS = ("state", "reason", "seed", "fold", "folds", "part_of", "cutoff_source")
_EFFORT = ("train_seconds", "test_images_per_second", "parameters")


@dataclass(frozen=True, eq=False)
class ModelRuns:
    """The runs of one model in a comparison: a single one, or one for each seed or fold.

    Parameters
    ----------
    name
        What the names of its runs have in common.
    trained
        The runs that were trained.
    pooled
        The runs that hold the out-of-fold predictions of a seed; none without folds.
    """

    name: str
    trained: tuple[Row, ...]
    pooled: tuple[Row, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether this is one run and no fold."""
        return len(self.trained) == 1 and not self.has_folds

    @property
    def has_folds(self) -> bool:
        """Whether the model was cross-validated."""
        return bool(self.pooled) or any(run["fold"] is not None for run in self.trained)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(sorted({run["seed"] for run in (*self.trained, *self.pooled) if run["seed"] is not None}))

    @property
    def averages_seeds(self) -> bool:
        """Whether the result is a mean over seeds."""
        return not self.is_single and len(self.seeds) > 1

    @property
    def run_name(self) -> str:
        """The run that holds the result; of several seeds what their names have in common."""
        if self.averages_seeds:
            return self.name
        return str(self.tested[0]["run_name"]) if self.tested else str(self.trained[0]["part_of"])

    @property
    def tested(self) -> tuple[Row, ...]:
        """The runs whose test numbers are the result: the pooled ones, without folds those of the seeds."""
        return self.pooled if self.has_folds else self.trained


def model_runs(runs: Sequence[Row]) -> list[ModelRuns]:
    """Put the runs of a group together that are seeds or folds of one model, by what they say they are part of."""
    above = {run["part_of"]: _part_of_pooled(run) for run in runs if run["fold"] is not None}
    above |= {run["run_name"]: run["part_of"] for run in runs if run["part_of"]}
    pooled = {run["part_of"] for run in runs if run["fold"] is not None}
    pooled |= {run["run_name"] for run in runs if run["folds"] is not None and run["fold"] is None}
    members: dict[tuple[str, bool], list[Row]] = {}
    for run in runs:
        name = _top(run, above)
        stands_alone = run["run_name"] not in above and run["run_name"] not in pooled
        members.setdefault((name, stands_alone), []).append(run)
    return [
        ModelRuns(
            name,
            tuple(run for run in parts if run["run_name"] not in pooled),
            tuple(run for run in parts if run["run_name"] in pooled),
        )
        for (name, _), parts in members.items()
    ]


def _part_of_pooled(fold: Row) -> str | None:
    """Return what the pooled run of a fold is part of; one that failed or was not begun cannot say it itself."""
    return parent_name(fold["part_of"], str(fold["model"]), fold["seed"] or 0, None) if fold["part_of"] else None


def _top(run: Row, above: Mapping[str | None, str | None]) -> str:
    """Return the name at the end of the chain: fold → its seed's pooled run → what the seeds have in common."""
    names = [str(run["run_name"])]
    while (name := above.get(names[-1])) and name not in names:
        names.append(name)
    return names[-1]


def model_row(model: ModelRuns, numbers: Mapping[str, Numbers], primary: str, shown: Sequence[str]) -> Row:
    """Return the row of a model: its only run, its folds pooled, or the mean over its seeds."""
    if model.is_single:
        only = model.trained[0]
        return run_row(only, numbers.get(only["run_name"], {}), primary, shown)
    runs = (*model.trained, *model.pooled)
    unfinished = [run for run in runs if run["state"] != "finished"]
    row: Row = {
        "run_name": model.run_name,
        "model": next((run["model"] for run in runs if run["model"]), None),
        "state": min((run["state"] for run in unfinished), key=_UNFINISHED.index, default="finished"),
        "folds": next((run["folds"] for run in runs if run["folds"] is not None), None),
        "train_seconds": _total(run["train_seconds"] for run in model.trained),
        "test_images_per_second": _mean(run["test_images_per_second"] for run in model.tested),
        "parameters": _same(run["parameters"] for run in runs),
    }
    if model.averages_seeds:
        row["seeds"] = len(model.seeds)
    missing = list(_missing(model, row["folds"]))
    if unfinished:
        said = (
            f"{run['run_name']} {run['state']}" + (f": {run['reason']}" * bool(run["reason"])) for run in unfinished
        )
        row["reason"] = "; ".join([f"{len(runs) - len(unfinished)} of {len(runs)} runs finished", *said])
        return row
    reasons = [*missing, *(f"{run['run_name']}: {run['reason']}" for run in model.trained if run["reason"])]
    if not missing:
        row[f"{primary}_val"] = _mean(_value(numbers, run, "val", primary) for run in model.trained)
    if model.averages_seeds:
        if not missing:
            row |= _seed_numbers(model, numbers, shown, reasons)
    elif model.pooled:
        own = numbers.get(model.run_name, {})
        row |= _test_numbers(model.pooled[0], own, shown, reasons)
        if not missing:
            row |= _fold_numbers(model, numbers, shown, reasons)
    row["reason"] = "; ".join(reasons) or None
    return row


def _missing(model: ModelRuns, folds: int | None) -> Iterator[str]:
    """Yield what a mean over the runs would leave out."""
    if not model.has_folds:
        return
    expected = (folds or 0) * max(1, len(model.seeds))
    if len(model.trained) != expected:
        yield f"{len(model.trained)} of {expected} folds are there"
    if len(model.pooled) != max(1, len(model.seeds)):
        yield f"{len(model.pooled)} of {max(1, len(model.seeds))} pooled results are there"


def _seed_numbers(model: ModelRuns, numbers: Mapping[str, Numbers], shown: Sequence[str], reasons: list[str]) -> Row:
    row: Row = {"cutoff_source": _same(run["cutoff_source"] for run in model.tested)}
    row["n_test"] = _same(_entry(numbers, run, "test", "accuracy").get("n") for run in model.tested)
    for name in shown:
        values = [_value(numbers, run, "test", name) for run in model.tested]
        row |= {name: _mean(values), f"{name}_sd": _deviation(values)}
        undefined = [run for run, value in zip(model.tested, values, strict=True) if value is None]
        if why := next((why for run in undefined if (why := _entry(numbers, run, "test", name).get("reason"))), None):
            reasons.append(f"{name}: undefined for {len(undefined)} of {len(values)} seeds: {why}")
    if untested := [run["run_name"] for run in model.tested if not run["tested"]]:
        reasons.append(f"not tested: {', '.join(untested)}")
    return row


def _fold_numbers(model: ModelRuns, numbers: Mapping[str, Numbers], shown: Sequence[str], reasons: list[str]) -> Row:
    row: Row = {}
    for name in shown:
        values = [_value(numbers, run, "test", name) for run in model.trained]
        row |= {f"{name}_fold_mean": _mean(values), f"{name}_fold_sd": _deviation(values)}
        if 0 < values.count(None) < len(values):
            reasons.append(f"{name} over folds: undefined for {values.count(None)} of {len(values)}")
    return row


def run_row(run: Row, numbers: Numbers, primary: str, shown: Sequence[str]) -> Row:
    """Return the row of one run; an unfinished one shows no number, it may still carry those of an earlier attempt."""
    row = {name: run[name] for name in ("run_name", "model", *_FACTS, *_EFFORT)}
    reasons = [run["reason"]] if run["reason"] else []
    if run["state"] == "finished":
        row[f"{primary}_val"] = numbers.get(("val", primary), {}).get("value")
        row |= _test_numbers(run, numbers, shown, reasons)
    row["reason"] = "; ".join(reasons) or None
    return row


def _test_numbers(run: Row, numbers: Numbers, shown: Sequence[str], reasons: list[str]) -> Row:
    row: Row = {
        "cutoff": numbers.get(("test", "cutoff"), {}).get("value"),
        "cutoff_source": run["cutoff_source"],
        "n_test": numbers.get(("test", "accuracy"), {}).get("n"),
    }
    for name in shown:
        entry = numbers.get(("test", name), {})
        row |= {name: entry.get("value"), f"{name}_low": entry.get("low"), f"{name}_high": entry.get("high")}
        if entry.get("value") is None and entry.get("reason"):
            reasons.append(f"{name}: {entry['reason']}")
    if not run["tested"]:
        reasons.append("not tested")
    return row


def earlier_row(run: Row, shown: Sequence[str], metrics: Mapping[str, Any], reason: str | None) -> Row:
    """Return the row of a result of the earlier program.

    Its AUC is that of its predictions, and never what the earlier program called so. A number that its predictions
    give too has their interval; one that they do not give stays as it was reported.

    Parameters
    ----------
    run
        Its row of the database; without numbers where it has none.
    metrics
        What its predictions give, as one set of ``metrics.json``; empty with the ``reason`` why.
    """
    reported = {**run, "balanced_accuracy": run.get("blanced_accuracy"), "auc": None}
    cutoff, reported_auc = run.get("cutoff"), run.get("auc")
    row: Row = {
        "state": "earlier",
        "run_name": run["run_name"],
        "cutoff": cutoff,
        "cutoff_source": None if cutoff is None else "test",
        "n_test": metrics.get("n"),
        EARLIER_AUC: reported_auc,
    }
    reasons = [EARLIER if "id" in run else EARLIER_FOLDER]
    differing = False
    for name in shown:
        entry, stored = metrics.get(name) or {}, reported.get(name)
        value = entry.get("value")
        if stored is None or (value is not None and abs(value - stored) <= _ROUNDING):
            row |= {name: value, f"{name}_low": entry.get("low"), f"{name}_high": entry.get("high")}
        else:
            row[name] = stored
            differing |= value is not None
    if cutoff is not None:
        reasons.append(EARLIER_CUTOFF)
    if reported_auc is not None:
        reasons.append(f"AUC as the earlier program reported it: {reported_auc:.3f}, a sum of rectangles")
    if differing:
        reasons.append("numbers without an interval are not what its predictions give at its cutoff")
    row["reason"] = "; ".join([*reasons, *([reason] if reason else [])])
    return row


def plain_records(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table by column, missing values as None."""
    return [dict(zip(table.columns, row, strict=True)) for row in plain_rows(table)]


def numbers_by_run(metrics: pd.DataFrame) -> dict[str, dict[tuple[str, str], Row]]:
    """Return the rows of a table of metrics by run, then by set and metric."""
    numbers: dict[str, dict[tuple[str, str], Row]] = {}
    for row in plain_records(metrics):
        numbers.setdefault(row["run_name"], {})[row["set_name"], row["metric"]] = row
    return numbers


def _entry(numbers: Mapping[str, Numbers], run: Row, set_name: str, metric: str) -> Mapping[str, Any]:
    return numbers.get(run["run_name"], {}).get((set_name, metric), {})


def _value(numbers: Mapping[str, Numbers], run: Row, set_name: str, metric: str) -> float | None:
    return _entry(numbers, run, set_name, metric).get("value")


def _known(values: Iterable[float | None]) -> list[float]:
    """Return the values, or none of them when one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None


def _deviation(values: Iterable[float | None]) -> float | None:
    """Return the standard deviation with n − 1; of one value there is none."""
    known = _known(values)
    return stdev(known) if len(known) > 1 else None


def _total(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) if known else None


def _same(values: Iterable[Any]) -> Any:
    found = set(values)
    return found.pop() if len(found) == 1 else None
