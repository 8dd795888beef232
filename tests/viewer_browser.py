"""A running viewer and a real browser for tests; any error on the browser's console fails the test.

Fixtures of a module: playwright cannot be started twice at a time, nor beside another event loop.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from viewer_samples import make_log

from model_aggregation.viewer.app import create_app
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.security import Door
from model_aggregation.viewer.server import address_of_door, bound_socket

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = "MAGG_BROWSER_REQUIRED"


@contextmanager
def running_viewer(log: Path, *, host: str = "127.0.0.1", cache: Path, token: str | None = None) -> Iterator[str]:
    """Serve a log folder in a thread and give the address to open."""
    with bound_socket(host, 0) as listening:
        door = Door(host, listening.getsockname()[1], token)
        app = create_app(LogReader(log, cache_folder=cache), door=door)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield address_of_door(door)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def viewer_log(tmp_path_factory) -> Path:
    return make_log(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def viewer_address(viewer_log, tmp_path_factory) -> Iterator[str]:
    with running_viewer(viewer_log, cache=tmp_path_factory.mktemp("cache")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    if found is None:
        message = f"no Chromium at any of {', '.join(CHROMIUM)}"
        if os.environ.get(REQUIRED):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


def told(message) -> str:
    """What the console says, and of which address: a resource that is missing is not named in the text."""
    return f"{message.text} ({message.location['url']})"


@pytest.fixture
def new_page(chromium):
    """Open a page: ``new_page(locale="ja-JP", color_scheme="dark")``; its console must stay free of errors."""
    contexts, problems, expected = [], [], []

    def opened(**options):
        context = chromium.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 720}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(told(message)) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.problems, page.expected = problems, expected  # a text in the second excuses messages that hold it
        return page

    yield opened
    for context in contexts:
        context.close()
    left = [text for text in problems if not any(excuse in text for excuse in expected)]
    assert not left, left


def shown(page, address: str) -> None:
    """Open an address and wait until its page is there."""
    page.goto(address)
    page.wait_for_selector("#page > *")


def choose(page, select: str, text: str) -> None:
    """Open a list and choose from it; a list that closes because its entries were just renewed is opened again."""
    from playwright.sync_api import TimeoutError as NotInTime

    option = page.locator("[role=option]", has_text=text)
    for _ in range(5):
        page.click(select)
        try:
            option.click(timeout=4000)
            return
        except NotInTime:
            continue
    raise AssertionError(f"{select} never showed an entry with {text!r} that could be chosen")
