"""Comparisons of models: paired methods, Holm, rank sets, the price of choosing by the test score."""

import json

import numpy as np
import pytest
from evaluation_samples import random_many_classes, random_two_classes, two_classes
from scipy.stats import norm

from model_aggregation.errors import PredictionsError, SettingsError
from model_aggregation.evaluation import (
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    compare_predictions,
)
from model_aggregation.evaluation.intervals import mcnemar_mid_p, newcombe_paired_difference
from model_aggregation.evaluation.ranking import Spread, bias_corrected_best, rank_sets

FAST = EvaluationOptions(resamples=200)


def field_of(skills, *, n=200, groups=None):
    return {f"m{k}": random_two_classes(n, seed=k, skill=skill, groups=groups) for k, skill in enumerate(skills)}


def row_of(result, model, metric):
    table = result.comparisons
    return table[(table["model"] == model) & (table["metric"] == metric)].iloc[0]


def test_each_metric_has_its_paired_method():
    models = field_of([2.0, 1.0, 0.5])
    result = compare_predictions(models, selected="m0", positive="ok", options=FAST)
    assert set(result.comparisons["model"]) == {"m1", "m2"}
    assert row_of(result, "m1", "auc")["method"] == "paired DeLong"
    assert "McNemar" in row_of(result, "m1", "accuracy")["method"]
    assert "bootstrap" in row_of(result, "m1", "f1")["method"]
    first, second = (models[name].score_of("ok") > 0.5 for name in ("m1", "m0"))
    truth = models["m0"].labels == 1
    pairs = [(a & b & truth).sum() for a, b in ((first, second), (first, ~second), (~first, second), (~first, ~second))]
    row = row_of(result, "m1", "sensitivity")
    assert row["p"] == pytest.approx(mcnemar_mid_p(int(pairs[1]), int(pairs[2])))
    assert (row["low"], row["high"]) == pytest.approx(newcombe_paired_difference(*map(int, pairs)))
    assert row["difference"] == pytest.approx(row["value"] - row["reference_value"])
    assert row["n"] == truth.sum()


def test_holm_is_on_the_primary_metric_only():
    result = compare_predictions(field_of([2.0, 1.0, 0.8, 0.5]), selected="m0", positive="ok", options=FAST)
    primary = result.comparisons[result.comparisons["metric"] == "auc"].sort_values("p")
    by_hand = np.maximum.accumulate(np.minimum(primary["p"] * [3, 2, 1], 1))
    assert primary["p_holm"].to_numpy() == pytest.approx(by_hand)
    assert not primary["exploratory"].any()
    rest = result.comparisons[result.comparisons["metric"] != "auc"]
    assert rest["exploratory"].all()
    assert rest["p_holm"].isna().all()


def test_a_model_against_itself():
    table = random_two_classes(100)
    models = {"a": table, "b": table, "c": table}
    result = compare_predictions(models, selected="a", positive="ok", options=FAST)
    known = result.comparisons[result.comparisons["value"].notna()]
    assert (known["difference"] == 0).all()
    assert (known["p"] == 1).all()
    assert result.ranking[["rank", "rank_low", "rank_high"]].values.tolist() == [[1, 1, 3]] * 3
    assert result.sentence == "3 of 3 models cannot be distinguished from the best"


def test_groups_replace_mcnemar_and_widen_delong():
    labels = np.repeat(np.arange(40) % 2, 3)
    groups = [f"g{i // 3}" for i in range(120)]
    generator = np.random.default_rng(0)
    scores = [np.repeat(generator.random(40), 3) * 0.7 + 0.3 * labels for _ in range(2)]
    with_groups, without = (
        compare_predictions(
            {name: two_classes(labels, s, groups=g) for name, s in zip("ab", scores, strict=True)},
            selected="a",
            positive="ok",
            options=FAST,
        )
        for g in (groups, None)
    )
    assert with_groups.unit == "group"
    assert "bootstrap" in row_of(with_groups, "b", "accuracy")["method"]
    assert "Obuchowski" in row_of(with_groups, "b", "auc")["method"]
    width = [row_of(r, "b", "auc")["high"] - row_of(r, "b", "auc")["low"] for r in (without, with_groups)]
    assert width[1] > 1.5 * width[0]


