"""Makes the README's pictures of the viewer from a log folder, such as the one of the demo.

magg demo
python benchmarks/screenshots.py demo/log docs/images
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from viewer import CHROMIUM, viewer

from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.reading import LogReader

SIZE = {"width": 1280, "height": 800}
MARGIN = 24
LARGEST_BYTES = 250_000
COLOURS = 256
UNFINISHED = ("#page .mantine-Skeleton-root", "#page [data-dash-is-loading=true]")


def views(log: Path) -> dict[str, tuple[str, str]]:
    """Return address and language of each picture, by its name: the first comparison and its best run."""
    row = next((row for row in LogReader(log).groups().rows if row.best_run), None)
    if row is None or row.best_run is None:
        raise SystemExit(f"{log} has no comparison with a best run; make one with: magg demo")
    run = link("run", row.group, row.best_run)
    return {
        "home": ("/", "en-US"),
        "group": (link("group", row.group), "en-US"),
        "run": (run, "en-US"),
        "images": (link("images", row.group, row.best_run), "en-US"),
        "run_ja": (run, "ja-JP"),
    }


def picture(page: Page, address: str) -> bytes:
    """Open a page, wait until all of it is there, and return it as PNG."""
    page.goto(address)
    page.wait_for_selector("#page > *")
    page.wait_for_load_state("networkidle")
    for waiting in UNFINISHED:
        page.wait_for_selector(waiting, state="detached")
    page.wait_for_load_state("networkidle")
    bottom = page.evaluate("document.querySelector('#page').getBoundingClientRect().bottom") + MARGIN
    return page.screenshot(clip={"x": 0, "y": 0, "width": SIZE["width"], "height": min(bottom, SIZE["height"])})


def small(png: bytes) -> bytes:
    """Return a PNG with a palette of its own where the given one is large."""
    if len(png) <= LARGEST_BYTES:
        return png
    kept = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(kept, "PNG", optimize=True)
    return kept.getvalue()


def main() -> None:
    """Start the viewer and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    wanted = views(arguments.log)
    with (
        tempfile.TemporaryDirectory() as cache,
        viewer(arguments.log, Path(cache)) as (address, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for name, (path, language) in wanted.items():
            page = browser.new_page(locale=language, color_scheme="light", viewport=SIZE)
            content = small(picture(page, address + path))
            (arguments.folder / f"viewer_{name}.png").write_bytes(content)
            print(f"viewer_{name}.png  {len(content) / 1000:.0f} kB")
            page.close()


if __name__ == "__main__":
    main()
