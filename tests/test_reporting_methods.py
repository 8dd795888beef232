"""The methods section names the methods that were used, and no others."""

import re
from dataclasses import replace

import numpy as np
import pytest

from model_aggregation.evaluation import (
    CutoffRule,
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    compare_predictions,
    evaluate,
)
from model_aggregation.reporting.methods_text import ReportFacts, methods_text
from model_aggregation.reporting.references import PAPERS

QUICK = EvaluationOptions(resamples=50)
ALWAYS = {"Matthews 1975", "Cohen 1960", "McClish 1989", "Brier 1950", "Naeini et al. 2015", "Vickers and Elkin 2006"}
IMAGES = {
    "Wilson 1927", "Newcombe 1998a", "Simel et al. 1991", "DeLong et al. 1988", "Pepe 2003", "Cox 1958",
    "Van Calster et al. 2019", "Efron and Tibshirani 1993", "Davison and Hinkley 1997", "Robin et al. 2011",
}  # fmt: skip
GROUPS = IMAGES - {"Wilson 1927", "Newcombe 1998a", "Simel et al. 1991"} | {"Obuchowski 1997", "Liang and Zeger 1986"}
GROUPS |= {"Cameron and Miller 2015"}


def table(n: int, *, seed: int = 0, classes: int = 2, skill: float = 1.0, groups: np.ndarray | None = None):
    """Predictions of balanced classes."""
    labels = np.arange(n) % classes
    logits = np.random.default_rng(seed).normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    p = np.exp(logits)
    names = ("ng", "ok") if classes == 2 else tuple(f"class {c}" for c in range(classes))
    return Predictions([f"{i:04}" for i in range(n)], labels, p / p.sum(axis=1, keepdims=True), names, groups)


def cited(text: str) -> set[str]:
    """Return the papers cited in the body; the list of references must hold exactly these."""
    body, _, papers = text.partition("## References")
    found = {short for short, _ in PAPERS.values() if short in body}
    listed = {short for short, full in PAPERS.values() if full in papers}
    assert found == listed
    assert papers.count("\n- ") == len(listed)
    return found


def test_independent_images():
    text = methods_text({"test": evaluate(table(120), positive="ok", options=QUICK)})
    assert cited(text) == ALWAYS | IMAGES
    assert "50 bootstrap resamples (seed 0) of images within each class" in text
    assert "120 images (ng 60, ok 60), taken as independent of each other since no groups were known" in text
    assert "cluster" not in text


def test_groups():
    groups = np.array([f"g{i // 3}" for i in range(120)])
    evaluation = evaluate(table(120, groups=groups), positive="ok", options=QUICK)
    text = methods_text({"test": evaluation}, ReportFacts(group_meaning="patient"))
    assert cited(text) == ALWAYS | GROUPS
    assert "from 40 patients." in text
    assert "whole groups, stratified by the set of classes that they hold" in text
    assert "Wilson" not in text


def test_groups_of_one_image_each():
    evaluation = evaluate(table(120, groups=np.arange(120).astype(str)), positive="ok", options=QUICK)
    text = methods_text({"test": evaluation})
    assert cited(text) == ALWAYS | IMAGES
    assert "from 120 groups, one image from each" in text


def test_units_that_differ_between_sets_are_described_apart():
    options, groups = QUICK, np.array([f"g{i // 3}" for i in range(60)])
    sets = {"val": table(60), "test": table(60, seed=1, groups=groups)}
    text = methods_text({name: evaluate(one, positive="ok", options=options) for name, one in sets.items()})
    assert cited(text) == ALWAYS | IMAGES | GROUPS
    assert re.search("For ‘val’, with the image as the unit: .*For ‘test’, with the group as the unit:", text)


def test_too_few_images_and_perfect_separation():
    evaluation = evaluate(table(8, skill=50), positive="ok", options=replace(QUICK, resamples=0))
    text = methods_text({"test": evaluation})
    missing = {"Simel", "DeLong et al.", "Pepe", "Cox", "Van Calster", "Efron", "Davison", "Robin"}
    assert cited(text) == {paper for paper in ALWAYS | IMAGES if not paper.startswith(tuple(missing))}
    assert "a one-sided bound is given" in text
    assert "too few to conclude" in text
    assert "calibration slope and intercept – undefined: the probabilities separate the classes" in text


def test_a_single_score_claims_nothing_of_probabilities():
    score = np.random.default_rng(0).normal(np.arange(40) % 2)
    predictions = Predictions(np.arange(40), np.arange(40) % 2, np.empty((40, 0)), ("ng", "ok"), None, score, "ok")
    text = methods_text({"test": evaluate(predictions, positive="ok", options=QUICK)})
    body = text.partition("## To be read")[0]
    assert "no cutoff was applied" in body
    assert not re.search("Brier|calibration|Reliability|Net benefit|Wilson|McNemar", body)


def test_many_classes():
    text = methods_text({"test": evaluate(table(90, classes=3), options=QUICK)})
    binary_only = {"Matthews 1975", "McClish 1989", "Newcombe 1998a", "Simel et al. 1991", "Cox 1958"}
    own = {"Gorodkin 2004", "Hand and Till 2001"}
    assert cited(text) == (ALWAYS | IMAGES | own) - binary_only - {"Van Calster et al. 2019"}
    assert "the class with the largest probability of 3" in text
    assert "cutoff" not in text
    assert "0 to 2" in text


