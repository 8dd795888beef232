"""The images page in a real browser: its rows and order are those of the CSV, marks are kept, keys work."""

import contextlib
import csv
import io
import json
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from conftest import write_image
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from results_samples import make_run
from viewer_browser import chromium, new_page, running_viewer, shown  # noqa: F401

from model_aggregation.files import write_csv
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.images import close_look
from model_aggregation.viewer.pages.images.choices import GALLERY_PAGE, Place
from model_aggregation.viewer.reading import LogReader, Mark

GROUP = "部品"
RUN, OTHER = f"{GROUP}_resnet18", f"{GROUP}_vgg11"
CLASSES = ("cat", "dog", "way")  # "way" is called "path" in the files: a class like a column
MARKUP = "<b>x</b>.png"
JAPANESE = "胸部 1 & 2#.png"
IDS = [MARKUP, JAPANESE, *(f"{number:03d}.png" for number in range(2, 130))]
GONE = 7


def make_images_run(folder: RunFolder, images: Path, seed: int) -> None:
    """Overwrite the predictions of a run with those of 130 images that have groups and a site."""
    random = np.random.default_rng(seed)
    labels = np.arange(130) % 3
    scores = random.dirichlet([1, 1, 1], 130) + np.eye(3)[labels] * 0.4
    scores /= scores.sum(axis=1, keepdims=True)
    facts = {"path": [str(images / name) for name in IDS], "correct_label": [CLASSES[k] for k in labels]}
    table = pd.concat([pd.DataFrame(facts), pd.DataFrame(scores, columns=list(CLASSES))], axis=1)
    folder.write_predictions("test", table, predicted=[CLASSES[k] for k in scores.argmax(axis=1)])
    more = {"group": [f"P{k // 10}" for k in range(130)], "site": ["東京", "Lyon"] * 65}
    facts = {"id": IDS, "path": table["path"], "label": table["correct_label"], "split": "test", **more}
    write_csv(folder.images_csv, pd.DataFrame({**facts, "readable": "True", "content_hash": ""}))
    for path in (*folder.path.glob("*.csv"), *folder.path.glob("*.json")):
        path.write_text(path.read_text(encoding="utf-8").replace("way", "path"), encoding="utf-8")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    log = folder / "log"
    for seed, run in enumerate((RUN, OTHER)):
        make_images_run(make_run(log / GROUP / run, classes=CLASSES), folder / "data", seed)
    for number, path in enumerate(rows_of(log)["path"]):
        if number != GONE and not (number == 0 and sys.platform == "win32"):
            write_image(Path(path), bright=number % 2 == 0, seed=number)
    Index(log).rebuild()
    return log


def rows_of(log: Path, run: str = RUN) -> pd.DataFrame:
    """Return the file that a user can check, with the class "path" as ``path.1``."""
    table = pd.read_csv(log / GROUP / run / f"{run}_test_p.csv")
    return table.assign(id=IDS, actual=table["correct_label"], predicted=table["predict_label"].str.removesuffix("_p"))


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with running_viewer(log, cache=tmp_path_factory.mktemp("cache")) as address:
        yield f"{address}images/{quote(GROUP)}/{quote(RUN)}"


@pytest.fixture
def opened(new_page, address):  # noqa: F811
    """Open the page with a query and wait until its images are counted; only the image that is gone is not found."""
    refused = []

    def opened(query: str = "", **options):
        page = new_page(**options)
        page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        shown(page, f"{address}?{query}")
        page.wait_for_selector("#images-total:has-text('130')", state="attached")
        page.expected.append("404")
        return page

    yield opened
    assert all(url.partition("?")[0].endswith((f"/test/{GONE}", "/open")) for url in refused)


def gallery(page) -> list[str]:
    page.wait_for_function("() => !document.querySelector('[data-dash-is-loading=true]')")
    return page.eval_on_selector_all(".images-card", "cards => cards.map((card) => card.title)")


def counted(page, number: int) -> None:
    page.wait_for_selector(f"#images-total:text-is('{number} of 130 images')")


def table_ids(page, first: str) -> list[str]:
    """Return the rows in sight in their order, once the first is the expected one."""
    page.wait_for_selector(f"#images-grid [row-index='0'] .images-name:text-is('{first}')")
    script = "cells => cells.map((cell) => [+cell.closest('.ag-row').getAttribute('row-index'), cell.innerText])"
    return [name for _, name in sorted(page.eval_on_selector_all("#images-grid .images-name", script))]


def choose(page, name: str, option: str) -> None:
    page.click(f"#images-{name}")
    page.get_by_role("option", name=option, exact=True).click()


