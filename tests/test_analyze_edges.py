"""Extreme and damaged tables of predictions through the command line, with the message a user sees."""

import json

import numpy as np
import pytest
from command_line import Magg, magg, write_table  # noqa: F401  (fixture)
from results_samples import make_run

from model_aggregation.files import write_text

WORDS = ("NaN", "Infinity", "nan", "inf")


@pytest.fixture
def analyze(magg, tmp_path):  # noqa: F811
    """Evaluate a table and return the output, the object of its set in metrics.json, and the written files."""

    def run(path, *words, expect=0):
        out = tmp_path / "out"
        report = () if "--report" in words else ("--no-report",)
        text = magg("analyze", path, "--positive", "ok", *words, "--out", out, *report, expect=expect)
        if expect:
            assert not out.exists(), "an error must not write"
            return text, None
        stored = (out / "metrics.json").read_text(encoding="utf-8")
        metrics = json.loads(stored, parse_constant=lambda word: pytest.fail(f"{word} in metrics.json"))
        assert_in_range(metrics["test"])
        return text, metrics["test"]

    return run


def assert_in_range(metrics):
    for name, entry in metrics.items():
        if isinstance(entry, dict) and entry.get("value") is not None and name != "cutoff":
            value, low, high = (entry.get(key) for key in ("value", "low", "high"))
            lowest = -1 if name in ("mcc", "kappa") else -np.inf if name.startswith("calibration") else 0
            unbounded = name.startswith(("lr_", "log_loss", "calibration", "brier"))
            assert lowest <= value <= (np.inf if unbounded else 1), name
            assert low is None or high is None or lowest <= low <= high, name


def test_a_class_without_images(analyze, tmp_path):
    text, metrics = analyze(write_table(tmp_path / "t.csv", [0.9, 0.8, 0.3], ["ok"] * 3), "--report")
    for name in ("auc", "balanced_accuracy", "specificity"):
        assert metrics[name]["value"] is None, name
        assert "no image" in metrics[name]["reason"], name
    assert metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert "warning: no image of: ng" in text


def test_all_scores_tied(analyze, tmp_path):
    text, metrics = analyze(write_table(tmp_path / "t.csv", [0.5] * 20, ["ok", "ng"] * 10))
    assert metrics["auc"]["value"] == 0.5
    assert metrics["auc"]["low"] is None
    assert metrics["auc"]["reason"] == "no interval: the variance is 0"
    assert "0.500" in next(line for line in text.splitlines() if line.startswith("  auc"))


@pytest.mark.parametrize(("flip", "value"), [(False, 1.0), (True, 0.0)])
def test_perfect_separation(analyze, tmp_path, flip, value):
    scores = np.r_[np.linspace(0.01, 0.4, 25), np.linspace(0.6, 0.99, 30)]
    labels = (["ok"] * 25 + ["ng"] * 30) if flip else (["ng"] * 25 + ["ok"] * 30)
    text, metrics = analyze(write_table(tmp_path / "t.csv", scores, labels))
    assert metrics["auc"]["value"] == value
    bound = 0.025 ** (1 / 25)
    limits = (metrics["auc"]["low"], metrics["auc"]["high"])
    assert limits == pytest.approx((0, 1 - bound) if flip else (bound, 1))
    assert ("check the order of the classes" in text) is flip
    assert metrics["calibration_slope"]["value"] is None


def test_one_image_of_a_class(analyze, tmp_path):
    scores = np.linspace(0.1, 0.9, 31)
    text, metrics = analyze(write_table(tmp_path / "t.csv", scores, ["ng"] * 25 + ["ok"] + ["ng"] * 5))
    assert metrics["auc"]["value"] == pytest.approx(25 / 30)
    assert metrics["auc"]["low"] is None
    assert metrics["auc"]["reason"]
    assert "too few to conclude, fewer than 10 images of: ok (1)" in text


