"""A page by the contract of ``viewer/pages``, in a real browser under the policy in force: figures, tables, notes."""

import csv
import io
from pathlib import Path
from types import ModuleType

import dash_ag_grid as dag
import pytest
from dash import Input, Output, html
from viewer_browser import chromium, new_page, running_viewer, shown, viewer_log  # noqa: F401
from viewer_samples import GROUP, MARKUP

from model_aggregation.errors import ResultsError
from model_aggregation.viewer.pages import PAGES
from model_aggregation.viewer.parts import figure_card, guarded

X, Y = [0, 0.1, 1], [0, 0.123456789012345, 1]


def broken():
    raise ResultsError(f"The file of {MARKUP} is damaged.")


def unexpected():
    raise KeyError("secret detail")


def layout(context, address):
    figure = {"data": [{"type": "scatter", "name": MARKUP, "x": X, "y": Y}], "layout": {}}
    heat = {"data": [{"type": "heatmap", "name": "counts", "z": [[1, 2], [3, 4]], "x": ["a", "b"], "y": ["a", "b"]}]}
    grid = dag.AgGrid(
        columnDefs=[{"field": "name"}], rowData=[{"name": MARKUP}], dashGridOptions={"animateRows": False}
    )
    cards = [figure_card(context, "roc", figure, title="ROC"), figure_card(context, "heat", heat, title="Counts")]
    parts = [
        guarded(context, broken),
        guarded(context, unexpected),
        html.Button("x", id="data-fail"),
        html.P(id="data-out"),
    ]
    return html.Div([*parts, *cards, grid])


def register(app, context):
    @app.callback(Output("data-out", "children"), Input("data-fail", "n_clicks"), prevent_initial_call=True)
    def fail(_):
        return broken()


@pytest.fixture(scope="module")
def address(viewer_log, tmp_path_factory):  # noqa: F811
    page = ModuleType("page_of_a_test")
    page.layout, page.register = layout, register
    before = PAGES.get("data")
    PAGES["data"] = page
    with running_viewer(viewer_log, cache=tmp_path_factory.mktemp("cache")) as address:
        yield f"{address}data/{GROUP}"
    if before is None:
        del PAGES["data"]
    else:
        PAGES["data"] = before


def downloaded(page, figure: str, form: str) -> bytes:
    with page.expect_download() as download:
        page.click(f".figure-card:has(h3:text-is('{figure}')) button:has-text('{form}')")
    assert download.value.suggested_filename.endswith(f".{form.lower()}")
    return Path(download.value.path()).read_bytes()


def test_figures_tables_and_downloads_under_the_policy(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, address)
    page.wait_for_selector(".js-plotly-plot .scatterlayer")
    page.wait_for_selector(".ag-cell")
    assert page.inner_text(".ag-cell") == MARKUP
    assert downloaded(page, "ROC", "PNG").startswith(b"\x89PNG")
    assert downloaded(page, "ROC", "SVG").startswith(b"<svg")
    rows = list(csv.reader(io.StringIO(downloaded(page, "ROC", "CSV").decode("utf-8-sig"))))
    assert [[float(row[1]), float(row[2])] for row in rows[1:]] == [list(point) for point in zip(X, Y, strict=True)]
    assert rows[1][0] == MARKUP
    counts = list(csv.reader(io.StringIO(downloaded(page, "Counts", "CSV").decode("utf-8-sig"))))
    assert [row[1:4] for row in counts[1:]] == [["a", "a", "1"], ["b", "a", "2"], ["a", "b", "3"], ["b", "b", "4"]]


def test_a_broken_part_says_so_and_the_rest_stands(new_page, address):  # noqa: F811
    page = new_page()
    shown(page, address)
    text = page.inner_text("#page")
    assert f"The file of {MARKUP} is damaged." in text
    assert "An unexpected error" in text
    assert "secret detail" not in text
    page.click("#data-fail")
    page.wait_for_selector(".mantine-Notification-root:has-text('is damaged')")
