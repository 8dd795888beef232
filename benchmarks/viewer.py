"""Times the viewer in a real browser on a large log: pages, sorting, filtering, the cutoff slider.

    python benchmarks/viewer.py large_log --runs 500 --images 100000 --classes 10

The log is made once and kept: a group of many runs and a run of two classes. The viewer is started as a user starts
it. Times of pages are those of the browser, from the start of the navigation until their main part is shown; the first
visit finds no cache of the viewer, the others do. Each visit begins when the page before it has come to rest. On
a machine with other work only the last column tells: the time of all processors that viewer and browser used, in the
mean. Prints a table, and writes ``viewer.json`` into the folder.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from playwright.sync_api import Error, Page, sync_playwright
from viewer_data import GROUP, make_log

from model_aggregation.evaluation import Predictions, evaluate
from model_aggregation.files import write_csv
from model_aggregation.results.index import Index
from model_aggregation.results.run_folder import RunFolder

SLIDER_RUN = "two_classes"
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
REPEATS, STEPS = 5, 50
CURVES = "[id*=compare-roc] .main-svg"
PATIENCE_MILLISECONDS = 20_000
REST_MILLISECONDS = 1_000

CHANGED = """async ([act, watched, where]) => {
    const text = () => [...document.querySelectorAll(watched)].map(part => part.innerText).join('|');
    const frame = () => new Promise(requestAnimationFrame);
    const before = text();
    const start = performance.now();
    const part = document.querySelector(where);
    if (act === 'click') part.click();
    else part.dispatchEvent(new KeyboardEvent('keydown', {key: act, code: act, bubbles: true, cancelable: true}));
    while (text() === before) {
        if (performance.now() - start > 20000) throw new Error('nothing changed');
        await frame();
    }
    await frame();
    return performance.now() - start;
}"""
"""Does something to a part of the page and returns the milliseconds until the text of the watched parts has changed."""


@dataclass(frozen=True)
class Figure:
    """Milliseconds of something, or why there are none; ``limit`` is what they should stay under."""

    what: str
    limit: float
    times: tuple[float, ...] = ()
    first: float | None = None
    busy: float | None = None
    problem: str = ""

    @property
    def median(self) -> float | None:
        """The median, without the first visit."""
        return statistics.median(self.times) if self.times else None


def make_slider_run(log: Path, images: int) -> None:
    """Write a run of two classes with its evaluation."""
    random = np.random.default_rng(0)
    positive = random.random(images) < 0.3
    score = 1 / (1 + np.exp(-random.normal(np.where(positive, 1.0, -1.0), 1.5)))
    labels = np.where(positive, "ill", "healthy").astype(object)
    paths = [f"/data/two classes/{number:06d}.png" for number in range(images)]
    folder = RunFolder(log / SLIDER_RUN)
    folder.path.mkdir(parents=True)
    table = pd.DataFrame({"path": paths, "correct_label": labels, "healthy": 1 - score, "ill": score})
    folder.write_predictions("test", table, predicted=list(np.where(score > 0.5, "ill", "healthy")))
    classes = ("healthy", "ill")
    scores = np.stack([1 - score, score], axis=1)
    found = evaluate(Predictions(paths, positive.astype(np.int64), scores, classes), positive="ill")
    write_csv(folder.images_csv, table.iloc[:, :2].set_axis(["path", "label"], axis=1).assign(id=paths, split="test"))
    folder.write_environment(
        {"model": "timm:two", "classes": list(classes), "positive": "ill", "primary_metric": "auc",
         "finished": "2025-01-02 03:04:05"}
    )  # fmt: skip
    numbers = found.to_table().assign(split="test")
    folder.write_metrics({"test": found.to_dict()}, numbers[["split", *numbers.columns.drop("split")]])


@contextmanager
def viewer(log: Path, cache: Path) -> Iterator[tuple[str, float]]:
    """Start ``magg view`` and yield its address and the seconds until it was printed."""
    words = [sys.executable, "-m", "model_aggregation", "view", str(log), "--port", "0", "--no-browser"]
    place = {"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache)}
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **place}) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            yield address.rstrip("/"), time.perf_counter() - start
        finally:
            process.terminate()


def processor_seconds() -> float:
    """Return the time of all processors that viewer and browser have used since their start."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return float(sum(used.user + used.system for used in times))


