"""The tidy tables behind the figures of an evaluation; the column ``set`` names the set of images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from model_aggregation.evaluation import Evaluation
from model_aggregation.reporting.curves import ClassCurves, reliability

ROC_COLUMNS = ("set", "class", "kind", "cutoff", "tpr", "fpr", "balanced_accuracy", "precision", "low", "high")
CALIBRATION_COLUMNS = ("set", "class", "from", "to", "n", "predicted", "observed", "low", "high")
NET_BENEFIT_COLUMNS = ("set", "class", "threshold", "model", "all", "none")
CONFUSION_COLUMNS = ("set", "actual", "predicted", "count", "row_percent")

Curves = Mapping[str, Sequence[ClassCurves]]
"""By set of images."""


def roc_points_table(curves: Curves) -> pd.DataFrame:
    """Return every ROC curve, and the precision at the same cutoffs.

    ``kind`` is ``point`` or ``band``. A point: what is called positive strictly above ``cutoff`` (two classes:
    every distinct score; more: the points at which the curve turns); where a curve is undefined its columns are
    empty. Band: sensitivity (``tpr``) at specificity 1 − ``fpr``, linear between points, with its pointwise
    bootstrap limits ``low`` and ``high``.
    """
    blocks = [
        block for name, of in curves.items() for curve in of for block in (_points(name, curve), _band(name, curve))
    ]
    return _joined(blocks, ROC_COLUMNS)


def _points(set_name: str, curve: ClassCurves) -> pd.DataFrame:
    roc = curve.roc.rename(
        columns={"CutOff": "cutoff", "TPR": "tpr", "FPR": "fpr", "Balanced Accuracy": "balanced_accuracy"}
    )
    recall = curve.precision_recall.rename(columns={"CutOff": "cutoff", "Recall": "tpr", "Precision": "precision"})
    # without the other class there is no ROC curve, but precision and recall are defined
    both = recall if roc.empty else roc.merge(recall[["cutoff", "precision"]], on="cutoff", how="left")
    return both.assign(set=set_name, kind="point", **{"class": curve.name})


def _band(set_name: str, curve: ClassCurves) -> pd.DataFrame:
    band = curve.band.rename(columns={"Sensitivity": "tpr", "Low": "low", "High": "high"})
    return band.assign(set=set_name, kind="band", fpr=1 - band["Specificity"], **{"class": curve.name})


def calibration_table(evaluations: Mapping[str, Evaluation], curves: Curves) -> pd.DataFrame:
    """Return the reliability bins: mean predicted and observed share of each class in equal-width bins.

    With three classes and more, rows of class "" are those of the top label: the largest probability and how often
    it was right. ``low`` and ``high`` are Wilson's limits; with groups of several images there are none.
    """
    blocks = []
    for name, evaluation in evaluations.items():
        if evaluation.positive is None:
            blocks.append(reliability(evaluation).assign(set=name, **{"class": ""}))
        blocks += [curve.reliability.assign(set=name, **{"class": curve.name}) for curve in curves[name]]
    return _joined(blocks, CALIBRATION_COLUMNS)


def net_benefit_table(curves: Curves) -> pd.DataFrame:
    """Return the decision curves: net benefit of the model, of treating all, and of treating none."""
    blocks = [
        curve.net_benefit.assign(set=name, **{"class": curve.name}) for name, of in curves.items() for curve in of
    ]
    return _joined(blocks, NET_BENEFIT_COLUMNS)


def confusion_table(evaluations: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return the counts of each actual and predicted class; ``row_percent`` is empty for a class without images."""
    blocks = []
    for name, evaluation in evaluations.items():
        counts, percent = evaluation.confusion, evaluation.confusion_percent
        if counts is None or percent is None:
            continue
        classes = np.array(evaluation.classes, dtype=object)
        columns = (
            name,
            np.repeat(classes, len(classes)),
            np.tile(classes, len(classes)),
            counts.ravel(),
            percent.ravel(),
        )
        blocks.append(pd.DataFrame(dict(zip(CONFUSION_COLUMNS, columns, strict=True))))
    return _joined(blocks, CONFUSION_COLUMNS)


def _joined(blocks: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [block.reindex(columns=list(columns)) for block in blocks if len(block)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True)