def test_rank_sets_tell_the_good_from_the_bad():
    result = compare_predictions(field_of([3.0, 2.9, 0.2, 0.1], n=400), selected="m0", positive="ok", options=FAST)
    ranking = result.ranking.set_index("model")
    assert set(ranking.index[ranking["top_group"]]) == {"m0", "m1"}
    assert ranking.loc[["m2", "m3"], ["rank_low", "rank_high"]].values.tolist() == [[3, 4], [3, 4]]
    assert result.sentence == "2 of 4 models cannot be distinguished from the best"
    assert (ranking["rank_low"] <= ranking["rank"]).all()
    assert (ranking["rank"] <= ranking["rank_high"]).all()


def test_the_critical_value_of_two_models_is_the_normal_quantile():
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    sd = np.sqrt(2.0)
    sets = rank_sets(np.array([1.0, 0.0]), Spread(covariance, np.array([[0, sd], [sd, 0]])))
    assert sets.critical == pytest.approx(norm.ppf(0.975), abs=0.03)


def test_the_critical_value_of_equal_models_is_the_studentised_range():
    from scipy.stats import studentized_range

    k = 6
    deviations = np.sqrt(2.0) * (1 - np.eye(k))
    sets = rank_sets(np.zeros(k), Spread(np.eye(k), deviations))
    assert sets.critical == pytest.approx(studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2), abs=0.03)
    assert sets.low.tolist() == [1] * k
    assert sets.high.tolist() == [k] * k


def test_a_spread_of_zero():
    zero = Spread(np.zeros((2, 2)), np.zeros((2, 2)))
    tie = rank_sets(np.array([0.9, 0.9]), zero)
    assert (tie.low.tolist(), tie.high.tolist()) == ([1, 1], [2, 2])
    assert rank_sets(np.array([1.0, 0.5]), zero).reason
    decided = rank_sets(np.array([1.0, 0.5]), zero, decided=np.array([[False, True], [False, False]]))
    assert decided.low.tolist() == [1, 2]


def test_perfect_against_useless():
    labels = np.arange(40) % 2
    models = {"perfect": two_classes(labels, labels), "useless": two_classes(labels, np.full(40, 0.4))}
    result = compare_predictions(models, selected="perfect", positive="ok", options=FAST)
    assert np.isnan(row_of(result, "useless", "auc")["p"])
    assert np.isnan(row_of(result, "useless", "auc")["p_holm"])
    assert result.ranking.set_index("model")["top_group"].tolist() == [True, False]  # decided by the resamples
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_best_of_equal_models_is_corrected():
    apparent, corrected = [], []
    for seed in range(12):
        models = {f"m{k}": random_two_classes(100, seed=100 * seed + k, skill=0.7) for k in range(12)}
        result = compare_predictions(models, selected="m0", positive="ok", options=EvaluationOptions(resamples=60))
        apparent.append(result.best.apparent)
        corrected.append(result.best.value)
    true = norm.cdf(0.7 / np.sqrt(2))
    assert np.mean(apparent) - true > 0.04
    assert abs(np.mean(corrected) - true) < 0.02


def test_bias_correction_prefers_the_smaller_where_that_is_better():
    inside = np.array([[0.1, 0.3], [0.2, 0.2]])
    outside = np.array([[0.4, 0.5], [0.6, 0.7]])
    best = bias_corrected_best(["a", "b"], np.array([0.2, 0.3]), inside, outside, larger_is_better=False)
    assert (best.model, best.value) == ("a", pytest.approx(0.55))


def test_smaller_is_better_for_errors():
    result = compare_predictions(
        field_of([3.0, 0.1], n=300), selected="m0", positive="ok", primary="brier", options=FAST
    )
    assert result.ranking["model"].tolist() == ["m0", "m1"]
    assert result.ranking["value"].is_monotonic_increasing
    assert result.ranking["top_group"].tolist() == [True, False]


@pytest.mark.parametrize("groups", [None, [f"g{i // 2}" for i in range(150)]])
def test_many_classes(groups):
    models = {f"m{k}": random_many_classes(150, 3, seed=k, skill=s, groups=groups) for k, s in enumerate((3, 1))}
    result = compare_predictions(models, selected="m0", options=FAST)
    assert result.primary == "balanced_accuracy"
    assert row_of(result, "m1", "balanced_accuracy")["p_holm"] < 0.05
    assert ("McNemar" in row_of(result, "m1", "accuracy")["method"]) == (groups is None)
    assert result.sentence == "1 of 2 models cannot be distinguished from the best"


def test_a_missing_class_leaves_the_ranking_unknown():
    models = {name: two_classes([1] * 30, np.linspace(0.1, k, 30)) for k, name in ((0.8, "a"), (0.9, "b"))}
    result = compare_predictions(models, selected="a", positive="ok", options=FAST)
    assert "unknown" in result.sentence
    assert "auc is undefined for: a, b" in result.sentence
    assert result.best is None
    assert 0 < row_of(result, "b", "accuracy")["p"] < 1
    json.dumps(result.to_dict(), allow_nan=False)


