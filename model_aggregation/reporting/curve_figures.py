"""ROC, precision-recall, reliability and net benefit as figures for papers.

Two classes give one panel of the width of a column; more give a panel for each class against the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_aggregation.evaluation import Estimate, Evaluation
from model_aggregation.reporting.curves import ClassCurves, corners, drawn_only, reliability
from model_aggregation.reporting.layout import FONT_POINTS, SMALL_POINTS, panel_with_strip, panels, square
from model_aggregation.results.drawing import BLUE, GREY, ORANGE, SKY, auc_words, put_words, say, show_legend

LINE_POINTS = 1.3
LEGEND: dict[str, Any] = {"handlelength": 1.6, "borderpad": 0.5, "framealpha": 0.85, "edgecolor": "0.85"}


def roc_figure(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> Figure:
    """Draw the ROC curves with their bands, areas and, for two classes, the cutoff."""
    shown = drawn_only(curves)
    names = [curve.name for curve in shown]
    title = _title(evaluation, curves, set_name)
    figure, all_axes = panels(names or [""], title=title, x="1 − specificity", y="sensitivity")
    if not shown:
        say(all_axes[0], f"No ROC curve: {curves[0].roc_reason}", letters_per_line=34)
    alone = evaluation.positive is not None
    for axes, curve in zip(all_axes, shown, strict=False):
        square(axes, alone)
        if curve.roc.empty:
            say(axes, f"No ROC curve: {curve.roc_reason}", letters_per_line=34 if alone else 22)
            continue
        _draw_roc(axes, evaluation, curve, alone=alone)
    return figure


def _draw_roc(axes: Axes, evaluation: Evaluation, curve: ClassCurves, *, alone: bool) -> None:
    level = f"{100 * evaluation.options.confidence:g}%"
    words = auc_words(curve.auc.to_dict(), evaluation.options.confidence)
    if curve.auc.method.startswith("one-sided"):
        words = words.replace(f"{level} CI", "one-sided bound")
    line = corners(curve.roc)
    label = words if alone else words.replace(f"{level} CI ", "").replace(" (", "\n(")
    axes.plot(line["FPR"], line["TPR"], color=BLUE, linewidth=LINE_POINTS, zorder=3, label=label)
    if len(curve.band):
        x = 1 - curve.band["Specificity"]
        band = f"{level} band, pointwise" if alone else None
        axes.fill_between(x, curve.band["Low"], curve.band["High"], color=SKY, alpha=0.35, linewidth=0, label=band)
    if alone:
        _mark_cutoff(axes, evaluation, curve.roc)
    handle = LEGEND if alone else LEGEND | {"handlelength": 0, "handletextpad": 0}
    show_legend(axes, size=SMALL_POINTS, loc="lower right", **handle)


def _mark_cutoff(axes: Axes, evaluation: Evaluation, roc: pd.DataFrame) -> None:
    """Mark the cutoff and, beside it, 0.5."""
    cutoff = evaluation.cutoff
    if cutoff is None:
        return
    source = cutoff.source + (", exploratory" if cutoff.exploratory else "")
    row = roc[roc["CutOff"] <= cutoff.value].iloc[-1]  # strictly above is positive: constant up to the next score
    words = f"cutoff {cutoff.value:.3f} ({source}):\nsensitivity {row['TPR']:.3f}, specificity {1 - row['FPR']:.3f}"
    style: dict[str, Any] = {"linestyle": "none", "zorder": 4, "markersize": 5.5, "color": ORANGE}
    axes.plot(row["FPR"], row["TPR"], marker="o", markeredgecolor="white", label=words, **style)
    if evaluation.at_half and cutoff.value != 0.5:
        half = roc[roc["CutOff"] <= 0.5].iloc[-1]
        axes.plot(half["FPR"], half["TPR"], marker="o", markerfacecolor="white", label="cutoff 0.5", **style)


def precision_recall_figure(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> Figure:
    """Draw precision over recall in the steps that average precision sums, with the prevalence as baseline."""
    shown = drawn_only(curves)
    names = [curve.name for curve in shown]
    title = _title(evaluation, curves, set_name)
    figure, all_axes = panels(names or [""], title=title, x="recall (sensitivity)", y="precision")
    if not shown:
        say(all_axes[0], f"No curve: {curves[0].precision_recall_reason}", letters_per_line=34)
    alone = evaluation.positive is not None
    for axes, curve in zip(all_axes, shown, strict=False):
        square(axes, alone, diagonal=False)
        if curve.precision_recall.empty:
            say(axes, f"No curve: {curve.precision_recall_reason}", letters_per_line=34 if alone else 22)
            continue
        _draw_precision_recall(axes, evaluation, curve, alone=alone)
    return figure


def _draw_precision_recall(axes: Axes, evaluation: Evaluation, curve: ClassCurves, *, alone: bool) -> None:
    falling = curve.precision_recall.iloc[::-1]  # from the highest score down
    recall, precision = falling["Recall"].to_numpy(), falling["Precision"].to_numpy()
    x, y = np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])
    words = _estimate_words("AP", evaluation.metrics["average_precision"], evaluation) if alone else None
    axes.plot(x, y, drawstyle="steps-pre", color=BLUE, linewidth=LINE_POINTS, zorder=3, label=words)
    prevalence = curve.n / evaluation.n
    style: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": "--", "zorder": 2}
    axes.axhline(prevalence, label=f"prevalence {prevalence:.3f}", **style)
    if alone and evaluation.cutoff is not None:
        row = curve.precision_recall[curve.precision_recall["CutOff"] <= evaluation.cutoff.value].iloc[-1]
        if evaluation.cutoff.value < curve.roc["CutOff"].max() if len(curve.roc) else False:
            style = {"marker": "o", "linestyle": "none", "zorder": 4, "markersize": 5.5, "markeredgecolor": "white"}
            axes.plot(
                row["Recall"], row["Precision"], color=ORANGE, label=f"cutoff {evaluation.cutoff.value:.3f}", **style
            )
    above = 0.03 if prevalence > 0.3 else prevalence + 0.03  # the legend must not hide the baseline
    show_legend(axes, size=SMALL_POINTS, loc=(0.03, above), **LEGEND)


def reliability_figure(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> Figure:
    """Draw observed over predicted shares above the number of images per bin: positive class, or top label."""
    two = evaluation.positive is not None
    title = _title(evaluation, curves, set_name) if two else f"{set_name}: top label of {len(curves)} classes"
    x, y = ("predicted probability", "observed share") if two else ("largest probability", "share that is right")
    table = curves[0].reliability if two else reliability(evaluation)
    if table.empty:
        figure, (axes,) = panels([""], title=title, x=x, y=y)
        square(axes, alone=True)
        say(axes, f"No reliability curve: {curves[0].probability_reason}", letters_per_line=34)
        return figure
    figure, axes, counts = panel_with_strip(title=title, x=x, y=y)
    square(axes, alone=True)
    _draw_reliability(axes, evaluation, table, label="observed share")
    _draw_counts(counts, table)
    show_legend(axes, size=SMALL_POINTS, loc="upper left", **LEGEND)
    put_words(figure.supxlabel, _calibration_words(evaluation), fontsize=SMALL_POINTS)
    return figure


def reliability_by_class_figure(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> Figure:
    """Draw observed over predicted shares of each of many classes."""
    shown = drawn_only(curves)
    names = [curve.name for curve in shown]
    title = _title(evaluation, curves, set_name)
    figure, all_axes = panels(names or [""], title=title, x="predicted probability", y="observed share")
    if not shown:
        say(all_axes[0], f"No reliability curve: {curves[0].roc_reason}", letters_per_line=34)
    for axes, curve in zip(all_axes, shown, strict=False):
        square(axes, alone=False)
        if curve.reliability.empty:
            say(axes, f"No reliability curve: {curve.probability_reason}", letters_per_line=22)
            continue
        _draw_reliability(axes, evaluation, curve.reliability)
    return figure


def _draw_reliability(axes: Axes, evaluation: Evaluation, table: pd.DataFrame, label: str | None = None) -> None:
    style: dict[str, Any] = {"color": BLUE, "linewidth": LINE_POINTS, "markersize": 3, "zorder": 3}
    axes.plot(table["predicted"], table["observed"], marker="o", label=label, **style)
    if table["low"].notna().all():
        words = f"{100 * evaluation.options.confidence:g}% CI (Wilson)" if label else ""
        axes.vlines(table["predicted"], table["low"], table["high"], color=SKY, linewidth=1, zorder=2.5, label=words)


def _draw_counts(axes: Axes, table: pd.DataFrame) -> None:
    width = table["to"] - table["from"]
    axes.bar(table["from"], table["n"], width, align="edge", color="0.75", edgecolor="white", linewidth=0.5)
    axes.set_yticks([0, int(table["n"].max())])


def _calibration_words(evaluation: Evaluation) -> str:
    """Return the numbers of calibration in two lines; what is undefined is left to the tables."""
    known = [(word, evaluation.metrics[key]) for key, word in _CALIBRATION if key in evaluation.metrics]
    words = [f"{word} {estimate.text()}".replace("-", "−") for word, estimate in known if estimate.value is not None]
    return "\n".join("; ".join(words[at : at + 2]) for at in range(0, len(words), 2))


_CALIBRATION = (
    ("calibration_slope", "slope"),
    ("calibration_intercept", "intercept"),
    ("ece", "ECE"),
    ("brier", "Brier score"),
)


def net_benefit_figure(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> Figure:
    """Draw decision curves: the model, treating all, treating none."""
    shown = drawn_only(curves)
    names = [curve.name for curve in shown]
    title = _title(evaluation, curves, set_name)
    figure, all_axes = panels(names or [""], title=title, x="threshold probability", y="net benefit")
    if not shown:
        say(all_axes[0], f"No net benefit: {curves[0].roc_reason}", letters_per_line=34)
    alone = evaluation.positive is not None
    for number, (axes, curve) in enumerate(zip(all_axes, shown, strict=False)):
        axes.tick_params(labelsize=FONT_POINTS if alone else SMALL_POINTS, width=0.6, length=2.5)
        if curve.net_benefit.empty or not curve.n:
            reason = curve.probability_reason if curve.net_benefit.empty else curve.precision_recall_reason
            say(axes, f"No net benefit: {reason}", letters_per_line=34 if alone else 22)
            continue
        _draw_net_benefit(axes, curve.net_benefit)
        if number == 0:
            show_legend(axes, size=SMALL_POINTS, loc="upper right", **LEGEND)
    return figure


def _draw_net_benefit(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_box_aspect(1)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot(table["threshold"], table["all"], color=ORANGE, linewidth=1, linestyle="--", label="treat all")
    axes.plot(table["threshold"], table["none"], color=GREY, linewidth=1, linestyle=":", label="treat none")
    axes.plot(table["threshold"], table["model"], color=BLUE, linewidth=LINE_POINTS, label="model", zorder=3)
    top = max(0.01, float(table[["model", "all"]].max().max()))
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.2 * top, 1.15 * top)


def _title(evaluation: Evaluation, curves: Sequence[ClassCurves], set_name: str) -> str:
    if evaluation.positive is not None:
        return f"{set_name}: positive class {evaluation.positive}"
    shown = len(drawn_only(curves))
    if shown < len(curves):
        return f"{set_name}: the {shown} of {len(curves)} classes with the lowest AUC, each against the rest"
    return f"{set_name}: each class against the rest"


def _estimate_words(name: str, estimate: Estimate, evaluation: Evaluation) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"{name} {estimate.text()}" + (" (no interval)" if estimate.value is not None else "")
    level = f"{100 * evaluation.options.confidence:g}% CI"
    return f"{name} {estimate.value:.3f} ({level} {estimate.low:.3f}–{estimate.high:.3f})"
