"""The page of a run in a real browser: the slider against scikit-learn, what is clicked, and what is broken."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from results_samples import make_failed_run, make_run, predictions
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, precision_score, recall_score
from viewer_browser import chromium, new_page, running_viewer, shown  # noqa: F401
from viewer_samples import MARKUP

from model_aggregation.evaluation import Evaluation, EvaluationOptions, Predictions, evaluate
from model_aggregation.files import csv_text
from model_aggregation.results.index import Index
from model_aggregation.results.locks import run_lock

NEGATIVE, POSITIVE = "正常", "異常 <b>"
GROUP, TWO, THREE, BROKEN, POOLED, FAILED = "肺", "肺_two", "肺_three", "肺_broken", "肺_pooled", "肺_failed"
EARLIER = "肺_old"
EXTERNAL = "病院_b"
STORED = 0.4573219
MEASURES = ("sensitivity", "specificity", "precision", "npv", "accuracy", "balanced_accuracy")
HISTORY = [
    {"epoch": epoch, "train_loss": 1 / (epoch + 1), "val_loss": 1.1 / (epoch + 1), "train_accuracy": 0.5,
     "val_accuracy": None, "learning_rate": 0.1, "frozen": epoch < 2}
    for epoch in range(4)
]  # fmt: skip


def options() -> EvaluationOptions:
    return EvaluationOptions(resamples=50)


def evaluated(table: pd.DataFrame, positive: str | None, cutoff: float | None = None) -> Evaluation:
    from model_aggregation.evaluation import Cutoff

    classes = tuple(table.columns[2:])
    labels = [classes.index(label) for label in table["correct_label"]]
    given = Predictions(list(table["path"]), labels, table[list(classes)].to_numpy(), classes)
    chosen = None if cutoff is None else Cutoff(cutoff, "validation", positive=positive)
    return evaluate(given, positive=positive, cutoff=chosen, options=options())


def tidy(evaluation: Evaluation) -> pd.DataFrame:
    table = evaluation.to_table()
    table.insert(0, "split", "test")
    return table


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Runs of two classes, of three, with damaged metrics, pooled over folds, failed."""
    log = tmp_path_factory.mktemp("run") / "log"
    facts = {"positive": POSITIVE, "history": HISTORY, "best_epoch": 3}
    for name in (TWO, BROKEN, POOLED):
        folder = make_run(log / GROUP / name, classes=(NEGATIVE, POSITIVE), seed=3, **facts)
        table = folder.read_predictions()
        content = evaluated(table, POSITIVE, STORED).to_dict()
        if name == TWO:
            table = predictions((NEGATIVE, POSITIVE), log / GROUP / "images", seed=4)
            folder.write_predictions("val", table)
        sets = {"val": {**content, "role": "used for choosing"}, "test": content}
        if name == TWO:
            write_external(folder)
            own = evaluated(folder.read_predictions(EXTERNAL), POSITIVE, STORED).to_dict()
            sets[EXTERNAL] = {**own, "role": "external"}
        if name == POOLED:
            folds = [{"fold": 1, "value": 0.41}, {"fold": 2, "value": 0.57}]
            cutoff = {"value": None, "source": "per fold: 0.41, 0.57", "folds": folds}
            sets = {"test": {**content, "cutoff": cutoff}}
            write_environment(folder, members=[TWO, BROKEN])
        folder.write_metrics(sets, tidy(evaluated(table, POSITIVE, STORED)))
        (folder.path / "report").mkdir()
        (folder.path / "report" / "methods.md").write_text("# Methods\n\nIt was tested.\n", encoding="utf-8")
    three = make_run(log / GROUP / THREE, classes=("a", "b", MARKUP), model="timm:x", positive=None)
    of_three = evaluated(three.read_predictions(), None)
    three.write_metrics({"test": of_three.to_dict()}, tidy(of_three))
    make_failed_run(log / GROUP / FAILED, message=f"out of memory {MARKUP}")
    earlier = log / GROUP / EARLIER
    earlier.mkdir()
    table = predictions(("犬", "猫"), log / GROUP / "images", n=20)
    (earlier / f"{EARLIER}_test.csv").write_bytes(csv_text(table).encode("cp932"))
    (earlier / f"{EARLIER}_status.txt").write_bytes("正解率 1.0\n".encode("cp932"))
    Index(log).rebuild()
    broken = log / GROUP / BROKEN / "metrics.json"
    broken.write_text(broken.read_text(encoding="utf-8")[:200], encoding="utf-8")
    return log