def test_one_image_of_a_class_leaves_the_ranking_unknown():
    labels = [1] + [0] * 20
    models = {name: two_classes(labels, np.random.default_rng(k).random(21)) for k, name in enumerate("ab")}
    result = compare_predictions(models, selected="a", positive="ok", options=FAST)
    assert "single image" in result.sentence


def test_without_a_selected_model_nothing_is_compared():
    result = compare_predictions(field_of([1.0, 0.5]), selected=None, positive="ok", options=FAST)
    assert result.comparisons.empty
    assert any("no model was selected" in line for line in result.warnings)
    assert len(result.ranking) == 2


def test_one_model_alone():
    result = compare_predictions(field_of([1.0]), selected="m0", positive="ok", options=FAST)
    assert result.sentence == "1 of 1 models cannot be distinguished from the best"
    assert result.comparisons.empty


def test_without_resamples_only_closed_forms_remain():
    options = EvaluationOptions(resamples=0)
    result = compare_predictions(field_of([2.0, 1.0]), selected="m0", positive="ok", options=options)
    assert row_of(result, "m1", "auc")["p"] < 0.05
    assert "no resamples" in row_of(result, "m1", "f1")["reason"]
    assert (result.best.value, result.best.reason) == (None, "no resamples were asked for")


def test_a_single_score_can_be_compared():
    labels = np.arange(60) % 2
    models = {}
    for k in range(2):
        score = np.random.default_rng(k).normal(labels, 1)
        models[f"m{k}"] = Predictions([f"{i:02}" for i in range(60)], labels, [], ("ng", "ok"), None, score, "ok")
    result = compare_predictions(models, selected="m0", positive="ok", options=FAST)
    assert set(result.comparisons["metric"]) >= {"auc", "average_precision"}
    assert "accuracy" not in set(result.comparisons["metric"])


def test_cutoffs_are_applied_and_those_from_the_test_set_are_marked():
    models = field_of([1.5, 1.0])
    cutoffs = {"m0": choose_cutoff(models["m0"], "ok", source="test", resamples=0)}
    result = compare_predictions(
        models, selected="m0", positive="ok", primary="accuracy", cutoffs=cutoffs, options=FAST
    )
    row = row_of(result, "m1", "accuracy")
    called = models["m0"].score_of("ok") > cutoffs["m0"].value
    assert row["reference_value"] == pytest.approx((called == models["m0"].labels).mean())
    assert row["exploratory"]
    assert any("0.5 was applied to the models that have none: m1" in line for line in result.warnings)


def test_the_order_of_rows_does_not_matter():
    models = field_of([1.5, 1.0])
    shuffled = models | {"m1": models["m1"].take(np.random.default_rng(0).permutation(200))}
    one, other = (
        json.dumps(compare_predictions(m, selected="m0", positive="ok", options=FAST).to_dict(), allow_nan=False)
        for m in (models, shuffled)
    )
    assert one == other


def test_differences_between_the_models_are_listed():
    table = two_classes([0, 1, 1], [0.1, 0.8, 0.9])
    other = two_classes([0, 0, 1], [0.1, 0.8, 0.9])
    fewer = table.take(np.array([0, 1]))
    turned = Predictions(table.ids, table.labels, table.probabilities, ("ok", "ng"))
    grouped = two_classes([0, 1, 1], [0.1, 0.8, 0.9], groups=["a", "b", "b"])
    models = {"first": table, "other": other, "fewer": fewer, "turned": turned, "grouped": grouped}
    with pytest.raises(PredictionsError) as error:
        compare_predictions(models, selected="first", positive="ok")
    assert error.value.problems == (
        "other: another label for 00001",
        "fewer: lacks 00002",
        "turned: classes ok, ng; first: ng, ok",
        "grouped: groups are known for one of the two only (first)",
    )


@pytest.mark.parametrize(
    "arguments",
    [{"selected": "m9"}, {"primary": "auk"}, {"positive": None}, {"cutoffs": {"m9": None}}],
)
def test_choices_that_do_not_exist_are_refused(arguments):
    with pytest.raises(SettingsError):
        compare_predictions(field_of([1.0, 1.0]), **({"selected": "m0", "positive": "ok"} | arguments))
    with pytest.raises(SettingsError):
        compare_predictions({}, selected=None)
