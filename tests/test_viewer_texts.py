"""The viewer's sentences: both languages say everything, nothing is missing, nothing is left over."""

import ast
import string
from pathlib import Path

import pytest

import model_aggregation.viewer as viewer
from model_aggregation.viewer.addresses import Address, address_of, link
from model_aggregation.viewer.texts import texts
from model_aggregation.viewer.visitor import Visitor, accepted_language, visitor_of

SOURCES = sorted(Path(viewer.__file__).parent.rglob("*.py"))
OPEN_ENDED = ("metric.", "state.", "sentences.")  # what comes with the results


def said() -> tuple[set[str], set[str]]:
    """Return the keys that the code says literally, and the beginnings of those it puts together."""
    keys, beginnings = set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in texts():
                keys.add(node.value)
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", getattr(node.func, "id", "")) != "say":
                continue
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant):
                    keys.add(argument.value)
                elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
                    beginnings.add(argument.values[0].value)
    return keys, beginnings


def test_every_key_that_is_said_exists_and_every_text_is_said():
    keys, beginnings = said()
    literal = {key for key in keys if "." in key}
    assert not literal - texts().keys()
    left_over = {key for key in texts() if key not in keys and not key.startswith((*beginnings, *OPEN_ENDED))}
    assert not left_over


@pytest.mark.parametrize("key", texts())
def test_both_languages_have_the_text_with_the_same_words_to_fill_in(key):
    pair = texts()[key]
    assert pair.keys() == {"en", "ja"}
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in pair.values()]
    assert fields[0] == fields[1]
    assert all(text.strip() for text in pair.values())


@pytest.mark.parametrize(
    ("header", "language"),
    [("ja", "ja"), ("en-US,en;q=0.9,ja;q=0.8", "en"), ("fr, ja;q=0.5", "ja"), ("", "en"), ("java;q=1", "en")],
)
def test_the_first_language_is_the_browsers(header, language):
    assert accepted_language(header) == language


def test_cookies_decide_after_that():
    headers = {b"accept-language": b"ja", b"cookie": b"magg_language=en; magg_scheme=dark"}
    assert visitor_of(headers) == Visitor("en", "dark")
    assert visitor_of({b"cookie": b'magg_language=<script>; magg_scheme="'}) == Visitor("en", "light")


@pytest.mark.parametrize(
    ("names", "query"), [(("胸部", "胸部_resnet18.a"), {"set": "test"}), (("a/b?c", "%2e%2e"), {"x": "1&2 3+4"})]
)
def test_an_address_reads_back_as_it_was_made(names, query):
    path, _, search = link("run", *names, **query).partition("?")
    assert path.isascii()
    assert address_of(path, f"?{search}") == Address("run", names, query)


@pytest.mark.parametrize("path", ["/run/a", "/group", "/nothing", "/run/a/b/c", "/run//b"])
def test_other_addresses_are_none(path):
    assert address_of(path) is None
