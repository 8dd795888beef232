"""One Japanese word for one thing, in everything that users read."""

import re
from pathlib import Path

import pytest

from model_aggregation.viewer.texts import texts

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.ja.md"), *(ROOT / "docs").glob("*.ja.md")])

OTHER_SPELLINGS = {
    r"フォルダ(?!ー)": "フォルダー",
    r"ビューア(?!ー)": "ビューアー",
    r"ブラウザ(?!ー)": "ブラウザー",
    r"サーバ(?!ー)": "サーバー",
    r"メモリ(?!ー)": "メモリー",
    r"ユーザ(?!ー)": "ユーザー",
    r"データ区分": "画像セット",
    r"転移学習|微調整": "ファインチューニング",
    r"しきい値|閾値|カットオフ値": "カットオフ",
}


def other_spellings(text: str) -> list[str]:
    return [
        f"{found[0]}: {right}" for pattern, right in OTHER_SPELLINGS.items() for found in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_one_word(path):
    assert not other_spellings(path.read_text(encoding="utf-8"))


def test_the_viewer_uses_one_word():
    assert not {key: found for key, pair in texts().items() if (found := other_spellings(pair["ja"]))}


def test_a_fold_is_no_split():
    """In Japanese both have been called 分割."""
    folds = {key: pair for key, pair in texts().items() if re.search(r"\bfolds?\b", pair["en"], re.IGNORECASE)}
    assert folds
    assert not {key for key, pair in folds.items() if "フォールド" not in pair["ja"] or "分割" in pair["ja"]}


def test_other_spellings_are_found():
    assert other_spellings("フォルダ、ビューアで開く") == ["フォルダ: フォルダー", "ビューア: ビューアー"]
