"""The evaluation as a whole: every edge has a value or a reason, and nothing depends on the order of the rows."""

import itertools
import json
import math
import pickle

import numpy as np
import pytest
from evaluation_samples import (
    many_class_tables,
    random_many_classes,
    random_two_classes,
    two_class_tables,
    two_classes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import model_aggregation.evaluation as evaluation
from model_aggregation.errors import PredictionsError, SettingsError
from model_aggregation.evaluation import (
    Estimate,
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    default_cutoff,
    evaluate,
    format_p,
)

FAST = EvaluationOptions(resamples=50)
UNBOUNDED = ("lr_positive", "lr_negative", "log_loss", "calibration_slope", "calibration_intercept")


def in_range(name, number):
    if number is None or name in UNBOUNDED:
        return True
    top = 2 if name == "brier" else 1
    return (-1 if name in ("mcc", "kappa", "quadratic_kappa") else 0) <= number <= top


def check_sound(result):
    """Whatever the table: plain JSON, values in range, and a reason wherever something is missing."""
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["n"] == result.n
    for name, estimate in itertools.chain(
        result.metrics.items(), result.at_half.items(), *(own.items() for own in result.class_metrics.values())
    ):
        numbers = (estimate.low, estimate.value, estimate.high)
        assert all(in_range(name, number) for number in numbers), (name, estimate)
        if estimate.value is None:
            assert estimate.low is estimate.high is None
            assert estimate.reason, name
        elif estimate.low is None and name not in ("prevalence", "majority_baseline"):
            assert estimate.reason, name
        elif estimate.low is not None:
            assert estimate.low <= estimate.high
            assert estimate.method
    return text


@settings(max_examples=25, deadline=None)
@given(two_class_tables(most=15), st.booleans(), st.booleans())
def test_small_tables_of_two_classes_are_sound(table, grouped, one_class):
    groups = [f"g{i // 3}" for i in range(len(table))] if grouped else None
    labels = np.zeros_like(table.labels) if one_class else table.labels
    check_sound(evaluate(two_classes(labels, table.score_of("ok"), groups=groups), positive="ok", options=FAST))


@settings(max_examples=15, deadline=None)
@given(many_class_tables(most=15), st.booleans(), st.integers(0, 3))
def test_small_tables_of_many_classes_are_sound(table, grouped, kept):
    groups = [f"g{i // 3}" for i in range(len(table))] if grouped else None
    labels = np.minimum(table.labels, kept)  # the classes behind are absent
    options = EvaluationOptions(resamples=50, ordered_classes=True)
    check_sound(evaluate(Predictions(table.ids, labels, table.probabilities, table.classes, groups), options=options))


@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image(classes, n):
    names = tuple(f"c{k:02}" for k in range(classes))
    table = Predictions(["a"][:n], [0][:n], np.full((n, classes), 1 / classes), names)
    result = evaluate(table, positive=names[1] if classes == 2 else None, options=FAST)
    check_sound(result)
    absent = ", ".join(names[1:11]) + (" and 1 more" if classes == 12 else "")
    assert result.warnings[0] == (f"no image of: {absent}" if n else "there is no image to evaluate")


def test_a_missing_class():
    result = evaluate(two_classes([1, 1, 1], [0.2, 0.7, 0.9]), positive="ok", options=FAST)
    for name in ("auc", "balanced_accuracy", "specificity"):
        assert result.metrics[name].value is None
        assert "negative class" in result.metrics[name].reason
    assert result.metrics["average_precision"].value is None
    assert result.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert "no image of: ng" in result.warnings


def test_banners_by_size():
    result = evaluate(random_two_classes(18), positive="ok", options=FAST)
    assert any("too few to conclude" in line and "ng (9), ok (9)" in line for line in result.warnings)
    result = evaluate(random_two_classes(58), positive="ok", options=FAST)
    assert any(line.startswith("imprecise") for line in result.warnings)
    groups = [f"g{i % 8}" for i in range(400)]  # many images of few patients are few
    result = evaluate(random_two_classes(400, groups=groups), positive="ok", options=FAST)
    assert any("fewer than 10 groups of: ng (4), ok (4)" in line for line in result.warnings)


def test_scores_the_wrong_way_round_are_not_flipped():
    table = random_two_classes(200, skill=3)
    turned = two_classes(table.labels, 1 - table.score_of("ok"))
    result = evaluate(turned, positive="ok", options=FAST)
    assert result.metrics["auc"].value < 0.1
    assert any("check the order of the classes" in line for line in result.warnings)


def test_the_positive_class_changes_sides():
    table = random_two_classes(101, skill=1)
    one, other = (evaluate(table, positive=name, options=FAST) for name in ("ok", "ng"))
    assert one.metrics["auc"].value == pytest.approx(other.metrics["auc"].value)
    assert one.metrics["sensitivity"].value == pytest.approx(other.metrics["specificity"].value)
    assert one.class_metrics["ng"]["precision"].value == pytest.approx(other.metrics["precision"].value)
    assert (one.confusion == other.confusion).all()
    assert one.confusion[1, 1] == round(one.metrics["sensitivity"].value * one.counts["ok"])


@pytest.mark.parametrize("make", [random_two_classes, lambda n, groups: random_many_classes(n, 4, groups=groups)])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_same_bytes_for_any_order_of_rows(make, grouped):
    table = make(60, groups=[f"g{i // 2}" for i in range(60)] if grouped else None)
    positive = "ok" if len(table.classes) == 2 else None
    shuffled = table.take(np.random.default_rng(5).permutation(60))
    texts = [check_sound(evaluate(t, positive=positive, options=FAST)) for t in (table, shuffled, table)]
    assert texts[0] == texts[1] == texts[2]


def test_groups_replace_what_needs_independent_images():
    labels = np.repeat(np.arange(60) % 2, 4)
    score = np.clip(np.repeat(np.random.default_rng(0).normal(0.5, 0.2, 60), 4) + 0.1 * labels, 0.001, 0.999)
    groups = [f"g{i // 4}" for i in range(240)]
    options = EvaluationOptions(resamples=400)
    alone = evaluate(two_classes(labels, score), positive="ok", options=options)
    grouped = evaluate(two_classes(labels, score, groups=groups), positive="ok", options=options)
    assert (alone.unit, grouped.unit) == ("image", "group")
    for name in ("sensitivity", "accuracy", "balanced_accuracy", "precision", "lr_positive"):
        assert grouped.metrics[name].value == alone.metrics[name].value
        assert "bootstrap" in grouped.metrics[name].method
        assert "groups" in grouped.metrics[name].method
        width = [result.metrics[name].high - result.metrics[name].low for result in (alone, grouped)]
        assert width[1] > 1.3 * width[0]  # four copies of 60 patients: up to √4 = 2 times as wide
    assert "Obuchowski" in grouped.metrics["auc"].method
    assert "cluster-robust" in grouped.metrics["calibration_slope"].method
    assert any("no groups known" in line for line in alone.warnings)
    assert not any("no groups known" in line for line in grouped.warnings)


def test_a_perfect_model_claims_no_certainty():
    result = evaluate(two_classes(np.arange(40) >= 20, np.linspace(0, 1, 40)), positive="ok", options=FAST)
    assert result.metrics["f1"].value == 1.0
    assert result.metrics["f1"].low is None
    assert "every resample" in result.metrics["f1"].reason
    assert result.metrics["auc"].low == pytest.approx(0.025 ** (1 / 20))
    assert "one-sided" in result.metrics["auc"].method


def test_nothing_predicted_positive():
    result = evaluate(two_classes([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]), positive="ok", options=FAST)
    for name in ("precision", "f1", "mcc", "kappa"):
        assert result.metrics[name].value is None
        assert result.metrics[name].reason == "no image is predicted positive"
    assert result.metrics["sensitivity"].value == 0.0
    assert result.metrics["lr_positive"].reason == "a cell of the table is 0"


def test_the_cutoff_is_applied_strictly_above_and_shown_with_its_source():
    table = random_two_classes(120, skill=1.5)
    cutoff = choose_cutoff(random_two_classes(100, seed=1, skill=1.5), "ok", resamples=50)
    result = evaluate(table, positive="ok", cutoff=cutoff, options=FAST)
    called = table.score_of("ok") > cutoff.value
    assert result.metrics["accuracy"].value == pytest.approx((called == (table.labels == 1)).mean())
    assert result.at_half["accuracy"].value == pytest.approx(((table.score_of("ok") > 0.5) == table.labels).mean())
    plain = result.to_dict()
    assert plain["cutoff"]["source"] == "validation"
    assert plain["at_0.5"]["accuracy"]["value"] == result.at_half["accuracy"].value
    assert plain["auc"]["delong"]["low"] < plain["auc"]["value"]
    rows = result.to_table()
    assert set(rows[rows["metric"] == "sensitivity"]["cutoff_source"]) == {"validation", "0.5"}
    assert set(rows[rows["metric"] == "auc"]["cutoff_source"]) == {""}


def test_a_cutoff_from_the_test_set_marks_what_it_touches():
    table = random_two_classes(100)
    result = evaluate(table, positive="ok", cutoff=choose_cutoff(table, "ok", source="test", resamples=0), options=FAST)
    assert "exploratory" in result.metrics["sensitivity"].method
    assert "exploratory" in result.class_metrics["ng"]["sensitivity"].method
    assert "exploratory" not in result.metrics["auc"].method
    assert "exploratory" not in result.at_half["sensitivity"].method
    assert any(line.startswith("exploratory") for line in result.warnings)


def test_without_a_cutoff_the_reason_for_half_is_said():
    result = evaluate(random_two_classes(60), positive="ok", options=FAST)
    assert result.cutoff == default_cutoff("no cutoff was chosen on validation images")
    assert any("the cutoff is 0.5: no cutoff was chosen" in line for line in result.warnings)


def test_a_single_score_gives_what_needs_no_probability():
    score = np.random.default_rng(0).normal(np.arange(80) % 2, 1) * 100
    table = Predictions([f"{i:02}" for i in range(80)], np.arange(80) % 2, [], ("ng", "ok"), None, score, "ok")
    result = evaluate(table, positive="ok", options=FAST)
    check_sound(result)
    assert result.metrics["auc"].value is not None
    assert result.metrics["brier"].value is result.metrics["calibration_slope"].value is None
    assert "probabilities" in result.metrics["ece"].reason
    assert result.metrics["accuracy"].reason == "no cutoff was given for this score"
    assert result.confusion is None
    assert result.at_half == {}
    assert result.reliability().empty
    cutoff = choose_cutoff(table, "ok", evaluation.CutoffRule("fixed", value=50.0))
    assert evaluate(table, positive="ok", cutoff=cutoff, options=FAST).metrics["accuracy"].value > 0.5


def test_absent_classes_of_many():
    table = random_many_classes(90, 4)
    labels = np.where(table.labels == 3, 0, table.labels)
    result = evaluate(Predictions(table.ids, labels, table.probabilities, table.classes), options=FAST)
    for name in ("balanced_accuracy", "macro_f1", "macro_auc", "hand_till_auc"):
        assert result.metrics[name].value is None
        assert result.metrics[name].reason == "no image of class 'class 3'"
        assert result.metrics[f"{name}_present"].value is not None
    assert all(estimate.value is None for estimate in result.class_metrics["class 3"].values())
    assert result.confusion.shape == (4, 4)
    assert np.isnan(result.confusion_percent[3]).all()


def test_ties_of_the_largest_probability_are_counted():
    table = Predictions(["a", "b"], [0, 2], [[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], ("x", "y", "z"))
    result = evaluate(table, options=FAST)
    assert result.argmax_ties == 1
    assert result.metrics["accuracy"].value == 1.0  # the lowest index decides
    assert any("1 images share" in line for line in result.warnings)


def test_unreadable_images_are_reported_twice():
    table = two_classes([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
    result = evaluate(table, positive="ok", options=FAST, unreadable={"x.png": "ok", "y.png": "ng"})
    assert result.metrics["accuracy"].value == 0.75
    plain = result.to_dict()["unreadable"]
    assert (plain["n"], plain["ids"]) == (2, ["x.png", "y.png"])
    wrong = result.unreadable_metrics
    values = [wrong[name].value for name in ("accuracy", "sensitivity", "specificity", "balanced_accuracy")]
    assert values == pytest.approx([0.5, 2 / 3, 1 / 3, 0.5])
    assert wrong["sensitivity"].n == 3
    assert "accuracy_unreadable_wrong" in set(result.to_table()["metric"])
    ids_alone = evaluate(table, positive="ok", options=FAST, unreadable=["x.png", "y.png"]).unreadable_metrics
    assert ids_alone["accuracy"].value == 0.5
    assert "not known" in ids_alone["sensitivity"].reason
    many = evaluate(random_many_classes(30, 3), options=FAST, unreadable={"x.png": "class 1"})
    assert many.unreadable_metrics["accuracy"].n == 31


@pytest.mark.parametrize("unreadable", [{"00000": "ok"}, {"x.png": "okay"}])
def test_unreadable_images_must_fit(unreadable):
    with pytest.raises(PredictionsError):
        evaluate(two_classes([0, 1], [0.1, 0.9]), positive="ok", unreadable=unreadable)


def test_two_classes_need_their_positive_class():
    with pytest.raises(SettingsError, match="name one of: ng, ok"):
        evaluate(random_two_classes(10))
    with pytest.raises(PredictionsError, match="no class 'good'"):
        evaluate(random_two_classes(10), positive="good")
    cutoff = choose_cutoff(random_two_classes(60), "ng", resamples=0)
    with pytest.raises(SettingsError, match="chosen for class 'ng'"):
        evaluate(random_two_classes(10), positive="ok", cutoff=cutoff)


def test_what_is_not_used_is_said():
    result = evaluate(random_many_classes(30, 3), positive="class 1", options=FAST)
    assert "a positive class has no meaning for 3 classes and is not used" in result.warnings


def test_clopper_pearson_on_request():
    options = EvaluationOptions(resamples=20, proportion_interval="clopper_pearson")
    result = evaluate(two_classes([1] * 20 + [0] * 20, [0.9] * 18 + [0.1] * 22), positive="ok", options=options)
    estimate = result.metrics["sensitivity"]
    assert (estimate.low, estimate.high) == pytest.approx((0.683017, 0.987651), abs=5e-7)
    assert estimate.method == "Clopper–Pearson"


def test_ordered_classes_and_top_k():
    ordered = evaluate(random_many_classes(60, 3), options=EvaluationOptions(resamples=20, ordered_classes=True))
    assert "quadratic_kappa" in ordered.metrics
    assert "quadratic_kappa" not in evaluate(random_many_classes(60, 3), options=FAST).metrics
    ten = evaluate(random_many_classes(60, 10), options=FAST)
    assert ten.metrics["top_k_accuracy"].value > ten.metrics["accuracy"].value


def test_a_model_of_no_use_has_a_macro_area_near_a_half():
    result = evaluate(random_many_classes(300, 3, skill=0.0), options=FAST)
    assert result.metrics["hand_till_auc"].low < 0.5 < result.metrics["hand_till_auc"].high


def test_curves_of_an_evaluation():
    result = evaluate(random_two_classes(80), positive="ok", options=FAST)
    assert result.roc().iloc[0, 0] == -math.inf
    assert len(result.roc_band()) == 101
    assert result.reliability()["n"].sum() == 80
    assert not result.precision_recall().empty
    assert not result.net_benefit().empty
    many = evaluate(random_many_classes(60, 3), options=FAST)
    assert many.reliability()["n"].sum() == 60
    assert not many.roc("class 1").empty
    with pytest.raises(SettingsError, match="Name the class"):
        many.roc()


def test_an_evaluation_can_be_sent_to_another_process():
    result = evaluate(random_two_classes(40), positive="ok", options=FAST)
    assert pickle.loads(pickle.dumps(result)).to_dict() == result.to_dict()


def test_no_estimate_can_hold_what_json_cannot():
    with pytest.raises(ValueError, match="nan"):
        Estimate(math.nan)
    assert format_p(0.0009) == "<0.001"


def test_public_names_are_sorted_and_there():
    assert evaluation.__all__ == sorted(evaluation.__all__)
    assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)
