"""The page of a group in a real browser: table, choices, figures, images, report; 500 runs; seeds; odd runs."""

import io
from pathlib import Path
from urllib.parse import quote, unquote

import openpyxl
import pandas as pd
import pytest
from conftest import write_image
from results_samples import make_failed_run, make_run, predictions
from viewer_browser import chromium, new_page, running_viewer, shown, viewer_address, viewer_log  # noqa: F401
from viewer_samples import GROUP, MARKUP, RUN

from model_aggregation.results.index import Index
from model_aggregation.results.locks import run_lock
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.addresses import group_file_link, link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.group.figures import frontier
from model_aggregation.viewer.pages.group.rows import rows
from model_aggregation.viewer.pages.group.summary import sentences
from model_aggregation.viewer.reading import LogReader

HREF = link("group", GROUP)


@pytest.fixture
def page(new_page, viewer_address):  # noqa: F811
    opened = new_page()
    shown(opened, viewer_address.rstrip("/") + HREF)
    opened.wait_for_selector(".ag-row")
    return opened


@pytest.fixture(scope="module")
def context(viewer_log, tmp_path_factory):  # noqa: F811
    return Context(LogReader(viewer_log, cache_folder=tmp_path_factory.mktemp("reader")))


def row_of(page, run):
    """Return the cells of a row, those that stay in place and the others."""
    page.wait_for_selector(f'[row-id="{run}"]')
    return " ".join(page.locator(f'[row-id="{run}"]').all_inner_texts())


def tick(page, run):
    page.locator(f'[row-id="{run}"] input[type=checkbox]').check()


def test_the_table_shows_the_numbers_of_metrics_json(page, viewer_log):  # noqa: F811
    for name in (RUN, f"{GROUP}_vgg11"):
        metrics = RunFolder(viewer_log / GROUP / name).read_metrics()
        auc = metrics["test"]["auc"]
        text = row_of(page, name)
        assert f"{auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f})" in text
        assert f"{metrics['val']['auc']['value']:.3f}" in text
    assert page.locator(f'[row-id="{GROUP}_vgg11"] [col-id="rank"]').inner_text() == "1"


def test_failed_and_planned_models_say_why(page):
    assert "✕ failed" in row_of(page, f"{GROUP}_broken")
    assert "○ planned" in row_of(page, f"{GROUP}_next")
    cell = page.locator(f'[row-id="{GROUP}_broken"] [col-id="reason"]')
    page.locator("#group-table .ag-body-horizontal-scroll-viewport").evaluate("box => box.scrollLeft = 10000")
    assert f"out of memory {MARKUP}" in cell.inner_text()


def test_a_click_and_enter_open_the_run(page):
    page.locator(f'[row-id="{RUN}"] [col-id="state"]').click()
    page.wait_for_url(f"**{link('run', GROUP, RUN)}")
    page.go_back()
    page.wait_for_selector(".ag-row")
    page.wait_for_load_state("networkidle")  # a table that is filled once more loses the row that has the focus
    page.locator(f'[row-id="{GROUP}_vgg11"] [col-id="name"]').click(position={"x": 200, "y": 10}, modifiers=["Shift"])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{link('run', GROUP, f'{GROUP}_vgg11')}")
    assert page.wait_for_selector(f"h1:has-text('{GROUP}_vgg11')")


def test_ticked_runs_stand_in_the_address_and_are_drawn_and_compared(page):
    assert page.locator("#group-compare").is_disabled()
    page.wait_for_selector("#group-roc-note:has-text('The best 2 by rank')")
    tick(page, RUN)
    page.wait_for_url(f"**runs={quote(RUN)}*")
    page.wait_for_selector("#group-roc-note:text-is('')", state="attached")
    tick(page, f"{GROUP}_vgg11")
    page.wait_for_selector("#group-compare:enabled")
    page.click("#group-compare")
    page.wait_for_url("**/compare/**")
    assert sorted(unquote(page.url).partition("runs=")[2].split("&")[0].split(",")) == [RUN, f"{GROUP}_vgg11"]


def test_the_address_brings_back_ticks_and_columns(new_page, viewer_address):  # noqa: F811
    page = new_page()
    shown(page, f"{viewer_address.rstrip('/')}{link('group', GROUP, runs=RUN, columns='parameters,auc')}")
    page.wait_for_selector(".ag-row")
    assert page.locator(f'[row-id="{RUN}"] input[type=checkbox]').is_checked()
    titles = page.locator("#group-table .ag-header-cell-text").all_inner_texts()
    assert [title for title in titles if title] == ["Rank", "Model", "State", "AUC, test", "Parameters"]


def test_columns_are_chosen(page):
    page.click("button:has-text('Columns')")
    page.get_by_label("sensitivity, test").uncheck()
    page.wait_for_selector('#group-table [col-id="sensitivity"]', state="detached")
    page.wait_for_url("**columns=*")
    page.get_by_label("sensitivity, test").check()
    page.wait_for_selector('#group-table [col-id="sensitivity"]')
    page.locator("#group-compare").wait_for()
    assert "columns=" not in page.url


