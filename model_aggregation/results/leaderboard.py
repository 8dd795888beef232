"""The ranking of a group's runs, failed ones too: as a table, for the terminal and as a file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from model_aggregation.config import nearest
from model_aggregation.errors import ResultsError, SettingsError
from model_aggregation.files import write_csv, write_json
from model_aggregation.results.index import Index
from model_aggregation.results.tables import plain_rows, write_sheet

VALIDATION, TEST = "validation", "test (exploratory)"

TWO_CLASS_METRICS = ("auc", "balanced_accuracy", "sensitivity", "specificity", "accuracy", "f1", "precision")
MORE_CLASS_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
MORE_CLASS_EXTRA = ("weighted_f1", "macro_auc", "hand_till_auc", "mcc")

_LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
_WHOLE_NUMBERS = ("rank", "n_test", "parameters")


def leaderboard(log_folder: Path, group: str) -> pd.DataFrame:
    """Return one row per run of a group, ranked by the primary metric on validation images.

    Test metrics stand in three columns each, ``auc``, ``auc_low``, ``auc_high``. Runs with equal values share
    a rank; runs without a value have none and say why in ``reason``. ``attrs`` carries ``group``,
    ``primary_metric``, ``basis`` (``validation``, or ``test (exploratory)`` when no run has validation
    images), ``test_evaluations`` (how often these test images were evaluated, in all groups), ``labels``
    (columns that are no independent result) and ``warnings``.

    Raises
    ------
    ResultsError
        If there is no such group, or the index is damaged.
    """
    index = Index(log_folder)
    runs, earlier = index.runs(group), index.earlier_rows(group)
    if runs.empty and earlier.empty:
        names = [*index.runs()["group_name"], *index.earlier_rows()["group_name"]]
        raise ResultsError(f"There is no group '{group}' in {log_folder}; {nearest(group, sorted(set(names)))}")
    numbers = _numbers_by_run(index.metrics(group))
    warnings: list[str] = []
    primary = _primary_metric(runs, warnings)
    basis = _basis(runs, numbers, primary)
    shown = _shown_metrics(runs, numbers, primary)
    rows = [_run_row(run, numbers.get(run["run_name"], {}), primary, shown) for run in _records(runs)]
    rows += [_earlier_row(row, shown) for row in _records(earlier)]
    table = _ranked(pd.DataFrame(rows, columns=_columns(primary, shown)), primary, basis)
    table.attrs = {
        "group": group,
        "primary_metric": primary,
        "basis": basis,
        "test_evaluations": _count_evaluations(index, runs, warnings),
        "labels": {f"{primary}_val": "used for choosing"} | ({"rank": "exploratory"} if basis == TEST else {}),
        "warnings": warnings,
    }
    if (runs["cutoff_source"] == "test").any():
        warnings.append("cutoffs were chosen on the test images: what depends on them is exploratory")
    return table


Numbers = Mapping[tuple[str, str], Mapping[str, Any]]
"""By set and metric: value, low, high, n, reason."""


def _numbers_by_run(metrics: pd.DataFrame) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    numbers: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in _records(metrics[metrics["class"] == ""]):
        numbers.setdefault(row["run_name"], {})[row["set_name"], row["metric"]] = row
    return numbers


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in plain_rows(table)]


def _primary_metric(runs: pd.DataFrame, warnings: list[str]) -> str:
    declared = sorted(set(runs["primary_metric"].dropna()))
    if len(declared) == 1:
        return str(declared[0])
    chosen = "balanced_accuracy" if _more_than_two_classes(runs) else "auc"
    if declared:
        warnings.append(f"the runs declare different primary metrics ({', '.join(declared)}); ranked by {chosen}")
    return chosen


def _more_than_two_classes(runs: pd.DataFrame) -> bool:
    return bool((runs["number_of_classes"].dropna() > 2).any())


def _basis(runs: pd.DataFrame, numbers: Mapping[str, Numbers], primary: str) -> str:
    finished = runs.loc[runs["state"] == "finished", "run_name"]
    has_validation = any(_value(numbers.get(name, {}), "val", primary) is not None for name in finished)
    return VALIDATION if has_validation or finished.empty else TEST


def _value(numbers: Numbers, set_name: str, metric: str) -> float | None:
    value = numbers.get((set_name, metric), {}).get("value")
    return None if value is None else float(value)


def _shown_metrics(runs: pd.DataFrame, numbers: Mapping[str, Numbers], primary: str) -> list[str]:
    if _more_than_two_classes(runs):
        present = {metric for run in numbers.values() for set_name, metric in run if set_name == "test"}
        shown = [*MORE_CLASS_METRICS, *(name for name in MORE_CLASS_EXTRA if name in present)]
    else:
        shown = list(TWO_CLASS_METRICS)
    return [primary, *(name for name in shown if name != primary)]


def _columns(primary: str, shown: Sequence[str]) -> list[str]:
    triples = [column for name in shown for column in (name, f"{name}_low", f"{name}_high")]
    return [
        *(
            "rank",
            "rank_basis",
            "model",
            "state",
            f"{primary}_val",
            *triples,
            "cutoff",
            "cutoff_source",
            "n_test",
        ),
        *("train_seconds", "test_images_per_second", "parameters", "run_name", "reason"),
    ]


def _run_row(run: Mapping[str, Any], numbers: Numbers, primary: str, shown: Sequence[str]) -> dict[str, Any]:
    copied = (
        "model",
        "state",
        "cutoff_source",
        "train_seconds",
        "test_images_per_second",
        "parameters",
        "run_name",
    )
    row: dict[str, Any] = {name: run[name] for name in copied}
    reasons = [run["reason"]] if run["reason"] else []
    if run["state"] == "finished":  # an unfinished run may still carry numbers of an earlier attempt
        row[f"{primary}_val"] = _value(numbers, "val", primary)
        row["cutoff"] = _value(numbers, "test", "cutoff")
        row["n_test"] = numbers.get(("test", "accuracy"), {}).get("n")
        for name in shown:
            entry = numbers.get(("test", name), {})
            row |= {
                name: entry.get("value"),
                f"{name}_low": entry.get("low"),
                f"{name}_high": entry.get("high"),
            }
            if entry.get("value") is None and entry.get("reason"):
                reasons.append(f"{name}: {entry['reason']}")
        if not run["tested"]:
            reasons.append("not tested")
    row["reason"] = "; ".join(reasons) or None
    return row


def _earlier_row(row: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    values = {**row, "balanced_accuracy": row["blanced_accuracy"]}
    return {
        "state": "earlier",
        "run_name": row["run_name"],
        "cutoff": row["cutoff"],
        "reason": "result of the earlier program: no validation values, no intervals",
        **{name: values.get(name) for name in shown},
    }


def _ranked(table: pd.DataFrame, primary: str, basis: str) -> pd.DataFrame:
    column = f"{primary}_val" if basis == VALIDATION else primary
    scores = table[column].where(table["state"] == "finished").astype("Float64")
    table["rank"] = scores.rank(method="min", ascending=primary in _LOWER_IS_BETTER)
    table["rank_basis"] = pd.Series(basis, index=table.index, dtype=object).where(scores.notna(), None)
    unranked = (table["state"] == "finished") & scores.isna()
    words = f"not ranked: no {primary} on {basis.partition(' ')[0]} images"
    table["reason"] = [
        "; ".join([*([reason] if isinstance(reason, str) else []), *([words] if missing else [])]) or None
        for reason, missing in zip(table["reason"], unranked, strict=True)
    ]
    table = table.astype(dict.fromkeys(_WHOLE_NUMBERS, "Float64")).astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))
    return table.sort_values(["rank", "state", "run_name"], na_position="last", ignore_index=True)


def _count_evaluations(index: Index, runs: pd.DataFrame, warnings: list[str]) -> int | None:
    fingerprints = sorted(set(runs.loc[runs["tested"] == 1, "test_fingerprint"].dropna()))
    if len(fingerprints) > 1:
        warnings.append(f"the runs were tested on {len(fingerprints)} different sets of images; do not compare them")
    counts = [index.test_evaluations(fingerprint) for fingerprint in fingerprints]
    return max(counts, default=None)


def leaderboard_parts(table: pd.DataFrame, *, width: int = 100) -> Iterator[RenderableType]:
    """Yield what a terminal of ``width`` columns shows of a leaderboard: the ranking, then what each run took."""
    yield leaderboard_text(table, width=width)
    yield _effort(table)


def _effort(table: pd.DataFrame) -> Table:
    """Return state, seconds of training, speed of testing and size of each run; fits 80 columns."""
    view = Table(title=Text("Runs"), box=SIMPLE_HEAD, padding=(0, 1))
    view.add_column("rank", justify="right", no_wrap=True)
    view.add_column("model", overflow="fold", min_width=16)
    view.add_column("state", no_wrap=True)
    for heading in ("training\nseconds", "test\nimages/s", "parameters\nmillions"):
        view.add_column(heading, justify="right", no_wrap=True)
    for row in _records(table):
        parameters = row["parameters"]
        numbers = [_amount(row["train_seconds"]), _amount(row["test_images_per_second"])]
        numbers.append("–" if parameters is None else f"{parameters / 1e6:.2f}")
        rank = "" if row["rank"] is None else str(row["rank"])
        view.add_row(*map(Text, (rank, row["model"] or row["run_name"], row["state"], *numbers)))
    return view


def _amount(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def leaderboard_text(table: pd.DataFrame, *, width: int = 100) -> Table:
    """Return a leaderboard for a terminal of ``width`` columns: three decimals, intervals in brackets, reasons.

    Three test metrics are shown, on a narrow terminal two; the files hold all.
    """
    primary, exploratory = table.attrs["primary_metric"], table.attrs["basis"] == TEST
    metrics = _terminal_metrics(table, primary, 3 if width >= 100 else 2)
    view = Table(title=Text(f"Group {table.attrs['group']}"), box=SIMPLE_HEAD, padding=(0, 1))
    view.add_column("rank\nexploratory" if exploratory else "rank", justify="right", no_wrap=True)
    view.add_column("model", overflow="fold", min_width=16)
    view.add_column(f"{_heading(primary)}\nvalidation", justify="right", no_wrap=True)
    for name in metrics:
        view.add_column(f"{_heading(name)}\ntest", justify="right", no_wrap=True)
    notes = []
    for row in _records(table):
        name = row["model"] or row["run_name"]
        rank = "" if row["rank"] is None else str(row["rank"])
        cells = [_cell(row[key], row[f"{key}_low"], row[f"{key}_high"]) for key in metrics]
        view.add_row(*map(Text, (rank, name, _cell(row[f"{primary}_val"]), *cells)))
        said = [word for word in (row["state"], row["reason"]) if word and word != "finished"]
        notes += [f"{name}: {': '.join(said)}"] if said else []
    view.caption = Text("\n".join([_caption(table), *notes]))
    view.caption_justify = "left"
    return view


def _terminal_metrics(table: pd.DataFrame, primary: str, count: int) -> list[str]:
    """Return the first ``count`` metrics of interest."""
    shown = [name.removesuffix("_low") for name in table.columns if name.endswith("_low")]
    preferred = [name for name in (primary, "auc", "sensitivity", "specificity", *shown) if name in shown]
    return list(dict.fromkeys(preferred))[:count]


def _words(metric: str) -> str:
    return {"auc": "AUC", "f1": "F1"}.get(metric, metric.replace("_", " "))


def _heading(metric: str) -> str:
    """A long name stands in two lines, so that the models keep their place on a narrow terminal."""
    return _words(metric).replace(" ", "\n", 1)


def _cell(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "–"
    interval = f"\n({low:.3f}–{high:.3f})" if low is not None and high is not None else ""
    return f"{value:.3f}{interval}"


def _caption(table: pd.DataFrame) -> str:
    primary, basis = _words(table.attrs["primary_metric"]), table.attrs["basis"]
    if basis == VALIDATION:
        lines = [f"Ranked by {primary} on validation images (used for choosing); the other numbers are from test."]
    else:
        lines = [f"No validation images: ranked by {primary} on test, which is exploratory."]
    lines[0] += " In brackets: 95 % intervals."
    count = table.attrs["test_evaluations"]
    if count is not None:
        lines.append(f"These test images have been evaluated {count} time{'s' if count != 1 else ''} so far.")
    return "\n".join([*lines, *(f"Note: {warning}." for warning in table.attrs["warnings"])])


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
