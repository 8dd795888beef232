"""A log folder of the earlier program, some of its files missing, is browsed as far as they go; on every page."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import requests
from conftest import write_image
from earlier_samples import TRACEBACK, close_scores, earlier_run, write_rows
from results_samples import evaluated, make_run, predictions
from sklearn.metrics import roc_auc_score
from test_results_earlier import INSERT, WITH_ID, named
from viewer_browser import chromium, new_page, running_viewer  # noqa: F401
from viewer_pages import built_addresses, opened

from model_aggregation.files import csv_text
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.pages import PAGES
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.reading.log_index import ReadIndex

CLASSES = ("犬", "猫")
GROUP = "古い群"
SETTINGS = "run_name: 前の実行\nmodel_name: resnet18\nss_label: [猫, 犬]\n"
FILES = {
    "一": ("_test.csv", "_test_p.csv", "_test_roc.csv", "_test_roc.png", "_test_bc_cm.xlsx", "_status.txt", ".yaml"),
    "二": ("_test_p.csv",),
    "三": ("_test_roc.png", "_test_bc_cm.xlsx"),
    "四": ("_status.txt",),
}
"""What is left of each run; a fifth has a row in the database and no folder."""


def old_run(folder: Path, kept: tuple[str, ...], seed: int) -> None:
    """Write what the earlier program wrote, in cp932, and keep some of it."""
    run = RunFolder(folder)
    table = predictions(CLASSES, folder.parents[1] / "絵", n=12, seed=seed)
    metrics, predicted, roc = evaluated(table, CLASSES)
    run.path.mkdir(parents=True)
    with_labels = table.assign(predict_label=[f"{name}_p" for name in predicted])
    texts = {
        "_test.csv": csv_text(table),
        "_test_p.csv": csv_text(with_labels[["path", "correct_label", "predict_label", *CLASSES]]),
        "_status.txt": "正解率 0.9\n",
        ".yaml": SETTINGS,
    }
    for ending, text in texts.items():
        run.path.joinpath(f"{run.name}{ending}").write_bytes(text.encode("cp932"))
    run.write_confusion(metrics["confusion"], CLASSES)
    run.write_roc(roc)
    run.write_roc_figure(roc, metrics)
    run.path.joinpath(f"{run.name}_test_cm.xlsx").rename(run.path / f"{run.name}_test_bc_cm.xlsx")
    for path in run.path.iterdir():
        if path.name.removeprefix(run.name) not in kept:
            path.unlink()


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Four run folders and five rows in a group, a single run, and the images."""
    log = tmp_path_factory.mktemp("earlier") / "log"
    for number, (name, kept) in enumerate(FILES.items()):
        old_run(log / GROUP / f"{GROUP}_{name}", kept, number)
    old_run(log / "単独" / "単独", FILES["一"], 9)
    (log / "単独" / "単独").rename(log / "moved")
    (log / "単独").rmdir()
    (log / "moved").rename(log / "単独")
    for path in predictions(CLASSES, log / "絵", n=12)["path"]:
        write_image(Path(path), bright="猫" in path, seed=1, size=24)
    rows = [
        named(f"{GROUP}_{name}", group_name=GROUP, log_folder=f"log\\{GROUP}", auc=0.9 + place / 100)
        for place, name in enumerate("一二三五")
    ]
    with closing(sqlite3.connect(log / "analyze_record.db")) as connection:
        connection.execute(WITH_ID)
        connection.executemany(INSERT, [*rows, named("単独", auc=0.876)])
        connection.commit()
    return log


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with running_viewer(log, cache=tmp_path_factory.mktemp("cache")) as found:
        yield found.rstrip("/")