def in_window(page, image_id: str) -> None:
    page.wait_for_function("id => document.querySelector('#images-look-title strong')?.innerText === id", arg=image_id)


def test_a_pair_of_classes_gives_the_rows_of_the_file(opened, log):
    rows = rows_of(log)
    wanted = rows[(rows["actual"] == "dog") & (rows["predicted"] == "path")]["id"].tolist()
    page = opened()
    choose(page, "actual", "dog")
    choose(page, "predicted", "path")
    counted(page, len(wanted))
    assert gallery(page) == wanted
    page = opened(page.url.partition("?")[2] + "&view=table")
    assert table_ids(page, wanted[0]) == wanted
    page.check("#images-wrong")
    page.fill("#images-text", "12")
    wanted = [name for name in wanted if "12" in name]
    counted(page, len(wanted))
    assert table_ids(page, wanted[0]) == wanted


def test_other_filters_and_the_address_agree_with_the_files(opened, log):
    rows, other = rows_of(log), rows_of(log, OTHER)
    page = opened("of=p2&from=0.5&m0=Lyon&group=P3")
    wanted = rows[(rows["path.1"] >= 0.5) & (np.arange(130) % 2 == 1) & (np.arange(130) // 10 == 3)]["id"].tolist()
    counted(page, len(wanted))
    assert gallery(page) == wanted
    page = opened("disagree=1&page=1")
    wanted = rows[rows["predicted"] != other["predicted"]]["id"].tolist()
    counted(page, len(wanted))
    assert gallery(page) == wanted[:GALLERY_PAGE]
    page = opened("models_wrong=2")
    wanted = rows[(rows["predicted"] != rows["actual"]) & (other["predicted"] != rows["actual"])]["id"].tolist()
    counted(page, len(wanted))
    assert gallery(page) == wanted[:GALLERY_PAGE]


def test_a_number_that_is_none_is_named(new_page, address):  # noqa: F811
    page = new_page()
    page.expected.append(
        f"/test/{GONE}"
    )  # the thumbnail that cannot be made, when it comes into sight before the table does
    shown(page, f"{address}?from=much")
    page.wait_for_selector("#images-notes:has-text(\"from is a number; 'much' came\")")
    shown(page, f"{address}?view=table&sort=nothing")
    assert page.wait_for_selector("#images-notes:has-text(\"There is no column 'nothing'\")")


def test_the_table_sorts_by_the_probability_of_a_class(opened, log):
    wanted = rows_of(log).sort_values("path.1", kind="stable")["id"].tolist()
    page = opened("view=table")
    page.click(".ag-header-cell[col-id=p2]")
    assert table_ids(page, wanted[0]) == wanted[: len(table_ids(page, wanted[0]))]
    page.wait_for_url("**sort=p2*")
    assert page.input_value("#images-sort") == "P(path)"
    page.check("#images-descending")
    last = rows_of(log).sort_values("path.1", ascending=False, kind="stable")["id"].tolist()
    assert table_ids(page, last[0])[:5] == last[:5]
    page.click(".mantine-SegmentedControl-label:has-text('Gallery')")
    page.wait_for_selector(".images-card")
    assert gallery(page) == last[:GALLERY_PAGE]


def test_the_gallery_has_pages_and_thumbnails_come_when_seen(opened):
    page = opened()
    assert gallery(page) == IDS[:GALLERY_PAGE]
    assert page.locator(".images-thumbnail[src]").count() < GALLERY_PAGE
    assert page.locator(".images-wrong .images-sign-wrong").count() == page.locator(".images-wrong").count() > 0
    page.click("#images-page button:text-is('4')")
    page.wait_for_function("id => document.querySelector('.images-card').title === id", arg=IDS[3 * GALLERY_PAGE])
    assert gallery(page) == IDS[3 * GALLERY_PAGE :]
    page.wait_for_url("**page=4*")


def test_an_image_opens_with_every_model_and_its_neighbours(opened, log):
    rows, other = rows_of(log), rows_of(log, OTHER)
    wanted = rows[rows["predicted"] != rows["actual"]].sort_values("cat", ascending=False, kind="stable")
    ids = wanted["id"].tolist()
    page = opened("wrong=1&sort=-p0")
    page.wait_for_selector(".images-card")
    page.click(".images-card >> nth=0")
    in_window(page, ids[0])
    page.keyboard.press("ArrowRight")
    in_window(page, ids[1])
    page.keyboard.press("ArrowRight")
    in_window(page, ids[2])
    page.keyboard.press("ArrowLeft")
    in_window(page, ids[1])
    index = int(wanted.index[1])
    page.wait_for_url(f"**image={index}*")
    names = {"cat": "cat", "dog": "dog", "path": "path.1"}
    first = names.pop(rows.at[index, "actual"])
    expected = [[f"{table.at[index, name]:.3f}" for name in (first, *names.values())] for table in (rows, other)]
    cells = "rows => rows.map((row) => [...row.cells].slice(2).map((cell) => cell.innerText))"
    for _ in range(100):  # the window shows the image before the other models have answered
        shown_rows = page.eval_on_selector_all("table.images-models tbody tr", cells)
        if sorted(shown_rows) == sorted(expected):
            break
        page.wait_for_timeout(50)
    assert sorted(shown_rows) == sorted(expected)
    assert page.inner_text("table.images-models thead").count("●") == 1
    page.keyboard.press("Escape")
    page.wait_for_selector(".mantine-Modal-content", state="detached")
    page.wait_for_url(lambda url: "image=" not in url)
    assert page.evaluate("document.activeElement.className").startswith("images-card")


def test_the_image_zooms_by_keys_and_wheel(opened):
    page = opened("image=3")
    in_window(page, IDS[3])
    page.wait_for_function("() => document.querySelector('.images-picture')?.naturalWidth > 0")
    scale = "new DOMMatrix(getComputedStyle(document.querySelector('.images-picture')).transform).a"
    page.keyboard.press("+")
    assert page.evaluate(scale) == pytest.approx(1.5)
    page.hover("#images-stage")
    page.mouse.wheel(0, -200)
    page.wait_for_function(f"() => {scale} > 1.6")
    page.keyboard.press("0")
    assert page.evaluate(scale) == 1


def mark_first(page) -> None:
    """Mark the first card by its key; another list makes another gallery, and a key may still meet the old one."""
    for _ in range(5):
        page.wait_for_load_state("networkidle")
        page.focus(".images-card >> nth=0")
        page.keyboard.press("m")
        with contextlib.suppress(PlaywrightTimeoutError):
            page.wait_for_selector(".images-card:nth-child(1) .images-star:visible", timeout=5000)
            return
    pytest.fail("the card was not marked")


def test_marks_and_comments_are_kept_shown_and_exported(opened, log):
    page = opened()
    page.fill("#images-list", "要確認 1")
    page.wait_for_url(f"**list={quote('要確認 1').replace('%20', '+')}*")
    mark_first(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    in_window(page, JAPANESE)
    page.fill(".images-mark-panel textarea", 'odd, "very" <i>odd</i>')
    page.keyboard.press("Escape")
    page.wait_for_selector("#images-mark[aria-pressed=true]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".images-card:nth-child(2) .images-star:visible")
    page.click(".mantine-SegmentedControl-label:has-text('Marked')")
    page.wait_for_selector("#images-marks-grid .ag-row:has-text('<i>odd</i>')")
    with page.expect_download() as download:
        page.click("#images-export")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    reference = rows_of(log)
    assert [row["id"] for row in rows] == [MARKUP, JAPANESE]
    assert [row["comment"] for row in rows] == ["", 'odd, "very" <i>odd</i>']
    assert [row["predicted"] for row in rows] == reference["predicted"][:2].tolist()
    assert [row["path"] for row in rows] == reference["path"][:2].tolist()
    page = opened(f"marked=1&list={quote('要確認 1')}")
    counted(page, 2)
    page.click(".images-card >> nth=0")
    in_window(page, MARKUP)
    page.click("#images-mark[aria-pressed=true]")
    page.wait_for_selector("#images-mark[aria-pressed=false]")
    kept = json.loads((log / ".viewer" / "marks" / "要確認 1.json").read_text(encoding="utf-8"))
    assert [mark["image_id"] for mark in kept["marks"]] == [JAPANESE]
    page = opened(f"view=marks&list={quote('要確認 1')}")
    page.click(f"#images-marks-grid a:text-is('{JAPANESE}')")
    in_window(page, JAPANESE)
    page = opened(f"view=marks&list={quote('要確認 1')}")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Delete list')")
    page.wait_for_selector("#images-marks-table:has-text('holds no marked images')")
    assert not (log / ".viewer" / "marks" / "要確認 1.json").exists()


def test_the_rows_of_a_query_are_downloaded(opened, log):
    rows = rows_of(log)
    page = opened("wrong=1")
    with page.expect_download() as download:
        page.click("#images-csv")
    found = pd.read_csv(download.value.path(), encoding="utf-8-sig")
    assert found["id"].tolist() == rows[rows["predicted"] != rows["actual"]]["id"].tolist()


def test_a_vanished_image_is_said_and_the_rest_works(opened, log):
    page = opened(f"image={GONE}")
    in_window(page, IDS[GONE])
    page.wait_for_selector(".images-reason:has-text('is not there any more')")
    assert str(rows_of(log)["path"][GONE]) in page.inner_text(".images-problem")
    page.keyboard.press("ArrowRight")
    in_window(page, IDS[GONE + 1])
    page.wait_for_function("() => document.querySelector('.images-picture')?.naturalWidth > 0")
    assert not page.is_visible(".images-problem")
    page.keyboard.press("Escape")
    page.wait_for_selector(".images-frame-gone")


def test_back_closes_an_image_and_leaves_no_step_behind(opened):
    page = opened("wrong=1")
    page.wait_for_selector(".images-card")
    for leave in (page.go_back, lambda: page.keyboard.press("Escape")):
        page.click(".images-card >> nth=0")
        page.wait_for_selector("#images-look-title strong")
        before = page.evaluate("history.length")
        leave()
        page.wait_for_selector(".mantine-Modal-content", state="detached")
        page.wait_for_url(lambda url: "image=" not in url)
        assert page.evaluate("history.length") == before
    page.go_back()
    assert page.url == "about:blank"


def test_files_open_on_this_machine_only_where_the_viewer_is_used_there(opened, log, tmp_path):
    asked = []

    def answer(route):
        asked.append(route.request.post_data_json)
        route.fulfill(status=501, json={"detail": "no <b>program</b>"})

    page = opened("image=4")
    page.route("**/open", answer)
    page.click("#images-open-folder")
    page.wait_for_selector("#images-open-answer:text-is('no <b>program</b>')")
    assert asked == [{"group": GROUP, "run": RUN, "set_name": "test", "index": 4, "what": "folder"}]
    page.problems.clear()  # the browser itself notes the status 501
    reader = LogReader(log, cache_folder=tmp_path)
    for here in (True, False):
        made = close_look.look(Context(reader, opens_here=here), Place(GROUP, RUN, "test"), {}, 4)
        assert ("images-open-folder" in str(made)) == here


def test_an_image_outside_is_said(opened):
    page = opened("image=5000")
    assert page.wait_for_selector("#images-stage:has-text('there is no image 5000')")


def test_names_with_markup_are_names(opened):
    page = opened("image=0")
    in_window(page, MARKUP)
    page.wait_for_function("() => document.querySelector('.images-picture')?.naturalWidth > 0")
    page.keyboard.press("Escape")
    page.click(".mantine-SegmentedControl-label:has-text('Table')")
    assert table_ids(page, IDS[0])[:2] == IDS[:2]
    assert page.locator("#images-root b").count() == 0


def test_the_table_works_by_keyboard(opened):
    page = opened("view=table")
    table_ids(page, IDS[0])
    page.click("#images-grid [row-index='1'] [col-id=actual]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.wait_for_selector("#images-grid [row-index='2'] .images-star:visible")
    assert page.locator("#images-grid .images-star:visible").count() == 1
    page.keyboard.press("Enter")
    in_window(page, IDS[2])


@pytest.mark.parametrize("view", ["gallery", "table", "marks"])
@pytest.mark.parametrize(("width", "locale"), [(390, "ja-JP"), (1280, "en-US")])
def test_nothing_sticks_out(new_page, address, view, width, locale):  # noqa: F811
    page = new_page(locale=locale, viewport={"width": width, "height": 720})
    shown(page, f"{address}?view={view}&of=p0&from=0.1")
    page.wait_for_selector("#images-root[data-view]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_single_marks_are_taken_away_also_of_runs_that_are_gone(opened, log):
    reader = LogReader(log)
    for run, image_id in (("gone", "a'b <i>.png"), (RUN, IDS[0]), (RUN, IDS[1])):
        reader.mark("single", Mark(GROUP, run, "test", image_id))
    page = opened("view=marks&list=single")
    page.wait_for_selector("#images-marks-grid .ag-row >> nth=2")
    page.get_by_role("button", name="Take the mark of a'b <i>.png away").click()
    page.wait_for_selector("#images-marks-table:has-text('Images in “single”: 2')")
    page.click(f"#images-marks-grid .ag-row:has-text('{IDS[0]}') [col-id=actual]")
    page.keyboard.press("Delete")
    page.wait_for_selector("#images-marks-table:has-text('Images in “single”: 1')")
    assert [mark.image_id for mark in reader.marked_lists()[-1].marks] == [IDS[1]]
    reader.delete_marks("single")