def test_few_images(analyze, tmp_path):
    scores = np.linspace(0, 1, 37)
    text, _ = analyze(write_table(tmp_path / "t.csv", scores, ["ok"] * 9 + ["ng"] * 28))
    assert "too few to conclude, fewer than 10 images of: ok (9)" in text
    assert "imprecise, fewer than 30 images of: ng (28)" in text


def test_a_single_row(analyze, tmp_path):
    _, metrics = analyze(write_table(tmp_path / "t.csv", [0.7], ["ok"]))
    assert metrics["n"] == 1
    assert metrics["accuracy"]["value"] == 1


def test_a_thousand_against_one(analyze, tmp_path):
    scores = np.r_[np.random.default_rng(0).random(3000), 0.999]
    _, metrics = analyze(write_table(tmp_path / "t.csv", scores, ["ng"] * 3000 + ["ok"]))
    assert metrics["auc"]["value"] == pytest.approx((scores[:3000] < 0.999).mean())
    assert metrics["counts"] == {"ng": 3000, "ok": 1}


def test_a_model_against_itself(magg, tmp_path):  # noqa: F811
    generator = np.random.default_rng(1)
    labels = ["ng"] * 30 + ["ok"] * 30
    path = write_table(tmp_path / "a.csv", generator.random(60), labels)
    text = magg("analyze", path, path, "--positive", "ok", "--selected", "a")
    row = next(line for line in text.splitlines() if "paired DeLong" in line)
    assert "0.000" in row
    assert "1.000" in row
    assert "2 of 2 models cannot be distinguished" in text


