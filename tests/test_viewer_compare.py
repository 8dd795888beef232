"""The page that compares runs: its numbers against the report, scikit-learn and the binomial; then in a browser."""

import os
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd
import pytest
from conftest import write_image
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from test_reporting_runs import image_table, make_run
from viewer_browser import choose, chromium, new_page, running_viewer, shown  # noqa: F401

from model_aggregation.analysis.groups import write_tables
from model_aggregation.errors import ResultsError
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.compare import comparable, usual_reference
from model_aggregation.viewer.pages.compare.images import chosen_images, counts, has_groups
from model_aggregation.viewer.parts_models import difference_text, p_text, short
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.reading.comparing import Comparing, stored_differences

GROUP = "g"
RUNS = ("g_a", "g_b", "g_c")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Return a comparison of three models with real images and its report."""
    folder = tmp_path_factory.mktemp("compare")
    test = image_table("test", 40)
    test["path"] = [str(folder / "images" / name) for name in test["id"]]
    for number, row in enumerate(test.itertuples()):
        write_image(Path(str(row.path)), bright=row.label == "ok", seed=number)
    for number, run in enumerate(RUNS):
        make_run(folder / "log" / GROUP / run, model=f"timm:{run[-1]}", skill=1 + number, test=test)
    make_run(
        folder / "log" / GROUP / "g_z", model="timm:z", test=image_table("test", 20, 100), test_fingerprint="other"
    )
    write_tables(folder / "log" / GROUP)
    return folder / "log"


@pytest.fixture(scope="module")
def reader(log, tmp_path_factory) -> LogReader:
    return LogReader(log, cache_folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def address(log, tmp_path_factory):
    with running_viewer(log, cache=tmp_path_factory.mktemp("served")) as served:
        yield served.rstrip("/")


def right_of(log: Path, run: str) -> pd.Series:
    """Return whether each test image is decided rightly, by the file of decisions."""
    table = pd.read_csv(log / GROUP / run / f"{run}_test_p.csv")
    return table["predict_label"].str.removesuffix("_p") == table["correct_label"]


def area(log: Path, run: str) -> float:
    table = pd.read_csv(log / GROUP / run / f"{run}_test.csv")
    return float(roc_auc_score(table["correct_label"] == "ok", table["ok"]))


def test_the_report_is_used_where_it_is_about_these_runs(reader):
    stored = stored_differences(reader, GROUP)
    report = pd.read_csv(reader.log_folder / GROUP / "report" / "comparisons.csv")
    other = next(run for run in RUNS if run != stored.reference)
    found = Comparing(reader).differences(GROUP, [other], stored.reference)
    assert found.stored
    assert found.compared == 2
    own = report[report["run_name"] == other]
    for column in ("difference", "low", "high", "p", "p_holm"):
        pd.testing.assert_series_equal(
            found.table[column].reset_index(drop=True), own[column].reset_index(drop=True), check_exact=True
        )


def test_another_reference_is_computed_by_the_method_of_the_report(reader, log):
    stored = stored_differences(reader, GROUP)
    other = next(run for run in RUNS if run != stored.reference)
    found = Comparing(reader).differences(GROUP, [other, stored.reference], other)
    assert not found.stored
    assert found.compared == 1
    there = stored.of([other]).table.set_index("metric")
    back = found.table.set_index("metric")
    assert back.loc["auc", "difference"] == pytest.approx(area(log, stored.reference) - area(log, other))
    for metric in ("auc", "accuracy", "f1"):
        assert back.loc[metric, "difference"] == pytest.approx(-there.loc[metric, "difference"])
        assert back.loc[metric, "p"] == pytest.approx(there.loc[metric, "p"])
        assert back.loc[metric, "method"] == there.loc[metric, "method"]


def test_a_report_of_other_results_is_not_used(tmp_path):
    group = tmp_path / "log" / GROUP
    for run in RUNS[:2]:
        make_run(group / run, model=f"timm:{run[-1]}")
    write_tables(group)
    reader = LogReader(tmp_path / "log", cache_folder=tmp_path / "cache")
    assert stored_differences(reader, GROUP) is not None
    path = group / "report" / "comparisons.csv"
    words = path.read_text(encoding="utf-8")
    table = pd.read_csv(path)
    path.write_text(table.assign(value=table["value"] + 0.01).to_csv(index=False), encoding="utf-8")
    assert stored_differences(reader, GROUP) is None
    path.write_text(words, encoding="utf-8")
    assert stored_differences(reader, GROUP) is not None
    path.write_text("model,\n", encoding="utf-8")
    assert stored_differences(reader, GROUP) is None


def test_runs_on_other_images_are_refused(reader):
    with pytest.raises(Exception, match="g_z"):
        Comparing(reader).differences(GROUP, ["g_a", "g_z"], "g_a")
    with pytest.raises(ResultsError, match="There is no run"):
        Comparing(reader).differences(GROUP, ["g_a", "../x"], "g_a")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_table_outside_of_the_log_folder_is_not_compared(tmp_path):
    for run in RUNS[:2]:
        make_run(tmp_path / "log" / GROUP / run, model=f"timm:{run[-1]}")
    reader = LogReader(tmp_path / "log", cache_folder=tmp_path / "cache")
    Comparing(reader).differences(GROUP, RUNS[:2], "g_a")
    table = RunFolder(tmp_path / "log" / GROUP / "g_b").predictions_csv("test")
    table.replace(tmp_path / "outside.csv")
    table.symlink_to(tmp_path / "outside.csv")
    with pytest.raises(ResultsError, match="leads out of the results"):
        Comparing(reader).differences(GROUP, RUNS[:2], "g_a")


def test_agreement_counts_are_those_of_the_decisions(reader, log):
    view = reader.all_models(GROUP, "test", ["g_a", "g_b"])
    first, second = right_of(log, "g_a"), right_of(log, "g_b")
    found = counts(view, "g_a", "g_b")
    assert found["both_right"] == (first & second).sum()
    assert found["only_reference"] == (first & ~second).sum()
    assert found["only_model"] == (~first & second).sum()
    assert found["both_wrong"] == (~first & ~second).sum()
    assert not has_groups(view)


def test_kinds_of_disagreement(reader, log):
    view = reader.all_models(GROUP, "test", list(RUNS))
    right = {run: right_of(log, run).to_numpy() for run in RUNS}
    a, b, c = (right[run] for run in RUNS)
    assert chosen_images(view, "right:g_b").tolist() == (~a & b & ~c).nonzero()[0].tolist()
    assert chosen_images(view, "wrong:g_b").tolist() == (a & ~b & c).nonzero()[0].tolist()
    assert chosen_images(view, "all").tolist() == ((a != b) | (b != c)).nonzero()[0].tolist()


def test_the_reference_is_that_of_the_report_or_the_best_on_validation(reader):
    context = Context(reader)
    stored = stored_differences(reader, GROUP)
    assert set(comparable(context, GROUP)) == {*RUNS, "g_z"}
    assert usual_reference(context, GROUP, list(RUNS)) == stored.reference
    others = [run for run in RUNS if run != stored.reference]
    values = {run: RunFolder(reader.log_folder / GROUP / run).read_metrics()["val"]["auc"]["value"] for run in others}
    assert usual_reference(context, GROUP, others) == max(others, key=values.__getitem__)
    assert usual_reference(context, GROUP, []) is None


def test_numbers_as_words(reader):
    context = Context(reader)
    assert difference_text(context, -0.0087, -0.0168, -0.0006) == "−0.009 (−0.017 to −0.001)"
    assert difference_text(context, -0.0001, None, None) == "0.000"
    assert difference_text(context, None, None, None) == "–"
    assert [p_text(p) for p in (0.0004, 0.0362, None)] == ["<0.001", "0.036", "–"]
    assert short("abcdefghij", 7) == "abc…hij"


def test_the_page_shows_differences_agreement_and_images(new_page, address, log):  # noqa: F811
    page = new_page()
    shown(page, address + link("compare", GROUP, runs="g_a,g_b", reference="g_b"))
    page.wait_for_selector("#compare-differences table")
    auc = page.locator("#compare-differences tr", has_text="AUC").first.inner_text()
    assert f"{area(log, 'g_a'):.3f} − {area(log, 'g_b'):.3f}" in auc
    first, second = right_of(log, "g_b"), right_of(log, "g_a")
    page.wait_for_selector("#compare-agreement .two-by-two")
    cells = page.locator("#compare-agreement td").all_inner_texts()
    pairs = ((first & second), (~first & second), (first & ~second), (~first & ~second))
    assert cells == [str(pair.sum()) for pair in pairs]
    less, more = sorted((int(pairs[1].sum()), int(pairs[2].sum())))
    mid_p = min(1.0, 2 * binom.cdf(less, less + more, 0.5) - binom.pmf(less, less + more, 0.5))
    assert f"McNemar's mid-p: {mid_p:.3f}" in page.inner_text("#compare-agreement")
    disagree = int((first != second).sum())
    page.wait_for_selector(f"#compare-images:has-text('{disagree} of 40 test images')")
    card = page.locator("#compare-images li").first
    index = int((first != second).to_numpy().nonzero()[0][0])
    assert card.locator("a").get_attribute("href") == link("images", GROUP, "g_a", set="test", image=index)
    table = pd.read_csv(log / GROUP / "g_a" / "g_a_test_p.csv").iloc[index]
    predicted = table["predict_label"].removesuffix("_p")
    assert f"{predicted}\t{table[predicted]:.3f}" in card.inner_text()


def test_runs_and_kinds_are_chosen_and_stand_in_the_address(new_page, address, log):  # noqa: F811
    page = new_page()
    shown(page, address + link("compare", GROUP, runs="g_a"))
    page.wait_for_selector("#compare-differences:has-text('Choose two or more models')")
    choose(page, "#compare-runs", "timm:c")
    page.wait_for_selector("#compare-agreement .two-by-two")
    page.click("h1")  # closes the list
    page.wait_for_selector("[role=option]:has-text('timm:z')", state="hidden")
    assert "runs=g_a,g_c" in unquote(page.url)
    choose(page, "#compare-show", "only timm:c is right")
    only = int((right_of(log, "g_c") & ~right_of(log, "g_a")).sum())
    page.wait_for_selector(f"#compare-images:has-text('{only} of 40 test images')")
    page.wait_for_url(f"**show={quote('right:g_c', safe='')}*")


def test_what_cannot_be_compared_is_said(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, address + link("compare", GROUP, runs="g_a,g_z,nothing"))
    assert "There is no tested run nothing in this group." in page.inner_text("#page")
    page.wait_for_selector("#compare-differences:has-text('This cannot be shown')")
    page.wait_for_selector("#compare-agreement:has-text('not tested on the same images')")


@pytest.mark.parametrize("locale", ["ja-JP", "en-US"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(new_page, address, locale, scheme, width):  # noqa: F811
    page = new_page(locale=locale, color_scheme=scheme, viewport={"width": width, "height": 720})
    shown(page, address + link("compare", GROUP, runs=",".join(RUNS)))
    page.wait_for_selector("#compare-images li")
    page.wait_for_selector("#compare-differences table")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert ("モデルの比較" if locale == "ja-JP" else "Compare models") in page.inner_text("h1")


def test_runs_without_settings_of_this_program_are_named(log, reader, tmp_path):
    copied = tmp_path / "log"
    shutil.copytree(log, copied)
    first, second = (RunFolder(copied / GROUP / run) for run in RUNS[:2])
    first.settings_yaml.unlink()
    second.settings_yaml.write_text("ss_label: [ng, ok]\n", encoding="utf-8")
    comparing = Comparing(LogReader(copied, cache_folder=tmp_path / "cache"))
    with pytest.raises(ResultsError, match=f"none that this program wrote: {RUNS[1]}, {RUNS[0]}") as found:
        comparing.differences(GROUP, RUNS[:2], RUNS[1])
    assert "compared by their curves and images below" in str(found.value)
