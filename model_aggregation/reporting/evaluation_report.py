"""The report of one model: tables, figures for papers and a methods section."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import Evaluation
from model_aggregation.files import write_csv, write_text
from model_aggregation.reporting import curve_figures
from model_aggregation.reporting.confusion_figure import confusion_figure
from model_aggregation.reporting.curves import ClassCurves, class_curves
from model_aggregation.reporting.evaluation_tables import (
    Curves,
    calibration_table,
    confusion_table,
    net_benefit_table,
    roc_points_table,
)
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.layout import FONT_POINTS
from model_aggregation.reporting.methods_text import methods_text
from model_aggregation.results.drawing import plain_style, save_for_paper

_FIGURES = {
    "roc": curve_figures.roc_figure,
    "precision_recall": curve_figures.precision_recall_figure,
    "reliability": curve_figures.reliability_figure,
    "net_benefit": curve_figures.net_benefit_figure,
}


def write_evaluation_report(
    folder: Path, evaluations: Mapping[str, Evaluation], *, facts: ReportFacts | None = None
) -> None:
    """Write the report of one model on one or several sets of images; each file is whole or absent.

    ``roc_points.csv``, ``calibration.csv``, ``net_benefit.csv``, ``confusion.csv``, ``methods.md``, and in
    ``figures/`` for each set ``roc_<set>``, ``precision_recall_<set>``, ``reliability_<set>``, ``net_benefit_<set>``,
    ``confusion_<set>`` and, for three classes and more, ``reliability_by_class_<set>``: as PNG, SVG and PDF.

    Parameters
    ----------
    evaluations
        By the name of the set of images.

    Raises
    ------
    ResultsError
        Without an evaluation, or for a name of a set that is no file name. Nothing is written then.
    """
    curves = write_evaluation_tables(folder, evaluations, facts=facts)
    write_evaluation_figures(folder, evaluations, curves)


def write_evaluation_tables(
    folder: Path, evaluations: Mapping[str, Evaluation], *, facts: ReportFacts | None = None
) -> Curves:
    """Write the tables and ``methods.md`` of a report without its figures; return the curves for these.

    Raises
    ------
    ResultsError
        As :func:`write_evaluation_report`.
    """
    _check_names(evaluations)
    curves = {name: class_curves(evaluation) for name, evaluation in evaluations.items()}
    write_csv(folder / "roc_points.csv", roc_points_table(curves))
    write_csv(folder / "calibration.csv", calibration_table(evaluations, curves))
    write_csv(folder / "net_benefit.csv", net_benefit_table(curves))
    write_csv(folder / "confusion.csv", confusion_table(evaluations))
    write_text(folder / "methods.md", methods_text(evaluations, facts))
    return curves


def write_evaluation_figures(folder: Path, evaluations: Mapping[str, Evaluation], curves: Curves) -> None:
    """Write the figures of a report into its ``figures/``."""
    with plain_style(FONT_POINTS):
        for name, evaluation in evaluations.items():
            _write_figures(folder / "figures", name, evaluation, curves[name])


def _check_names(evaluations: Mapping[str, Evaluation]) -> None:
    if not evaluations:
        raise ResultsError("There is no evaluation to report.")
    wrong = [name for name in evaluations if not re.fullmatch(r"\w+", name)]
    if wrong:
        raise ResultsError("The name of a set of images holds letters, digits and '_'. These came:", wrong)


def _write_figures(folder: Path, set_name: str, evaluation: Evaluation, curves: Sequence[ClassCurves]) -> None:
    for kind, draw in _FIGURES.items():
        save_for_paper(draw(evaluation, curves, set_name), folder, f"{kind}_{set_name}")
    if evaluation.positive is None:
        figure = curve_figures.reliability_by_class_figure(evaluation, curves, set_name)
        save_for_paper(figure, folder, f"reliability_by_class_{set_name}")
    save_for_paper(confusion_figure(evaluation, set_name), folder, f"confusion_{set_name}")
