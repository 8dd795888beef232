"""What the command line prints about analyses: comparisons of tables, subgroups, external sets."""

from collections.abc import Iterator, Mapping

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from model_aggregation.analysis.subgroups import Subgroups
from model_aggregation.analysis.tables import TableAnalysis
from model_aggregation.analysis.verbs import RunAnalysis
from model_aggregation.cli.texts import metrics_parts
from model_aggregation.evaluation import Comparison, Estimate, Evaluation, format_p
from model_aggregation.reporting.words import metric_name

_TWO_CLASSES = ("auc", "sensitivity", "specificity", "accuracy", "balanced_accuracy")
_MANY_CLASSES = ("balanced_accuracy", "accuracy", "macro_f1", "macro_auc")


def analysis_parts(analysis: RunAnalysis | TableAnalysis) -> Iterator[RenderableType]:
    """Yield what was found: all numbers of a run or a table, or ranking and differences of several; then subgroups."""
    if isinstance(analysis, RunAnalysis):
        yield from _run_parts(analysis)
        return
    if analysis.comparison is None:
        for name, evaluated in analysis.metrics().items():
            yield from metrics_parts(name, evaluated)
    else:
        yield from comparison_parts(analysis.comparison, analysis.evaluations)
    if analysis.subgroups is not None:
        yield from subgroup_parts(analysis.subgroups)


def _run_parts(analysis: RunAnalysis) -> Iterator[RenderableType]:
    """Yield all numbers of every set of a run, its subgroups, which external sets were left out, what was replaced."""
    for name, evaluated in analysis.metrics.items():
        yield from metrics_parts(name, evaluated)
    if analysis.subgroups is not None:
        yield from subgroup_parts(analysis.subgroups)
    for name in analysis.outdated:
        yield (
            f"warning: the set {name} was predicted by other weights than the run has now, and was left out; "
            "test it again with magg test"
        )
    if analysis.replaced is not None:
        yield f"warning: the metrics.json that was there {analysis.replaced}; it was made anew from the predictions"


def comparison_parts(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> Iterator[RenderableType]:
    """Yield the sentence, the ranking, the differences to the selected model, and the warnings."""
    yield f"{comparison.sentence[:1].upper()}{comparison.sentence[1:]}."
    yield _ranking(comparison, evaluations)
    if comparison.selected is None:
        yield "Exploratory: nothing says which model was selected on validation images; say it with --selected."
    best = comparison.best
    if best is not None and best.value is not None:
        yield (
            f"Best by test score: {best.model}, {best.apparent:.3f}; corrected for having been chosen by it: "
            f"{_limits(best.value, best.low, best.high)}."
        )
    if len(comparison.comparisons):
        yield _differences(comparison)
    for name, evaluation in evaluations.items():
        if evaluation.cutoff is not None:
            yield f"{name}: positive above {evaluation.cutoff.value:.6g}; cutoff from {evaluation.cutoff.source}."
    lines = list(comparison.warnings)
    lines += [line for evaluation in evaluations.values() for line in evaluation.warnings]
    reasons = comparison.ranking["reason"].dropna().unique()
    yield from (f"no rank sets: {reason}" for reason in reasons)
    yield from (f"warning: {line}" for line in dict.fromkeys(lines))


def _ranking(comparison: Comparison, evaluations: Mapping[str, Evaluation]) -> Table:
    table = Table(title=Text("Ranking by test score, exploratory"), title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("rank", "rank set", "model", metric_name(comparison.primary), "n"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "model")
    for row in comparison.ranking.to_dict("records"):
        estimate = evaluations[str(row["model"])].metrics[comparison.primary]
        mark = " (selected)" if row["selected"] else ""
        table.add_row(
            "–" if pd.isna(row["rank"]) else str(row["rank"]),
            "–" if pd.isna(row["rank_low"]) else f"{row['rank_low']}–{row['rank_high']}",
            Text(f"{row['model']}{mark}"),
            Text(estimate.text()),
            str(comparison.n),
        )
    return table


def _differences(comparison: Comparison) -> Table:
    shown = {comparison.primary, *_TWO_CLASSES, *_MANY_CLASSES}
    table = Table(
        title=Text(f"Differences to {comparison.selected} (value − value of {comparison.selected})"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("model", "metric", "difference", "p", "p Holm", "method"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("p", "p Holm"))
    for row in comparison.comparisons.to_dict("records"):
        if row["metric"] not in shown:
            continue
        mark = " (exploratory)" if row["exploratory"] else ""
        difference, low, high, p, holm = (
            None if pd.isna(row[name]) else float(row[name]) for name in ("difference", "low", "high", "p", "p_holm")
        )
        method = row["method"] if difference is not None and row["method"] else row["reason"] or ""
        table.add_row(
            Text(str(row["model"])), Text(metric_name(row["metric"]) + mark), _limits(difference, low, high),
            format_p(p), format_p(holm), Text(str(method)),
        )  # fmt: skip
    return table


def _limits(value: float | None, low: float | None, high: float | None) -> str:
    return Estimate(value, low, high).text()


def subgroup_parts(found: Subgroups) -> Iterator[RenderableType]:
    """Yield for each set a table with a row per value: counts and the main metrics with intervals, then reasons."""
    for name, values in found.items():
        if not values:
            continue
        first = next(iter(values.values()))
        shown = [metric for metric in (_TWO_CLASSES if first.positive else _MANY_CLASSES) if metric in first.metrics]
        table = Table(title=Text(f"{name}, by value"), title_justify="left", box=box.SIMPLE_HEAD)
        for heading in ("value", "images", *map(metric_name, shown)):
            table.add_column(heading, overflow="fold")
        for value, evaluation in values.items():
            numbers = [_short(evaluation.metrics[metric]) for metric in shown]
            table.add_row(Text(value), Text(_counts(evaluation)), *map(Text, numbers))
        yield table
        for value, evaluation in values.items():
            yield from _remarks(value, evaluation, shown)


def _short(estimate: Estimate) -> str:
    return "–" if estimate.value is None else estimate.text()


def _counts(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    each = ", ".join(f"{name} {count}" for name, count in counts.items()) if len(counts) <= 4 else ""
    lost = f", {len(evaluation.unreadable)} unreadable" if evaluation.unreadable else ""
    return f"{evaluation.n}{f' ({each})' if each else ''}{lost}"


def _remarks(value: str, evaluation: Evaluation, shown: list[str]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for metric in shown:
        estimate = evaluation.metrics[metric]
        if estimate.value is None and estimate.reason:
            reasons.setdefault(estimate.reason, []).append(metric_name(metric))
    yield from (f"{value}: no {', '.join(names)}: {reason}" for reason, names in reasons.items())
    yield from (f"{value}: {line}" for line in evaluation.warnings if line.startswith(("too few", "imprecise")))