def write_external(folder) -> None:
    """Write the predictions of a set from elsewhere, with the files that name it."""
    table = predictions((NEGATIVE, POSITIVE), folder.path.parent / "images", seed=5)
    folder.write_predictions(EXTERNAL, table)
    folder.set_facts_json(EXTERNAL).write_text("{}", encoding="utf-8")
    images = pd.DataFrame({"id": table["path"], "path": table["path"], "label": table["correct_label"], "group": ""})
    folder.set_images_csv(EXTERNAL).write_text(csv_text(images.assign(split=EXTERNAL)), encoding="utf-8")


def write_environment(folder, **facts) -> None:
    folder.write_environment({**folder.read_environment(), **facts})


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with running_viewer(log, cache=tmp_path_factory.mktemp("cache")) as found:
        yield found


@pytest.fixture
def opened(new_page, address):  # noqa: F811
    """Open a run and wait for its curves."""

    def visit(run: str, query: str = "", **options):
        page = new_page(**options)
        shown(page, f"{address}run/{quote(GROUP)}/{quote(run)}{query}")
        page.wait_for_selector("#run-results .js-plotly-plot .main-svg")
        return page

    return visit


def truth(log: Path, set_name: str = "test") -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_csv(log / GROUP / TWO / f"{TWO}_{set_name}.csv")
    return (table["correct_label"] == POSITIVE).to_numpy(), table[POSITIVE].to_numpy()


def expected(log: Path, cutoff: float, set_name: str = "test") -> dict[str, float]:
    positive, score = truth(log, set_name)
    called = score > cutoff
    return {
        "sensitivity": recall_score(positive, called),
        "specificity": recall_score(~positive, ~called),
        "precision": precision_score(positive, called),
        "npv": precision_score(~positive, ~called),
        "accuracy": accuracy_score(positive, called),
        "balanced_accuracy": balanced_accuracy_score(positive, called),
    }


def read(page) -> dict[str, float]:
    return {name: float(page.inner_text(f"#run-at-{name}")) for name in MEASURES}


def at_cutoff(page, text: str) -> None:
    page.wait_for_selector(f"#run-cutoff-value:text-is('{text}')")


def cells(page) -> list[int]:
    return [int(page.inner_text(f"#run-cell-{cell}")) for cell in ("tp", "fn", "fp", "tn")]


@pytest.mark.parametrize("cutoff", [0.25, 0.333, 0.5, 0.617, 0.75])
def test_the_sliders_numbers_are_those_of_scikit_learn(opened, log, cutoff):
    page = opened(TWO, f"?cutoff={cutoff}")
    at_cutoff(page, f"{cutoff:.3f}")
    assert read(page) == pytest.approx(expected(log, cutoff), abs=5.1e-4)
    positive, score = truth(log)
    assert cells(page) == confusion_matrix(~positive, score <= cutoff).ravel().tolist()
    assert page.inner_text("#run-cutoff-kind") == "Exploratory: chosen by looking at test images"


def test_the_points_stand_on_the_curves(opened, log):
    page = opened(TWO, "?cutoff=0.333")
    at_cutoff(page, "0.333")
    numbers = expected(log, 0.333)
    for name, x, y in (
        ("run-roc", 1 - numbers["specificity"], numbers["sensitivity"]),
        ("run-precision-recall", numbers["sensitivity"], numbers["precision"]),
    ):
        until(page, f"{graph(name)}?.data?.at(-1).x.length === 1")
        point = page.evaluate(f"(({{x, y}}) => [x[0], y[0]])({graph(name)}.data.at(-1))")
        assert point == pytest.approx([x, y])


def graph(name: str) -> str:
    return f'document.getElementById(\'{{"figure":"{name}","part":"figure"}}\')?.querySelector(\'.js-plotly-plot\')'


