"""What the browser of the present request prefers: language and light or dark."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal

Language = Literal["en", "ja"]
Scheme = Literal["light", "dark"]

LANGUAGE_COOKIE = "magg_language"
SCHEME_COOKIE = "magg_scheme"


@dataclass(frozen=True)
class Visitor:
    """The preferences of one request."""

    language: Language = "en"
    scheme: Scheme = "light"


OUTSIDE = Visitor()
_present: ContextVar[Visitor] = ContextVar("magg_visitor", default=OUTSIDE)


def present_visitor() -> Visitor:
    """Return the preferences of the request being answered (English and light outside of one)."""
    return _present.get()


class VisitorMiddleware:
    """ASGI: notes the preferences of each request, for layouts and callbacks that run in worker threads too."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the preferences in place."""
        if scope["type"] == "http":
            _present.set(visitor_of(dict(scope["headers"])))
        await self.app(scope, receive, send)


def visitor_of(headers: dict[bytes, bytes]) -> Visitor:
    """Read the preferences: cookies first, then the languages that the browser accepts."""
    cookies = cookies_of(headers.get(b"cookie", b""))
    language = cookies.get(LANGUAGE_COOKIE) or accepted_language(headers.get(b"accept-language", b"").decode("latin-1"))
    return Visitor("ja" if language == "ja" else "en", "dark" if cookies.get(SCHEME_COOKIE) == "dark" else "light")


def cookies_of(header: bytes) -> dict[str, str]:
    """Return the cookies of a request; a header that is no list of cookies holds none."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header.decode("latin-1")).items()}
    except CookieError:
        return {}


def accepted_language(header: str) -> Language:
    """Return the first of our languages by the weights of ``Accept-Language`` (RFC 9110, 12.5.4).

    >>> accepted_language("fr;q=1, en;q=0.4, ja-JP;q=0.7")
    'ja'
    """
    weights: dict[Language, float] = {"en": 0.0, "ja": 0.0}
    for part in header.lower().split(","):
        found = re.fullmatch(r"\s*(en|ja)(?:-[\w-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?", part)
        if found:
            name: Language = "ja" if found[1] == "ja" else "en"
            weights[name] = max(weights[name], float(found[2] or 1))
    return "ja" if weights["ja"] > weights["en"] else "en"
