"""Nothing claims more certainty than the images give: empty cells, few groups, biased resamples."""

import numpy as np
import pytest
from evaluation_samples import random_two_classes, two_classes
from scipy.stats import t

from model_aggregation.evaluation import EvaluationOptions, Predictions, compare_predictions, evaluate
from model_aggregation.evaluation.bootstrap import Resamples, bootstrap_estimate
from model_aggregation.evaluation.calibration import calibration_line
from model_aggregation.evaluation.delong import delong, paired_test
from model_aggregation.evaluation.ranking import Spread, bias_corrected_best, rank_sets

FAST = EvaluationOptions(resamples=200)


def called(tp, fn, fp, tn, *, groups=False):
    """Predictions with these cells at a cutoff of 0.5; with groups of two images each."""
    labels = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    score = np.repeat([0.9, 0.1, 0.8, 0.2], [tp, fn, fp, tn])
    return two_classes(labels, score, groups=[f"g{i // 2:03}" for i in range(len(labels))] if groups else None)


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(
    ("cells", "positive", "negative"),
    [
        ((3, 0, 854, 4146), 5.8548, None),  # no positive image missed
        ((30, 0, 50, 0), 1.0, None),  # everything called positive
        ((0, 30, 0, 50), None, 1.0),  # nothing called positive
        ((20, 10, 50, 0), 2 / 3, None),
        ((20, 10, 0, 50), None, 1 / 3),
        ((0, 30, 10, 40), None, 1.25),
    ],
)
def test_likelihood_ratios_of_an_empty_cell_have_no_interval(cells, positive, negative, groups):
    metrics = evaluate(called(*cells, groups=groups), positive="ok", options=FAST).at_half
    for name, value in (("lr_positive", positive), ("lr_negative", negative)):
        found = metrics[name]
        assert found.value == (None if value is None else pytest.approx(value, abs=1e-4))
        assert found.low is found.high is None
        assert "a cell of the table is 0" in found.reason


def test_likelihood_ratios_of_full_cells_keep_their_interval():
    found = evaluate(called(670, 74, 202, 640), positive="ok", options=FAST).at_half["lr_positive"]
    assert found.text(2) == "3.75 (3.32–4.24)"


def test_differences_of_likelihood_ratios_with_an_empty_cell_are_not_tested():
    models = {"a": called(30, 0, 20, 30), "b": called(20, 10, 20, 30)}
    table = compare_predictions(models, selected="a", positive="ok", options=FAST).comparisons.set_index("metric")
    row = table.loc["lr_positive"]
    assert row["difference"] == pytest.approx((2 / 3 - 1) / 0.4)
    assert row[["low", "high", "p"]].isna().all()
    assert "a cell of a model's table is 0" in row["reason"]
    other = compare_predictions(models, selected="a", positive="ok", primary="lr_positive", options=FAST)
    assert other.ranking["rank_low"].isna().all()


def grouped(count, *, pure, seed=0, skill=1.0):
    """200 images of so many groups of a class; pure groups hold one class each, the others both."""
    images = np.arange(200)
    groups = [f"g{i % (2 * count) if pure else i // 2 % count}" for i in images]
    return random_two_classes(200, seed=seed, skill=skill, groups=groups)


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_groups_have_no_intervals(count, pure):
    result = evaluate(grouped(count, pure=pure), positive="ok", options=FAST)
    for name in ("auc", "calibration_slope", "calibration_intercept", "sensitivity", "brier", "f1", "lr_positive"):
        found = result.metrics[name]
        assert found.value is not None
        assert found.low is found.high is None, name
        assert found.reason == "no interval: fewer than 5 groups of a class"
        assert not found.others


@pytest.mark.parametrize("pure", [False, True])
def test_five_groups_have_intervals_by_students_t(pure):
    result = evaluate(grouped(5, pure=pure), positive="ok", options=FAST)
    auc = result.metrics["auc"]
    areas = delong(result.predictions.labels == 1, result.predictions.score_of("ok")[None], result.predictions.groups)
    error = float(np.sqrt(areas.covariance()[0, 0]))
    low, high = auc.others["delong"]
    assert (high - low) / 2 == pytest.approx(t.ppf(0.975, 4) * error)
    assert auc.low < low
    assert "t with 4 df" in auc.method
    assert result.metrics["calibration_slope"].low is not None


def test_the_calibration_of_few_groups_keeps_its_value_and_widens_with_t():
    generator = np.random.default_rng(0)
    p, groups = generator.random(200), np.arange(200) // 2 % 6
    positive = generator.random(200) < p
    (slope, _), (alone, _) = calibration_line(p, positive, groups), calibration_line(p, positive, groups * 0)
    assert alone.value == slope.value
    assert alone.low is None
    big = calibration_line(p, positive, groups, confidence=0.5)[0]
    ratio = (slope.high - slope.low) / (big.high - big.low)
    assert ratio == pytest.approx(t.ppf(0.975, 5) / t.ppf(0.75, 5))


