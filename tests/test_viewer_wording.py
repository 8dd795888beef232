"""What the program writes in English is said in Japanese: evaluations, comparisons, findings, what cannot be read."""

import ast
import importlib
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_samples import random_many_classes, random_two_classes, two_classes

import model_aggregation
from model_aggregation.evaluation import (
    Cutoff,
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    compare_predictions,
    evaluate,
)
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.viewer import wording
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.texts import texts
from model_aggregation.viewer.visitor import Visitor, _present

PACKAGE = Path(model_aggregation.__file__).parent
ENGLISH = re.compile(r"[a-z]{3,} [a-z]{3,}")
FEW = EvaluationOptions(resamples=50)


@pytest.fixture
def context(tmp_path):
    token = _present.set(Visitor("ja"))
    yield Context(LogReader(tmp_path, cache_folder=tmp_path / "cache"))
    _present.reset(token)


def groups_of(n: int, size: int) -> list[str]:
    return [f"g{k // size}" for k in range(n)]


def with_folds(table: Predictions) -> Predictions:
    return replace(table, folds=np.arange(len(table)) // 2 % 2)


def only(table: Predictions, rows: np.ndarray) -> Predictions:
    return table.take(np.flatnonzero(rows))


def of_two_classes() -> Iterator[dict[str, object]]:
    """Yield evaluations that provoke what can be said of two classes."""
    table = random_two_classes(60)
    labels = table.labels
    tables = [
        table, two_classes(labels, labels), two_classes(labels, 1 - labels), two_classes(labels, np.full(60, 0.5)),
        only(table, labels == 0), only(table, labels == 1), table.take(np.arange(0)), table.take(np.arange(3)),
        random_two_classes(60, groups=groups_of(60, 2)), random_two_classes(60, groups=groups_of(60, 20)),
        two_classes([0] * 59 + [1], np.linspace(0, 1, 60)), with_folds(table),
        with_folds(two_classes(np.arange(8) // 2 % 2, np.linspace(0, 1, 8))),
        Predictions(table.ids, labels, np.empty((60, 0)), table.classes, score=table.score_of("ok"), score_class="ok"),
    ]  # fmt: skip
    for sample in tables:
        yield evaluate(sample, positive="ok", options=FEW).to_dict()
    yield evaluate(table, positive="ok", options=EvaluationOptions(resamples=0)).to_dict()
    cutoffs = [choose_cutoff(table, "ok", source=source, resamples=50) for source in ("validation", "test")]
    cutoffs += [choose_cutoff(table.take(np.arange(10)), "ok"), Cutoff(0.05, "validation", limit_active=True)]
    for cutoff in cutoffs:
        yield evaluate(table, positive="ok", cutoff=cutoff, options=FEW).to_dict()
    of_folds = FoldCutoffs({0: cutoffs[0], 1: cutoffs[1]})
    yield evaluate(with_folds(table), positive="ok", cutoff=of_folds, options=FEW).to_dict()
    for lost in ({"x": "ok"}, ["x"], {"x": "ok", "y": "ng"}):
        yield evaluate(table, positive="ok", options=FEW, unreadable=lost).to_dict()


def of_many_classes() -> Iterator[dict[str, object]]:
    """Yield evaluations that provoke what can be said of three classes."""
    table = random_many_classes(60, 3)
    sure = replace(table, probabilities=np.eye(3)[table.labels])
    tied = replace(table, probabilities=np.full((60, 3), 1 / 3))
    tables = [
        table, sure, tied, only(table, table.labels < 2), only(table, table.labels == 1), table.take(np.arange(0)),
        random_many_classes(60, 3, groups=groups_of(60, 2)), random_many_classes(60, 3, groups=groups_of(60, 20)),
        with_folds(table), random_many_classes(30, 12), table.take(np.arange(4)),
    ]  # fmt: skip
    for sample in tables:
        yield evaluate(sample, options=FEW).to_dict()
    yield evaluate(table, options=FEW, unreadable={"x": "class 1"}).to_dict()
    yield evaluate(table, positive="class 1", options=FEW).to_dict()


def comparisons() -> Iterator[object]:
    """Yield comparisons that provoke what can be said of a difference."""
    first, other = random_two_classes(60), random_two_classes(60, seed=1)
    for few in (np.arange(60), np.arange(0), np.arange(2), np.flatnonzero(first.labels)):
        pair = {"a": first.take(few), "b": other.take(few)}
        yield compare_predictions(pair, selected="a", positive="ok", options=FEW)
    sure = two_classes(first.labels, first.labels)
    for two in (sure, first):
        yield compare_predictions({"a": sure, "b": two}, selected="a", positive="ok", options=FEW)
    for size in (2, 20):
        pair = {name: random_two_classes(60, seed=k, groups=groups_of(60, size)) for k, name in enumerate("ab")}
        yield compare_predictions(pair, selected="a", positive="ok", options=FEW)
    for size in (1, 2, 20):
        given = None if size == 1 else groups_of(60, size)
        many = {name: random_many_classes(60, 3, seed=k, groups=given) for k, name in enumerate("ab")}
        yield compare_predictions(many, selected="a", options=FEW)
    half = {name: only(table, table.labels < 2) for name, table in many.items()}
    yield compare_predictions(half, selected="a", options=FEW)


def phrases(content: object) -> set[tuple[str, str]]:
    """Return every method and reason of an object of ``metrics.json``, and its warnings."""
    if not isinstance(content, dict):
        return set()
    found = {("warning", text) for text in content.get("warnings") or []}
    if "value" in content:
        found |= {(kind, content[kind]) for kind in ("method", "reason") if content.get(kind)}
    return found.union(*(phrases(inner) for inner in content.values()))


def metrics_of(content: object) -> set[str]:
    """Return the names of all numbers of an object of ``metrics.json``."""
    if not isinstance(content, dict):
        return set()
    own = {name for name, entry in content.items() if isinstance(entry, dict) and "value" in entry}
    nested = [inner for name, inner in content.items() if name not in own]
    return (own - {"cutoff"}).union(*(metrics_of(inner) for inner in nested))


def test_every_method_reason_and_warning_of_an_evaluation_has_plain_words_in_japanese(context):
    say = {
        "method": lambda text: wording.method_words(context, text, 0.95),
        "reason": lambda text: wording.reason_words(context, text),
        "warning": lambda text: wording.warning_words(context, text),
    }
    emitted = {found for content in (*of_two_classes(), *of_many_classes()) for found in phrases(content)}
    left = {text: words for kind, text in emitted if ENGLISH.search(words := say[kind](text))}
    assert not left
    assert len(emitted) > 75


def test_every_method_and_reason_of_a_comparison_is_said_in_japanese(context):
    emitted = set()
    for found in comparisons():
        emitted |= {text for column in ("method", "reason") for text in found.comparisons[column].dropna() if text}
        emitted |= {text for text in found.ranking["reason"].dropna() if text}
    left = {text: words for text in emitted if ENGLISH.search(words := wording.in_words(context, text))}
    assert not left
    assert len(emitted) > 15


def test_every_metric_has_a_name_in_both_languages():
    emitted = {name for content in (*of_two_classes(), *of_many_classes()) for name in metrics_of(content)}
    emitted |= {metric for found in comparisons() for metric in found.comparisons["metric"]}
    assert not {name for name in emitted if f"metric.{name}" not in texts()}
    assert len(emitted) > 40


def sentences_in(module: object) -> list[str]:
    """Return the sentences that a module's code puts together in one piece, with words in braces for what varies."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    inside -= {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    found = []
    for node in ast.walk(tree):
        if id(node) in documentation | inside:
            continue
        if isinstance(node, ast.JoinedStr):
            found.append("".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def reading_modules() -> list[object]:
    names = sorted(path.stem for path in (PACKAGE / "viewer" / "reading").glob("[a-z]*.py"))
    return [importlib.import_module(f"model_aggregation.viewer.reading.{name}") for name in names]


NOT_SHOWN = re.compile(
    r"SELECT|FROM |PRAGMA|%Y|\| None|\\w|^\{\} \{\} |^ AND|^(band|numbers|words) \{"
    r"|^There is no (log folder|index \{\}$)|^The decisions of"
)
"""Questions to the database, keys, types, and what is said before a page exists or as a part of another sentence."""


def test_every_sentence_of_the_reading_is_said_in_japanese(context):
    """Its sentences stand in the code in one piece, so that the code can be asked for all of them."""
    written = [text for module in reading_modules() for text in sentences_in(module)]
    written = [text for text in written if len(re.findall(r"[a-z]{2,}", text)) > 2 and " " in text]
    samples = [text.replace("{}", "7") for text in written if not NOT_SHOWN.search(text)]
    left = {text for text in samples if wording.in_words(context, _ended(text)) == _ended(text)}
    assert not left
    assert len(samples) > 30


def _ended(text: str) -> str:
    """A name that is not known is followed by the nearest ones."""
    return re.sub(r"; 7$", "; did you mean x?", text)


def test_every_pattern_is_written_by_the_program():
    joined = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    written = re.sub(r"[\"']\s*f?[\"']", "", joined)  # texts over several lines
    for key, pair in texts().items():
        if key.startswith("sentences."):
            texts_between = [text for text, _, _, _ in string.Formatter().parse(pair["en"])]
            parts = [part.strip() for text in texts_between for part in re.split(r"[;:.()'\"]", text)]
            left = [part for part in parts if part not in written and part.partition(" ")[2] not in written]
            assert not [part for part in left if part.count(" ") > 2], key


@pytest.mark.parametrize(
    ("text", "japanese"),
    [
        ("no interval: fewer than 5 groups of a class", "区間なし：グループ数が5未満のクラスがあります"),
        ("auc: the positive class has no image; not tested", "AUC：陽性クラスの画像がありません；テストされていません"),
        ("3 of 4 runs finished; g_a failed: CUDA out of memory", "4件中3件の実行が完了；g_a 失敗：CUDA out of memory"),
        ("warning: 3 images are of one single colour", "警告：3枚の画像は単色です"),
        ("in 2 folds: no readable training image of: a, b", "2個のフォールドで：読み込める学習画像がないクラス：a, b"),
        (
            "the test images look otherwise than those of train (brightness: 1.0 in train, 2.5 in test; red: 3.0 in "
            "train, 4.0 in test): results on them may not be what the training promises; ask whether they come from "
            "another source",
            "テスト画像の見た目が学習画像と異なります（明るさ：学習1.0、テスト2.5；赤：学習3.0、テスト4.0）。学習時の見込みどおりの"
            "結果にならないことがあります。別の由来の画像でないか確認してください",
        ),
        ("no interval: a reason of a later version", "no interval: a reason of a later version"),
        ("not tested; something else", "not tested; something else"),
        (
            "metrics.json is not what the run wrote; its numbers were made again from the predictions; not tested",
            "metrics.json が実行の書いた内容と異なります；数値は予測から計算し直しました；テストされていません",
        ),
        (
            "metrics.json is damaged; its numbers cannot be made again: no table",
            "metrics.json が壊れていて、数値を計算し直せません：no table",
        ),
        (
            "not what the run wrote: a_test.csv, a_val.csv; not tested",
            "実行が書いた内容と異なるファイル：a_test.csv, a_val.csv；テストされていません",
        ),
        ("error text of\nanother program", "error text of\nanother program"),
    ],
)
def test_what_is_not_wholly_known_stays_english(context, text, japanese):
    assert wording.in_words(context, text) == japanese


def test_in_english_nothing_is_changed(tmp_path):
    context = Context(LogReader(tmp_path, cache_folder=tmp_path / "cache"))
    assert wording.in_words(context, "no interval: anything") == "no interval: anything"
    assert metric_name(context, "auc") == "AUC"
