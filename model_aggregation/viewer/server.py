"""Serving the viewer: a free port, the address on the console, the browser."""

import errno
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import uvicorn

from model_aggregation.errors import SettingsError
from model_aggregation.viewer.app import create_app
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.security import Door
from model_aggregation.viewer.warming import warm

DEFAULT_HOST = "127.0.0.1"
FIRST_PORT = 8050
PORTS_TRIED = 50
LARGEST_PORT = 65535


def serve(
    log_folder: Path,
    *,
    host: str = DEFAULT_HOST,
    port: int | None = None,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the viewer until it is stopped with Ctrl-C.

    Parameters
    ----------
    port
        None takes the first free one from 8050 on, 0 any free one.
    say
        Told the address to open.

    Raises
    ------
    ResultsError
        If there is no such log folder.
    SettingsError
        If the address or port cannot be used.
    """
    with bound_socket(host, port) as listening:
        door = Door.at(host, listening.getsockname()[1])
        reader = LogReader(log_folder)
        app = create_app(reader, door=door)
        address = address_of_door(door)
        say(f"The results are at {address}\nCtrl-C ends the viewer.")
        if browser:
            webbrowser.open(address)
        Thread(target=warm, args=(reader,), daemon=True).start()
        config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


def address_of_door(door: Door) -> str:
    """Return the address to open, with its token where one is needed."""
    named = socket.gethostname() if door.host in ("0.0.0.0", "::") else door.host  # noqa: S104
    name = f"[{named}]" if ":" in named else named
    return f"http://{name}:{door.port}/" + (f"?token={door.token}" if door.token else "")


def bound_socket(host: str, port: int | None) -> socket.socket:
    """Return a listening socket: bound once and kept, so that no other program can take the port in between."""
    wanted = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if port is None else [port]
    if port is not None and not 0 <= port <= LARGEST_PORT:
        raise SettingsError(f"--port takes 0 to {LARGEST_PORT}; {port} was given.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in wanted:
        try:
            return socket.create_server((host, number), family=family)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            if port is None and taken:
                continue
            reason = "another program uses it" if taken else str(error)
            raise SettingsError(
                f"The viewer cannot listen on {host} port {number}: {reason}. Give another with --port or --host; "
                "without --port the next free one is taken."
            ) from error
    raise SettingsError(f"All ports from {wanted[0]} to {wanted[-1]} on {host} are taken. Give one with --port 0.")
