"""Intervals against published values and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import Table2x2, mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from model_aggregation.evaluation.intervals import (
    balanced_accuracy_interval,
    likelihood_ratio_interval,
    mcnemar_mid_p,
    newcombe_difference,
    newcombe_paired_difference,
    proportion_interval,
)

COUNTS = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n + 1), st.just(n + 1)))


def test_values_of_r_binom():
    assert proportion_interval(18, 20) == pytest.approx((0.698966, 0.972134), abs=5e-7)
    assert proportion_interval(18, 20, method="clopper_pearson") == pytest.approx((0.683017, 0.987651), abs=5e-7)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.sampled_from([("wilson", "wilson"), ("clopper_pearson", "beta")]))
def test_proportions_agree_with_statsmodels_and_scipy(counts, methods):
    own = proportion_interval(*counts, method=methods[0])
    assert own == pytest.approx(proportion_confint(*counts, method=methods[1]), abs=1e-12)
    scipy_name = {"wilson": "wilson", "clopper_pearson": "exact"}[methods[0]]
    assert own == pytest.approx(tuple(binomtest(*counts).proportion_ci(method=scipy_name)), abs=1e-9)
    assert 0 <= own[0] <= counts[0] / counts[1] <= own[1] <= 1


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS)
def test_newcombe_agrees_with_statsmodels(first, second):
    low, high = newcombe_difference(first, second)
    reference = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (low, high) == pytest.approx(tuple(np.clip(reference, -1, 1)), abs=1e-9)
    se_sp = balanced_accuracy_interval(first, second)
    assert 0 <= se_sp[0] <= (first[0] / first[1] + second[0] / second[1]) / 2 <= se_sp[1] <= 1


def test_newcombe_paired_example():
    # Newcombe (1998), table II, 36/12/2/0: method 10
    assert newcombe_paired_difference(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(*[st.integers(0, 20)] * 4)
def test_newcombe_paired_holds_its_difference_and_mirrors(both, first, second, neither):
    n = both + first + second + neither
    if n == 0:
        return
    low, high = newcombe_paired_difference(both, first, second, neither)
    assert -1 <= low <= (first - second) / n + 1e-12
    assert (first - second) / n - 1e-12 <= high <= 1
    mirrored = newcombe_paired_difference(both, second, first, neither)
    assert (-mirrored[1], -mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_mcnemar_of_fagerland():
    assert mcnemar([[59, 6], [16, 80]], exact=True).pvalue == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar_mid_p(6, 16) == pytest.approx(0.034690, abs=5e-7)


@pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1.0), (1, 1, 0.75), (0, 1, 0.5), (0, 5, 0.03125)])
def test_mcnemar_edges(first, second, p):
    assert mcnemar_mid_p(first, second) == mcnemar_mid_p(second, first) == pytest.approx(p)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mid_p_is_the_exact_p_less_the_point(first, second):
    p = mcnemar_mid_p(first, second)
    assert 0 < p <= 1
    if first != second:
        point = binomtest(first, first + second).pvalue - p
        weights = np.exp(
            np.array([np.log(np.arange(1, k + 1)).sum() for k in (first + second, first, second)]) @ [1, -1, -1]
            - (first + second) * np.log(2)
        )
        assert point == pytest.approx(weights, abs=1e-9)


def test_likelihood_ratio_of_epir():
    low, high = likelihood_ratio_interval((670, 744), (202, 842))
    assert pytest.approx(3.75, abs=0.005) == (670 / 744) / (202 / 842)
    assert (low, high) == pytest.approx((3.32, 4.24), abs=0.005)


def test_likelihood_ratio_is_the_risk_ratio_of_statsmodels():
    reference = Table2x2([[670, 74], [202, 640]]).riskratio_confint()
    assert likelihood_ratio_interval((670, 744), (202, 842)) == pytest.approx(tuple(reference), rel=1e-10)
