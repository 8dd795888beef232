"""The data page in a real browser: split table, folds, findings, sample images; and what is not there."""

from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from conftest import write_image
from results_samples import make_run
from viewer_browser import chromium, new_page, running_viewer, shown  # noqa: F401
from viewer_samples import MARKUP

from model_aggregation.files import write_csv
from model_aggregation.results.index import Index
from model_aggregation.viewer.reading import LogReader

CLASSES = ["犬", MARKUP, *(f"class_{number:02d}" for number in range(14))]


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """A cross-validated group with patients, 16 classes, findings, and a group without a table of images."""
    folder = tmp_path_factory.mktemp("data")
    log = folder / "log"
    rows = []
    for number in range(96):
        label = CLASSES[number % len(CLASSES)]
        path = folder / "images" / f"{number}.png"
        if number < 95:
            write_image(path, bright=number % 2 == 0, seed=number, size=24)
        rows.append(
            {"id": f"{label}/{number}.png", "path": str(path), "label": label,
             "split": ("train", "train", "val", "test")[number // 16 % 4], "group": f"P{number // 32}",
             "readable": str(number != 95)}
        )  # fmt: skip
    images = pd.DataFrame(rows)
    run = make_run(log / "pets" / "pets_a", classes=CLASSES)
    write_csv(run.images_csv, images)
    make_run(log / "empty" / "empty_a")
    single = make_run(log / "alone", classes=CLASSES)
    write_csv(single.images_csv, images)
    for fold in (1, 2):
        table = images.assign(split=["test" if number % 2 == fold - 1 else "train" for number in range(96)])
        write_csv(log / "pets" / f"splits_f{fold}.csv", table.drop(columns="path"))
    findings = [
        {"severity": "note", "kind": "ignored", "message": "1 file left aside", "files": "Thumbs.db", "details": ""},
        {"severity": "error", "kind": "x", "message": f"broken {MARKUP}", "files": "; ".join(images["id"]),
         "details": ""},
    ]  # fmt: skip
    write_csv(log / "pets" / "findings.csv", pd.DataFrame(findings))
    Index(log).rebuild()
    return log


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with running_viewer(log, cache=tmp_path_factory.mktemp("cache")) as found:
        yield found


def cells(page, place: int) -> list[list[str]]:
    """Return the texts of a table of the page, the small words left out."""
    return page.evaluate(
        """place => [...document.querySelectorAll('.data-table')[place].querySelectorAll('tr')].map(row =>
        [...row.children].map(cell => {
            const copy = cell.cloneNode(true); copy.querySelectorAll('.data-small').forEach(part => part.remove());
            return copy.innerText }))""",
        place,
    )


def test_images_are_counted_by_class_split_and_group(new_page, address, log):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/pets")
    images = pd.read_csv(log / "pets" / "pets_a" / "images.csv")
    counts = pd.crosstab(images["label"], images["split"], margins=True)[["train", "val", "test", "All"]]
    head, *rows = cells(page, 0)
    assert head == ["Class", "Training", "Validation", "Test", "All"]
    assert {row[0]: list(map(int, row[1:])) for row in rows} == counts.T.to_dict("list")
    groups = page.inner_text(f".data-table >> tr:has-text('{CLASSES[0]}') >> td:nth-child(2) >> .data-small")
    assert groups == f"{images[(images.label == CLASSES[0]) & (images.split == 'train')]['group'].nunique()} groups"
    text = page.inner_text("#page")
    assert "96 images in 16 classes" in text
    assert "1 images could not be read" in text


def test_folds_are_counted(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/pets")
    assert cells(page, 1) == [["Fold", "Training", "Test"], ["1", "48", "48"], ["2", "48", "48"]]
    assert f"{CLASSES[0]} 6" in page.inner_text(".data-table >> nth=1")


def test_the_gravest_finding_comes_first_and_its_files_fold_open(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/pets")
    found = page.locator(".data-finding")
    assert [found.nth(k).inner_text().split("\n")[0] for k in range(2)] == ["✕ error", "i note"]
    assert f"broken {MARKUP}" in found.nth(0).inner_text()
    assert not page.locator(".data-finding li").first.is_visible()
    found.nth(0).locator("summary").click()
    assert "and 46 more" in found.nth(0).inner_text()


def test_each_class_has_sample_images_and_pages_keep_their_address(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/pets")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("[...document.querySelectorAll('.data-thumbnails img')].every(image => image.naturalWidth)")
    names = page.locator(".data-class h3")
    first = names.all_inner_texts()
    assert len(first) == 12
    page.click("#data-pages button:has-text('2')")
    page.wait_for_url("**/data/pets?page=2")
    page.wait_for_selector(".data-class >> nth=11", state="detached")
    assert sorted([*first, *names.all_inner_texts()]) == sorted(CLASSES)
    shown(page, f"{address}data/pets?page=2")
    assert names.count() == 4
    link = page.get_attribute(".data-thumbnails a", "href")
    assert page.request.get(f"{address.rstrip('/')}{link}").headers["content-type"] == "image/png"


def test_a_single_run_has_its_own_address(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/single/alone")
    assert "96 images in 16 classes" in page.inner_text("#page")
    assert "no record of a data check" in page.inner_text("#page")
    assert page.locator(".data-table").count() == 1


@pytest.mark.parametrize("place", ["empty", "nothing", "single/nothing", quote(MARKUP, safe="")])
def test_what_is_not_there_is_said(new_page, address, place):  # noqa: F811
    page = new_page()
    shown(page, f"{address}data/{place}")
    expected = "images.csv" if place == "empty" else "There is no"
    assert expected in page.inner_text("#page")


@pytest.mark.parametrize("width", [390, 1280])
def test_japanese_fits(new_page, address, width):  # noqa: F811
    page = new_page(locale="ja-JP", viewport={"width": width, "height": 720})
    shown(page, f"{address}data/pets")
    assert "クラスと分割ごとの画像数" in page.inner_text("#page")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_damaged_split_file_is_a_note(log, tmp_path):
    damaged = log / "pets" / "splits_f3.csv"
    damaged.write_text("a,b\n1,2\n", encoding="utf-8")
    try:
        view = LogReader(log, cache_folder=tmp_path).data("pets")
    finally:
        damaged.unlink()
    assert "splits_f3.csv has no column id, label, split" in view.notes[0]
    assert set(view.folds["fold"]) == {1, 2}


def test_what_changes_is_read_again(log, tmp_path):
    reader = LogReader(log, cache_folder=tmp_path)
    before = reader.data("pets")
    assert reader.data("pets") is before
    added = log / "pets" / "splits_f3.csv"
    write_csv(added, pd.DataFrame({"id": ["a"], "label": ["b"], "split": ["test"]}))
    try:
        assert set(reader.data("pets").folds["fold"]) == {1, 2, 3}
    finally:
        added.unlink()