class Measurement:
    """Takes the figures one after the other; what cannot be measured is a figure with a problem."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.figures: list[Figure] = []

    def visit(self, path: str, selector: str) -> float:
        """Return the milliseconds from the start of the navigation until an element is shown.

        The page before must be at rest: a person does not open pages while figures of another are being drawn.
        """
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(REST_MILLISECONDS)
        self.page.goto(self.address + path, wait_until="commit")
        self.page.wait_for_selector(selector)
        return float(self.page.evaluate("performance.now()"))

    def visits(self, what: str, limit: float, path: str, selector: str) -> None:
        """Open a page several times."""
        self.take(what, limit, lambda: self.visit(path, selector), repeats=REPEATS, has_first=True)

    def changes(self, what: str, limit: float, *actions: tuple[str, str, str], repeats: int = 1) -> None:
        """Act on the page that is open; an action is (what to do, which text changes, where to do it)."""
        for action in actions:
            self.page.wait_for_selector(action[2], state="attached")
        turn = iter(list(actions) * repeats)
        self.take(what, limit, lambda: self.page.evaluate(CHANGED, list(next(turn))), repeats=len(actions) * repeats)

    def take(
        self, what: str, limit: float, once: Callable[[], float], *, repeats: int, has_first: bool = False
    ) -> None:
        """Measure something several times."""
        try:
            first = float(once()) if has_first else None
            before = processor_seconds()
            times = [float(once()) for _ in range(repeats)]
            busy = 1000 * (processor_seconds() - before) / repeats
        except Error as error:
            self.figures.append(Figure(what, limit, problem=str(error).splitlines()[0]))
        else:
            self.figures.append(Figure(what, limit, tuple(times), first, busy))
        show(self.figures[-1])


def measure(page: Page, address: str) -> list[Figure]:
    """Take all figures."""
    found = Measurement(page, address)
    run = f"{GROUP}_model007"
    row = ".ag-center-cols-container .ag-row"
    first_row = ".ag-row[row-index='0']"
    found.visits("home", 1000, "/", "#home-content table")
    found.visits("group of many runs", 1000, f"/group/{GROUP}", row)
    for column in ("accuracy", "balanced_accuracy"):
        header = f".ag-header-cell[col-id='{column}'] .ag-header-cell-label"
        found.changes(f"group: sort by {column}", 500, ("click", first_row, header), repeats=2)
    found.take("group: filter by name", 500, lambda: _typed(page, "#group-find", "model42", first_row), repeats=1)
    found.visits("run, many classes", 1500, f"/run/{GROUP}/{run}", "#run-results .main-svg")
    found.visits("run, two classes", 1500, f"/run/single/{SLIDER_RUN}", "#run-results .main-svg")
    slider = "#run-cutoff [role=slider]"
    found.changes("slider, one step", 100, ("ArrowRight", "#run-cutoff-value", slider), repeats=STEPS)
    found.visits("images as a gallery", 1500, f"/images/{GROUP}/{run}", ".images-gallery > *")
    found.visits("images as a table", 1500, f"/images/{GROUP}/{run}?view=table", row)
    for column in ("confidence", "id", "p3"):
        header = f".ag-header-cell[col-id='{column}'] .ag-header-cell-label"
        found.changes(f"images: sort 100,000 by {column}", 500, ("click", first_row, header), repeats=2)
    found.changes("images: errors only", 500, ("click", "#images-total", "#images-wrong"), repeats=2)
    found.visits("data", 1000, f"/data/{GROUP}", ".data-table")
    compared = f"/compare/{GROUP}?runs={run},{GROUP}_model006"
    found.take("compare two runs, its curves", 2000, lambda: found.visit(compared, CURVES), repeats=1)
    page.set_default_timeout(10 * PATIENCE_MILLISECONDS)
    found.take("compare two runs, differences computed", 120_000, lambda: _shown(page), repeats=1)
    return found.figures


def _shown(page: Page) -> float:
    """Return the milliseconds since the page was opened until the differences of its runs are shown."""
    page.wait_for_selector("#compare-differences table")
    return float(page.evaluate("performance.now()"))


def _typed(page: Page, where: str, text: str, watched: str) -> float:
    """Return the milliseconds from typing (its waiting for more letters included) until other rows stand there."""
    before = page.inner_text(f"{watched} >> nth=0")
    page.wait_for_selector(where)
    start = time.perf_counter()
    page.fill(where, text)
    while page.inner_text(f"{watched} >> nth=0") == before:
        page.wait_for_timeout(5)
        if time.perf_counter() - start > PATIENCE_MILLISECONDS / 1000:
            raise Error("nothing changed")
    return 1000 * (time.perf_counter() - start)


def show(figure: Figure) -> None:
    """Print a line of the table."""
    if figure.median is None:
        print(
            f"{figure.what:<40} {'–':>9} {'–':>9} {'–':>9} {figure.limit:>8.0f} {'–':>9}  {figure.problem}", flush=True
        )
        return
    first = "" if figure.first is None else f"{figure.first:.0f}"
    mark = "" if figure.median < figure.limit else "  over"
    busy = "" if figure.busy is None else f"{figure.busy:.0f}"
    times = f"{first:>9} {figure.median:>9.0f} {max(figure.times):>9.0f}"
    print(f"{figure.what:<40} {times} {figure.limit:>8.0f} {busy:>9}{mark}", flush=True)


def main() -> None:
    """Make the log where it is missing, measure in the browser, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    log, cache = arguments.folder / "log", arguments.folder / "cache"
    if not (log / GROUP).is_dir():
        make_log(log, arguments.runs, arguments.images, arguments.classes)
    if not (log / SLIDER_RUN).is_dir():
        make_slider_run(log, arguments.images)
        Index(log).rebuild()
    shutil.rmtree(cache, ignore_errors=True)
    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    with viewer(log, cache) as (address, seconds), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 720})
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        print(f"{'milliseconds':<40} {'first':>9} {'median':>9} {'longest':>9} {'limit':>8} {'processor':>9}")
        start = Figure("start until the address is printed", 2000, (1000 * seconds,))
        show(start)
        figures = [start, *measure(page, address)]
        version = browser.version
    about: dict[str, Any] = {"python": platform.python_version(), "browser": version, "cores": os.cpu_count()}
    content = {**about, "figures": [{**asdict(figure), "median": figure.median} for figure in figures]}
    (arguments.folder / "viewer.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
