"""Predictions pooled over the folds of a cross-validation: each image once, decided with the cutoff of its fold.

What it does not know: how alike the networks of the folds are. Their scores stand on one scale in the pooled AUC, so
it is partly a comparison across networks; the mean of the folds' own areas is not, and stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_aggregation.errors import PredictionsError
from model_aggregation.evaluation.cutoff import Cutoff
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.many_class_values import ManyClassTask, many_class_value
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.two_class_values import TwoClassTask, two_class_value

MEAN, SD = "_mean_of_folds", "_sd_of_folds"


@dataclass(frozen=True, eq=False)
class FoldCutoffs:
    """The frozen cutoff of each fold: an image is positive when its score is strictly above that of its fold.

    >>> FoldCutoffs({1: Cutoff(0.43, "validation"), 2: Cutoff(0.5, "default")}).source
    'per fold: 0.43, 0.5'
    """

    cutoffs: Mapping[int, Cutoff]

    @property
    def source(self) -> str:
        """Where the decisions come from, in the order of the folds."""
        return "per fold: " + ", ".join(f"{self.cutoffs[fold].value:.4g}" for fold in sorted(self.cutoffs))

    @property
    def exploratory(self) -> bool:
        """Whether any fold chose its cutoff on the images it is applied to."""
        return any(cutoff.exploratory for cutoff in self.cutoffs.values())

    @property
    def positive(self) -> str | None:
        """The class the cutoffs were chosen for."""
        return next((cutoff.positive for cutoff in self.cutoffs.values() if cutoff.positive is not None), None)

    def of_images(self, predictions: Predictions) -> np.ndarray:
        """Return the (N,) cutoff of each image.

        Raises
        ------
        PredictionsError
            If the fold of an image is not known or has no cutoff.
        """
        if predictions.folds is None:
            raise PredictionsError("Each fold has its own cutoff, but the folds of the images are not known.")
        lacking = sorted(set(predictions.folds.tolist()) - set(self.cutoffs))
        if lacking:
            raise PredictionsError(f"There is no cutoff for fold {', '.join(map(str, lacking))}.")
        return np.array([self.cutoffs[fold].value for fold in predictions.folds.tolist()], dtype=np.float64)

    def to_dict(self) -> dict[str, object]:
        """Return plain Python values, ready for JSON; there is no single ``value``."""
        return {
            "value": None,
            "source": self.source,
            "reason": "each image is decided with the cutoff of its fold",
            "exploratory": self.exploratory,
            "positive": self.positive,
            "folds": [{"fold": fold, **self.cutoffs[fold].to_dict()} for fold in sorted(self.cutoffs)],
        }


def means_over_folds(predictions: Predictions, positive: str | None, options: EvaluationOptions) -> dict[str, Estimate]:
    """Return mean and SD (n − 1) of the folds' own areas; nothing when the predictions have no folds.

    >>> table = Predictions(list("abcd"), [0, 1, 0, 1], [[.9, .1], [.6, .4], [.2, .8], [.4, .6]], ("ng", "ok"),
    ...                     folds=[1, 1, 2, 2])
    >>> {name: found.value for name, found in means_over_folds(table, "ok", EvaluationOptions()).items()}
    {'auc_mean_of_folds': 0.5, 'auc_sd_of_folds': 0.7071067811865476}
    """
    if predictions.folds is None:
        return {}
    folds = np.unique(predictions.folds).tolist()
    areas = {fold: _areas(predictions.take(predictions.folds == fold), positive, options) for fold in folds}
    estimates: dict[str, Estimate] = {}
    for name in ("auc",) if positive is not None else ("macro_auc", "hand_till_auc"):
        values = {fold: areas[fold][name] for fold in folds}
        estimates |= _summary(name, values, len(predictions))
    return estimates


def _areas(part: Predictions, positive: str | None, options: EvaluationOptions) -> dict[str, float]:
    ones = np.ones((len(part), 1))
    if positive is not None:
        task = TwoClassTask.of(part, positive, options.calibration_bins)
        return {"auc": float(two_class_value(task, None, ones, "auc")[0])}
    many = ManyClassTask.of(part, bins=options.calibration_bins, top_k=options.top_k, ordered=options.ordered_classes)
    return {name: float(many_class_value(many, ones, name)[0]) for name in ("macro_auc", "hand_till_auc")}


def _summary(name: str, values: Mapping[int, float], n: int) -> dict[str, Estimate]:
    numbers = np.array(list(values.values()))
    method = f"of the areas of {len(values)} folds"
    undefined = [str(fold) for fold, value in values.items() if np.isnan(value)]
    if undefined or not values:
        missing = Estimate(None, n=n, reason=f"undefined in fold {', '.join(undefined)}" if values else "no image")
        return {f"{name}{MEAN}": missing, f"{name}{SD}": missing}
    reason = "no interval: the networks of the folds share training images"
    spread = Estimate(None, n=n, reason="a standard deviation needs 2 folds")
    if len(values) > 1:
        spread = Estimate(float(numbers.std(ddof=1)), method=f"standard deviation (n − 1) {method}", n=n, reason=reason)
    return {
        f"{name}{MEAN}": Estimate(float(numbers.mean()), method=f"mean {method}", n=n, reason=reason),
        f"{name}{SD}": spread,
    }
