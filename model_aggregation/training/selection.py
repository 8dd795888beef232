"""What makes one epoch better than another on validation images. These numbers choose; they are never reported."""

from typing import Any

import numpy as np

from model_aggregation.errors import TrainingError


def validation_value(best_by: str, row: dict[str, Any], probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the value that is compared: ``row`` has val_loss and val_accuracy, probabilities are (N, C).

    Raises
    ------
    TrainingError
        If the value is not defined on these validation images (AUC with a class missing).
    """
    if best_by in ("loss", "accuracy"):
        return float(row[f"val_{best_by}"])
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score  # after the first epoch, not before it

    if best_by == "balanced_accuracy":
        return float(balanced_accuracy_score(labels, probabilities.argmax(1)))
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        raise TrainingError("best_by: auc needs every class among the validation images; use loss or accuracy.")
    if classes == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", labels=np.arange(classes)))


def is_better(value: float, best: float | None, best_by: str, *, ties: str = "first") -> bool:
    """Return whether ``value`` takes the place of the best so far; an equal one does with ``ties="last"``.

    >>> is_better(0.4, 0.5, "loss"), is_better(0.4, 0.5, "auc"), is_better(0.5, 0.5, "auc", ties="last")
    (True, False, True)
    """
    if not np.isfinite(value):
        return False
    if best is None or (ties == "last" and value == best):
        return True
    return value < best if best_by == "loss" else value > best
