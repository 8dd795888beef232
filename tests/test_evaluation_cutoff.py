"""The cutoff: its rule by brute force, its edges, and why it is not chosen on the test set."""

import json

import numpy as np
import pytest
from evaluation_samples import random_two_classes, two_class_tables, two_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, ndtr

from model_aggregation.errors import SettingsError
from model_aggregation.evaluation import CutoffRule, Predictions, choose_cutoff, default_cutoff
from model_aggregation.evaluation.cutoff import _Choice


def rates(table, cutoff):
    called, truth = table.score_of("ok") > cutoff, table.labels == 1
    return called[truth].mean(), (~called[~truth]).mean()


def worth(table, rule, cutoff):
    sensitivity, specificity = rates(table, cutoff)
    if rule.kind == "min_sensitivity":
        return specificity if sensitivity >= rule.target - 1e-12 else -np.inf
    if rule.kind == "min_specificity":
        return sensitivity if specificity >= rule.target - 1e-12 else -np.inf
    if rule.kind == "cost":
        false_positives, false_negatives = (1 - specificity) * table.counts[0], (1 - sensitivity) * table.counts[1]
        return -(rule.cost_false_positive * false_positives + rule.cost_false_negative * false_negatives) / len(table)
    return (sensitivity + specificity) / 2


def by_hand(table, rule):
    """The best candidate, one after the other."""
    lower, upper = rule.limits
    scores = np.unique(table.score_of("ok"))
    middles = (scores[1:] + scores[:-1]) / 2
    candidates = {lower, upper} | ({0.5} if lower <= 0.5 <= upper else set())
    candidates |= {float(c) for c in middles if lower <= c <= upper}
    found = {cutoff: worth(table, rule, cutoff) for cutoff in candidates}
    best = max(found.values())
    if best == -np.inf:
        return np.nan
    tied = [cutoff for cutoff, value in found.items() if value >= best - 1e-12]
    near = min(abs(c - 0.5) for c in tied)
    return min(c for c in tied if abs(c - 0.5) <= near + 1e-12)


RULES = st.sampled_from(
    [
        CutoffRule(),
        CutoffRule(lower=0.2, upper=0.45),
        CutoffRule("youden"),
        CutoffRule("min_sensitivity", target=0.8),
        CutoffRule("min_specificity", target=1.0),
        CutoffRule("cost", cost_false_negative=5),
    ]
)


@settings(max_examples=150, deadline=None)
@given(two_class_tables(), RULES)
def test_the_rule_by_hand_and_its_plateau(table, rule):
    choice = _Choice.of(table, "ok", rule)
    value = choice.best(np.ones((len(table), 1)))[0]
    expected = by_hand(table, rule)
    assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    if np.isnan(value):
        return
    assert choice.balanced_accuracy_at(value) == pytest.approx(sum(rates(table, value)) / 2)
    low, high = choice.plateau(value)
    assert low <= value <= high
    for cutoff in low + (high - low) * np.array([0.0, 0.3, 0.999]):
        if cutoff < high:
            assert worth(table, rule, cutoff) == pytest.approx(worth(table, rule, value), abs=1e-11)


@settings(max_examples=50, deadline=None)
@given(two_class_tables(fewest=6), RULES)
def test_resampled_choices_are_those_of_the_repeated_rows(table, rule):
    weights = np.random.default_rng(0).integers(0, 3, size=(len(table), 3)).astype(np.float64)
    weights[:2] += 1
    chosen = _Choice.of(table, "ok", rule).best(weights)
    for column in range(3):
        rows = np.repeat(np.arange(len(table)), weights[:, column].astype(int))
        copied = two_classes(table.labels[rows], table.score_of("ok")[rows])
        assert chosen[column] == pytest.approx(by_hand(copied, rule), abs=1e-12, nan_ok=True)


