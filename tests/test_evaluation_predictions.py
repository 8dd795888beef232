"""The table of predictions refuses what cannot be evaluated, all problems at once."""

import pickle

import numpy as np
import pandas as pd
import pytest
from evaluation_samples import random_two_classes, two_classes

from model_aggregation.errors import PredictionsError
from model_aggregation.evaluation import Predictions


def table(**changes) -> pd.DataFrame:
    columns = {
        "path": ["a.png", "写真 b.png"],
        "correct_label": ["ng", "ok"],
        "ng": [0.9, 0.2],
        "ok": [0.1, 0.8],
    }
    return pd.DataFrame(columns | changes)


def test_a_table_is_read_and_written_back():
    predictions = Predictions.from_table(table())
    assert predictions.classes == ("ng", "ok")
    assert predictions.groups is None
    pd.testing.assert_frame_equal(predictions.to_table(), table().astype({"path": object}), check_dtype=False)


def test_predict_label_and_group_are_no_classes():
    wide = table()
    wide.insert(2, "predict_label", ["ng_p", "ok_p"])
    wide["patient"] = ["P1", "P2"]
    predictions = Predictions.from_table(wide, group_column="patient")
    assert predictions.classes == ("ng", "ok")
    assert list(predictions.groups) == ["P1", "P2"]


def test_named_classes_leave_metadata_aside():
    wide = table(age=["x", "y"])
    assert Predictions.from_table(wide, classes=["ng", "ok"]).classes == ("ng", "ok")


def test_class_names_that_are_numbers_match_their_labels():
    numbers = pd.DataFrame({"path": ["a", "b"], "correct_label": [0, 1], 0: [0.9, 0.2], 1: [0.1, 0.8]})
    assert Predictions.from_table(numbers).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path": ["a.png", "a.png"]}, ["a.png: 2 rows"]),
        ({"path": ["a.png", None]}, ["row 2: no id"]),
        ({"correct_label": ["ng", "okay"]}, ["写真 b.png: its label is not one of the classes", "'okay'"]),
        ({"correct_label": ["ng", np.nan]}, ["写真 b.png: its label"]),
        ({"ok": [np.nan, 0.8]}, ["a.png: a probability is not finite"]),
        ({"ok": [np.inf, 0.8]}, ["a.png: a probability is not finite"]),
        ({"ok": ["?", 0.8]}, ["a.png: a probability is not finite"]),
        ({"ng": [1.2, 0.2], "ok": [-0.2, 0.8]}, ["a.png: a probability is outside [0, 1]"]),
        ({"ok": [0.2, 0.8]}, ["a.png: the probabilities sum to 1.1"]),
        ({"path": [None, None], "ok": [np.nan, 0.9]}, ["row 1: no id", "row 2: no id", "not finite", "sum to 1.1"]),
    ],
)
def test_what_cannot_be_evaluated_is_named(changes, words):
    with pytest.raises(PredictionsError) as error:
        Predictions.from_table(table(**changes))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_twenty_problems_are_listed_and_the_rest_counted():
    score = np.full(50, np.nan)
    with pytest.raises(PredictionsError) as error:
        two_classes(np.zeros(50, dtype=int), score)
    assert str(error.value).count("not finite") == 20
    assert "30 more" in str(error.value)


def test_a_missing_column_names_the_nearest():
    with pytest.raises(PredictionsError, match="Did you mean 'correct_label'"):
        Predictions.from_table(table(), label_column="correctlabel")


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(PredictionsError, match="Did you mean 'ok'"):
        Predictions.from_table(table()).score_of("okk")


@pytest.mark.parametrize(("sum_", "renormalised"), [(1 + 5e-7, 0), (1 + 5e-4, 1)])
def test_row_sums(sum_, renormalised):
    predictions = Predictions(["a"], [0], [[0.5 * sum_, 0.5 * sum_]], ("x", "y"))
    assert predictions.renormalised == renormalised
    expected = 0.5 if renormalised else 0.5 * sum_
    assert predictions.probabilities[0, 0] == expected


def test_a_single_score_of_any_range():
    scores = table(s=[-3.5, 120.0])
    predictions = Predictions.from_table(scores, score="s", positive="ok")
    assert not predictions.has_probabilities
    assert predictions.score_of("ok").tolist() == [-3.5, 120.0]
    with pytest.raises(PredictionsError, match="never flipped"):
        predictions.score_of("ng")
    assert predictions.to_table()["score"].tolist() == [-3.5, 120.0]


@pytest.mark.parametrize("arguments", [{}, {"positive": "okk"}, {"positive": "ok", "classes": ["a", "ok", "b"]}])
def test_a_single_score_needs_its_positive_class(arguments):
    with pytest.raises(PredictionsError):
        Predictions.from_table(table(s=[0.0, 1.0]), score="s", **arguments)


def test_units_are_groups_only_when_one_holds_several_images():
    labels, score = [0, 1, 1], [0.1, 0.8, 0.9]
    assert two_classes(labels, score).unit_index() is None
    assert two_classes(labels, score, groups=["a", "b", "c"]).unit_index() is None
    assert two_classes(labels, score, groups=["b", "a", "b"]).unit_index().tolist() == [1, 0, 1]


def test_a_missing_group_is_an_error():
    with pytest.raises(PredictionsError, match="00001: no group"):
        two_classes([0, 1], [0.1, 0.9], groups=["a", None])


def test_predictions_can_be_sent_to_another_process():
    predictions = random_two_classes(10)
    assert (pickle.loads(pickle.dumps(predictions)).ids == predictions.ids).all()


def test_an_empty_table_is_a_table():
    assert len(Predictions([], [], np.empty((0, 2)), ("x", "y"))) == 0