DAMAGED = {
    "duplicate id": ("a,ok,0.1,0.9\na,ng,0.8,0.2\n", "a: 2 rows"),
    "missing id": (",ok,0.1,0.9\nb,ng,0.8,0.2\n", "row 1: no id"),
    "unknown label": ("a,fine,0.1,0.9\nb,ng,0.8,0.2\n", "'fine'"),
    "no label": ("a,,0.1,0.9\nb,ng,0.8,0.2\n", "a: its label is not one of the classes"),
    "NaN": ("a,ok,nan,0.9\nb,ng,0.8,0.2\n", "a: a probability is not finite"),
    "infinity": ("a,ok,0.1,inf\nb,ng,0.8,0.2\n", "a: a probability is not finite"),
    "an empty cell": ("a,ok,0.1,\nb,ng,0.8,0.2\n", "a: a probability is not finite"),
    "below 0": ("a,ok,-0.1,1.1\nb,ng,0.8,0.2\n", "a: a probability is outside [0, 1]"),
    "percentages": ("a,ok,10,90\nb,ng,80,20\n", "outside [0, 1]"),
    "row sum": ("a,ok,0.1,0.8\nb,ng,0.8,0.2\n", "a: the probabilities sum to 0.9, not 1"),
    "cells missing": ("a,ok,0.1\nb,ng,0.8,0.2\n", "row 2 has 3 cells"),
    "decimal commas": ('a,ok,"0,1","0,9"\nb,ng,"0,8","0,2"\n', "column ok holds no numbers"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_cannot_be_evaluated_is_listed_and_nothing_is_written(analyze, tmp_path, case):
    body, expected = DAMAGED[case]
    write_text(tmp_path / "t.csv", f"path,correct_label,ng,ok\n{body}")
    text, _ = analyze(tmp_path / "t.csv", expect=1)
    assert expected in text
    assert "t.csv" in text


def test_at_most_twenty_problems_are_listed(analyze, tmp_path):
    text, _ = analyze(write_table(tmp_path / "t.csv", [2.0] * 50, ["ok"] * 50), expect=1)
    assert text.count("outside [0, 1]") == 20
    assert "and 30 more" in text


@pytest.mark.parametrize(("error", "renormalised"), [(5e-7, 0), (5e-4, 1)])
def test_row_sums_near_one(analyze, tmp_path, error, renormalised):
    write_text(tmp_path / "t.csv", f"path,correct_label,ng,ok\na,ok,0.1,{0.9 - error}\nb,ng,0.75,0.25\n")
    text, metrics = analyze(tmp_path / "t.csv")
    assert metrics["renormalised"] == renormalised
    assert ("renormalised to a sum of 1" in text) is bool(renormalised)


def test_predictions_that_are_not_those_of_the_test_images(magg, tmp_path):  # noqa: F811
    folder = make_run(tmp_path / "log" / "r")
    lines = folder.predictions_csv("test").read_text(encoding="utf-8").splitlines()
    first = lines[1].split(",")[0]
    write_text(folder.predictions_csv("test"), "\n".join([lines[0], *lines[2:]]) + "\n")
    before = folder.metrics_json.read_bytes()
    write_text(folder.settings_yaml, "data: images\nmodel: torchvision:resnet18\npositive: dog\n")
    write_text(
        folder.images_csv,
        "id,path,label,split,group,readable,content_hash\n"
        + "".join(
            f"{line.split(',')[0]},{line.split(',')[0]},{line.split(',')[1]},test,,True,0\n" for line in lines[1:]
        ),
    )
    text = magg("analyze", folder.path, expect=1)
    assert f"not predicted: {first}" in text
    assert folder.metrics_json.read_bytes() == before


def test_unreadable_test_images_are_reported_twice(magg, tmp_path):  # noqa: F811
    folder = make_run(tmp_path / "log" / "r")
    lines = folder.predictions_csv("test").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split(",")[:2] for line in lines]
    body = "".join(f"{path},{path},{label},test,,True,0\n" for path, label in rows)
    write_text(folder.settings_yaml, "data: images\nmodel: torchvision:resnet18\npositive: dog\nvalidation: false\n")
    head = "id,path,label,split,group,readable,content_hash\n"
    write_text(folder.images_csv, head + body + "x,x.png,dog,test,,False,\n")
    magg("analyze", folder.path)
    stored = folder.read_metrics()["test"]
    right = stored["accuracy"]["value"] * len(rows)
    assert stored["unreadable"]["ids"] == ["x.png"]
    wrong = stored["unreadable"]["counted_as_wrong"]["accuracy"]["value"]
    assert wrong == pytest.approx(right / (len(rows) + 1), abs=1e-12)


# --- tables that are hardly tables --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the table is empty"),
        (b"\n\n", "the table is empty"),
        (b"path,correct_label\na,ok\n", "at least two"),
        (b"path,correct_label,ok\na,ok,0.9\n", "at least two"),
        (b"file,label,ng,ok\na,ok,0.1,0.9\n", "no column 'path'"),
        (b"path;correct_label;ng;ok\na;ok;0.1;0.9\n", "no column 'path'"),
        (b"path,correct_label,ng,ng\na,ok,0.1,0.9\n", "more than once"),
        ("path,correct_label,ng,ok\n\u00e9t\u00e9,ok,0.1,0.9\n".encode("latin-1"), "neither UTF-8 nor cp932"),
        ("path,correct_label,ng,ok\na,ok,0.1,0.9\n".encode("utf-16"), "the text is UTF-16"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe\x80\x00", ""),
        (b'path,correct_label,ng,ok\na,ok,0.1,"0.9\n', ""),
    ],
)
def test_other_files_are_refused_in_words(analyze, tmp_path, content, expected):
    (tmp_path / "t.csv").write_bytes(content)
    text, _ = analyze(tmp_path / "t.csv", expect=1)
    assert expected in text
    assert "t.csv" in text


def test_no_file_at_all(analyze, tmp_path):
    assert "missing.csv" in analyze(tmp_path / "missing.csv", expect=1)[0]


def test_a_header_without_rows(analyze, tmp_path):
    write_text(tmp_path / "t.csv", "path,correct_label,ng,ok\n")
    text, metrics = analyze(tmp_path / "t.csv", "--report")
    assert metrics["n"] == 0
    assert "there is no image to evaluate" in text
    assert all(entry["value"] is None for entry in metrics.values() if isinstance(entry, dict) and "low" in entry)


