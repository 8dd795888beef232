"""Closed-form intervals for proportions and their differences, and McNemar's mid-p test.

All functions take counts and give ``(low, high)``, clipped to the range of the number. They assume independent
images; with groups of several images the bootstrap over groups (``bootstrap.py``) replaces them.
"""

import math

PROPORTION_METHODS = {"wilson": "Wilson", "clopper_pearson": "Clopper–Pearson"}
FEWEST_GROUPS = 5
"""With fewer groups of a class nothing tells how groups vary: no interval, no test."""


def two_sided_quantile(confidence: float, degrees: int | None = None) -> float:
    """Return the two-sided quantile of the normal distribution, or of Student's t with degrees of freedom.

    >>> round(two_sided_quantile(0.95), 6), round(two_sided_quantile(0.95, 4), 6)
    (1.959964, 2.776445)
    """
    from scipy.special import ndtri, stdtrit

    p = 0.5 + confidence / 2
    return float(ndtri(p) if degrees is None else stdtrit(degrees, p))


def too_few_units(fewest: int, *, groups: bool) -> str | None:
    """Say why nothing tells how units vary, given those of the rarest class; None when there are enough.

    Sandwich variances of few groups are too small (Mancl & DeRouen 2001; Cameron & Miller 2015): with Student's t
    of one degree of freedom less than groups their intervals hold their level from about 5 groups on.

    >>> too_few_units(3, groups=True), too_few_units(1, groups=False), too_few_units(2, groups=False)
    ('fewer than 5 groups of a class', 'a class with a single image', None)
    """
    if groups:
        return f"fewer than {FEWEST_GROUPS} groups of a class" if fewest < FEWEST_GROUPS else None
    return "a class with a single image" if fewest < 2 else None


def proportion_interval(
    successes: int, n: int, *, confidence: float = 0.95, method: str = "wilson"
) -> tuple[float, float]:
    """Interval of a proportion: Wilson (1927) or Clopper & Pearson (1934), by statsmodels.

    Wilson: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).

    >>> [round(limit, 6) for limit in proportion_interval(18, 20)]
    [0.698966, 0.972134]
    >>> [round(limit, 6) for limit in proportion_interval(18, 20, method="clopper_pearson")]
    [0.683017, 0.987651]
    """
    from statsmodels.stats.proportion import proportion_confint

    name = {"wilson": "wilson", "clopper_pearson": "beta"}[method]
    low, high = proportion_confint(successes, n, alpha=1 - confidence, method=name)
    estimate = successes / n  # at 0 and n the Wilson limit equals the estimate up to rounding
    return max(0.0, min(float(low), estimate)), min(1.0, max(float(high), estimate))


def newcombe_difference(
    first: tuple[int, int], second: tuple[int, int], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of p1 − p2 for independent proportions, each ``(successes, n)``.

    Newcombe (1998), Statistics in Medicine 17:873, method 10 (hybrid score):
    low = d − √((p1−l1)² + (u2−p2)²), high = d + √((u1−p1)² + (p2−l2)²), with Wilson limits l and u.

    >>> [round(limit, 4) for limit in newcombe_difference((56, 70), (48, 80))]
    [0.0524, 0.3339]
    """
    p1, p2 = first[0] / first[1], second[0] / second[1]
    l1, u1 = proportion_interval(*first, confidence=confidence)
    l2, u2 = proportion_interval(*second, confidence=confidence)
    low = p1 - p2 - math.hypot(p1 - l1, u2 - p2)
    high = p1 - p2 + math.hypot(u1 - p1, p2 - l2)
    return max(-1.0, low), min(1.0, high)


def balanced_accuracy_interval(
    sensitive: tuple[int, int], specific: tuple[int, int], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of (Se + Sp)/2 through Youden's J = Se − (1 − Sp), Newcombe's interval of a difference.

    Both arguments are ``(correct, n)`` of one class.

    >>> [round(limit, 4) for limit in balanced_accuracy_interval((18, 20), (27, 30))]
    [0.7727, 0.9487]
    """
    correct, n = specific
    low, high = newcombe_difference(sensitive, (n - correct, n), confidence=confidence)
    return (1 + low) / 2, (1 + high) / 2


def newcombe_paired_difference(
    both: int, first_only: int, second_only: int, neither: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of p1 − p2 for paired proportions from the four cells of a pair table.

    Newcombe (1998), Statistics in Medicine 17:2635, method 10: Wilson limits of both margins, combined with
    the continuity-corrected φ: low = d − √(a² − 2φab + b²) with a = p1 − l1 and b = u2 − p2, high likewise.

    >>> [round(limit, 4) for limit in newcombe_paired_difference(36, 12, 2, 0)]
    [0.0569, 0.3404]
    """
    n = both + first_only + second_only + neither
    p1, p2 = (both + first_only) / n, (both + second_only) / n
    l1, u1 = proportion_interval(both + first_only, n, confidence=confidence)
    l2, u2 = proportion_interval(both + second_only, n, confidence=confidence)
    phi = _corrected_phi(both, first_only, second_only, neither)
    down, up = (p1 - l1, u2 - p2), (u1 - p1, p2 - l2)
    low = p1 - p2 - math.sqrt(max(0.0, down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2))
    high = p1 - p2 + math.sqrt(max(0.0, up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2))
    return max(-1.0, low), min(1.0, high)


def _corrected_phi(both: int, first_only: int, second_only: int, neither: int) -> float:
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    if margins == 0:
        return 0.0
    n = both + first_only + second_only + neither
    product = both * neither - first_only * second_only
    corrected = max(product - n / 2, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)


def mcnemar_mid_p(first_only: int, second_only: int) -> float:
    """Two-sided mid-p value of McNemar's test from the discordant counts.

    Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91: the exact conditional p less the
    probability of the observed table; with equal counts 1 − f/2. No discordant pair: 1.

    >>> round(mcnemar_mid_p(6, 16), 6)
    0.03469
    """
    from scipy.stats import binom

    n = first_only + second_only
    if n == 0:
        return 1.0
    fewer = min(first_only, second_only)
    observed = float(binom.pmf(fewer, n, 0.5))
    if first_only == second_only:
        return 1 - observed / 2
    return min(1.0, 2 * float(binom.cdf(fewer, n, 0.5)) - observed)


def likelihood_ratio_interval(
    first: tuple[int, int], second: tuple[int, int], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a likelihood ratio (x1/n1)/(x2/n2), each argument ``(x, n)`` with x > 0.

    Simel, Samsa, Matchar (1991), Journal of Clinical Epidemiology 44:763:
    exp(ln LR ± z √(1/x1 − 1/n1 + 1/x2 − 1/n2)).

    >>> [round(limit, 2) for limit in likelihood_ratio_interval((670, 744), (202, 842))]
    [3.32, 4.24]
    """
    (x1, n1), (x2, n2) = first, second
    centre = math.log(x1 / n1) - math.log(x2 / n2)
    half = two_sided_quantile(confidence) * math.sqrt(1 / x1 - 1 / n1 + 1 / x2 - 1 / n2)
    return math.exp(centre - half), math.exp(centre + half)
