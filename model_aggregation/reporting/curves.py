"""The curves of an evaluation, computed once for tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from model_aggregation.evaluation import Estimate, Evaluation
from model_aggregation.evaluation.roc import BAND_COLUMNS

MOST_PANELS = 20
"""Classes that are drawn, each in a panel of its own; a page holds no more."""

NO_PROBABILITIES = "needs probabilities, and only a score is known"


@dataclass(frozen=True, eq=False)
class ClassCurves:
    """The curves of one class: of the positive one of two, or of one against the rest.

    ``band`` exists for drawn classes only. Where a curve is undefined its table is empty and its reason says why;
    ``probability_reason`` is that of reliability and net benefit.
    """

    name: str
    n: int
    drawn: bool
    auc: Estimate
    roc: pd.DataFrame
    band: pd.DataFrame
    precision_recall: pd.DataFrame
    reliability: pd.DataFrame
    net_benefit: pd.DataFrame
    roc_reason: str
    precision_recall_reason: str
    probability_reason: str


def class_curves(evaluation: Evaluation) -> list[ClassCurves]:
    """Compute the curves of the positive class, or of every class of many against the rest.

    With more than 20 classes those with the lowest AUC are drawn.
    """
    if evaluation.positive is not None:
        return [_curves_of(evaluation, evaluation.positive, evaluation.metrics["auc"], drawn=True)]
    areas = {name: evaluation.class_metrics[name]["auc"] for name in evaluation.classes}
    drawn = _drawn(areas)
    return [_curves_of(evaluation, name, auc, drawn=name in drawn) for name, auc in areas.items()]


def _drawn(areas: dict[str, Estimate]) -> set[str]:
    if len(areas) <= MOST_PANELS:
        return set(areas)
    known = {name: auc.value for name, auc in areas.items() if auc.value is not None}
    return set(sorted(known, key=lambda name: (known[name], name))[:MOST_PANELS])


def _curves_of(evaluation: Evaluation, name: str, auc: Estimate, *, drawn: bool) -> ClassCurves:
    roc = evaluation.roc(name)
    if evaluation.positive is None:
        roc = corners(roc)
    return ClassCurves(
        name=name,
        n=evaluation.counts[name],
        drawn=drawn,
        auc=auc,
        roc=roc,
        band=_band(evaluation, name) if drawn else pd.DataFrame(columns=BAND_COLUMNS, dtype=np.float64),
        precision_recall=evaluation.precision_recall(name),
        reliability=reliability(evaluation, name),
        net_benefit=evaluation.net_benefit(name),
        roc_reason=auc.reason or "not defined for these images",
        precision_recall_reason=f"no image of class {name!r}" if evaluation.n else "no image",
        probability_reason=NO_PROBABILITIES if evaluation.n else "no image",
    )


def _band(evaluation: Evaluation, name: str) -> pd.DataFrame:
    """Return the band; nothing where resamples cannot tell, or all agree: a width of 0 would claim certainty."""
    band = evaluation.roc_band(name)
    known = band[band[["Low", "High"]].notna().all(axis=1)]
    return known if (known["High"] > known["Low"]).any() else known.head(0)


def reliability(evaluation: Evaluation, name: str | None = None) -> pd.DataFrame:
    """Return the reliability bins of a class or, without a name, of the top label.

    Wilson's limits take images as independent; with groups of several images they are left out.
    """
    table = evaluation.reliability(name)
    if evaluation.unit == "group":
        table = table.assign(low=np.nan, high=np.nan)
    return table


def corners(roc: pd.DataFrame) -> pd.DataFrame:
    """Return the points of a ROC curve at which it turns; the others lie on straight lines between them.

    A class of m images has at most 2 m + 2 of them, whatever the number of the other images.

    >>> roc = pd.DataFrame({"TPR": [1, 1, 1, 0], "FPR": [1, .5, 0, 0]})
    >>> corners(roc)["FPR"].tolist()
    [1.0, 0.0, 0.0]
    """
    if len(roc) < 3:
        return roc
    along, up = np.diff(roc["FPR"]), np.diff(roc["TPR"])
    turns = np.abs(along[1:] * up[:-1] - along[:-1] * up[1:]) > 1e-15
    return roc[np.concatenate([[True], turns, [True]])]


def drawn_only(curves: Sequence[ClassCurves]) -> list[ClassCurves]:
    """Return the curves that have a panel."""
    return [curve for curve in curves if curve.drawn]