def test_a_class_without_images():
    predictions = table(90, classes=3)
    text = methods_text({"test": evaluate(predictions.take(predictions.labels != 2), options=QUICK)})
    assert "balanced accuracy over the classes present" in text
    assert "Hand and Till" not in text.partition("## ")[0].replace("Hand–Till AUC over the classes present", "")
    assert "– undefined: no image of class 'class 2'" in text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (CutoffRule(), "the one with the largest balanced accuracy between the limits 0.4 and 0.6 on the validation"),
        (CutoffRule("youden"), "the one with the largest Youden index (Youden 1950) on the validation images"),
        (CutoffRule("min_sensitivity", target=0.8), "the largest specificity with a sensitivity of at least 0.8 on"),
        (CutoffRule("cost", cost_false_negative=3), "the smallest cost, 1 for a false positive and 3 for a false neg"),
        (CutoffRule("fixed", value=0.3), "The cutoff 0.300 was given and not chosen on images."),
    ],
)
def test_cutoffs(rule, words):
    cutoff = choose_cutoff(table(100, seed=1), "ok", rule, resamples=20)
    text = methods_text({"test": evaluate(table(60), positive="ok", cutoff=cutoff, options=QUICK)})
    assert words in text
    assert "exploratory" not in text


def test_a_cutoff_chosen_on_test_is_exploratory():
    test = table(100)
    cutoff = choose_cutoff(test, "ok", source="test", resamples=20)
    text = methods_text({"test": evaluate(test, positive="ok", cutoff=cutoff, options=QUICK)})
    assert "on the very images it was applied to" in text
    assert "exploratory and too high on average" in text


def test_facts_are_said_when_known_and_only_then():
    evaluations = {name: evaluate(table(60), positive="ok", options=QUICK) for name in ("val", "test")}
    facts = ReportFacts(
        models=("resnet18",),
        training="All layers were trained for 10 epochs.",
        seeds=(0, 1),
        images={"train": {"ng": 1000, "ok": 500}},
        split_origin="random by patient",
        chosen_on=("val",),
        selection="the largest AUC",
        primary_metric="auc",
        test_evaluations={"test": 3, "hospital": 1},
        test_duplicates=2,
        versions={"torch": "2.9"},
    )
    text, bare = methods_text(evaluations, facts), methods_text(evaluations)
    for words in (
        "The model was resnet18. All layers were trained for 10 epochs. The seeds of training: 0 and 1.",
        "The data held 1,500 images: train (ng 1,000, ok 500). The division into sets was random by patient.",
        "2 test images had the same pixels as an image of another set and stayed in the test set.",
        "it was also used for choosing, so its numbers are optimistic",
        "Counting this evaluation, the test images had been evaluated 3 times.",
        "Counting this evaluation, the images of ‘hospital’ had been evaluated once.",
        "The primary metric was AUC.",
        "Software: torch 2.9.",
    ):
        assert words in text
        assert words not in bare
    assert text == methods_text(evaluations, facts)


def comparison_text(models, *, selected, positive, primary=None, facts=None):
    """Compare models and return the methods section."""
    result = compare_predictions(models, selected=selected, positive=positive, primary=primary, options=QUICK)
    evaluations = {name: evaluate(one, positive=positive, options=QUICK) for name, one in models.items()}
    return methods_text(evaluations, facts, result)


def test_comparison_of_two_classes():
    models = {name: table(80, seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    text = comparison_text(models, selected="b", positive="ok", facts=ReportFacts(comparison_options=QUICK))
    own = {"Fagerland et al. 2013", "Newcombe 1998b", "Holm 1979", "Mogstad et al. 2024", "Tsamardinos et al. 2018"}
    assert cited(text) == (ALWAYS | IMAGES | own) - {"Robin et al. 2011", "Vickers and Elkin 2006"}
    assert "‘b’, was compared with 2 other models on the same images: AUC by DeLong's paired test" in text
    assert "sensitivity, specificity and accuracy by McNemar's mid-p test" in text
    assert "The 2 p values of AUC were adjusted by Holm's method" in text
    assert "Simultaneous 95% confidence sets" in text
    assert "confidence sets of the ranks" in comparison_text(models, selected="b", positive="ok")


def test_comparison_with_groups_has_no_mcnemar():
    groups = np.array([f"g{i // 2}" for i in range(80)])
    models = {name: table(80, seed=seed, groups=groups) for seed, name in enumerate(("a", "b"))}
    text = comparison_text(models, selected="a", positive="ok")
    assert "McNemar" not in text
    assert "Holm" not in text
    assert "The single p value of AUC needed no adjustment" in text
    assert "DeLong's covariance for clustered data (DeLong et al. 1988; Obuchowski 1997)" in text
    assert "with Student's t (DeLong et al. 1988; Obuchowski 1997; Cameron and Miller 2015)" in text


def test_comparison_of_many_classes():
    models = {name: table(60, seed=seed, classes=3) for seed, name in enumerate(("a", "b"))}
    text = comparison_text(models, selected="a", positive=None)
    assert "The primary metric was balanced accuracy." in text
    assert "accuracy by McNemar's mid-p test" in text
    assert "the covariance of the paired bootstrap" in text
    assert "DeLong's paired" not in text


def test_comparison_without_a_selected_model():
    models = {name: table(60, seed=seed) for seed, name in enumerate(("a", "b"))}
    text = comparison_text(models, selected=None, positive="ok")
    assert "so no model was tested against another" in text
    assert not re.search("McNemar|Holm|paired test", text)
