"""Every point metric against an independent reference, and its resamples against repeated rows."""

import numpy as np
import pytest
import statsmodels.api as sm
from evaluation_samples import many_class_tables, random_many_classes, random_two_classes, two_class_tables, two_classes
from hypothesis import given, settings
from scipy.special import logit
from scipy.stats import t
from sklearn import metrics as sk

from model_aggregation.evaluation import EvaluationOptions, net_benefit_table, precision_recall_table, roc_table
from model_aggregation.evaluation.calibration import CLIP, calibration_line
from model_aggregation.evaluation.many_class_values import ManyClassTask, many_class_value, many_class_values
from model_aggregation.evaluation.roc import roc_band
from model_aggregation.evaluation.two_class_values import TwoClassTask, two_class_value, two_class_values

MANY = settings(max_examples=100, deadline=None)


def ones(table):
    return np.ones((len(table), 1))


def two_values(table, cutoff=0.5):
    values = two_class_values(TwoClassTask.of(table, "ok", 15), cutoff, ones(table))
    return {name: float(value[0]) for name, value in values.items()}


def ece_by_hand(probability, happened, bins=15):
    edges = np.arange(1, bins) / bins
    index = np.digitize(probability, edges)
    parts = [(index == k) for k in range(bins)]
    gaps = [abs(probability[part].mean() - happened[part].mean()) * part.mean() for part in parts if part.any()]
    return sum(gaps)


@MANY
@given(two_class_tables())
def test_decisions_of_two_classes_as_scikit_learn(table):
    truth, called = table.labels, (table.score_of("ok") > 0.5).astype(int)
    expected = {
        "sensitivity": sk.recall_score(truth, called),
        "specificity": sk.recall_score(truth, called, pos_label=0),
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "precision": sk.precision_score(truth, called, zero_division=np.nan),
        "npv": sk.precision_score(truth, called, pos_label=0, zero_division=np.nan),
    }
    if 0 < called.sum() < len(called):  # elsewhere scikit-learn gives 0 for what is undefined
        expected |= {
            "f1": sk.f1_score(truth, called),
            "mcc": sk.matthews_corrcoef(truth, called),
            "kappa": sk.cohen_kappa_score(truth, called),
        }
    tn, fp, fn, tp = sk.confusion_matrix(truth, called, labels=[0, 1]).ravel()
    if tp and fp:
        expected["lr_positive"] = (tp / (tp + fn)) / (fp / (tn + fp))
    if fn and tn:
        expected["lr_negative"] = (fn / (tp + fn)) / (tn / (tn + fp))
    if tp and fp and tn:
        assert expected["lr_positive"] == pytest.approx(sk.class_likelihood_ratios(truth, called)[0])
    own = two_values(table)
    assert {name: own[name] for name in expected} == pytest.approx(expected, abs=1e-12, nan_ok=True)


