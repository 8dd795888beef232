"""The home page and the frame around every page, in a real browser; the server started as a user starts it."""

import re
import subprocess
import sys
from urllib.parse import quote

import pytest
from viewer_browser import chromium, new_page, running_viewer, shown, viewer_address, viewer_log  # noqa: F401
from viewer_samples import GROUP, MARKUP

from model_aggregation.errors import SettingsError
from model_aggregation.viewer.server import bound_socket


@pytest.fixture
def home(new_page, viewer_address):  # noqa: F811
    page = new_page()
    shown(page, viewer_address)
    return page


def test_groups_and_single_runs_with_their_numbers(home):
    text = home.inner_text("#page")
    for words in (GROUP, "torchvision:vgg11", "✓ finished 2", "✕ failed 1", "single_run", MARKUP):
        assert words in text
    assert re.search(r"AUC\s0\.\d{3} \(0\.\d{3}–\d\.\d{3}\)", text)
    assert home.title() == "Results"


def test_search_narrows_the_list_and_stays_in_the_address(home, viewer_address):  # noqa: F811
    home.fill("#home-search", GROUP)
    home.wait_for_selector("#page >> text=single_run", state="detached")
    home.wait_for_url(f"**/?text={quote(GROUP)}")
    shown(home, f"{viewer_address}?text=nothing%20like%20this")
    assert "Nothing matches “nothing like this”." in home.inner_text("#page")


def test_the_search_of_the_header_leads_to_a_run_by_keyboard(home):
    home.click("#search")
    home.keyboard.type("vgg11", delay=20)
    home.wait_for_selector(f"[role=option]:has-text('{GROUP}_vgg11')")
    home.wait_for_load_state("networkidle")  # each letter asks anew, and a new answer takes the mark from its line
    home.keyboard.press("ArrowDown")
    home.keyboard.press("Enter")
    home.wait_for_url(f"**/run/{quote(GROUP)}/*")
    home.wait_for_selector(f"#breadcrumbs:has-text('{GROUP}_vgg11')")
    home.go_back()
    assert home.wait_for_selector("#home-search")


def test_language_and_colours_are_switched_and_kept(home, viewer_address):  # noqa: F811
    home.click("label:has-text('日本語')")
    home.wait_for_selector("html[lang=ja] h1:has-text('すべての結果')")
    home.click("#scheme")
    home.wait_for_selector("html[data-mantine-color-scheme=dark] h1")
    shown(home, viewer_address)
    assert home.get_attribute("html", "lang") == "ja"
    assert home.get_attribute("html", "data-mantine-color-scheme") == "dark"


@pytest.mark.parametrize("locale", ["ja-JP", "en-US"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_first_choice_is_the_browsers_and_nothing_sticks_out(new_page, viewer_address, locale, scheme, width):  # noqa: F811
    page = new_page(locale=locale, color_scheme=scheme, viewport={"width": width, "height": 720})
    shown(page, viewer_address)
    assert page.get_attribute("html", "lang") == locale[:2]
    assert page.get_attribute("html", "data-mantine-color-scheme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_reached_by_keyboard_and_seen(home):
    reached = []
    for _ in range(12):
        home.keyboard.press("Tab")
        reached.append(
            home.evaluate(
                "[document.activeElement.id || document.activeElement.innerText || document.activeElement.name,"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    names = " ".join(str(name) for name, _ in reached)
    for name in ("Skip to content", "search", "scheme", "home-search", GROUP):
        assert name in names


def test_an_address_of_no_page_says_so(new_page, viewer_address):  # noqa: F811
    page = new_page()
    shown(page, f"{viewer_address}group/a/b/c")
    assert "There is no such page" in page.inner_text("#page")
    page.problems.clear()  # the browser itself notes the status 404


def test_nothing_is_asked_of_another_server(new_page, viewer_address):  # noqa: F811
    page = new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    shown(page, viewer_address)
    assert asked
    assert all(url.startswith((viewer_address, "data:", "blob:")) for url in asked)


def test_the_token_lets_in_once_for_all(new_page, viewer_log, tmp_path):  # noqa: F811
    with running_viewer(viewer_log, host="127.0.0.1", cache=tmp_path, token="t" * 43) as address:
        page = new_page()
        page.goto(address.partition("?")[0])
        assert "opens with the link" in page.inner_text("body")
        page.problems.clear()
        page.expected.append("/favicon.ico")  # the browser may still be asking for it, without the token
        page.goto(address)
        page.wait_for_selector("#home-search")
        assert "token" not in page.url
        assert page.evaluate("document.cookie").find("magg_token") == -1


def test_a_taken_port_is_named_or_passed_by():
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port}: another program uses it"):
            bound_socket("127.0.0.1", port)
    with bound_socket("127.0.0.1", None) as one, bound_socket("127.0.0.1", None) as other:
        assert one.getsockname()[1] < other.getsockname()[1]
    with pytest.raises(SettingsError, match="--port"):
        bound_socket("127.0.0.1", 70000)


def test_the_command_prints_its_address_and_ends(viewer_log, tmp_path):  # noqa: F811
    words = [
        sys.executable,
        "-X",
        "utf8",
        "-m",
        "model_aggregation",
        "view",
        str(viewer_log),
        "--port",
        "0",
        "--no-browser",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        line = process.stdout.readline()
        process.terminate()
    assert re.fullmatch(r"The results are at http://127\.0\.0\.1:\d+/\n", line)


def test_a_log_folder_that_is_not_there_is_an_error(tmp_path):
    words = [
        sys.executable,
        "-m",
        "model_aggregation",
        "view",
        str(tmp_path / "nothing"),
        "--port",
        "0",
        "--no-browser",
    ]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "There is no log folder" in ended.stderr
