"""Areas, their variance and their comparison: pROC's values, exact identities, coverage."""

import itertools

import numpy as np
import pytest
from evaluation_samples import ASAH_POOR, ASAH_SCORES, two_class_tables
from hypothesis import given, settings
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from model_aggregation.evaluation.delong import auc_estimate, delong, paired_test, plain_interval


def kernel_covariance(labels, scores):
    """DeLong's covariance from the definition: all pairs, no ranks."""
    positive, negative = scores[:, labels], scores[:, ~labels]
    wins = (positive[:, :, None] > negative[:, None, :]) + 0.5 * (positive[:, :, None] == negative[:, None, :])
    m, n = positive.shape[1], negative.shape[1]
    return np.cov(wins.mean(axis=2)) / m + np.cov(wins.mean(axis=1)) / n


def test_asah_of_proc():
    areas = delong(ASAH_POOR, ASAH_SCORES)
    assert areas.auc == pytest.approx([0.731369, 0.823679, 0.611958], abs=5e-7)
    ndka = plain_interval(areas.auc[2], areas.covariance()[2, 2])
    assert ndka == pytest.approx((0.501245, 0.722671), abs=5e-7)
    test = paired_test(areas, 0, 2)
    assert (test.z, test.p) == pytest.approx((1.39077, 0.164295), abs=5e-6)


def test_the_plain_interval_is_stored_beside_the_logit_one():
    estimate = auc_estimate(delong(ASAH_POOR, ASAH_SCORES), 2)
    assert estimate.others["delong"] == pytest.approx((0.501245, 0.722671), abs=5e-7)
    assert "logit" in estimate.method


@settings(max_examples=50, deadline=None)
@given(two_class_tables(fewest=4))
def test_area_and_covariance_by_definition(table):
    labels, score = table.labels == 1, table.score_of("ok")
    scores = np.stack([score, np.roll(score, 1), score**2])
    areas = delong(labels, scores)
    assert areas.auc == pytest.approx([roc_auc_score(labels, row) for row in scores], abs=1e-12)
    if areas.objection() is None:
        covariance = areas.covariance()
        assert covariance == pytest.approx(kernel_covariance(labels, scores), abs=1e-12)
        for i, j in itertools.combinations(range(3), 2):
            direct = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
            assert areas.variance_of_difference(i, j) == pytest.approx(max(0, direct), abs=1e-12)


def test_a_score_against_itself():
    test = paired_test(delong(ASAH_POOR, ASAH_SCORES[[0, 0]]), 0, 1)
    assert (test.difference, test.z, test.p) == (0.0, 0.0, 1.0)


def test_order_below_the_resolution_of_float32():
    score = 0.5 + np.arange(20) * 1e-12
    assert len(np.unique(score.astype(np.float32))) == 1
    assert delong(np.arange(20) >= 10, score).auc[0] == 1.0


def test_every_image_duplicated_within_its_group():
    labels, scores = np.tile(ASAH_POOR, 2), np.tile(ASAH_SCORES, 2)
    once = delong(ASAH_POOR, ASAH_SCORES).covariance()
    groups = np.tile(np.arange(113), 2)
    assert delong(labels, scores, groups).covariance() == pytest.approx(once, rel=1e-12)
    naive = delong(labels, scores).covariance()
    assert np.diag(naive) / np.diag(once) == pytest.approx([0.5] * 3, rel=0.02)


def test_groups_of_one_image_change_nothing():
    single = delong(ASAH_POOR, ASAH_SCORES, np.arange(113)).covariance()
    assert single == pytest.approx(delong(ASAH_POOR, ASAH_SCORES).covariance(), rel=1e-12)


def test_clustered_variance_against_the_jackknife_over_groups():
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(300), 3)
    labels = np.repeat(generator.random(300) < 0.5, 3) ^ (generator.random(900) < 0.1)
    scores = labels + np.repeat(generator.normal(size=300), 3) + 0.5 * generator.normal(size=900)
    own = delong(labels, scores, groups).covariance()[0, 0]
    left = [roc_auc_score(labels[groups != g], scores[groups != g]) for g in range(300)]
    jackknife = 299 / 300 * np.square(np.array(left) - np.mean(left)).sum()
    naive = delong(labels, scores).covariance()[0, 0]
    assert own == pytest.approx(jackknife, rel=0.03)
    assert naive < 0.7 * jackknife


@pytest.mark.parametrize(
    ("labels", "scores", "expected", "words"),
    [
        ([0, 0, 0, 1, 1], [0.5] * 5, (0.5, None, None), "variance is 0"),
        ([0, 0, 0, 1], [0.1, 0.2, 0.6, 0.5], (2 / 3, None, None), "single image"),
        ([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.5], (1.0, None, None), "single image"),
        ([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.5, 0.6], (1.0, 0.025**0.5, 1.0), "one-sided bound"),
        ([1, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.5, 0.6], (0.0, 0.0, 1 - 0.025**0.5), "one-sided bound"),
    ],
)
def test_edges_of_the_area(labels, scores, expected, words):
    estimate = auc_estimate(delong(labels, scores), 0)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected)
    assert words in estimate.reason


def test_perfect_against_useless_has_no_p():
    test = paired_test(delong([0, 0, 1, 1], [[0.1, 0.2, 0.8, 0.9], [0.5] * 4]), 0, 1)
    assert (test.difference, test.p) == (0.5, None)
    assert "variance" in test.reason


@settings(max_examples=40, deadline=None)
@given(two_class_tables(fewest=4, most=12))
def test_no_limit_leaves_its_range(table):
    estimate = auc_estimate(delong(table.labels == 1, table.score_of("ok")), 0)
    for low, high in [(estimate.low, estimate.high), *estimate.others.values()]:
        assert low is None or 0 <= low <= estimate.value <= high <= 1


def test_coverage_of_the_logit_interval():
    """30 + 30 images, area .97: nominal 95 % must cover .92 … .98; the plain interval covers far less."""
    true, size, rounds = 0.97, 30, 3000
    labels = np.arange(2 * size) < size
    scores = np.random.default_rng(0).normal(labels * np.sqrt(2) * ndtri(true), size=(rounds, 2 * size))
    areas = delong(labels, scores)
    estimates = [auc_estimate(areas, k) for k in range(rounds)]
    covered = np.mean([e.low <= true <= e.high for e in estimates])
    plain = np.mean([low <= true <= high for low, high in (e.others.get("delong", (1, 1)) for e in estimates)])
    assert 0.92 <= covered <= 0.98
    assert plain < 0.88