def test_headers_without_rows_cannot_be_compared(magg, tmp_path):  # noqa: F811
    for name in ("a.csv", "b.csv"):
        write_text(tmp_path / name, "path,correct_label,ng,ok\n")
    text = magg("analyze", tmp_path / "a.csv", tmp_path / "b.csv", "--positive", "ok", expect=1)
    assert "no image to compare" in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp932"])
def test_tables_from_excel_and_japanese_windows(magg, tmp_path, encoding):  # noqa: F811
    body = "path,correct_label,正常,肺炎\r\n" + "".join(
        f"画像{i}.png,{'肺炎' if i % 2 else '正常'},{0.9 - i / 50},{0.1 + i / 50}\r\n" for i in range(40)
    )
    (tmp_path / "表.csv").write_bytes(body.encode(encoding))
    assert "sensitivity" in magg("analyze", tmp_path / "表.csv", "--positive", "肺炎")


def test_a_column_of_words_is_no_class(analyze, tmp_path):
    path = write_table(tmp_path / "t.csv", [0.1, 0.9], ["ng", "ok"], patient=["P1", "P2"])
    text, _ = analyze(path, expect=1)
    assert "column patient holds no numbers; --group-column patient?" in text
    _, metrics = analyze(path, "--classes", "ng", "ok")
    assert metrics["class_names"] == ["ng", "ok"]


def test_groups_of_several_images(analyze, tmp_path):
    scores = np.random.default_rng(3).random(80)
    patients = [f"P{number // 2}" for number in range(80)]
    path = write_table(tmp_path / "t.csv", scores, ["ng"] * 40 + ["ok"] * 40, patient=patients)
    _, metrics = analyze(path, "--group-column", "patient")
    assert (metrics["unit"], metrics["groups"]) == ("group", 40)


@pytest.mark.parametrize("cutoff", ["1.5", "-0.1", "nan", "inf", "50"])
def test_a_cutoff_outside_of_probabilities(analyze, tmp_path, cutoff):
    text, _ = analyze(write_table(tmp_path / "t.csv", [0.1, 0.9], ["ng", "ok"]), "--cutoff", cutoff, expect=1)
    assert "must their cutoff" in text


def test_a_score_of_any_range_takes_any_cutoff(analyze, tmp_path):
    path = write_table(tmp_path / "t.csv", [0.1, 0.9, 0.4], ["ng", "ok", "ok"], marker=[-5, 120.5, 7])
    _, metrics = analyze(path, "--score", "marker", "--cutoff", "50")
    assert metrics["sensitivity"]["value"] == 0.5
    assert metrics["brier"]["value"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "Give --positive ng or --positive ok"),
        (["--positive", "okay"], "Did you mean 'ok'"),
        (["--positive", "ok", "--cutoff", "0.5", "--cutoff-from", "t.csv"], "either --cutoff or --cutoff-from"),
        (["--positive", "ok", "--selected", "t"], "--selected belongs to a comparison"),
        (["--positive", "ok", "--group-column", "patien"], "no column 'patien'"),
        (["--positive", "ok", "--by", "site"], "no such column"),
    ],
)
def test_questions_that_do_not_fit(magg, tmp_path, monkeypatch, words, expected):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv", [0.1, 0.9], ["ng", "ok"])
    assert expected in magg("analyze", "t.csv", *words, expect=1)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_run_folder_of_the_earlier_program_points_to_its_table(magg, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "log" / "実験" / "old_1"
    run.mkdir(parents=True)
    write_table(run / "old_1_test.csv", [0.1, 0.9], ["ng", "ok"])
    expected = f'magg analyze "{run / "old_1_test.csv"}" --out FOLDER'
    assert expected in magg("analyze", "log/実験/old_1", expect=1)
    assert expected in magg("analyze", "log/実験", expect=1)
    write_text(run / "old_1.yaml", "run_name: old_1\ndata_dir: data\nmodel_name: resnet18\nlr: 0.0001\n")
    assert expected in magg("analyze", "log/実験/old_1", expect=1)
    assert "old_1_test.csv" not in magg("analyze", "log", expect=1)
    assert [path.name for path in sorted(run.iterdir())] == ["old_1.yaml", "old_1_test.csv"]
