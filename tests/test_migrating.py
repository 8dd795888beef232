"""docs/migrating.md is walked from the first line to the last in a folder of the earlier program."""

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pandas as pd
import pytest
from earlier_folder import GROUP, MODEL, SINGLE, make_earlier_folder, settings_of

from model_aggregation.cli.app import app

DOCS = Path(__file__).parents[1] / "docs"
OUR_OWN = {"analyze_record.db", "earlier_results.csv"}  # of the log folder; the database is taken over on purpose

QUICK = ["--jobs", "0", "--workers", "0", "--cache-folder", "cache"]
"""What a test adds to training commands; what they mean stays."""


def commands(name: str) -> list[list[str]]:
    """Return the words of each command that a document tells the reader to type."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return [line.split()[1:] for line in text.splitlines() if line.startswith("    magg ")]


def state_of(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in OUR_OWN)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "utf8", "-c", "from model_aggregation.command import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": "200"},
    )


def opened(words: list[str]) -> None:
    """Start the viewer, fetch its first page, end it."""
    process = started([*words, "--no-browser", "--port", "0"])
    try:
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+\S*", line)))
        with urlopen(address, timeout=60) as page:
            assert page.status == 200
    finally:
        process.kill()
        process.communicate()


def done(words: list[str]) -> None:
    """Do what the reader would do, with small networks where the document names a list of large ones."""
    if words[0] == "view":
        opened(words)
        return
    if words[0] == "compare":
        words = [small for word in words for small in SMALLER.get(word, [word])]
        words += ["--no-pretrained", "--epochs", "1"]
    process = started([*words, *QUICK] if words[0] in ("compare", "run") else words)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 0, f"{words}: {shown}"


SMALLER = {"@earlier_timm": ["timm:test_resnet", "timm:test_efficientnet"]}


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder after the walk, and its files before."""
    folder = make_earlier_folder(tmp_path_factory.mktemp("walk") / "以前のフォルダー")
    before = state_of(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in commands("migrating.md"):
            done(words)
    return folder, before


def test_every_command_does_what_the_document_says(walked):
    folder, _ = walked
    assert len(commands("migrating.md")) >= 10
    table = pd.read_csv(folder / "log" / SINGLE / f"{SINGLE}_test.csv")
    again = json.loads((folder / "parts_1_again" / "metrics.json").read_text("utf-8"))["test"]
    assert again["cutoff"]["source"] == "test"
    predicted = pd.read_csv(folder / "parts_1_predictions.csv")
    merged = predicted.merge(table, on="path", suffixes=("", "_old"))
    assert len(merged) == len(table) == len(predicted)
    assert (merged["ng"] - merged["ng_old"]).abs().max() < 1e-5
    stored = pd.read_csv(folder / "log" / SINGLE / f"{SINGLE}_test_p.csv").set_index("path")["predict_label"]
    assert (predicted.set_index("path")["predict_label"] + "_p").equals(stored.reindex(predicted["path"]))
    tested = pd.read_csv(folder / "log" / "parts_1_tested" / "parts_1_tested_test.csv").set_index("path")
    assert (tested["ng"] - table.set_index("path")["ng"]).abs().max() < 1e-5
    for name in ("parts_1_tested", "parts_new", "parts_transformed"):
        assert (folder / "log" / name / "metrics.json").is_file()
    assert (folder / "parts_all.xlsx").is_file()


def test_the_numbers_of_the_old_table_come_again(walked):
    folder, _ = walked
    row = sqlite3.connect(folder / "log" / "analyze_record.db").execute(
        "SELECT cutoff, sensitivity, specificity, accuracy, precision, f1, blanced_accuracy FROM test_result "
        "WHERE run_name = ?", (SINGLE,),
    ).fetchone()  # fmt: skip
    again = json.loads((folder / "parts_1_again" / "metrics.json").read_text("utf-8"))["test"]
    names = ("cutoff", "sensitivity", "specificity", "accuracy", "precision", "f1", "balanced_accuracy")
    assert [again[name]["value"] for name in names] == pytest.approx(list(row), rel=1e-12)


def test_nothing_of_the_old_folder_changed(walked):
    folder, before = walked
    after = state_of(folder)
    assert {name: after.get(name) for name in before} == before


def test_old_rows_stay_to_the_letter(walked):
    folder, _ = walked
    rows = sqlite3.connect(folder / "log" / "analyze_record.db").execute(
        "SELECT run_name, group_name, auc, log_folder FROM test_result WHERE id <= 2 ORDER BY id"
    )
    assert rows.fetchall() == [
        (SINGLE, "single", 0.98765, "C:\\proj\\log"),
        (f"{GROUP}_{MODEL}", GROUP, 0.98765, f"C:\\proj\\log\\{GROUP}"),
    ]


def test_both_languages_tell_the_same_commands():
    assert commands("migrating.ja.md") == commands("migrating.md")


@pytest.mark.parametrize("name", ["migrating.md", "migrating.ja.md"])
def test_every_script_key_and_flag_is_there(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    scripts = ("main_sequence.py", "various_model.py", "available_model_timm.py", "available_model_pytorch.py",
               "use_transform.py", "csv_analyze", "flask_app.py", "8000", "cross_validation.py")  # fmt: skip
    assert not [word for word in scripts if word not in text]
    assert not [key for key in settings_of("x") if f"`{key}" not in text]
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--logdir", "--help"}
    assert not flags - known_flags()


def known_flags() -> set[str]:
    commands_with_flags = [app[name] for name in app if not name.startswith("-") and app[name].default_command]
    arguments = (argument for command in commands_with_flags for argument in command.assemble_argument_collection())
    return {name for argument in arguments for name in (*argument.names, *argument.negatives)}