def test_the_table_is_sorted_and_searched(page):
    page.fill("#group-find", "vgg")
    page.wait_for_selector(f'[row-id="{RUN}"]', state="detached")
    page.fill("#group-find", "")
    page.wait_for_selector(f'[row-id="{RUN}"]')
    page.locator('#group-table .ag-header-cell[col-id="name"] .ag-header-cell-text').click()
    assert page.wait_for_selector(f'[row-index="0"][row-id="{GROUP}_next"]')


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_the_table_is_downloaded(page, context, form):
    with page.expect_download() as waiting:
        page.click(f"#group-{form}")
    content = waiting.value.path().read_bytes()
    if form == "csv":
        table = pd.read_csv(io.BytesIO(content))
    else:
        head, *body = openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows(values_only=True)
        table = pd.DataFrame(body, columns=head)
    board = context.reader.leaderboard(GROUP)
    assert waiting.value.suggested_filename == f"{GROUP}_leaderboard.{form}"
    assert list(table["run_name"]) == list(board.table["run_name"])
    assert table["auc"].dropna().tolist() == board.table["auc"].dropna().tolist()


def test_images_that_all_models_get_wrong_lead_to_their_page(page, context):
    page.wait_for_selector("#group-wrong li")
    view = context.reader.all_models(GROUP)
    hardest = int(view.models_wrong.argmax())
    first = page.locator("#group-wrong li").first
    assert first.locator("a").get_attribute("href") == link("images", GROUP, view.runs[0], set="test", image=hardest)
    assert f"{view.models_wrong[hardest]} of 2 wrong" in first.inner_text()
    both = int((view.models_wrong == 2).sum())
    assert f"All 2 models are wrong about {both} of 40 test images" in page.inner_text("#group-wrong")


def test_the_frontier_holds_what_no_other_model_beats_in_both():
    models = [
        {"auc": auc, "parameters": size, "test_images_per_second": 1 / size}
        for auc, size in ((0.7, 1), (0.6, 2), (0.9, 4), (0.8, 4), (0.9, 8))
    ]
    for cost in ("parameters", "test_images_per_second"):
        assert [(row["auc"], row["parameters"]) for row in frontier(models, "auc", cost)] == [(0.7, 1), (0.9, 4)]
    lower_is_better = [{"brier": value, "parameters": value} for value in (0.1, 0.2)]
    assert frontier(lower_is_better, "brier", "parameters") == lower_is_better[:1]


