"""Stored numbers that no evaluation can have made: outside their own interval, or outside the range of their metric.

What it does not know: whether a number that is possible is the right one.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from model_aggregation.evaluation.bootstrap import OUTSIDE, lies_outside
from model_aggregation.evaluation.many_class_values import CLASS_METRICS, OVERALL_METRICS
from model_aggregation.evaluation.two_class_values import (
    DECISION_METRICS,
    LIKELIHOOD_RATIOS,
    PROBABILITY_METRICS,
    RANK_METRICS,
)

_WITH_SIGN = frozenset({"mcc", "kappa"})
_SHARES = (
    frozenset({*RANK_METRICS, *DECISION_METRICS, *CLASS_METRICS, *OVERALL_METRICS})
    - {*PROBABILITY_METRICS, *LIKELIHOOD_RATIOS}
    - _WITH_SIGN
)
"""Metrics from 0 to 1."""


def impossible_numbers(metrics: Mapping[str, Any]) -> list[str]:
    """Return what cannot be right in the content of ``metrics.json``, a line for each number.

    >>> impossible_numbers({"test": {"auc": {"value": 0.123, "low": 0.85, "high": 0.97}}})
    ['test auc: 0.123 is not within 0.85–0.97']
    >>> impossible_numbers({"test": {"auc": {"value": 0.9, "low": 0.85, "high": 0.97}}})
    []
    """
    return [
        f"{' '.join(place)}: {fault}"
        for place, name, entry in _entries(metrics)
        if (fault := _fault(name, entry)) is not None
    ]


def _entries(metrics: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Mapping[str, Any]]]:
    """Yield place, metric and content of every number but cutoffs, which belong to no range."""
    for set_name, content in metrics.items():
        if not isinstance(content, Mapping):
            continue
        blocks: dict[tuple[str, ...], Any] = {(set_name,): content, (set_name, "at 0.5"): content.get("at_0.5")}
        classes = content.get("classes")
        if isinstance(classes, Mapping):
            blocks |= {(set_name, f"class {name!r}"): numbers for name, numbers in classes.items()}
        for place, numbers in blocks.items():
            for name, entry in numbers.items() if isinstance(numbers, Mapping) else ():
                if isinstance(entry, Mapping) and "value" in entry and name != "cutoff":
                    yield (*place, name), name, entry


def _fault(name: str, entry: Mapping[str, Any]) -> str | None:
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    for number in (value, low, high):
        if number is not None and not (_is_number(number) and math.isfinite(number)):
            return f"{number!r} is no number"
    if value is None:
        return None
    least, most = (0, 1) if name in _SHARES else (-1, 1) if name in _WITH_SIGN else (-math.inf, math.inf)
    if lies_outside(value, least, most):
        return f"{value:.3g} is not within {least}–{most}"
    if low is not None and high is not None and low > high:
        return f"its interval ends at {high:.3g} before it begins at {low:.3g}"
    biased = OUTSIDE in str(entry.get("reason"))  # a percentile interval may miss its value; the evaluation says so
    if not biased and lies_outside(value, -math.inf if low is None else low, math.inf if high is None else high):
        return f"{value:.3g} is not within {_shown(low)}–{_shown(high)}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(limit: float | None) -> str:
    return "" if limit is None else f"{limit:.3g}"
