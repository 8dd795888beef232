"""From probabilities to a decision, one rule for training, testing and new images."""

import numpy as np


def decide(
    probabilities: np.ndarray, *, positive: int | None = None, cutoff: float | np.ndarray | None = None
) -> np.ndarray:
    """Return the predicted class of each row, (N,) int64.

    With two classes and a ``cutoff``, one or (N,) of them: ``positive`` (its index) strictly above the cutoff, else the
    other. Otherwise the largest probability, of equal ones the lowest index.

    >>> decide(np.array([[0.45, 0.55], [0.5, 0.5]]), positive=1, cutoff=0.5).tolist()
    [1, 0]
    >>> decide(np.array([[0.2, 0.4, 0.4]])).tolist()
    [1]
    """
    if positive is None or cutoff is None:
        return probabilities.argmax(axis=1)
    return np.where(probabilities[:, positive] > cutoff, positive, 1 - positive)
