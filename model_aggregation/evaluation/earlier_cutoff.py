"""How the earlier program chose the cutoff, so that its numbers can be given again to the last digit."""

import numpy as np

THRESHOLDS = (
    *(step / 1000 for step in range(10)),
    *(step / 100 for step in range(1, 100)),
    *(step / 1000 for step in range(991, 1001)),
)
"""Where it looked: 0 to 0.009 in thousandths, 0.01 to 0.99 in hundredths, 0.991 to 1 in thousandths."""

_DIGITS = 5


def earlier_cutoff(score: np.ndarray, positive: np.ndarray, lower: float, upper: float) -> float | None:
    """Return the threshold with the largest balanced accuracy, rounded to five decimals, within [lower, upper].

    Of equal ones the nearest to 0.5 is taken, of two equally near the smaller. An image is positive when its score
    lies strictly above. None where no threshold lies within the limits, where all give 0, or where a class is missing:
    the earlier program stopped with an error then.

    Parameters
    ----------
    score
        (N,) scores of the positive class.
    positive
        (N,) whether an image is of that class.

    >>> earlier_cutoff(np.array([0.2, 0.515, 0.6]), np.array([False, False, True]), 0.4, 0.6)
    0.52
    """
    best, found = 0.0, None
    if not positive.any() or positive.all():
        return None
    hits, alarms = np.sort(score[positive]), np.sort(score[~positive])
    for threshold in THRESHOLDS:
        if not lower <= threshold <= upper:
            continue
        sensitivity = (len(hits) - int(np.searchsorted(hits, threshold, side="right"))) / len(hits)
        false_positive_rate = (len(alarms) - int(np.searchsorted(alarms, threshold, side="right"))) / len(alarms)
        balanced = round(((1 - false_positive_rate) + sensitivity) / 2, _DIGITS)
        nearer = found is not None and abs(0.5 - threshold) < abs(0.5 - found)
        if balanced > best or (balanced == best and nearer):
            best, found = balanced, threshold
    return found
