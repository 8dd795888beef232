"""Names with markup, made by users or by attackers, stay text on every page; nothing of them runs or becomes a link."""

import os
from pathlib import Path

import pandas as pd
import pytest
from conftest import write_image
from results_samples import make_failed_run, make_run
from viewer_browser import chromium, new_page, running_viewer  # noqa: F401
from viewer_pages import built_addresses, opened

from model_aggregation.files import write_csv
from model_aggregation.results.index import Index

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")

IMAGE, SCRIPT = "<img src=x onerror=hacked=1>", "<script>hacked=1<|script>"
LINK, BOLD = '<a href="javascript:hacked=1">click', "<b>bold<|b>{{7*7}}${7*7}"
MARKDOWN = "[x](javascript:hacked=1) ![y](https:|evil.example)"
GROUP = f"g{IMAGE}"
RUNS = (f"{GROUP}_{SCRIPT}", f"{GROUP}_'\";{BOLD}")
CLASSES = sorted([IMAGE, LINK.replace("|", "/"), BOLD.replace("|", "/"), SCRIPT.replace("|", "/"), MARKDOWN])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A comparison whose every name is an attack: group, runs, models, classes, images, metadata, findings, errors."""
    log = tmp_path_factory.mktemp("markup") / "log"
    for number, name in enumerate(RUNS):
        run = make_run(
            log / GROUP / name, classes=CLASSES, seed=number, model=f"timm:{SCRIPT}{LINK}", started=IMAGE,
            history=[{"epoch": 1, IMAGE: 0.5, "train_loss": 0.4}],
        )  # fmt: skip
        table = run.read_predictions()
        paths = [str(log.parent / "images" / f"{place}{IMAGE}.png") for place in range(len(table))]
        for path in (run.predictions_csv("test"), run.predicted_labels_csv("test")):
            frame = pd.read_csv(path)
            write_csv(path, frame.assign(path=paths))
        facts = pd.DataFrame(
            {"id": [path.rpartition("/")[2] for path in paths], "path": paths, "label": table["correct_label"],
             "split": "test", "group": LINK, "readable": "True", SCRIPT: MARKDOWN}
        )  # fmt: skip
        write_csv(run.images_csv, facts)
        run.status_txt.write_text(f"{SCRIPT}\n{LINK}\n", encoding="utf-8")
        run.settings_yaml.write_text(f"note: '{IMAGE}'\n", encoding="utf-8")
    for path in paths:
        write_image(Path(path), bright=True, seed=0, size=24)
    make_failed_run(log / GROUP / f"{GROUP}_failed", message=f"{IMAGE}{SCRIPT}{LINK}")
    finding = {"severity": IMAGE, "kind": "x", "message": f"{SCRIPT}{LINK}", "files": IMAGE, "details": MARKDOWN}
    write_csv(log / GROUP / "findings.csv", pd.DataFrame([finding]))
    Index(log).rebuild()
    return log


FOUND = """() => [...document.querySelectorAll('*')].filter(part =>
    [...part.attributes].some(one => /^on/.test(one.name) && /hacked/.test(one.value)
        || /^(href|src|xlink:href|action)$/.test(one.name) && /^\\s*(javascript:|https?:..?evil)/i.test(one.value)
        || one.name === 'srcdoc')
    || part.matches('script') && /^hacked/.test(part.textContent)).map(part => part.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light"])
def test_markup_stays_text_on_every_page(new_page, log, tmp_path, scheme):  # noqa: F811
    page = new_page(color_scheme=scheme)
    page.on("dialog", lambda dialog: page.problems.append(f"dialog {dialog.message}"))
    with running_viewer(log, cache=tmp_path / "cache") as address:
        seen = 0
        for name, _, run, path in built_addresses(log, tmp_path / "other"):
            text = opened(page, address.rstrip("/") + path)
            assert page.evaluate("typeof window.hacked") == "undefined", path
            assert page.evaluate(FOUND) == [], path
            assert "49" not in text or "{{7*7}}" in text, path
            seen += name in ("group", "run") and (run or GROUP) in page.inner_text("body")
    assert seen


def test_titles_and_breadcrumbs_are_text(new_page, log, tmp_path):  # noqa: F811
    page = new_page()
    with running_viewer(log, cache=tmp_path / "cache") as address:
        for name, _, run, path in built_addresses(log, tmp_path / "other"):
            if name == "data" and run == RUNS[0]:
                opened(page, address.rstrip("/") + path)
                assert page.title().startswith("Data")
                assert SCRIPT in page.title()
                assert SCRIPT in page.inner_text("#breadcrumbs")
                page.fill("#search", IMAGE)
                page.wait_for_selector("[role=option]")
                assert IMAGE in page.inner_text("[role=option] >> nth=0")
                assert page.evaluate("typeof window.hacked") == "undefined"
