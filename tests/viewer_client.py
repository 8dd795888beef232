"""Asks the viewer's application as a browser or an attacker would; paths go out exactly as given."""

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import unquote

PORT = 8050
HERE = f"http://127.0.0.1:{PORT}"


@dataclass
class Answer:
    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.content)


class Client:
    """``ask(path, method="POST", content=b"", origin="http://…")``; other words are headers."""

    def __init__(self, app, client_host="127.0.0.1"):
        self.app, self.client_host = app, client_host

    def __call__(self, path, *, method="GET", host=f"127.0.0.1:{PORT}", content=b"", **headers) -> Answer:
        raw, _, query = path.partition("?")
        names = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
            "client": (self.client_host, 50000),
            "server": ("127.0.0.1", PORT),
        }
        return asyncio.run(self._asked(scope, content if isinstance(content, bytes) else content.encode()))

    async def _asked(self, scope, content: bytes) -> Answer:
        sent = [{"type": "http.request", "body": content, "more_body": False}]
        messages = []

        async def receive():
            return sent.pop() if sent else {"type": "http.disconnect"}

        async def send(message):
            messages.append(message)

        await self.app(scope, receive, send)
        start = next(message for message in messages if message["type"] == "http.response.start")
        body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
        return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body)