@MANY
@given(two_class_tables())
def test_scores_of_two_classes_as_scikit_learn(table):
    truth, score = table.labels, table.score_of("ok")
    corrected = sk.roc_auc_score(truth, score, max_fpr=0.1)
    expected = {
        "auc": sk.roc_auc_score(truth, score),
        "average_precision": sk.average_precision_score(truth, score),
        "partial_auc_specificity_90_corrected": corrected,
        "partial_auc_specificity_90": 0.005 + (2 * corrected - 1) * 0.095,
        # the roles of the classes exchanged turn one partial area into the other
        "partial_auc_sensitivity_90_corrected": sk.roc_auc_score(1 - truth, -score, max_fpr=0.1),
        "brier": sk.brier_score_loss(truth, score),
        "log_loss": sk.log_loss(truth, score, labels=[0, 1]),
        "ece": ece_by_hand(score, truth),
    }
    fpr, tpr, _ = sk.roc_curve(truth, score, drop_intermediate=False)
    for fixed in (0.90, 0.95):
        percent = round(100 * fixed)
        expected[f"sensitivity_at_specificity_{percent}"] = top_of_curve(fpr, tpr, 1 - fixed)
        expected[f"specificity_at_sensitivity_{percent}"] = top_of_curve(1 - tpr[::-1], 1 - fpr[::-1], 1 - fixed)
    own = two_values(table)
    assert {name: own[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def top_of_curve(x, y, at):
    """Height of a staircase at x: the top of a vertical step, linear in between."""
    on = np.isclose(x, at, atol=1e-12, rtol=0)
    if on.any():
        return y[on].max()
    before = np.flatnonzero(x < at)[-1]
    share = (at - x[before]) / (x[before + 1] - x[before])
    return y[before] + share * (y[before + 1] - y[before])


@settings(max_examples=50, deadline=None)
@given(many_class_tables())
def test_many_classes_as_scikit_learn(table):
    truth, p, c = table.labels, table.probabilities, len(table.classes)
    task = ManyClassTask.of(table, bins=15, top_k=2, ordered=True)
    own = {name: value[..., 0] for name, value in many_class_values(task, ones(table)).items()}
    called = p.argmax(axis=1)
    onehot = np.eye(c)[truth]
    recalls = sk.recall_score(truth, called, average=None, labels=range(c))
    areas = sk.roc_auc_score(onehot, p, average=None)
    expected = {
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": recalls.mean(),
        "macro_f1": sk.f1_score(truth, called, average="macro", labels=range(c), zero_division=0),
        "weighted_f1": sk.f1_score(truth, called, average="weighted", labels=range(c), zero_division=0),
        "macro_auc": areas.mean(),
        "hand_till_auc": sk.roc_auc_score(truth, p, multi_class="ovo", average="macro"),
        "brier": ((p - onehot) ** 2).sum(axis=1).mean(),
        "log_loss": sk.log_loss(truth, p, labels=range(c)),
        "ece": ece_by_hand(p.max(axis=1), called == truth),
    }
    if len(set(called)) > 1:
        expected["mcc"] = sk.matthews_corrcoef(truth, called)
        expected["kappa"] = sk.cohen_kappa_score(truth, called)
        expected["quadratic_kappa"] = sk.cohen_kappa_score(truth, called, weights="quadratic", labels=range(c))
    if c >= 10:
        ranks = np.argsort(np.argsort(-p, axis=1, kind="stable"), axis=1)
        expected["top_k_accuracy"] = (ranks[np.arange(len(p)), truth] < 2).mean()
    assert {name: float(own[name]) for name in expected} == pytest.approx(expected, abs=1e-9)
    assert own["class_sensitivity"] == pytest.approx(recalls)
    assert own["class_auc"] == pytest.approx(areas)
    precision = sk.precision_score(truth, called, average=None, labels=range(c), zero_division=np.nan)
    assert own["class_precision"] == pytest.approx(precision, nan_ok=True)
    specificity = [sk.recall_score(truth != k, called != k) for k in range(c)]
    assert own["class_specificity"] == pytest.approx(np.array(specificity))


@settings(max_examples=40, deadline=None)
@given(two_class_tables(fewest=6))
def test_a_weight_of_k_is_k_copies_two_classes(table):
    task = TwoClassTask.of(table, "ok", 15)
    weights = np.random.default_rng(0).integers(0, 4, size=(len(table), 3)).astype(np.float64)
    weights[:2] += 1
    values = two_class_values(task, 0.5, weights)
    for column in range(3):
        rows = np.repeat(np.arange(len(table)), weights[:, column].astype(int))
        copied = two_values(two_classes(table.labels[rows], table.score_of("ok")[rows]))
        assert {name: float(value[column]) for name, value in values.items()} == pytest.approx(copied, nan_ok=True)
    for name, value in values.items():
        if not name.endswith("_negative") or name == "lr_negative":
            assert two_class_value(task, 0.5, weights, name) == pytest.approx(value, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(many_class_tables())
def test_a_weight_of_k_is_k_copies_many_classes(table):
    task = ManyClassTask.of(table, bins=15, top_k=2, ordered=True)
    weights = np.random.default_rng(0).integers(0, 4, size=(len(table), 2)).astype(np.float64)
    values = many_class_values(task, weights)
    rows = np.repeat(np.arange(len(table)), weights[:, 1].astype(int))
    copied = ManyClassTask.of(table_of(table, rows), bins=15, top_k=2, ordered=True)
    expected = many_class_values(copied, np.ones((len(rows), 1)))
    for name, value in values.items():
        assert value[..., 1] == pytest.approx(expected[name][..., 0], nan_ok=True), name
        if value.ndim == 1:
            assert many_class_value(task, weights, name) == pytest.approx(value, nan_ok=True)


def table_of(table, rows):
    from model_aggregation.evaluation import Predictions

    ids = [f"{i:05}" for i in range(len(rows))]
    return Predictions(ids, table.labels[rows], table.probabilities[rows], table.classes)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("skill", [0.3, 2.0])
def test_calibration_line_as_statsmodels(seed, skill):
    table = random_two_classes(60, seed=seed, skill=skill)
    p, truth = table.score_of("ok"), table.labels == 1
    slope, intercept = calibration_line(p, truth)
    x = logit(np.clip(p, CLIP, 1 - CLIP))
    family = sm.families.Binomial()
    line = sm.GLM(truth.astype(float), sm.add_constant(x), family=family).fit(tol=1e-12)
    assert (slope.value, slope.low, slope.high) == pytest.approx((line.params[1], *line.conf_int()[1]), rel=1e-6)
    shift = sm.GLM(truth.astype(float), np.ones(60), offset=x, family=family).fit(tol=1e-12)
    assert (intercept.value, intercept.low) == pytest.approx((shift.params[0], shift.conf_int()[0, 0]), rel=1e-6)
    groups = np.arange(60) // 3
    robust, _ = calibration_line(p, truth, groups)
    reference = sm.GLM(truth.astype(float), sm.add_constant(x), family=family).fit(
        tol=1e-12, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    error = (robust.high - robust.low) / (2 * t.ppf(0.975, 19))  # 20 groups
    assert error == pytest.approx(reference.bse[1] * np.sqrt(20 / 19), rel=1e-6)
    assert "cluster-robust" in robust.method


@pytest.mark.parametrize(
    ("labels", "score", "words"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separate"),
        ([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1], "separate"),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9], "separate"),
        ([0, 0, 1, 1], [0.5] * 4, "equal"),
        ([1, 1], [0.2, 0.5], "one class"),
        ([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0], None),
        ([0] * 30 + [1] * 30 + [0, 1], [0.0] * 30 + [1.0] * 30 + [1.0, 0.0], None),
    ],
)
def test_calibration_line_edges(labels, score, words):
    for estimate in calibration_line(np.array(score), np.array(labels) == 1):
        if words:
            assert estimate.value is None
            assert words in estimate.reason
        else:
            assert estimate.value is not None
            assert estimate.low < estimate.high


@MANY
@given(two_class_tables())
def test_roc_table(table):
    curve = roc_table(table, "ok")
    truth, score = table.labels == 1, table.score_of("ok")
    assert list(curve.columns) == ["CutOff", "TPR", "FPR", "Balanced Accuracy"]
    assert curve.iloc[0].tolist() == [-np.inf, 1.0, 1.0, 0.5]
    assert curve["CutOff"].tolist() == [-np.inf, *np.unique(score)]
    for cutoff, tpr, fpr, balanced in curve.itertuples(index=False):
        assert tpr == pytest.approx((score[truth] > cutoff).mean())
        assert fpr == pytest.approx((score[~truth] > cutoff).mean())
        assert balanced == pytest.approx((tpr + 1 - fpr) / 2)


@MANY
@given(two_class_tables())
def test_precision_recall_as_scikit_learn(table):
    own = precision_recall_table(table, "ok")
    precision, recall, _ = sk.precision_recall_curve(table.labels, table.score_of("ok"))
    assert own["Recall"].to_numpy() == pytest.approx(recall[:-1])  # the last point is scikit-learn's own (1, 0)
    assert own["Precision"].to_numpy() == pytest.approx(precision[:-1])


def test_net_benefit_by_hand():
    table = two_classes([0, 0, 0, 1], [0.1, 0.6, 0.2, 0.7])
    row = net_benefit_table(table, "ok", np.array([0.4])).iloc[0]
    assert row["model"] == pytest.approx(1 / 4 - 1 / 4 * (0.4 / 0.6))
    assert row["all"] == pytest.approx(1 / 4 - 3 / 4 * (0.4 / 0.6))
    assert row["none"] == 0


def test_roc_band_holds_the_curve_and_matches_the_rates():
    table = random_two_classes(200, skill=1.5)
    grid = np.array([0.0, 0.5, 0.9, 0.95, 1.0])
    band = roc_band(table, "ok", EvaluationOptions(resamples=300), specificities=grid)
    own = two_values(table)
    assert band["Sensitivity"].iloc[2] == pytest.approx(own["sensitivity_at_specificity_90"])
    assert band["Sensitivity"].iloc[3] == pytest.approx(own["sensitivity_at_specificity_95"])
    assert (band["Low"] <= band["Sensitivity"]).all()
    assert (band["Sensitivity"] <= band["High"]).all()
    drawn = two_class_values(TwoClassTask.of(table, "ok", 15), None, _weights(table, 300))
    low, high = np.quantile(drawn["sensitivity_at_specificity_90"], [0.025, 0.975])
    assert (band["Low"].iloc[2], band["High"].iloc[2]) == pytest.approx((low, high), abs=1e-6)


def _weights(table, count):
    from model_aggregation.evaluation.bootstrap import Resamples

    return np.concatenate(list(Resamples.of(table, count=count).blocks()), axis=1)


def test_resamples_keep_strata_and_groups():
    groups = np.array([f"p{i // 3}" for i in range(90)])
    table = random_many_classes(90, 3, groups=groups)
    weights = _weights(table, 50)
    assert (weights.reshape(30, 3, 50) == weights.reshape(30, 3, 50)[:, :1]).all()  # a group is drawn as a whole
    alone = random_many_classes(90, 3)
    weights = _weights(alone, 50)
    for k in range(3):
        assert (weights[alone.labels == k].sum(axis=0) == 30).all()
    assert weights.std() > 0.9
