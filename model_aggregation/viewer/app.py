"""The application: one FastAPI server with Dash in it, over one log folder."""

import logging
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import set_props
from fastapi import FastAPI, HTTPException, Request, Response

from model_aggregation.errors import ModelAggregationError
from model_aggregation.viewer import json_api, routes, shell
from model_aggregation.viewer.addresses import address_of
from model_aggregation.viewer.backend import INDEX, ViewerBackend, ViewerDash
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.security import Door, SecurityMiddleware, content_security_policy
from model_aggregation.viewer.visitor import VisitorMiddleware
from model_aggregation.viewer.wording import in_words

log = logging.getLogger(__name__)


def create_app(reader: LogReader, *, door: Door) -> Any:
    """Return the web application (ASGI) over the log folder of a reader.

    Parameters
    ----------
    door
        Where it will be served: the names it answers under, and its token.
    """
    context = Context(reader, opens_here=door.token is None)
    app = ViewerDash(
        "model_aggregation.viewer",
        backend=ViewerBackend,
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=INDEX,
        suppress_callback_exceptions=True,  # the callbacks of a page are known before the page is shown
        title="magg",
        update_title="",
        serve_locally=True,
        add_log_handler=False,
        on_error=lambda error: _tell(context, error),
    )
    app.enable_dev_tools(debug=False, dev_tools_disable_version_check=True)
    shell.register(app, context)
    app._setup_server()  # Dash does it at the first request of "/" only; the first may be any address
    server: FastAPI = app.server
    server.include_router(routes.router(context))
    server.include_router(json_api.router(context))

    @server.get("/{path:path}", include_in_schema=False)
    def page(request: Request, path: str) -> Response:
        if path.partition("/")[0] in ("api", "image", "file"):  # for programs, not for people
            raise HTTPException(404, "There is no such address.")
        return app.page(request, 404 if address_of(path) is None else 200)

    policy = content_security_policy(app.csp_hashes())
    return SecurityMiddleware(VisitorMiddleware(server), door=door, policy=policy)


def _tell(context: Context, error: Exception) -> Any:
    """Show what went wrong in a callback as a notification; what stood on the page stays."""
    if isinstance(error, ModelAggregationError):
        title, text = context.say("shell.problem_title"), in_words(context, str(error))
    else:
        log.error("A callback of the viewer failed.", exc_info=error)
        title, text = context.say("shell.unexpected_title"), context.say("shell.unexpected")
    message = dmc.Text(text, size="sm", className="lines")
    shown = {
        "id": "problem",
        "title": title,
        "message": message,
        "color": "orange",
        "action": "show",
        "autoClose": False,
    }
    set_props("notifications", {"sendNotifications": [shown]})