@pytest.fixture(scope="module")
def numbered_log(tmp_path_factory) -> Path:
    """Single runs with numbers that can be checked, one without predictions, one of three classes, one that failed."""
    log = tmp_path_factory.mktemp("numbers") / "log"
    close = earlier_run(log / "近い", close_scores(), cutoff=0.51)
    lost = earlier_run(log / "失った", close_scores(), cutoff=0.51, kept=("_status.txt",))
    three = earlier_run(log / "三つ", predictions(("a", "b", "c"), log / "絵", n=30))
    write_rows(log, {"run_name": "近い", **close}, {"run_name": "失った", **lost}, {"run_name": "三つ", **three})
    (log / "失敗").mkdir()
    (log / "失敗" / "error.txt").write_text(TRACEBACK, encoding="cp932")
    return log


@pytest.fixture(scope="module")
def numbered(numbered_log, tmp_path_factory):
    with running_viewer(numbered_log, cache=tmp_path_factory.mktemp("cache")) as found:
        yield found.rstrip("/")


def true_auc() -> float:
    scores = close_scores()
    return roc_auc_score(scores["correct_label"] == "ng", scores["ng"])


def test_every_page_of_every_run_opens(new_page, address, log, tmp_path):  # noqa: F811
    page = new_page(locale="ja-JP")
    seen = {}
    for name, group, run, path in built_addresses(log, tmp_path):
        text = opened(page, address + path)
        assert "予期しないエラー" not in text, path
        seen[name, group, run] = text
    assert {name for name, *_ in seen} == set(PAGES)
    home = seen["", "", ""]
    assert GROUP in home
    assert "0.876" not in home
    group = seen.get(("group", GROUP, ""), "")
    assert "旧プログラムの結果には順位を付けません" in group
    for name in ("一", "二", "三", "四", "五") if group else ():
        assert f"{GROUP}_{name}" in group


def test_a_run_shows_what_its_files_hold(new_page, address):  # noqa: F811
    page = new_page(locale="en-US")
    whole = opened(page, f"{address}/run/{GROUP}/{GROUP}_一")
    assert "As the earlier program reported it: accuracy 0.900" in whole
    assert "AUC as the earlier program reported it: 0.900. This is a sum of rectangles" in whole
    assert "猫" in whole
    assert "Not everything could be read" not in whole  # images.csv was never there
    alone = opened(page, f"{address}/run/{GROUP}/{GROUP}_五")
    assert "gone" in alone
    assert "0.930" in alone


@pytest.mark.parametrize("name", ["一", "二"])
def test_images_are_listed_with_their_predictions(new_page, address, log, name):  # noqa: F811
    page = new_page(locale="en-US")
    text = opened(page, f"{address}/images/{GROUP}/{GROUP}_{name}")
    assert text.count("Actual: ") == 12
    first = pd.read_csv(log / GROUP / f"{GROUP}_{name}" / f"{GROUP}_{name}_test_p.csv", encoding="cp932").iloc[0]
    assert f"{max(first['犬'], first['猫']):.3f}" in text


def test_a_run_without_predictions_says_so(new_page, address):  # noqa: F811
    page = new_page(locale="en-US")
    for name in ("三", "五"):
        text = opened(page, f"{address}/images/{GROUP}/{GROUP}_{name}")
        assert f"{GROUP}_{name}" in text or "no" in text.lower()


def test_the_slider_starts_at_the_stored_cutoff_and_comes_back_to_it(new_page, numbered):  # noqa: F811
    page = new_page(locale="en-US")
    text = opened(page, f"{numbered}/run/single/近い")
    assert "Stored cutoff 0.51, chosen on the test images (exploratory)" in text
    assert page.inner_text("#run-cutoff-value") == "0.510"
    page.locator("#run-cutoff [role=slider]").press("ArrowRight")
    page.wait_for_selector("#run-cutoff-value:has-text('0.511')")
    page.click("#run-cutoff-back")
    page.wait_for_selector("#run-cutoff-value:has-text('0.510')")
    tile = page.inner_text("[data-metric=auc] >> nth=0")
    assert f"{true_auc():.3f}" in tile


@pytest.mark.parametrize(("locale", "word"), [("en-US", "cutoff"), ("ja-JP", "カットオフ")])
def test_of_three_classes_no_cutoff_is_told(new_page, numbered, locale, word):  # noqa: F811
    text = opened(new_page(locale=locale), f"{numbered}/run/single/三つ")
    assert word not in text.lower()
    assert "a (10), b (10), c (10)" in text


