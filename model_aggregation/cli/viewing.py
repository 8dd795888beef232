"""The command that opens the viewer."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from model_aggregation.cli.app import app, say


@app.command
def view(
    log_folder: Path = Path("log"),
    /,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
) -> int:
    """Look at every group, run, curve and image of a log folder in the browser.

    Parameters
    ----------
    log_folder
        Folder that holds all results.
    port
        Port to listen on; without it the first free one from 8050 on, 0 takes any free one.
    host
        Address to listen on. Any but this machine's own (127.0.0.1) asks visitors for a token, which is part of the
        link that is printed.
    browser
        Open the browser.
    """
    from model_aggregation.viewer.server import serve

    def tell(text: str) -> None:
        say(text)
        sys.stdout.flush()  # whoever reads it through a pipe needs the address now, not at the end

    serve(log_folder, host=host, port=port, browser=browser, say=tell)
    return 0
