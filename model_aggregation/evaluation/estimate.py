"""One number of an evaluation: its value, its interval, how it was made, or why it is missing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

Interval = tuple[float | None, float | None]
NO_INTERVAL: Interval = (None, None)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; what is undefined is None and says why in ``reason``.

    ``n`` is the number of images behind the value (for sensitivity: the positive images). ``others`` holds
    further intervals of the same value under their own names. ``reason`` says why the value, or only its
    interval, is missing.

    Raises ``ValueError`` for NaN or infinity, so that neither can reach a file.

    >>> Estimate(0.9, 0.699, 0.972, method="Wilson", n=20).text()
    '0.900 (0.699–0.972)'
    >>> Estimate(None, reason="no image of class 'ok'").text()
    "– (no image of class 'ok')"
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    n: int = 0
    reason: str | None = None
    others: Mapping[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))
        others = {name: (_finite(name, low), _finite(name, high)) for name, (low, high) in self.others.items()}
        object.__setattr__(self, "n", int(self.n))
        object.__setattr__(self, "others", MappingProxyType(others))

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled; a dict can
        fields = (self.value, self.low, self.high, self.method, self.n, self.reason, dict(self.others))
        return Estimate, fields

    def to_dict(self) -> dict[str, object]:
        """Return plain Python values, ready for JSON.

        >>> Estimate(0.5, n=4, reason="all scores are tied").to_dict()["low"] is None
        True
        """
        plain: dict[str, object] = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "method": self.method,
            "n": self.n,
            "reason": self.reason,
        }
        return plain | {name: {"low": low, "high": high} for name, (low, high) in self.others.items()}

    def text(self, digits: int = 3) -> str:
        """Return the value and its interval for a table, or the reason for having none."""
        if self.value is None:
            return f"– ({self.reason})" if self.reason else "–"
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"

    def marked(self, mark: str) -> "Estimate":
        """Return the same estimate with a mark behind its method, such as ``exploratory``."""
        return replace(self, method=f"{self.method}; {mark}" if self.method else mark)


def format_p(p: float | None) -> str:
    """Return a p value as a table shows it: three decimals, never 0.

    >>> format_p(0.00004), format_p(0.0347), format_p(None)
    ('<0.001', '0.035', '–')
    """
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _finite(name: str, number: float | None) -> float | None:
    if number is None:
        return None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}: an undefined number is None with a reason")
    return float(number)