@pytest.mark.parametrize("locale", ["ja-JP", "en-US"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(new_page, viewer_address, locale, scheme, width):  # noqa: F811
    page = new_page(locale=locale, color_scheme=scheme, viewport={"width": width, "height": 720})
    shown(page, viewer_address.rstrip("/") + HREF)
    page.wait_for_selector("#group-wrong li")
    page.wait_for_selector(".ag-row")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert ("順位" if locale == "ja-JP" else "Rank") in page.inner_text("#group-table")


def test_single_runs_are_a_list_without_ranking(new_page, viewer_address):  # noqa: F811
    page = new_page()
    shown(page, f"{viewer_address}group/single")
    page.wait_for_selector(".ag-row")
    text = page.inner_text("#page")
    assert "they are not ranked" in text
    assert "Rank" not in page.inner_text("#group-table .ag-header")
    assert page.locator(".js-plotly-plot").count() == 0


def write_images(group):
    for row in predictions(("cat", "dog"), group / "images").itertuples():
        write_image(Path(row.path), bright=row.correct_label == "dog", seed=int(row.Index))


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    log = tmp_path_factory.mktemp("repeated") / "log"
    for number, model in enumerate(("resnet18", "vgg11")):
        for seed in (0, 1):
            make_run(log / "g" / f"g_{model}_s{seed}", seed=seed + 5 * number, model=model, part_of=f"g_{model}")
    make_failed_run(log / "g" / "g_broken")
    write_images(log / "g")
    Index(log).rebuild()
    return log


def test_seeds_share_a_row_and_a_switch_shows_each(repeated, new_page, tmp_path):  # noqa: F811
    with running_viewer(repeated, cache=tmp_path) as address:
        page = new_page()
        shown(page, f"{address}group/g")
        mean = (
            sum(RunFolder(repeated / "g" / f"g_vgg11_s{s}").read_metrics()["test"]["auc"]["value"] for s in (0, 1)) / 2
        )
        assert "2 seeds" in row_of(page, "g_vgg11")
        assert f"{mean:.3f} ±" in row_of(page, "g_vgg11")
        tick(page, "g_vgg11")
        page.wait_for_url("**runs=g_vgg11_s0*")
        page.click("label:has-text('Every seed and fold')")
        page.wait_for_selector('[row-id="g_vgg11_s1"]')
        page.wait_for_url("**members=true*")
        assert page.locator('[row-id="g_vgg11_s0"] input[type=checkbox]').is_checked()
        assert page.locator('[row-id="g_vgg11"]').count() == 0


def test_a_running_model_is_followed(tmp_path, new_page):  # noqa: F811
    log = tmp_path / "log"
    make_run(log / "g" / "g_a", model="a")
    make_run(log / "g" / "g_b", model="b", seed=1)
    write_images(log / "g")
    index = Index(log)
    index.rebuild()
    folder = RunFolder(log / "g" / "g_c")
    folder.write_environment({"model": "c"})
    with running_viewer(log, cache=tmp_path / "cache") as address:
        with run_lock(log, "g", "g_c"):
            index.set_state("g_c", "g", "running", model="c")
            page = new_page()
            shown(page, f"{address}group/g")
            assert "▶ running" in row_of(page, "g_c")
        make_failed_run(log / "g" / "g_c", message="the disk is full")
        index.rebuild()
        page.wait_for_selector('[row-id="g_c"] [col-id="state"]:has-text("failed")', timeout=15000)


def test_sentences_are_said_in_the_visitors_language(context):
    board = context.reader.leaderboard(GROUP)
    said = " ".join(sentences(context, board))
    assert "Ranked by AUC on the validation images" in said
    assert "Rank sets are not up to date; magg report" in said
    assert f"evaluated {board.test_evaluations} times" in said


def test_files_of_a_comparison_open_and_nothing_else_does(new_page, viewer_log, viewer_address):  # noqa: F811
    (viewer_log / GROUP / "plan.json").write_text("{}", encoding="utf-8")
    ask = new_page().context.request
    place = viewer_address.rstrip("/")
    assert ask.get(place + group_file_link(GROUP, "plan.json")).body() == b"{}"
    for name in ("..%2Fanalyze_record.db", f"{RUN}/metrics.json", "nothing"):
        assert ask.get(f"{place}/file/{quote(GROUP)}/-/{name}").status == 404


def test_an_address_of_no_group_says_so(new_page, viewer_address):  # noqa: F811
    page = new_page()
    shown(page, f"{viewer_address}group/nothing")
    assert "There is no group 'nothing'" in page.inner_text("#page")


def test_the_figures_follow_the_finished_runs_and_only_them(tmp_path, new_page):  # noqa: F811
    log = tmp_path / "log"
    make_run(log / "g" / "g_a", model="a")
    index = Index(log)
    index.rebuild()
    RunFolder(log / "g" / "g_b").write_environment({"model": "b"})
    write_images(log / "g")
    forest = "document.querySelector('[id*=group-forest] .js-plotly-plot')"
    with running_viewer(log, cache=tmp_path / "cache") as address:
        page = new_page()
        with run_lock(log, "g", "g_b"):
            index.set_state("g_b", "g", "running", model="b")
            shown(page, f"{address}group/g")
            page.wait_for_selector("[id*=group-forest] .main-svg")
            page.evaluate(f"{forest}.dataset.kept = 'yes'")
            RunFolder(log / "g" / "g_b").status_txt.write_text("epoch 1/9\n", encoding="utf-8")
            page.wait_for_selector("#group-summary:has-text('epoch 1/9')", timeout=15000)
            assert page.evaluate(f"{forest}.dataset.kept") == "yes"
        make_run(log / "g" / "g_b", model="b", seed=1)
        index.rebuild()
        page.wait_for_selector("[id*=group-forest] :text('b')", timeout=15000)
        assert page.evaluate(f"{forest}.dataset.kept") is None


def test_a_run_that_the_index_does_not_know_is_shown_as_such(tmp_path, new_page):  # noqa: F811
    log = tmp_path / "log"
    make_run(log / "g" / "g_a", model="a")
    Index(log).rebuild()
    make_run(log / "g" / "g_b", model="b", seed=1)
    make_run(log / "alone", model="b")
    write_images(log / "g")
    with running_viewer(log, cache=tmp_path / "cache") as address:
        page = new_page(locale="ja-JP")
        shown(page, address)
        assert page.inner_text("#page").count("インデックス外") == 2
        assert "2件の実行がインデックスにありません（alone, g_b）。" in page.inner_text("#page")
        shown(page, f"{address}group/g")
        assert "インデックス外" in row_of(page, "g_b")
        page.close()  # it would go on asking a viewer that has ended


def test_a_group_that_the_index_does_not_hold_has_its_rows(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    Index(log).rebuild()
    make_run(log / "g" / "g_new")
    reader = LogReader(log, cache_folder=tmp_path / "c")
    (row,) = rows(Context(reader), reader.leaderboard("g"), members=False)
    assert (row["name"], row["reason"]) == ("g_new", "not in the index; 'magg index' takes it over")
