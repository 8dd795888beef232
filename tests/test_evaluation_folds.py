"""Predictions pooled over the folds of a cross-validation, against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_samples import random_many_classes, random_two_classes
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, matthews_corrcoef, recall_score, roc_auc_score

from model_aggregation.errors import PredictionsError, SettingsError
from model_aggregation.evaluation import (
    Cutoff,
    EvaluationOptions,
    FoldCutoffs,
    Predictions,
    compare_predictions,
    default_cutoff,
    evaluate,
)

QUICK = EvaluationOptions(resamples=100)
CUTOFFS = {1: 0.31, 2: 0.5, 3: 0.66}


def pooled(n: int = 90, seed: int = 0) -> Predictions:
    """Predictions of two classes whose images lie in three folds."""
    return replace(random_two_classes(n, seed=seed), folds=np.random.default_rng(5).permutation(n) % 3 + 1)


def cutoffs(**changes: object) -> FoldCutoffs:
    return FoldCutoffs({fold: replace(Cutoff(value, "validation"), **changes) for fold, value in CUTOFFS.items()})


@pytest.mark.parametrize("seed", range(20))
def test_each_image_is_decided_by_the_cutoff_of_its_fold(seed):
    table = pooled(seed=seed)
    found = evaluate(table, positive="ok", cutoff=cutoffs(), options=QUICK)
    score, truth = table.score_of("ok"), table.labels == 1
    called = score > np.array([CUTOFFS[fold] for fold in table.folds.tolist()])
    assert found.confusion.tolist() == confusion_matrix(truth, called).tolist()
    expected = {
        "sensitivity": recall_score(truth, called),
        "balanced_accuracy": balanced_accuracy_score(truth, called),
        "mcc": matthews_corrcoef(truth, called),
        "auc": roc_auc_score(truth, score),
    }
    areas = [roc_auc_score(truth[table.folds == fold], score[table.folds == fold]) for fold in CUTOFFS]
    expected |= {"auc_mean_of_folds": np.mean(areas), "auc_sd_of_folds": np.std(areas, ddof=1)}
    assert {name: found.metrics[name].value for name in expected} == pytest.approx(expected)
    assert found.metrics["auc_mean_of_folds"].reason.startswith("no interval")
    low, high = found.metrics["mcc"].low, found.metrics["mcc"].high
    assert low < found.metrics["mcc"].value < high


def test_the_order_of_the_rows_does_not_matter():
    table = pooled()
    mixed = table.take(np.random.default_rng(1).permutation(len(table)))
    one, other = (evaluate(rows, positive="ok", cutoff=cutoffs(), options=QUICK) for rows in (table, mixed))
    assert one.to_dict() == other.to_dict()


def test_the_same_cutoff_in_every_fold_gives_the_numbers_of_one_cutoff():
    table = pooled()
    same = FoldCutoffs(dict.fromkeys(CUTOFFS, Cutoff(0.5, "validation")))
    one = evaluate(table, positive="ok", cutoff=same, options=QUICK)
    other = evaluate(table, positive="ok", cutoff=Cutoff(0.5, "validation"), options=QUICK)
    assert one.metrics == other.metrics


def test_the_source_names_every_cutoff():
    found = evaluate(pooled(), positive="ok", cutoff=cutoffs(), options=QUICK)
    cutoff = found.to_dict()["cutoff"]
    assert cutoff["value"] is None
    assert cutoff["source"] == "per fold: 0.31, 0.5, 0.66"
    assert [(fold["fold"], fold["value"]) for fold in cutoff["folds"]] == list(CUTOFFS.items())
    table = found.to_table()
    assert set(table.loc[table["metric"] == "sensitivity", "cutoff_source"]) == {cutoff["source"], "0.5"}
    assert found.cutoff is None


def test_cutoffs_of_folds_warn_as_one_does():
    some = FoldCutoffs({1: default_cutoff("no validation images"), 2: Cutoff(0.4, "validation"), 3: Cutoff(0.5, "x")})
    assert (
        "in fold 1 the cutoff is 0.5: no validation images"
        in evaluate(pooled(), positive="ok", cutoff=some, options=QUICK).warnings
    )
    tested = evaluate(pooled(), positive="ok", cutoff=cutoffs(source="test", exploratory=True), options=QUICK)
    assert any(line.startswith("exploratory") for line in tested.warnings)
    assert "exploratory" in tested.metrics["sensitivity"].method


def test_a_fold_without_a_class_has_no_mean():
    table = pooled()
    part = table.take(~((table.folds == 2) & (table.labels == 1)))
    mean = evaluate(part, positive="ok", cutoff=cutoffs(), options=QUICK).metrics["auc_mean_of_folds"]
    assert mean.value is None
    assert mean.reason == "undefined in fold 2"


def test_more_than_two_classes():
    table = replace(random_many_classes(90, 3), folds=np.arange(90) // 30 + 1)
    metrics = evaluate(table, options=QUICK).metrics
    areas = [
        roc_auc_score(table.labels[rows], table.probabilities[rows], multi_class="ovr")
        for rows in (table.folds == fold for fold in (1, 2, 3))
    ]
    assert metrics["macro_auc_mean_of_folds"].value == pytest.approx(np.mean(areas))
    assert "hand_till_auc_mean_of_folds" in metrics


def test_what_does_not_fit_is_refused():
    with pytest.raises(PredictionsError, match="no cutoff for fold 3"):
        evaluate(pooled(), positive="ok", cutoff=FoldCutoffs({1: Cutoff(0.5, "x"), 2: Cutoff(0.5, "x")}))
    with pytest.raises(PredictionsError, match="folds of the images are not known"):
        evaluate(random_two_classes(20), positive="ok", cutoff=cutoffs())
    with pytest.raises(SettingsError, match="chosen for class 'ng'"):
        evaluate(pooled(), positive="ok", cutoff=cutoffs(positive="ng"))
    with pytest.raises(PredictionsError, match="folds has 2 values for 90 ids"):
        replace(pooled(), folds=np.array([1, 2]))


def test_pooled_models_are_compared_by_their_own_decisions():
    models = {"one": pooled(), "two": pooled(seed=3)}
    other = FoldCutoffs(dict.fromkeys(CUTOFFS, Cutoff(0.4, "validation")))
    found = compare_predictions(
        models, selected="one", positive="ok", cutoffs={"one": cutoffs(), "two": other}, options=QUICK
    )
    row = found.comparisons.query("metric == 'sensitivity'").iloc[0]
    one = evaluate(models["one"], positive="ok", cutoff=cutoffs(), options=QUICK).metrics["sensitivity"].value
    two = evaluate(models["two"], positive="ok", cutoff=other, options=QUICK).metrics["sensitivity"].value
    assert (row["value"], row["reference_value"]) == (two, one)