def until(page, condition: str) -> None:
    """Wait; playwright's own way needs eval, which the page forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def test_at_the_stored_cutoff_the_numbers_are_the_stored_ones(opened, log):
    page = opened(TWO)
    at_cutoff(page, "0.457")
    stored = json.loads((log / GROUP / TWO / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert {name: page.inner_text(f"#run-at-{name}") for name in MEASURES} == {
        name: f"{stored[name]['value']:.3f}" for name in MEASURES
    }
    assert page.inner_text("#run-cutoff-kind") == "At the stored cutoff"
    row = page.inner_text("tr[data-metric=auc]")
    assert f"{stored['auc']['value']:.3f} ({stored['auc']['low']:.3f}–{stored['auc']['high']:.3f})" in row
    assert "DeLong's interval" in row


def test_the_slider_moves_by_keyboard_and_one_click_leads_back(opened, log):
    page = opened(TWO)
    at_cutoff(page, "0.457")
    page.focus("#run-cutoff [role=slider]")
    page.keyboard.press("ArrowRight")
    at_cutoff(page, "0.458")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    at_cutoff(page, "0.468")
    assert read(page) == pytest.approx(expected(log, 0.468), abs=5.1e-4)
    page.wait_for_url("**cutoff=0.468*")
    page.keyboard.press("End")
    at_cutoff(page, "1.000")
    assert page.inner_text("#run-at-precision") == "–"
    assert "no image is predicted positive" in page.inner_text("#run-cutoff-kind")
    page.click("#run-cutoff-back")
    at_cutoff(page, "0.457")
    assert page.inner_text("#run-cutoff-kind") == "At the stored cutoff"
    page.wait_for_url(re.compile(r"^[^?]*(\?(?!.*cutoff).*)?$"))


def test_another_prevalence_changes_the_predictive_values_alone(opened, log):
    page = opened(TWO)
    at_cutoff(page, "0.457")
    before = read(page)
    page.fill("#run-prevalence", "5")
    page.wait_for_url("**prevalence=5*")
    after, se, sp = read(page), *(expected(log, STORED)[name] for name in ("sensitivity", "specificity"))
    assert after["precision"] == pytest.approx(0.05 * se / (0.05 * se + 0.95 * (1 - sp)), abs=5.1e-4)
    assert after["npv"] == pytest.approx(0.95 * sp / (0.95 * sp + 0.05 * (1 - se)), abs=5.1e-4)
    assert {k: v for k, v in after.items() if k not in ("precision", "npv")} == {
        k: v for k, v in before.items() if k not in ("precision", "npv")
    }


def test_the_sets_are_switched_and_validation_is_said_to_have_chosen(opened):
    page = opened(TWO, "?cutoff=0.3")
    at_cutoff(page, "0.300")
    page.click("label:has-text('validation (used for choosing)')")
    page.wait_for_selector("text=The epoch and the cutoff were chosen on these images")
    at_cutoff(page, "0.300")
    page.wait_for_url("**set=val*")
    assert "validation images are used for choosing" in page.inner_text("#run-cutoff-kind")


@pytest.mark.parametrize(
    ("locale", "label", "stored", "kind"),
    [
        ("en-US", "external", "At the stored cutoff", "Exploratory: chosen by looking at the images of “病院_b”"),
        ("ja-JP", "外部", "保存されたカットオフでの数値", "探索的：「病院_b」の結果を見て選んだカットオフ"),
    ],
)
def test_the_slider_of_an_external_set_says_whose_images_it_looks_at(opened, log, locale, label, stored, kind):
    page = opened(TWO, locale=locale)
    page.click(f"label:has-text('{EXTERNAL}'):has-text('{label}')")
    page.wait_for_url(f"**set={quote(EXTERNAL)}*")
    numbers = expected(log, STORED, EXTERNAL)
    page.wait_for_selector(f"#run-at-specificity:text-is('{numbers['specificity']:.3f}')")
    assert page.inner_text("#run-cutoff-kind") == stored
    assert read(page) == pytest.approx(numbers, abs=5.1e-4)
    page.focus("#run-cutoff [role=slider]")
    page.keyboard.press("ArrowRight")
    at_cutoff(page, "0.458")
    assert read(page) == pytest.approx(expected(log, 0.458, EXTERNAL), abs=5.1e-4)
    assert page.inner_text("#run-cutoff-kind") == kind


def test_nothing_is_said_to_be_computed_once_the_band_is_there(opened):
    page = opened(TWO)
    until(page, f"{graph('run-roc')}?.data?.[1].x?.length > 50")
    page.wait_for_selector("#run-band-waiting", state="hidden")
    assert not page.is_visible("#run-band-waiting")


@pytest.mark.parametrize("by", ["click", "keyboard"])
def test_a_cell_of_the_confusion_matrix_leads_to_its_images(opened, by):
    page = opened(TWO)
    cell = page.locator(f".run-cell[aria-label^='actual {NEGATIVE}, predicted {POSITIVE}']")
    if by == "click":
        cell.click()
    else:
        cell.focus()
        page.keyboard.press("Enter")
    page.wait_for_url(f"**/images/{quote(GROUP)}/{quote(TWO)}?set=test&actual={quote(NEGATIVE)}&predicted=*")
    assert f"predicted={quote(POSITIVE)}" in page.url


def test_three_classes_have_a_row_and_curves_each(opened):
    page = opened(THREE)
    assert not page.query_selector("#run-cutoff")
    table = page.inner_text("table:has(th:text-is('Class'))")
    assert all(name in table for name in ("a", "b", MARKUP))
    page.click("#run-class")
    page.get_by_role("option", name="b", exact=True).click()
    page.wait_for_selector("text=ROC curve of “b”")
    page.wait_for_url("**class=b*")
    assert page.locator(".run-cell").count() == 9
    assert "Most frequent confusions" in page.inner_text("#run-curves")


def test_damaged_metrics_leave_the_rest(opened):
    page = opened(BROKEN)
    text = page.inner_text("#page")
    assert "Not everything could be read" in text
    assert "metrics.json" in text
    assert "No metrics" in text
    assert page.locator(".run-cell").count() == 4
    page.wait_for_selector("text=Learning curves")


def test_pooled_folds_have_no_single_cutoff(opened):
    page = opened(POOLED)
    at_cutoff(page, "0.500")
    text = page.inner_text("#page")
    assert "fold 1: 0.410, fold 2: 0.570" in text
    assert page.is_disabled("#run-cutoff-back")
    assert page.get_attribute(f"#run-members a:has-text('{TWO}')", "href") == f"/run/{GROUP}/{TWO}"


def test_a_failed_run_says_why(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, f"{address}run/{quote(GROUP)}/{FAILED}")
    assert f"out of memory {MARKUP}" in page.inner_text(".note-problem")
    assert "RuntimeError" in page.inner_text("#run-error")


def test_a_run_of_the_earlier_program_shows_what_its_files_give(opened):
    page = opened(EARLIER, locale="ja-JP")
    text = page.inner_text("#page")
    assert "旧プログラムによる実行です" in text
    assert "以下の数値と信頼区間は、保存された予測から計算したものです。" in text
    assert page.locator("[data-metric=auc]").first.is_visible()
    assert page.locator(".run-cell").count() == 4
    page.click("#run-facts-status button")
    page.wait_for_selector("#run-status:has-text('正解率 1.0')")


def test_a_running_run_shows_its_status_as_it_grows(new_page, address, log):  # noqa: F811
    folder = log / GROUP / "肺_now"
    folder.mkdir()
    status = folder / "肺_now_status.txt"
    status.write_text("epoch 1/9\n", encoding="utf-8")
    with run_lock(log, GROUP, folder.name):
        Index(log).set_state(folder.name, GROUP, "running", model="m")
        page = new_page()
        shown(page, f"{address}run/{quote(GROUP)}/{quote(folder.name)}")
        assert "going on now" in page.inner_text("#page")
        assert page.inner_text("#run-status") == "epoch 1/9"
        status.write_text("epoch 1/9\nepoch 2/9\n", encoding="utf-8")
        page.wait_for_selector("#run-status:has-text('epoch 2/9')")


def test_learning_curves_mark_the_best_epoch_and_the_frozen_ones(opened):
    page = opened(TWO)
    until(page, f"!!{graph('run-history-loss')}?.layout?.shapes")
    shapes = page.evaluate(f"{graph('run-history-loss')}.layout.shapes.map(({{type, x0, x1}}) => [type, x0, x1])")
    assert shapes == [["rect", 0.5, 1.5], ["rect", 1.5, 2.5], ["line", 4, 4]]


def test_the_methods_are_copied(opened):
    page = opened(TWO)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("[data-copies=run-methods]")
    page.wait_for_selector("[data-copies=run-methods][data-copied]")
    assert "It was tested." in page.evaluate("navigator.clipboard.readText()")


def test_files_open_or_download(opened):
    page = opened(TWO)
    page.click("#run-facts-files button")
    link = page.locator("a[aria-label='Download: metrics.json']")
    with page.expect_download() as waiting:
        link.click()
    assert json.loads(waiting.value.path().read_text(encoding="utf-8"))["test"]["n"] == 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("run", [TWO, THREE])
def test_nothing_sticks_out_in_japanese(opened, scheme, width, run):
    page = opened(run, locale="ja-JP", color_scheme=scheme, viewport={"width": width, "height": 720})
    page.wait_for_selector("text=すべての数値")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
