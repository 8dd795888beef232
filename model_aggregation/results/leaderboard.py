"""The ranking of a group's models, failed runs too, as a table and as a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError, SettingsError
from model_aggregation.files import write_csv, write_json
from model_aggregation.names import SINGLE
from model_aggregation.results.earlier_evaluation import Count, EarlierEvaluation, earlier_evaluations
from model_aggregation.results.earlier_runs import EarlierRun, earlier_runs
from model_aggregation.results.index import Index
from model_aggregation.results.index_schema import NUMBER_COLUMNS
from model_aggregation.results.leaderboard_rows import (
    EARLIER_AUC,
    ModelRuns,
    Numbers,
    Row,
    earlier_row,
    model_row,
    model_runs,
    numbers_by_run,
    plain_records,
    run_row,
)
from model_aggregation.results.rank_sets import StoredRankSets, TestedRun, read_rank_sets
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import plain_rows, write_sheet

VALIDATION, TEST = "validation", "test (exploratory)"

TWO_CLASS_METRICS = ("auc", "balanced_accuracy", "sensitivity", "specificity", "accuracy", "f1", "precision")
MORE_CLASS_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
MORE_CLASS_EXTRA = ("weighted_f1", "macro_auc", "hand_till_auc", "mcc")

LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
_WHOLE_NUMBERS = (*("rank", "rank_set_low", "rank_set_high", "n_test", "parameters", "seed", "seeds", "fold", "folds"),)


def leaderboard(
    log_folder: Path | Index,
    group: str,
    *,
    members: bool = False,
    earlier_folders: Sequence[EarlierRun] = (),
    count: Count | None = None,
) -> pd.DataFrame:
    """Return one row per model of a group, ranked by the primary metric on validation images.

    Test metrics stand in three columns each: ``auc``, and its 95 % interval ``auc_low``, ``auc_high``. Models with
    equal values share a rank; those without a value have none and say why in ``reason``.

    A cross-validated model shows its pooled out-of-fold numbers, with their interval, beside mean and SD over the
    folds, ``auc_fold_mean`` and ``auc_fold_sd``. A model with several seeds shows the mean over its ``seeds`` and
    ``auc_sd``, their SD (n - 1; with folds, over the pooled result of each seed), and no interval: seeds are not
    pooled. ``run_name`` is then what the names of its runs have in common. Both are ranked by the mean of the
    validation values of all their runs. Where a run is missing or failed there is no number: nothing is averaged
    over the rest. ``train_seconds`` is the sum over the runs. These columns are there where a model needs them.

    ``rank_set_low`` and ``rank_set_high``, the simultaneous rank set on the test images, come from the report of the
    comparison and are empty when that is not about these results; of several seeds the first was compared.

    A result of the earlier program is never ranked. Its ``auc`` is that of its predictions, empty without them; what
    the earlier program called so, a sum of rectangles, stands in ``earlier_program_auc`` alone.

    ``attrs`` carries ``group``, ``primary_metric``, ``basis`` (``validation``, or ``test (exploratory)`` when no run
    has validation images), ``test_evaluations`` (how often these test images were evaluated, in all groups),
    ``labels`` (columns that are no independent result), ``warnings``, ``metrics`` (those with an interval),
    ``rank_sets`` (how many models cannot be distinguished from the best, or why that is not known) and
    ``compared_runs`` (by ``run_name`` of a model with several seeds: the run of its first).

    Parameters
    ----------
    members
        Show every run, also single seeds and folds, in a row of its own with ``seed``, ``fold``, ``folds`` and
        ``part_of``; none is ranked.
    earlier_folders
        Runs of the earlier program without a result in the index, to be shown too.
    count
        Told how far the evaluation of earlier runs is, which is done once.

    Raises
    ------
    ResultsError
        If there is no such group, or the index is damaged.
    """
    index = log_folder if isinstance(log_folder, Index) else Index(log_folder)
    found = _read(index, group, earlier_folders, count)
    sets = _rank_sets(index, group, found)
    table = pd.DataFrame(_rows(found, sets, members=members), columns=_columns(found, members=members))
    basis = _basis(table, found.primary)
    table = _sorted_members(table) if members else _ranked(table, found.primary, basis)
    table.attrs = {"group": group, "basis": basis, "rank_sets": sets.sentence, **_about(index, found, basis)}
    return table


def _about(index: Index, found: "_Found", basis: str) -> dict[Any, Any]:
    return {
        "primary_metric": found.primary,
        "test_evaluations": _count_evaluations(index, found),
        "labels": {f"{found.primary}_val": "used for choosing"} | ({"rank": "exploratory"} if basis == TEST else {}),
        "warnings": found.warnings,
        "metrics": found.shown,
        "compared_runs": found.compared_runs,
    }


@dataclass(frozen=True, eq=False)
class _Found:
    """What the index holds of a group."""

    models: list[ModelRuns]
    numbers: Mapping[str, Numbers]
    earlier: list[Row]
    evaluations: Mapping[str, EarlierEvaluation]
    primary: str
    shown: list[str]
    warnings: list[str]

    @property
    def tested(self) -> list[Row]:
        """The runs whose test numbers are results: no single fold."""
        return [run for model in self.models for run in model.tested if run["tested"]]

    @cached_property
    def compared_runs(self) -> dict[str, str]:
        """The run of the first seed, by the name of the model with several."""
        averaged = [model for model in self.models if model.averages_seeds and model.tested]
        return {model.name: min(model.tested, key=_seed)["run_name"] for model in averaged}


def _seed(run: Row) -> int:
    return int(run["seed"] or 0)


def _read(index: Index, group: str, earlier_folders: Sequence[EarlierRun], count: Count | None) -> _Found:
    table, earlier = index.runs(group), index.earlier_rows(group)
    if table.empty and earlier.empty and not earlier_folders:
        names = [*index.runs()["group_name"], *index.earlier_rows()["group_name"]]
        raise ResultsError(f"There is no group '{group}' in {index.log_folder}; {nearest(group, sorted(set(names)))}")
    numbers = numbers_by_run(index.metrics(group, class_name=""))
    runs, old = [_whole(row) for row in plain_records(table)], plain_records(earlier)
    earlier_ones = [*earlier_runs(index.log_folder, old), *earlier_folders]
    evaluations = earlier_evaluations(index, group, earlier_ones, count)
    old += [{"run_name": run.name} for run in earlier_folders]
    warnings: list[str] = []
    many = _has_many_classes(runs, old, evaluations)
    primary = _primary_metric(runs, warnings, many=many)
    if any(run["cutoff_source"] == "test" for run in runs):
        warnings.append("cutoffs were chosen on the test images: what depends on them is exploratory")
    shown = _shown_metrics(numbers, primary, many=many)
    return _Found(model_runs(runs), numbers, old, evaluations, primary, shown, warnings)


def _whole(run: Row) -> Row:
    """Return a run with whole numbers as such: a column with gaps holds floats."""
    whole = ("seed", "fold", "folds", "parameters")
    return {**run, **{name: None if run[name] is None else int(run[name]) for name in whole}}


def _rows(found: _Found, sets: StoredRankSets, *, members: bool) -> list[Row]:
    rows = [*_run_rows(found, members=members), *_earlier_rows(found)]
    for row in rows:
        name = row["run_name"]
        row["rank_set_low"], row["rank_set_high"] = sets.ranks.get(found.compared_runs.get(name, name), (None, None))
    return rows


def _run_rows(found: _Found, *, members: bool) -> list[Row]:
    if not members:
        return [model_row(model, found.numbers, found.primary, found.shown) for model in found.models]
    runs = [run for model in found.models for run in (*model.trained, *model.pooled)]
    return [run_row(run, found.numbers.get(run["run_name"], {}), found.primary, found.shown) for run in runs]


def _earlier_rows(found: _Found) -> Iterator[Row]:
    for row in found.earlier:
        evaluation = found.evaluations[str(row["run_name"])]
        yield earlier_row(row, found.shown, evaluation.metrics, evaluation.reason)


def _rank_sets(index: Index, group: str, found: _Found) -> StoredRankSets:
    if group == SINGLE:
        return StoredRankSets()
    others = {run["run_name"] for model in found.models if model.averages_seeds for run in model.tested}
    others -= set(found.compared_runs.values())
    folder = index.log_folder / group
    runs = [
        TestedRun(
            RunFolder(folder / run["run_name"]),
            run["test_fingerprint"],
            found.numbers.get(run["run_name"], {}).get(("test", found.primary), {}).get("value"),
        )
        for run in found.tested
        if run["state"] == "finished" and run["run_name"] not in others
    ]
    sets = read_rank_sets(folder, runs, found.primary)
    if sets.ranks and found.compared_runs:
        return replace(sets, sentence=f"{sets.sentence}; of several seeds the first was compared")
    return sets


def _has_many_classes(
    runs: Sequence[Row], earlier: Sequence[Row], evaluations: Mapping[str, EarlierEvaluation]
) -> bool:
    """Tell whether there are three classes or more; the earlier program then wrote the accuracy alone."""
    numbers = [run["number_of_classes"] for run in runs if run["number_of_classes"] is not None]
    known = {name for row in earlier for name in NUMBER_COLUMNS if row.get(name) is not None}
    if not numbers and not known:
        numbers = [len(found.classes) for found in evaluations.values()]
    if numbers:
        return max(numbers) > 2
    return known == {"accuracy"}


def _primary_metric(runs: Sequence[Row], warnings: list[str], *, many: bool) -> str:
    declared = sorted({run["primary_metric"] for run in runs if run["primary_metric"]})
    if len(declared) == 1:
        return str(declared[0])
    chosen = usual_metric([3 if many else 2])
    if declared:
        warnings.append(f"the runs declare different primary metrics ({', '.join(declared)}); ranked by {chosen}")
    return chosen


def usual_metric(numbers_of_classes: Iterable[int | None]) -> str:
    """Return what runs of so many classes are ranked by when they do not say it themselves.

    >>> usual_metric([2, None]), usual_metric([3])
    ('auc', 'balanced_accuracy')
    """
    return "balanced_accuracy" if any((number or 0) > 2 for number in numbers_of_classes) else "auc"


def _shown_metrics(numbers: Mapping[str, Numbers], primary: str, *, many: bool) -> list[str]:
    if many:
        present = {metric for run in numbers.values() for set_name, metric in run if set_name == "test"}
        shown = [*MORE_CLASS_METRICS, *(name for name in MORE_CLASS_EXTRA if name in present)]
    else:
        shown = list(TWO_CLASS_METRICS)
    return [primary, *(name for name in shown if name != primary)]


def _columns(found: _Found, *, members: bool) -> list[str]:
    """Return the columns in their order; those of seeds and folds only where a model has them."""
    averaged = any(model.averages_seeds for model in found.models)
    with_folds = any(model.has_folds for model in found.models)
    pooled = any(model.has_folds and not model.averages_seeds for model in found.models)
    places = ["seed", "fold", "folds", "part_of"] if members else ["seeds"] * averaged + ["folds"] * with_folds
    endings = ["", "_low", "_high"]
    if not members:
        endings += ["_sd"] * averaged + ["_fold_mean", "_fold_sd"] * pooled
    numbers = [f"{name}{ending}" for name in found.shown for ending in endings]
    numbers += [EARLIER_AUC] * any(row.get("auc") is not None for row in found.earlier)
    return [
        *("rank", "rank_basis", "model", "state"),
        *(*places, f"{found.primary}_val", *numbers, "rank_set_low", "rank_set_high"),
        *("cutoff", "cutoff_source", "n_test", "train_seconds", "test_images_per_second", "parameters"),
        *("run_name", "reason"),
    ]


def _basis(table: pd.DataFrame, primary: str) -> str:
    finished = table[table["state"] == "finished"]
    return VALIDATION if finished.empty or finished[f"{primary}_val"].notna().any() else TEST


def _ranked(table: pd.DataFrame, primary: str, basis: str) -> pd.DataFrame:
    column = f"{primary}_val" if basis == VALIDATION else primary
    scores = table[column].where(table["state"] == "finished").astype("Float64")
    table["rank"] = scores.rank(method="min", ascending=primary in LOWER_IS_BETTER)
    table["rank_basis"] = pd.Series(basis, index=table.index, dtype=object).where(scores.notna(), None)
    unranked = (table["state"] == "finished") & scores.isna()
    words = f"not ranked: no {primary} on {basis.partition(' ')[0]} images"
    table["reason"] = [
        "; ".join([*([reason] if isinstance(reason, str) else []), *([words] if missing else [])]) or None
        for reason, missing in zip(table["reason"], unranked, strict=True)
    ]
    return _with_whole_numbers(table).sort_values(["rank", "state", "run_name"], na_position="last", ignore_index=True)


def _sorted_members(table: pd.DataFrame) -> pd.DataFrame:
    order = ["model", "seed", "fold", "run_name"]
    return _with_whole_numbers(table).sort_values(order, na_position="first", ignore_index=True)


def _with_whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in _WHOLE_NUMBERS if name in table.columns]
    return table.astype(dict.fromkeys(names, "Float64")).astype(dict.fromkeys(names, "Int64"))


def _count_evaluations(index: Index, found: _Found) -> int | None:
    fingerprints = sorted({run["test_fingerprint"] for run in found.tested if run["test_fingerprint"]})
    if len(fingerprints) > 1:
        found.warnings.append(
            f"the runs were tested on {len(fingerprints)} different sets of images; do not compare them"
        )
    return max((index.test_evaluations(fingerprint) for fingerprint in fingerprints), default=None)


def write_leaderboard(table: pd.DataFrame, path: Path) -> None:
    """Write a leaderboard as .csv, .xlsx or .json; the JSON also holds what ``attrs`` says.

    Raises
    ------
    SettingsError
        For any other suffix.
    """
    match path.suffix.lower():
        case ".csv":
            write_csv(path, table)
        case ".xlsx":
            write_sheet(path, table, "leaderboard")
        case ".json":
            rows = [dict(zip(table.columns, row, strict=True)) for row in plain_rows(table)]
            write_json(path, {**table.attrs, "rows": rows})
        case other:
            raise SettingsError(f"A leaderboard is written as .csv, .xlsx or .json; '{path.name}' ends in '{other}'.")
