"""The command line inside this process: quick, and with what a user sees."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from model_aggregation.cli import main


class Magg:
    """Runs ``magg`` with words and returns what stands on the screen."""

    def __init__(self, monkeypatch, capsys):
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *words, expect=0):
        self.monkeypatch.setattr(sys, "argv", ["magg", *map(str, words)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        shown = self.capsys.readouterr()
        text = shown.out + shown.err
        assert (ended.value.code or 0) == expect, text
        assert "Traceback" not in text
        return text


@pytest.fixture
def magg(monkeypatch, capsys):
    return Magg(monkeypatch, capsys)


def write_table(path: Path, scores, labels, **columns) -> Path:
    """Write a table of two classes, ``ng`` and ``ok``, where ``scores`` are the probabilities of ``ok``."""
    rows = {
        "path": [f"{number:04}.png" for number in range(len(labels))],
        "correct_label": list(labels),
        "ng": [1 - score for score in scores],
        "ok": list(scores),
    }
    pd.DataFrame(rows | columns).to_csv(path, index=False)
    return path
