"""The files of a run folder: exact forms, round trips and states."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from results_samples import make_failed_run, make_run, predictions

from model_aggregation.errors import ResultsError, SettingsError
from model_aggregation.results.run_folder import RunFolder

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


def test_a_run_leaves_exactly_these_files(tmp_path: Path) -> None:
    make_run(tmp_path / "log" / "run")
    assert {path.name for path in (tmp_path / "log" / "run").iterdir()} == {
        "SHA256SUMS",
        "environment.json",
        "metrics.csv",
        "metrics.json",
        "run_test.csv",
        "run_test_cm.xlsx",
        "run_test_p.csv",
        "run_test_roc.csv",
        "run_test_roc.png",
    }


def test_predictions_to_the_letter(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    table = pd.DataFrame(
        {
            "path": ["/a/胸部, 1.png", '/a/b "2".png'],
            "correct_label": ["01", "NA"],
            "NA": [1 / 3, 1.0],
            "01": [2 / 3, 0.0],
        }
    )
    folder.write_predictions("test", table, predicted=["01", "NA"])
    expected = b'path,correct_label,01,NA\n"/a/%s, 1.png",01,0.6666666666666666,0.3333333333333333\n' % "胸部".encode()
    assert folder.predictions_csv("test").read_bytes() == expected + b'"/a/b ""2"".png",NA,0.0,1.0\n'
    lines = folder.predicted_labels_csv().read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,correct_label,predict_label,01,NA"
    assert lines[2] == '"/a/b ""2"".png",NA,NA_p,0.0,1.0'
    back = folder.read_predictions("test")
    pd.testing.assert_frame_equal(back, table[["path", "correct_label", "01", "NA"]])
    assert list(folder.read_predicted_labels()["predict_label"]) == ["01_p", "NA_p"]


@settings(max_examples=40, deadline=None)
@given(
    classes=st.lists(WORDS, min_size=2, max_size=4, unique=True),
    scores=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    name=WORDS,
)
def test_predictions_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, classes: list[str], scores: list[float], name: str
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("log") / "run")
    values = pd.DataFrame([scores[: len(classes)]], columns=classes)
    table = pd.concat([pd.DataFrame({"path": [name], "correct_label": [classes[0]]}), values], axis=1)
    folder.write_predictions("val", table)
    back = folder.read_predictions("val")
    assert list(back.columns) == ["path", "correct_label", *sorted(classes)]
    assert list(back.iloc[0, :2]) == [name, classes[0]]
    order = [classes.index(one) for one in sorted(classes)]
    assert list(back.iloc[0, 2:]) == [scores[k] for k in order]


def test_a_class_may_be_called_like_a_column(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    table = pd.DataFrame([["p.png", "path", 0.25, 0.75]], columns=["path", "correct_label", "path", "other"])
    folder.write_predictions("val", table)
    back = folder.read_predictions("val")
    assert list(back.columns) == ["path", "correct_label", "other", "path"]
    assert list(back.iloc[0]) == ["p.png", "path", 0.75, 0.25]


def test_old_predictions_in_cp932_are_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.predictions_csv("test").write_bytes(
        "path,correct_label,正常,異常\r\nC:\\表.png,正常,0.5,0.5\r\n".encode("cp932")
    )
    table = folder.read_predictions()
    assert list(table.columns[2:]) == ["正常", "異常"]
    assert table["path"][0] == "C:\\表.png"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "path,correct_label,x\np,a,high\n", "path,correct_label,x\np,a,\n"])
def test_other_tables_are_no_predictions(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.predictions_csv("test").write_text(text, encoding="utf-8")
    with pytest.raises(ResultsError, match=r"run_test\.csv"):
        folder.read_predictions()
    with pytest.raises(ResultsError, match="cannot be read"):
        folder.read_predictions("val")


def test_test_predictions_need_predicted_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="predicted labels"):
        RunFolder(tmp_path / "run").write_predictions("test", predictions(["a", "b"], tmp_path))


def test_roc_to_the_letter(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    roc = pd.DataFrame(
        {
            "CutOff": [-np.inf, 1e-300, 0.1],
            "TPR": [1, 1 / 3, 0],
            "FPR": [1.0, 0, 0],
            "Balanced Accuracy": [0.5, 2 / 3, 0.5],
        }
    )
    folder.write_roc(roc)
    lines = folder.roc_csv().read_text(encoding="utf-8").split("\n")
    assert lines[:3] == [
        "CutOff,TPR,FPR,Balanced Accuracy",
        "-inf,1,1,0.5",
        "1e-300,0.3333333333333333,0,0.6666666666666666",
    ]
    pd.testing.assert_frame_equal(folder.read_roc(), roc, check_dtype=False, check_exact=True)


@pytest.mark.parametrize("classes", [["異常", "正常"], ["=A1", "01", "NA"], ["only"]])
def test_confusion_matrix_to_the_letter(tmp_path: Path, classes: list[str]) -> None:
    folder = RunFolder(tmp_path / "run")
    count = len(classes)
    matrix = np.arange(count * count).reshape(count, count)
    folder.write_confusion(matrix.tolist(), classes)
    book = load_workbook(folder.path / "run_test_cm.xlsx")
    assert book.sheetnames == ["confusion_matrix"]
    sheet = book["confusion_matrix"]
    merged = {str(cells) for cells in sheet.merged_cells.ranges}
    last = chr(ord("B") + count)
    wanted = {"A1:B2", f"C1:{last}1", f"A3:A{2 + count}"} if count > 1 else {"A1:B2"}
    assert merged == wanted
    assert (sheet["A1"].value, sheet["C1"].value, sheet["A3"].value) == (
        None,
        "predict_label",
        "correct_label",
    )
    assert [cell.value for cell in sheet[2][2:]] == classes
    assert [sheet.cell(3 + k, 2).value for k in range(count)] == classes
    assert [[sheet.cell(3 + i, 3 + k).value for k in range(count)] for i in range(count)] == matrix.tolist()
    assert all(cell.data_type != "f" for row in sheet for cell in row)
    back = folder.read_confusion()
    assert back.to_numpy().tolist() == matrix.tolist()
    assert list(back.index) == list(back.columns) == classes


def test_old_confusion_matrix_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_confusion([[3, 1], [0, 2]], ["a", "b"])
    folder.confusion_xlsx().rename(folder.path / "run_test_bc_cm.xlsx")
    assert folder.read_confusion().loc["a", "b"] == 1
    with pytest.raises(ResultsError, match="cannot be read"):
        folder.read_confusion("other")


def test_metrics_json_comes_last_and_marks_the_end(tmp_path: Path) -> None:
    folder = make_failed_run(tmp_path / "run", "表")
    assert folder.state() == "failed"
    assert folder.failure_reason() == "RuntimeError: 表"
    assert "Traceback" in folder.read_error()
    with pytest.raises(ValueError, match="JSON"):
        folder.write_metrics({"test": {"auc": {"value": float("nan")}}}, pd.DataFrame({"metric": ["auc"]}))
    assert not folder.finished
    folder.write_metrics(
        {"test": {"auc": {"value": 0.5}}},
        pd.DataFrame({"class": ["01"], "metric": ["auc"], "value": [0.5], "low": [None], "high": [None], "n": [3]}),
    )
    assert folder.state() == "finished"
    assert folder.failure_reason() is None
    assert not folder.error_txt.exists()
    assert folder.read_metrics_table()["class"][0] == "01"
    assert json.loads(folder.metrics_json.read_bytes()) == {"test": {"auc": {"value": 0.5}}}


def test_metrics_are_the_same_bytes_again(tmp_path: Path) -> None:
    first = make_run(tmp_path / "run").metrics_json.read_bytes()
    assert make_run(tmp_path / "run").metrics_json.read_bytes() == first


def test_the_reason_of_our_own_error_is_its_words(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_error(SettingsError("Two things:", ["one", "two"]))
    assert folder.failure_reason() == "Two things: - one - two"
    assert RunFolder(tmp_path / "none").state() == "interrupted"


def test_status_grows_line_by_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.append_status("モデル resnet18")
    folder.append_status("epoch 0\n")
    assert folder.status_txt.read_bytes() == "モデル resnet18\nepoch 0\n".encode()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    folder.metrics_json.write_text('{"test": ', encoding="utf-8")
    with pytest.raises(ResultsError, match=r"metrics\.json is damaged"):
        folder.read_metrics()
    folder.settings_yaml.write_text("a: [", encoding="utf-8")
    with pytest.raises(ResultsError, match="no settings"):
        folder.read_settings()


@pytest.mark.parametrize("set_name", ["", "a/b", "site-1", "test_p", "x_roc"])
def test_sets_have_plain_names(tmp_path: Path, set_name: str) -> None:
    with pytest.raises(ResultsError, match="name of a set"):
        RunFolder(tmp_path).predictions_csv(set_name)