def test_what_is_stored():
    table = random_two_classes(100, skill=2)
    cutoff = choose_cutoff(table, "ok", resamples=200)
    assert cutoff.source == "validation"
    assert not cutoff.exploratory
    assert 0.4 <= cutoff.interval[0] <= cutoff.interval[1] <= 0.6
    assert cutoff.limit_active == (cutoff.value in (0.4, 0.6))
    assert json.loads(json.dumps(cutoff.to_dict(), allow_nan=False))["rule"]["kind"] == "balanced_accuracy"
    assert choose_cutoff(table.take(np.random.default_rng(0).permutation(100)), "ok", resamples=200) == cutoff


def test_a_limit_is_called_active():
    score = np.r_[np.linspace(0, 0.2, 30), np.linspace(0.25, 0.35, 30)]  # the best cutoff lies below the limits
    cutoff = choose_cutoff(two_classes(np.arange(60) >= 30, score), "ok", CutoffRule(lower=0.3), resamples=0)
    assert (cutoff.value, cutoff.limit_active) == (0.3, True)


@pytest.mark.parametrize(("negatives", "positives", "side"), [(19, 40, "other than 'ok'"), (40, 19, "class 'ok'")])
def test_fewer_than_twenty_of_a_class(negatives, positives, side):
    labels = np.arange(negatives + positives) >= negatives
    cutoff = choose_cutoff(two_classes(labels, np.linspace(0, 1, len(labels))), "ok")
    assert (cutoff.value, cutoff.source) == (0.5, "default")
    assert "only 19 validation images" in cutoff.reason
    assert side in cutoff.reason


def test_a_class_without_validation_images():
    cutoff = choose_cutoff(two_classes([1] * 30, np.linspace(0, 1, 30)), "ok")
    assert (cutoff.value, cutoff.balanced_accuracy) == (0.5, None)


def test_a_target_out_of_reach():
    score = np.r_[np.zeros(30), np.zeros(10), np.ones(20)]
    cutoff = choose_cutoff(two_classes(np.arange(60) >= 30, score), "ok", CutoffRule("min_sensitivity", target=0.9))
    assert cutoff.source == "default"
    assert "no cutoff reaches" in cutoff.reason


def test_fixed_and_test_and_default():
    table = random_two_classes(100)
    fixed = choose_cutoff(table, "ok", CutoffRule("fixed", value=0.3))
    assert (fixed.value, fixed.source, fixed.exploratory) == (0.3, "fixed", False)
    assert choose_cutoff(table, "ok", source="test", resamples=0).exploratory
    assert default_cutoff("no validation images").reason == "no validation images"


def test_a_single_score_takes_a_fixed_cutoff_only():
    table = Predictions(["a", "b"], [0, 1], [], ("ng", "ok"), None, [-3.0, 7.0], "ok")
    with pytest.raises(SettingsError, match="must be given"):
        choose_cutoff(table, "ok")
    assert choose_cutoff(table, "ok", CutoffRule("fixed", value=5.0)).balanced_accuracy == 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "best"},
        {"lower": 0.7},
        {"kind": "fixed"},
        {"kind": "fixed", "value": np.nan},
        {"kind": "min_specificity", "target": 1.5},
        {"kind": "cost", "cost_false_positive": 0},
    ],
)
def test_rules_that_mean_nothing_are_refused(arguments):
    with pytest.raises(SettingsError):
        CutoffRule(**arguments)


def test_only_the_choice_on_validation_is_unbiased():
    """40 + 40 images: on test data the balanced accuracy at a cutoff chosen there is too high."""
    generator, rounds = np.random.default_rng(3), 800
    labels = np.arange(80) % 2
    error = {"validation": [], "test": []}
    for _ in range(rounds):
        tables = [two_classes(labels, expit(generator.normal(labels - 0.5))) for _ in range(2)]
        for source, table in zip(error, tables, strict=True):
            cutoff = choose_cutoff(table, "ok", source=source, resamples=0).value
            true = (ndtr(logit(cutoff) + 0.5) + ndtr(0.5 - logit(cutoff))) / 2
            error[source].append(sum(rates(tables[1], cutoff)) / 2 - true)
    noise = np.std(error["validation"]) / np.sqrt(rounds)
    assert abs(np.mean(error["validation"])) < 3 * noise
    assert np.mean(error["test"]) > 0.015
