"""Dash on FastAPI, as the viewer needs it: callbacks in worker threads, own addresses, no telemetry."""

from typing import Any

from dash import Dash
from dash.backends._fastapi import FastAPIDashServer, reset_current_request, set_current_request
from dash.exceptions import DependencyException
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from model_aggregation.viewer.texts import say
from model_aggregation.viewer.visitor import present_visitor

INDEX = """<!DOCTYPE html>
<html lang="LANGUAGE" data-mantine-color-scheme="SCHEME">
    <head>
        {%metas%}
        <title>{%title%}</title>
        {%favicon%}
        {%css%}
    </head>
    <body>
        <noscript>NOSCRIPT</noscript>
        {%app_entry%}
        <footer>
            {%config%}
            {%scripts%}
            {%renderer%}
        </footer>
    </body>
</html>"""


NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


class ViewerBackend(FastAPIDashServer):
    """Dash's FastAPI backend with slow callbacks off the event loop, without catch-all address and web sockets."""

    websocket_capability = False

    @staticmethod
    def create_app(name: str = "viewer", config: dict[str, Any] | None = None) -> FastAPI:  # noqa: ARG004
        """Make the server without FastAPI's documentation pages, which load scripts from elsewhere."""
        return FastAPI(
            title="Results of model_aggregation",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            telemetry=NO_TELEMETRY,
        )

    def serve_callback(self, dash_app: Any) -> Any:
        """Answer a callback in a worker thread: while one computes, images and other pages are served."""
        answer = super().serve_callback(dash_app)

        async def dispatch(request: Request) -> Response:
            return await run_in_threadpool(_finished, answer, request)

        return dispatch

    def serve_component_suites(self, *given: Any) -> Response:
        """Serve a script of a component; what is none of them is not found, instead of an error of the server."""
        try:
            return super().serve_component_suites(*given)
        except (DependencyException, OSError) as error:
            raise HTTPException(404, "There is no such script.") from error

    def _setup_catchall(self) -> None:
        """Dash would answer every address with 200; ``app.py`` adds the viewer's own."""


def _finished(answer: Any, request: Request) -> Response:
    """Run a coroutine that waits for nothing (all our callbacks are plain functions)."""
    coroutine = answer(request)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("callbacks of the viewer are plain functions, not coroutines")


class ViewerDash(Dash):
    """Dash whose page says its language, for screen readers and for the choice of Han characters."""

    def interpolate_index(self, *given: Any, **parts: Any) -> str:
        """Fill the page in the visitor's language and colours."""
        visitor = present_visitor()
        page = super().interpolate_index(*given, **parts)
        page = page.replace('"LANGUAGE"', f'"{visitor.language}"', 1).replace('"SCHEME"', f'"{visitor.scheme}"', 1)
        return page.replace("NOSCRIPT", say(visitor.language, "shell.noscript"), 1)

    def page(self, request: Request, status_code: int) -> Response:
        """Return the page that loads the application."""
        token = set_current_request(request)
        try:
            return Response(self.index(), status_code, media_type="text/html")
        finally:
            reset_current_request(token)
