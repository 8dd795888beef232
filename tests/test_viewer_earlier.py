"""A log folder of the earlier program, some of its files missing, is browsed as far as they go; on every page."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from conftest import write_image
from results_samples import evaluated, predictions
from test_results_earlier import INSERT, WITH_ID, named
from viewer_browser import chromium, new_page, running_viewer  # noqa: F401
from viewer_pages import built_addresses, opened

from model_aggregation.files import csv_text
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.pages import PAGES

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
    assert "0.876" in home
    group = seen.get(("group", GROUP, ""), "")
    for name in ("一", "二", "三", "四", "五") if group else ():
        assert f"{GROUP}_{name}" in group


def test_a_run_shows_what_its_files_hold(new_page, address):  # noqa: F811
    page = new_page(locale="en-US")
    whole = opened(page, f"{address}/run/{GROUP}/{GROUP}_一")
    assert "0.900" in whole  # the accuracy that the database holds
    assert "猫" in whole
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
