"""A cheap look at what a frozen network sees: how well a linear model tells the classes apart on its features.

The images are a sample of the training part; validation and test images are never looked at. A logistic regression on
standardised features learns on four fifths of the sample and predicts the last fifth, in turn, groups kept whole. This
is a probe and no result: the networks are not trained, the sample is small, and what is chosen by it is chosen on it.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_aggregation.data.loading import ImageSource, plain_order
from model_aggregation.errors import DataError, ModelError
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.evaluation.evaluate import evaluate
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.models.arithmetic import Inference
from model_aggregation.models.build import Network
from model_aggregation.models.heads import HeadPart, find_head_part
from model_aggregation.models.inference import copied_for_inference, example_images

METRICS = ("auc", "macro_auc", "balanced_accuracy", "accuracy")
_FOLDS = 5
_FEWEST_PER_CLASS = 10
_STRENGTH = 0.01  # inverse of the penalty: features are many, images few
_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every network: the images of the sample, their classes, the positive one, and the metric."""

    rows: pd.DataFrame
    classes: tuple[str, ...]
    positive: str | None
    metric: str
    has_groups: bool


def sampled(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return about ``most`` images, each class by its share but at least 10; the same ones on every machine."""
    if len(rows) <= most:
        return rows
    ordered = rows.sort_values("content_hash")  # at random as far as the content goes
    place = ordered.groupby("label").cumcount()
    share = np.floor(ordered.groupby("label")["label"].transform("size") * (most / len(rows)))
    return ordered[place < share.clip(lower=_FEWEST_PER_CLASS)].sort_values("id").reset_index(drop=True)


def features_of(
    network: Network, images: ImageSource, device: torch.device, *, told: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Return what enters the head for each image, (N, F) float32; maps and tokens are averaged over their places.

    Raises
    ------
    ModelError
        If the head cannot be told apart from the rest of the network.
    """
    network.module.to(device)
    head = find_head_part(network.module, network.head, example_images(network, 2, device))
    if head is None:
        raise ModelError(f"'{network.name}' has no features of its own: its head is no separate end of the network.")
    inference, parts = Inference(), []
    order = plain_order(len(images), inference.batch_size)
    with (
        copied_for_inference(network, device, inference) as (module, forward),
        head.features_in(module) as entered,
    ):
        for positions, batch in zip(order, images.batches(order, training=False, seed=0), strict=True):
            forward(batch)
            parts.append(_vectors(entered(), head))
            if told:
                told(int(positions[-1]) + 1, len(images))
    return np.concatenate(parts)


def _vectors(features: torch.Tensor, head: HeadPart) -> np.ndarray:
    if len(head.shape) == 3:  # maps (channels, height, width)
        features = features.mean(dim=(2, 3))
    elif len(head.shape) == 2:  # tokens (places, channels)
        features = features.mean(dim=1)
    return features.float().cpu().numpy()


def probe(features: np.ndarray, question: Question) -> Mapping[str, Estimate]:
    """Return AUC, balanced accuracy, accuracy and the metric asked for, all of images that were not learnt.

    Parameters
    ----------
    features
        (N, F), one row for each image of the question.

    Raises
    ------
    DataError
        If a class has fewer than two groups (without groups: different pictures), so that none can be left out.
    """
    rows = question.rows
    units = rows["group"].where(rows["group"] != "", rows["pixel_hash"])
    fewest = int(units.groupby(rows["label"]).nunique().min())
    if fewest < 2 or rows["label"].nunique() < 2:
        raise DataError("a class has fewer than two groups among the training images: none can be left out in turn")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=500))
    folds = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # a class of few groups may be absent from a fold
        warnings.simplefilter("ignore", RuntimeWarning)
        predicted = cross_val_predict(model, features, rows["label"], groups=units, cv=folds, method="predict_proba")
    probabilities = np.zeros((len(rows), len(question.classes)))
    probabilities[:, [question.classes.index(label) for label in sorted(rows["label"].unique())]] = predicted
    table = Predictions(
        ids=rows["id"].to_numpy(),
        labels=pd.Categorical(rows["label"], categories=list(question.classes)).codes,
        probabilities=probabilities,
        classes=question.classes,
        groups=rows["group"].to_numpy() if question.has_groups else None,
    )
    found = evaluate(table, positive=question.positive, options=EvaluationOptions(resamples=_RESAMPLES)).metrics
    return {name: found[name] for name in dict.fromkeys((question.metric, *METRICS)) if name in found}
