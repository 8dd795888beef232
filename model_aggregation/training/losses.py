"""Losses on logits. All take logits (N, C) and labels (N,) int64 and return the mean over the batch.

Those of ``config.SOFT_LOSSES`` also take shares (N, C) of mixed images in place of labels; the weight of such an image
is that of its classes in the same shares.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor

from model_aggregation.config import Settings

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(settings: Settings, class_weights: Tensor | None) -> Loss:
    """Return the loss that the settings name.

    With ``class_weights`` (C,) the result is the weighted mean: sum of w·loss over sum of w, w taken from the true
    class, as in torch's cross entropy.
    """
    if settings.loss == "cross_entropy":
        return partial(_cross_entropy, class_weights=class_weights, label_smoothing=settings.label_smoothing)
    each: dict[str, Loss] = {
        "bce_with_logits": _bce_each,
        "multi_margin": lambda logits, labels: F.multi_margin_loss(logits, labels, reduction="none"),
        "focal": lambda logits, labels: _focal_each(logits, labels, settings.focal_gamma),
        "cosine": _cosine_each,
    }
    return lambda logits, labels: _weighted_mean(each[settings.loss](logits, labels), labels, class_weights)


def _cross_entropy(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    if labels.ndim == 1 or class_weights is None:
        return F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing, reduction="sum")
    return total / (labels @ class_weights).sum()  # torch divides by N when given shares


def balanced_class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return N / (C · n_c) for each class, as scikit-learn's ``class_weight="balanced"``; (C,) float32.

    >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.to(torch.float32))


def _weighted_mean(losses: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    if class_weights is None:
        return losses.mean()
    weights = class_weights[labels] if labels.ndim == 1 else labels @ class_weights
    return (weights * losses).sum() / weights.sum()


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).to(logits.dtype) if labels.ndim == 1 else labels.to(logits.dtype)


def _bce_each(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, _one_hot(logits, labels), reduction="none").mean(dim=1)


def _focal_each(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma · cross entropy (Lin et al. 2017, without their alpha: use class weights)."""
    log_p = F.log_softmax(logits, dim=1)
    if labels.ndim == 2:
        return -(labels * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1)
    log_p = log_p.gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** gamma) * log_p


def _cosine_each(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - cosine of the angle between the logits and the one-hot target."""
    same = torch.ones(len(labels), device=logits.device)
    return F.cosine_embedding_loss(logits, _one_hot(logits, labels), same, reduction="none")
