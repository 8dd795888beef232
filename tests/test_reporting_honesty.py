"""The methods section hides nothing: what was not done, what is undefined, what could not be read."""

from dataclasses import replace

import numpy as np
import pytest

from model_aggregation.evaluation import (
    Cutoff,
    EvaluationOptions,
    FoldCutoffs,
    Predictions,
    compare_predictions,
    evaluate,
)
from model_aggregation.evaluation.bootstrap import OUTSIDE
from model_aggregation.evaluation.cutoff import default_cutoff
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.reporting.methods_text import ReportFacts, methods_text

QUICK = EvaluationOptions(resamples=50)


def table(n: int, *, seed: int = 0, scale: float = 1.0, groups: np.ndarray | None = None, folds=None) -> Predictions:
    """Predictions of two balanced classes; a scale below 0.5 calls no image positive."""
    labels = np.arange(n) % 2
    logit = np.random.default_rng(seed).normal(labels - 0.5)
    score = scale / (1 + np.exp(-logit))
    ids = [f"{i:04}" for i in range(n)]
    return Predictions(ids, labels, np.stack([1 - score, score], 1), ("ng", "ok"), groups, folds=folds)


def compared(models: dict[str, Predictions], facts: ReportFacts | None = None, *, unreadable=None, **options) -> str:
    """Return the methods section of a comparison with the first model."""
    comparison = compare_predictions(models, positive="ok", options=QUICK, **{"selected": next(iter(models))} | options)
    cutoffs = options.get("cutoffs", {})
    evaluations = {
        name: evaluate(one, positive="ok", options=QUICK, unreadable=unreadable, cutoff=cutoffs.get(name))
        for name, one in models.items()
    }
    return methods_text(evaluations, facts, comparison)


def test_what_is_undefined_for_a_compared_model_is_listed():
    text = compared({"low": table(80, scale=0.4), "other": table(80, seed=1)})
    undefined = "positive predictive value, F1, Matthews correlation coefficient and Cohen's kappa – undefined"
    assert f"- ‘low’: {undefined}: no image is predicted positive" in text
    assert "‘other’: positive predictive" not in text


def test_an_undefined_measure_is_not_in_the_sentence_on_intervals():
    text = compared({"low": table(80, scale=0.4), "other": table(80, seed=1, scale=0.4)})
    sentence = text.partition("Confidence intervals")[2].partition("\n")[0]
    assert "Wilson" in sentence
    assert "negative predictive value" in sentence
    assert "positive" not in sentence


def test_unreadable_images_of_a_comparison_are_counted_both_ways():
    models = {name: table(80, seed=seed) for seed, name in enumerate(("a", "b"))}
    text = compared(models, unreadable={"x": "ok", "y": "ng"})
    for name, one in models.items():
        right = int(((one.score_of("ok") > 0.5) == (one.labels == 1)).sum())
        assert f"‘{name}’ {right / 80:.3f} and {right / 82:.3f} (2 further images)" in text
    assert "could not be read" in text
    assert "could not be read" not in compared(models)


@pytest.mark.parametrize("chosen_on", [(), ("val",)])
def test_folds_without_validation_claim_none(chosen_on):
    folds = np.arange(80) // 2 % 2 + 1
    models = {name: table(80, seed=seed, folds=folds) for seed, name in enumerate(("a", "b"))}
    by_fold = FoldCutoffs({fold: default_cutoff("no validation images to choose it on") for fold in (1, 2)})
    cutoffs = dict.fromkeys(models, by_fold)
    text = compared(models, ReportFacts(chosen_on=chosen_on), selected=None, cutoffs=cutoffs)
    assert ("The validation images of a fold" in text) == bool(chosen_on)
    assert "o model was selected on images apart from those tested" in text


def test_cutoffs_of_folds_that_were_not_chosen_are_not_said_to_be():
    folds = np.arange(80) // 2 % 2 + 1
    default = FoldCutoffs({fold: default_cutoff("no validation images to choose it on") for fold in (1, 2)})
    chosen = FoldCutoffs({1: Cutoff(0.43, "validation"), 2: Cutoff(0.5, "validation")})
    for cutoffs, said in ((default, False), (chosen, True)):
        evaluation = evaluate(table(80, folds=folds), positive="ok", cutoff=cutoffs, options=QUICK)
        assert ("each chosen within its fold" in methods_text({"test": evaluation})) == said


def test_a_value_outside_its_interval_is_said():
    evaluation = evaluate(table(80), positive="ok", options=QUICK)
    biased = Estimate(0.3, 0.4, 0.5, "percentile bootstrap", 80, OUTSIDE)
    text = methods_text({"test": replace(evaluation, metrics={**evaluation.metrics, "average_precision": biased})})
    assert f"average precision – {OUTSIDE}" in text


def test_groups_are_described_with_students_t_and_few_have_no_tests():
    many, few = (np.array([f"g{i // 2 % count}" for i in range(80)]) for count in (12, 3))
    text = compared({name: table(80, seed=seed, groups=many) for seed, name in enumerate("ab")})
    assert text.count("Student's t") == 3  # AUC, regression, paired test
    assert "20,000 draws of a multivariate t" in text
    assert "Cameron AC, Miller DL (2015)" in text
    text = compared({name: table(80, seed=seed, groups=few) for seed, name in enumerate("ab")})
    assert "Student" not in text
    assert "No other model could be tested" in text
    assert text.count("too few to conclude, fewer than 10 groups of: ng (3), ok (3)") == 1
    assert "could not be corrected for having been chosen by that score: fewer than 10 groups of a class" in text
