"""The addresses of every page there is, for tests that go through all of them."""

from collections.abc import Iterator
from pathlib import Path

from model_aggregation.viewer.addresses import link
from model_aggregation.viewer.pages import PAGES
from model_aggregation.viewer.reading import LogReader


def addresses(log: Path, cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield page, group, run (or an empty text) and address: home, each group, each run."""
    reader = LogReader(log, cache_folder=cache)
    yield "", "", "", "/"
    for group in dict.fromkeys(row.group for row in reader.groups().rows):
        runs = [str(name) for name in reader.leaderboard(group, members=True).table["run_name"]]
        for page in ("group", "data"):
            yield page, group, "", link(page, group)
        yield "compare", group, "", link("compare", group, runs=",".join(runs[:2]))
        for run in runs:
            for page in ("run", "images", "data"):
                yield page, group, run, link(page, group, run)


def built_addresses(log: Path, cache: Path) -> list[tuple[str, str, str, str]]:
    """Return those of :func:`addresses` whose page is in the program."""
    return [found for found in addresses(log, cache) if found[0] in PAGES]


def opened(page, address: str) -> str:
    """Open an address, wait until its parts are loaded, and return its text; nothing unexpected may have happened."""
    page.goto(address)
    page.wait_for_selector("#page > *")
    for waiting in ("#page .mantine-Skeleton-root", "#page [data-dash-is-loading=true]"):
        page.wait_for_selector(waiting, state="detached")
    page.wait_for_load_state("networkidle")
    text = page.inner_text("#page")
    assert "unexpected error" not in text, address
    assert not page.problems, address
    return text
