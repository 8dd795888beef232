"""Addresses of the viewer: every view has one that can be sent to a colleague.

``/`` · ``/group/<group>`` · ``/run/<group>/<run>`` · ``/images/<group>/<run>?set=test`` ·
``/compare/<group>?runs=a,b`` · ``/data/<group>`` · ``/data/<group>/<run>``; names are percent-encoded UTF-8.
The group of a single run is ``single``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

PAGE_LENGTHS = {"": (0,), "group": (1,), "run": (2,), "images": (2,), "compare": (1,), "data": (1, 2)}
"""How many names may follow the first word of an address."""

GROUP_FILES = "-"
"""In place of a run in the address of a file: the comparison's own folder (no run can have this name)."""


@dataclass(frozen=True)
class Address:
    """A parsed address: page, the names in it, and what follows the question mark."""

    page: str
    names: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The group it is about, or an empty text."""
        return self.names[0] if self.names else ""

    @property
    def run(self) -> str:
        """The run it is about, or an empty text."""
        return self.names[1] if len(self.names) > 1 else ""


def address_of(pathname: str | None, search: str | None = None) -> Address | None:
    """Read an address; ``None`` where it has not the form of any page."""
    page, *rest = (pathname or "/").strip("/").split("/")
    names = tuple(unquote(name, errors="replace") for name in rest)
    if len(names) not in PAGE_LENGTHS.get(page, ()) or not all(names):
        return None
    return Address(page, names, dict(parse_qsl((search or "").lstrip("?"))))


def link(page: str, *names: str, **query: Any) -> str:
    """Return the address of a view.

    >>> link("run", "single", "胸部_resnet18", set="test")
    '/run/single/%E8%83%B8%E9%83%A8_resnet18?set=test'
    """
    path = "/" + "/".join([page, *(quote(name, safe="") for name in names)])
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path


def image_link(group: str, run: str, set_name: str, index: int, size: int | None = None) -> str:
    """Return the address of an image file, or of its thumbnail with the longer side ``size`` pixels."""
    return link("image", group, run, set_name, str(index), size=size)


def file_link(group: str, run: str, name: str) -> str:
    """Return the address of a file of a run."""
    return link("file", group, run, name)


def group_file_link(group: str, name: str) -> str:
    """Return the address of a file of a comparison's own folder, such as its report."""
    return link("file", group, GROUP_FILES, name)
