"""Who may ask what: host names, a token beyond this machine, origins, sizes, and what a page may load.

The rules stand in front of everything, so that no page can forget them. Sources: OWASP on DNS rebinding and
Fetch Metadata (resource isolation policy); CSP level 3; RFC 6265bis on SameSite.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from model_aggregation.viewer.texts import say
from model_aggregation.viewer.visitor import cookies_of, visitor_of

LARGEST_BODY_BYTES = 8 * 2**20
METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True)
class Door:
    """Where the viewer is bound, under which names it answers, and the token to show (None on loopback)."""

    host: str
    port: int
    token: str | None = None

    @classmethod
    def at(cls, host: str, port: int) -> "Door":
        """Return the door of an address; every address but loopback gets a token."""
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """Cookies do not know ports: two viewers on one machine need two names."""
        return f"magg_token_{self.port}"

    def answers(self, host_header: str) -> bool:
        """Tell whether a Host header names this viewer; a foreign name is DNS rebinding (a foreign port too)."""
        try:
            parts = urlsplit(f"//{host_header}")
            name, port = (parts.hostname or "").rstrip("."), parts.port or 80
        except ValueError:
            return False
        if port != self.port or "@" in host_header:
            return False
        if self.token is None:
            return name == "localhost" or is_loopback(name)
        own = {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower(), "localhost"}
        return name in own or _is_address(name)  # an address needs no name server, so none can be turned around

    def opens(self, token: str | None) -> bool:
        """Compare a token in constant time."""
        return self.token is None or (
            token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """Return what a page may load: this server alone. The exceptions:

    - ``script-src`` hashes: Dash starts itself, and passes clientside callbacks, by inline scripts.
    - ``style-src 'unsafe-inline'``: Mantine, AG Grid and plotly write their styles into ``<style>`` elements and
      attributes at run time, and Dash offers no nonce. Styles run no code; ``img-src`` and ``font-src`` keep them
      from sending anything away.
    - ``img-src data: blob:``: plotly draws a figure into an image of its own to save it as PNG.
    - ``font-src data:``: AG Grid's icons are a font within its style.
    """
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


PROGRAM_FILES = ("/_dash-component-suites/", "/assets/")
"""Addresses of scripts and styles: they hold nothing of the user and are megabytes large."""


class SecurityMiddleware:
    """ASGI: refuses what breaks a rule before anything else sees it, and puts the headers on every answer."""

    def __init__(self, app: Any, *, door: Door, policy: str) -> None:
        self.app = app
        self.door = door
        self.headers = {
            b"content-security-policy": policy.encode(),
            b"x-content-type-options": b"nosniff",
            b"x-frame-options": b"DENY",
            b"referrer-policy": b"no-referrer",
            b"cross-origin-opener-policy": b"same-origin",
            b"cross-origin-resource-policy": b"same-origin",
            b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
            b"cache-control": b"no-store",
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or refuse."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = self._with_headers(send, keep=scope["path"].startswith(PROGRAM_FILES))
        refused = self._refusal(scope)
        if refused is not None:
            await _answer(send, *refused)
            return
        body = await _body(receive) if scope["method"] == "POST" else b""
        if body is None:
            await _answer(send, 413, f"A request may hold {LARGEST_BODY_BYTES // 2**20} MiB at most.")
            return
        await self.app(scope, _replayed(body, receive) if scope["method"] == "POST" else receive, send)

    def _refusal(self, scope: Any) -> tuple[int, str] | tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Return status and text (and headers) of the answer to a request that goes no further."""
        pairs = scope["headers"]
        headers = dict(pairs)
        if sum(name == b"host" for name, _ in pairs) != 1 or not self.door.answers(headers[b"host"].decode("latin-1")):
            return 421, (
                f"This viewer does not answer under that host name or port. Use http://{self.door.host}:"
                f"{self.door.port}/ or, through a tunnel with the same port at both ends, "
                f"http://localhost:{self.door.port}/."
            )
        if scope["method"] not in METHODS:
            return 405, "Only GET, HEAD and POST are answered here.", [(b"allow", b"GET, HEAD, POST")]
        if not _from_here(scope["method"], headers):
            return 403, "Refused: the request comes from another site."
        return self._refused_without_token(scope, headers)

    def _refused_without_token(self, scope: Any, headers: dict[bytes, bytes]) -> Any:
        if self.door.token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and self.door.opens(given):
            return self._let_in(scope, query)
        if self.door.opens(cookies_of(headers.get(b"cookie", b"")).get(self.door.cookie)):
            return None
        language = visitor_of(headers).language
        text = escape(say(language, "door.token_needed"))
        again = escape(say(language, "door.again"))
        # From a link in a web mail the cookie is not sent (SameSite=Strict); from a link on this page it is.
        return 401, f'<!DOCTYPE html><html lang="{language}"><p>{text}</p><p><a href="">{again}</a></p></html>'

    def _let_in(self, scope: Any, query: list[tuple[str, str]]) -> tuple[int, str, list[tuple[bytes, bytes]]]:
        """Keep the token in a cookie and go on to the address without it.

        By a page, not by a redirect: the answer to a redirect belongs to the site the visitor came from, and
        the browser would hold the cookie back.
        """
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").split("?")[0].lstrip("/")
        clean = escape(path + (f"?{rest}" if rest else ""), quote=True)
        cookie = f"{self.door.cookie}={self.door.token}; Path=/; HttpOnly; SameSite=Strict"
        page = f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={clean}"><a href="{clean}">→</a>'
        return 200, page, [(b"set-cookie", cookie.encode())]

    def _with_headers(self, send: Any, *, keep: bool) -> Any:
        """Put our headers on an answer; with ``keep`` the browser may hold it and ask whether it is still the same."""
        headers = {**self.headers, b"cache-control": b"private, no-cache"} if keep else self.headers

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"server"]
                present = {name.lower() for name, _ in own}
                own += [(name, value) for name, value in headers.items() if name not in present]
                message = {**message, "headers": own}
            await send(message)

        return sending


def _from_here(method: str, headers: dict[bytes, bytes]) -> bool:
    """Tell whether our own page, or a person, sent a request.

    What changes state (every POST) must prove it by Origin or Sec-Fetch-Site. What is only read may be reached by
    links from elsewhere, but not built into foreign pages.
    """
    site = headers.get(b"sec-fetch-site")
    if method == "POST":
        origin = headers.get(b"origin")
        if origin is None:
            return site == b"same-origin"
        return origin == b"http://" + headers[b"host"] and site in (None, b"same-origin")
    return site in (None, b"same-origin", b"none") or headers.get(b"sec-fetch-mode") == b"navigate"


async def _body(receive: Any) -> bytes | None:
    """Read the whole body; None when it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Any) -> Any:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receiving() -> Any:
        for message in messages:
            return message
        return await receive()

    return receiving


async def _answer(send: Any, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    kind = b"text/html" if text.startswith("<!DOCTYPE") else b"text/plain"
    content = text.encode()
    own = [(b"content-type", kind + b"; charset=utf-8"), (b"content-length", str(len(content)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": content})
