"""A leaderboard as a terminal shows it."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from model_aggregation.results.leaderboard import TEST, VALIDATION
from model_aggregation.results.leaderboard_rows import EARLIER, EARLIER_AUC, EARLIER_CUTOFF, Row, plain_records


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
    for row, name in _named_rows(table):
        parameters = row["parameters"]
        numbers = [_amount(row["train_seconds"]), _amount(row["test_images_per_second"])]
        numbers.append("–" if parameters is None else f"{parameters / 1e6:.2f}")
        rank = "" if row["rank"] is None else str(row["rank"])
        view.add_row(*map(Text, (rank, name, row["state"], *numbers)))
    return view


def _amount(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _named_rows(table: pd.DataFrame) -> Iterator[tuple[Row, str]]:
    """Yield each row with its name: the model, and the run as well where a model has several rows."""
    rows = plain_records(table)
    count = Counter(row["model"] for row in rows)
    for row in rows:
        names = [row["model"], row["run_name"]] if count[row["model"]] > 1 else [row["model"] or row["run_name"]]
        yield row, "\n".join(filter(None, names))


def leaderboard_text(table: pd.DataFrame, *, width: int = 100) -> Table:
    """Return a leaderboard for a terminal of ``width`` columns: three decimals, intervals in brackets, reasons.

    Three test metrics are shown, on a narrow terminal two; the files hold all.
    """
    primary, exploratory = table.attrs["primary_metric"], table.attrs["basis"] == TEST
    metrics = _terminal_metrics(table, 3 if width >= 100 else 2)
    with_sets = width >= 100 and bool(table["rank_set_low"].notna().any())
    view = Table(title=Text(f"Group {table.attrs['group']}"), box=SIMPLE_HEAD, padding=(0, 1))
    view.add_column("rank\nexploratory" if exploratory else "rank", justify="right", no_wrap=True)
    view.add_column("model", overflow="fold", min_width=16)
    view.add_column(f"{_heading(primary)}\nvalidation", justify="right", no_wrap=True)
    for heading in [*(f"{_heading(name)}\ntest" for name in metrics), *(["rank set\ntest"] * with_sets)]:
        view.add_column(heading, justify="right", no_wrap=True)
    notes = []
    for row, name in _named_rows(table):
        rank = "" if row["rank"] is None else str(row["rank"])
        cells = [_cell(row, key) for key in metrics] + [_rank_set(row)] * with_sets
        title = "\n".join(filter(None, [name, _repetitions(row)]))
        view.add_row(*map(Text, (rank, title, _number(row[f"{primary}_val"]), *cells)))
        said = [word for word in (row["state"], _own_reason(row)) if word and word != "finished"]
        notes += [f"{name.replace(chr(10), ' ')}: {': '.join(said)}"] if said else []
    view.caption = Text("\n".join([_caption(table), *notes]))
    view.caption_justify = "left"
    return view


def _own_reason(row: Row) -> str | None:
    """Return the reason without what the caption says of all results of the earlier program."""
    if row["state"] != "earlier":
        return row["reason"]
    return "; ".join(part for part in row["reason"].split("; ") if part not in (EARLIER, EARLIER_CUTOFF))


def _terminal_metrics(table: pd.DataFrame, count: int) -> list[str]:
    """Return the first ``count`` metrics of interest, those with values before those without."""
    shown = table.attrs["metrics"]
    preferred = [name for name in (shown[0], "auc", "sensitivity", "specificity", *shown) if name in shown]
    return sorted(dict.fromkeys(preferred), key=lambda name: not table[name].notna().any())[:count]


def _repetitions(row: Row) -> str:
    """Say how many seeds and folds a row stands for."""
    words = [f"{row[name]} {name}" for name in ("seeds", "folds") if row.get(name) and not row.get("fold")]
    return " × ".join(words)


def _rank_set(row: Row) -> str:
    low, high = row["rank_set_low"], row["rank_set_high"]
    return "–" if low is None else str(low) if low == high else f"{low}–{high}"


def _words(metric: str) -> str:
    return {"auc": "AUC", "f1": "F1"}.get(metric, metric.replace("_", " "))


def _heading(metric: str) -> str:
    """A long name stands in two lines, so that the models keep their place on a narrow terminal."""
    return _words(metric).replace(" ", "\n", 1)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(row: Row, metric: str) -> str:
    """Return the value; below it its interval, or its deviation over seeds; below that the mean over folds."""
    low, high, deviation = row[f"{metric}_low"], row[f"{metric}_high"], row.get(f"{metric}_sd")
    lines = [_number(row[metric]) + (" *" if _is_marked(row, metric) else "")]
    if low is not None and high is not None:
        lines.append(f"({low:.3f}–{high:.3f})")
    if deviation is not None:
        lines.append(f"± {deviation:.3f}")
    if row.get(f"{metric}_fold_sd") is not None:
        lines.append(f"folds {row[f'{metric}_fold_mean']:.3f}\n± {row[f'{metric}_fold_sd']:.3f}")
    return "\n".join(lines)


def _is_marked(row: Row, metric: str) -> bool:
    """Tell whether there is only what the earlier program called AUC."""
    return metric == "auc" and row["auc"] is None and row.get(EARLIER_AUC) is not None


def _caption(table: pd.DataFrame) -> str:
    primary, basis = _words(table.attrs["primary_metric"]), table.attrs["basis"]
    if table["rank"].isna().all() and "part_of" in table:
        lines = ["Every run, also single seeds and folds; not ranked. Validation numbers were used for choosing."]
    elif table["rank"].isna().all():
        lines = ["Nothing is ranked: no finished run has values to rank by. The numbers are from test images."]
    elif basis == VALIDATION:
        lines = [f"Ranked by {primary} on validation images (used for choosing); the other numbers are from test."]
    else:
        lines = [f"No validation images: ranked by {primary} on test, which is exploratory."]
    lines[0] += " In brackets: 95 % intervals."
    if any(column.endswith("_sd") for column in table.columns):
        lines.append("±: standard deviation over seeds, or over folds; it is no interval.")
    if table.attrs["rank_sets"] is not None:
        lines.append(f"{table.attrs['rank_sets'][:1].upper()}{table.attrs['rank_sets'][1:]}.")
    if (table["state"] == "earlier").any():
        lines.append("Results of the earlier program are not ranked, and what depends on their cutoffs is exploratory.")
    if "auc" in table.attrs["metrics"] and any(_is_marked(row, "auc") for row in plain_records(table)):
        lines.append("* No AUC without readable predictions: the earlier program's number is a sum of rectangles.")
    count = table.attrs["test_evaluations"]
    if count is not None:
        lines.append(f"These test images have been evaluated {count} time{'s' if count != 1 else ''} so far.")
    return "\n".join([*lines, *(f"Note: {warning}." for warning in table.attrs["warnings"])])