@pytest.mark.parametrize("pure", [False, True])
def test_few_groups_are_not_compared(pure):
    models = {name: grouped(3, pure=pure, seed=k, skill=s) for k, (name, s) in enumerate((("a", 3.0), ("b", 0.2)))}
    result = compare_predictions(models, selected="a", positive="ok", options=FAST)
    assert result.comparisons[["low", "high", "p", "p_holm"]].isna().all(axis=None)
    assert set(result.comparisons["reason"]) <= {
        "fewer than 5 groups of a class",
        "no interval: fewer than 5 groups of a class",
    }
    assert result.ranking["rank_low"].isna().all()
    assert "fewer than 5 groups" in result.sentence
    assert result.best.value is None
    assert any("too few to conclude, fewer than 10 groups of: ng (3), ok (3)" in line for line in result.warnings)


def test_the_test_of_few_groups_is_students():
    models = [grouped(6, pure=True, seed=k, skill=s) for k, s in enumerate((1.5, 0.5))]
    scores = np.stack([table.score_of("ok") for table in models])
    found = paired_test(delong(models[0].labels == 1, scores, models[0].groups), 0, 1)
    assert found.p == pytest.approx(2 * t.sf(abs(found.z), 5))
    half = (found.high - found.low) / 2
    assert half == pytest.approx(t.ppf(0.975, 5) * found.difference / found.z)


def test_rank_sets_of_few_groups_use_a_multivariate_t():
    sd = np.sqrt(2.0)
    deviations = np.array([[0, sd], [sd, 0]])
    sets = rank_sets(np.array([1.0, 0.0]), Spread(np.eye(2), deviations, 4))
    assert sets.critical == pytest.approx(t.ppf(0.975, 4), abs=0.08)


def test_comparisons_carry_the_banners_about_small_classes():
    models = {name: random_two_classes(16, seed=k) for k, name in enumerate("ab")}
    result = compare_predictions(models, selected="a", positive="ok", options=FAST)
    assert "too few to conclude, fewer than 10 images of: ng (8), ok (8)" in result.warnings


def test_the_best_of_few_units_is_not_corrected():
    models = {name: random_two_classes(18, seed=k) for k, name in enumerate("ab")}
    best = compare_predictions(models, selected="a", positive="ok", options=FAST).best
    assert best.value is best.low is None
    assert "fewer than 10 images of a class" in best.reason
    labels = np.arange(100) % 2
    groups = [f"g{i // 2 % 7}" for i in range(100)]
    models = {k: two_classes(labels, np.random.default_rng(k).random(100), groups=groups) for k in (1, 2)}
    best = compare_predictions({str(k): one for k, one in models.items()}, selected="1", positive="ok").best
    assert best.value is None
    assert "fewer than 10 groups of a class" in best.reason


def test_a_correction_never_raises_the_best_and_never_claims_certainty():
    inside = np.tile([[0.9], [0.1]], 20)
    raised = bias_corrected_best(["a", "b"], np.array([0.8, 0.2]), inside, inside)
    assert (raised.apparent, raised.value, raised.low) == (0.8, None, None)
    assert "nothing is corrected" in raised.reason
    lower = bias_corrected_best(["a", "b"], np.array([0.2, 0.8]), inside, inside[::-1] / 2, larger_is_better=False)
    assert lower.value is None or lower.value >= 0.2
    labels = np.arange(60) % 2
    perfect = {name: two_classes(labels, 0.1 + 0.8 * labels) for name in "ab"}
    best = compare_predictions(perfect, selected="a", positive="ok", options=FAST).best
    assert (best.value, best.low, best.high) == (1.0, None, None)
    assert "every resample gives the same value" in best.reason


def test_a_value_outside_its_percentile_interval_is_flagged():
    table = random_two_classes(40)
    plan = Resamples.of(table, count=200)
    drawn = np.linspace(0.4, 0.6, 200)
    beside = bootstrap_estimate(0.39, drawn, plan, confidence=0.95, n=40)
    assert (beside.value, beside.low is not None) == (0.39, True)
    assert "bias of the bootstrap" in beside.reason
    assert bootstrap_estimate(0.5, drawn, plan, confidence=0.95, n=40).reason is None


def test_calibration_of_no_image_says_so():
    empty = Predictions([], np.empty(0, dtype=np.int64), np.empty((0, 2)), ("ng", "ok"))
    for name in ("calibration_slope", "calibration_intercept"):
        assert evaluate(empty, positive="ok", options=FAST).metrics[name].reason == "no image"
