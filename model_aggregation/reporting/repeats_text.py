"""How seeds and folds were repeated and put together, in words."""

from collections.abc import Sequence

import numpy as np

from model_aggregation.evaluation import Evaluation
from model_aggregation.evaluation.folds import MEAN, SD
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.words import listing, metric_name


def repeat_sentences(evaluations: Sequence[Evaluation], facts: ReportFacts, *, alone: bool) -> list[str]:
    """Describe pooled out-of-fold predictions, the reference seed, and mean and SD over seeds and folds.

    Parameters
    ----------
    alone
        One model is reported: its numbers of the folds are named.
    """
    pooled = [one for one in evaluations if one.predictions.folds is not None]
    sentences = _pooled_sentences(pooled, facts, alone=alone) if pooled else []
    if facts.reference_seed is not None:
        sentences.append(
            f"Seeds were never pooled: the lowest, {facts.reference_seed}, was the reference, and its runs are "
            "the ones compared."
        )
    if facts.without_reference:
        sentences.append(f"Without a finished run of this seed, and so left out: {listing(facts.without_reference)}.")
    if facts.repeated:
        over = listing(facts.repeated)
        sentences.append(
            f"Mean ± standard deviation (n − 1) over {over} is given in repeats.csv beside the sampling intervals, "
            "which do not hold the variation between trainings."
        )
    return sentences


def _pooled_sentences(pooled: Sequence[Evaluation], facts: ReportFacts, *, alone: bool) -> list[str]:
    folds = pooled[0].predictions.folds
    number = len(np.unique(folds)) if folds is not None else 0
    sentences = [
        f"In a cross-validation of {number} folds each image was tested once, by the network of the fold that had not "
        "learnt from it; these out-of-fold predictions were pooled and evaluated once.",
        "Pooling puts the scores of different networks on one scale, so an area under the pooled curve is partly a "
        "comparison across networks; the mean of the folds' own areas stands beside it.",
    ]
    if not alone:
        validated = "The validation images of a fold are test images of others, so no" if facts.chosen_on else "No"
        sentences.append(f"{validated} model was selected on images apart from those tested.")
    return sentences + (_areas(pooled[0]) if alone else [])


def _areas(evaluation: Evaluation) -> list[str]:
    found = []
    for name, mean in evaluation.metrics.items():
        spread = evaluation.metrics.get(name.removesuffix(MEAN) + SD)
        if name.endswith(MEAN) and mean.value is not None:
            sd = "" if spread is None or spread.value is None else f" ± {spread.value:.3f} (standard deviation, n − 1)"
            found.append(f"The {metric_name(name)} was {mean.value:.3f}{sd}.")
    return found
