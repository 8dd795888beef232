"""The report of several models on the same images: tables, figures for papers and a methods section."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import Comparison, Evaluation
from model_aggregation.files import write_csv, write_text
from model_aggregation.reporting.comparison_figures import forest_figure, roc_overlay_figure
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.layout import FONT_POINTS
from model_aggregation.reporting.methods_text import methods_text
from model_aggregation.results.drawing import plain_style, save_for_paper

ROUNDING = 1e-9
"""Two ways to the same number may differ by this."""


def write_comparison_report(
    folder: Path, comparison: Comparison, evaluations: Mapping[str, Evaluation], *, facts: ReportFacts | None = None
) -> None:
    """Write the report of a comparison; each file is whole or absent.

    ``comparisons.csv``, ``ranking.csv``, ``methods.md``, and in ``figures/`` ``forest`` and ``roc_overlay`` as PNG,
    SVG and PDF.

    Parameters
    ----------
    evaluations
        By the name of the model: the evaluations on the images of the comparison, whose intervals are drawn.

    Raises
    ------
    ResultsError
        If evaluations and comparison are not of the same models and numbers. Nothing is written then.
    """
    write_comparison_tables(folder, comparison, evaluations, facts=facts)
    write_comparison_figures(folder, comparison, evaluations)


def write_comparison_tables(
    folder: Path, comparison: Comparison, evaluations: Mapping[str, Evaluation], *, facts: ReportFacts | None = None
) -> None:
    """Write the tables and ``methods.md`` of a comparison's report without its figures.

    Raises
    ------
    ResultsError
        As :func:`write_comparison_report`.
    """
    _check_same(comparison, evaluations)
    models = {} if facts is None else facts.model_names
    write_csv(folder / "comparisons.csv", _with_runs(comparison.comparisons, models))
    write_csv(folder / "ranking.csv", _with_runs(_ranking_table(comparison, evaluations), models))
    write_text(folder / "methods.md", methods_text(evaluations, facts, comparison))


def write_comparison_figures(folder: Path, comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> None:
    """Write the figures of a comparison's report into its ``figures/``."""
    with plain_style(FONT_POINTS):
        save_for_paper(forest_figure(comparison, evaluations), folder / "figures", "forest")
        save_for_paper(roc_overlay_figure(comparison, evaluations), folder / "figures", "roc_overlay")


def _with_runs(table: pd.DataFrame, models: Mapping[str, str]) -> pd.DataFrame:
    """Return a table with the names of the runs, which were compared, beside those of their models."""
    table = table.copy()
    for column, run in (("model", "run_name"), ("reference", "reference_run")):
        if column in table:
            table.insert(list(table.columns).index(column), run, table[column])
            table[column] = [models.get(str(name), name) for name in table[column]]
    return table


def _check_same(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> None:
    values = dict(zip(comparison.ranking["model"].map(str), comparison.ranking["value"], strict=True))
    problems = [f"{name}: compared but not evaluated" for name in values if name not in evaluations]
    problems += [f"{name}: evaluated but not compared" for name in evaluations if name not in values]
    for name, evaluation in evaluations.items():
        if name not in values:
            continue
        if evaluation.n != comparison.n:
            problems.append(f"{name}: evaluated on {evaluation.n} images, compared on {comparison.n}")
        estimate = evaluation.metrics.get(comparison.primary)
        value, compared = None if estimate is None else estimate.value, values[name]
        same = pd.isna(compared) if value is None else abs(value - compared) <= ROUNDING
        if not same:
            problems.append(
                f"{name}: {comparison.primary} is {value} in its evaluation and {compared} in the comparison"
            )
    if problems or not evaluations:
        raise ResultsError("The evaluations do not belong to this comparison:", problems)


def _ranking_table(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return the ranking with the metric's name and each model's own interval."""
    table = comparison.ranking.copy()
    own = [evaluations[str(name)].metrics[comparison.primary] for name in table["model"]]
    place = list(table.columns).index("value")
    table.insert(place, "metric", comparison.primary)
    table.insert(place + 2, "low", pd.Series([one.low for one in own], dtype="float64"))
    table.insert(place + 3, "high", pd.Series([one.high for one in own], dtype="float64"))
    table.insert(place + 4, "method", [one.method for one in own])
    table.insert(place + 5, "n", [one.n for one in own])
    return table
