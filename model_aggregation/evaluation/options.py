"""How an evaluation is computed: the choices that change intervals, never the data."""

from dataclasses import asdict, dataclass

from model_aggregation.errors import SettingsError
from model_aggregation.evaluation.intervals import PROPORTION_METHODS


@dataclass(frozen=True)
class EvaluationOptions:
    """Choices of an evaluation.

    Parameters
    ----------
    confidence
        Confidence level of every interval.
    resamples
        Number of bootstrap resamples; 0 leaves bootstrap intervals out.
    seed
        Seed of the resamples; models compared with each other must share it.
    proportion_interval
        ``wilson`` or ``clopper_pearson``.
    ordered_classes
        The classes are grades in the order given: quadratic kappa is added (three classes and more).
    calibration_bins
        Number of equal-width bins of the expected calibration error.
    top_k
        k of the top-k accuracy, given from ten classes on.

    >>> EvaluationOptions(confidence=95)
    Traceback (most recent call last):
    ...
    model_aggregation.errors.SettingsError: The evaluation cannot be computed as asked:
      - confidence must lie between 0 and 1, got 95
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    proportion_interval: str = "wilson"
    ordered_classes: bool = False
    calibration_bins: int = 15
    top_k: int = 5

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.confidence < 1:
            problems.append(f"confidence must lie between 0 and 1, got {self.confidence}")
        if self.resamples < 0:
            problems.append(f"resamples must not be negative, got {self.resamples}")
        if self.seed < 0:
            problems.append(f"seed must not be negative, got {self.seed}")
        if self.proportion_interval not in PROPORTION_METHODS:
            known = ", ".join(PROPORTION_METHODS)
            problems.append(f"proportion_interval must be one of {known}, got {self.proportion_interval!r}")
        if self.calibration_bins < 1 or self.top_k < 1:
            problems.append("calibration_bins and top_k must be at least 1")
        if problems:
            raise SettingsError("The evaluation cannot be computed as asked:", problems)

    def to_dict(self) -> dict[str, object]:
        """Return the choices as plain Python values."""
        return asdict(self)