def test_a_failed_run_shows_its_last_exception(new_page, numbered):  # noqa: F811
    page = new_page(locale="en-US")
    text = opened(page, f"{numbered}/run/single/失敗")
    assert "RuntimeError: CUDA out of memory. 割り当て失敗" in text
    assert "KeyError" not in text
    assert "untils.py" not in text
    page.click("#run-facts-error button")
    page.wait_for_selector("#run-error:has-text('untils.py')")


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("en-US", ("AUC as the earlier program reported it", "– (no predictions)")),
        ("ja-JP", ("旧プログラムが報告したAUC", "–（予測なし）")),
    ],
)
def test_the_table_holds_both_numbers_apart(new_page, numbered, locale, said):  # noqa: F811
    page = new_page(locale=locale, viewport={"width": 2400, "height": 900})
    text = opened(page, f"{numbered}/group/single")
    assert f"AUC {true_auc():.3f} (" in opened(page, numbered)
    assert not [words for words in said if words not in text]


def test_the_api_holds_both_numbers_apart(numbered):
    with requests.Session() as session:
        session.trust_env = False
        runs = {run["run_name"]: run for run in session.get(f"{numbered}/api/groups/single/runs").json()["runs"]}
        metrics = session.get(f"{numbered}/api/groups/single/runs/近い/metrics").json()
        told = session.get(f"{numbered}/api/groups/single/runs/近い").json()
    assert runs["近い"]["auc"] == metrics["test"]["auc"]["value"] == pytest.approx(true_auc(), abs=1e-12)
    assert (runs["失った"]["auc"], runs["失った"]["rank"]) == (None, None)
    reported = told["reported_by_earlier_program"]
    assert runs["近い"]["earlier_program_auc"] == reported["auc"] > true_auc() + 0.05
    assert (told["cutoff"], reported["log_folder"]) == (0.51, "C:\\proj\\log")


def test_runs_that_take_longer_say_so_and_are_there_at_the_next_look(tmp_path, monkeypatch):
    monkeypatch.setattr(ReadIndex, "earlier_seconds", 0.0)
    log = tmp_path / "log"
    rows = [{"run_name": f"r{k}", **earlier_run(log / f"r{k}", close_scores(seed=k), cutoff=0.5)} for k in range(3)]
    write_rows(log, *rows)
    reader = LogReader(log, cache_folder=tmp_path / "c")
    for known in (1, 2, 3):
        table = reader.leaderboard("single").table
        assert table["auc"].notna().sum() == known
        assert table["reason"].str.contains("still to be computed").sum() == 3 - known
    assert LogReader(log, cache_folder=tmp_path / "c").leaderboard("single").table["auc"].notna().all()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_images_are_matched_with_ours_by_their_paths(tmp_path, elsewhere):
    log = tmp_path / "log"
    ours = make_run(log / "g" / "g_ours", classes=("ng", "ok"))
    table = ours.read_predictions()
    images = table.rename(columns={"correct_label": "label"})[["path", "label"]]
    ids = [Path(path).name for path in images["path"]]
    ours.images_csv.write_text(csv_text(images.assign(id=ids, split="test", group="")), encoding="utf-8")
    if elsewhere:
        table["path"] = [rf"D:\{name}" for name in ids]
    earlier_run(log / "g" / "g_old", table.iloc[::-1], cutoff=0.5)
    reader = LogReader(log, cache_folder=tmp_path / "c")
    view = reader.all_models("g", "test", ("g_ours", "g_old"))
    across = reader.image_across_models("g", ids[3])
    if elsewhere:
        assert view.runs == ("g_ours",)
        assert view.notes == ("g_old is left out: its images cannot be matched with those of g_ours by their paths.",)
    else:
        assert view.runs == ("g_ours", "g_old")
        assert (view.predicted[0] == view.predicted[1]).all()
        assert across.table["run"].tolist() == ["g_ours", "g_old"]
        assert across.table["p0"].nunique() == 1
