"""The servers that weights come from: is one to be reached, and is the Hugging Face hub to be left alone?"""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

REACHABLE_SECONDS = 5
"""How long a server is waited for before a download counts as impossible; the hub's own client would retry for long."""

CONFIGURATION = "config.json"
"""Name of the file that says what network a repository of the hub holds."""


def check_reachable(address: str) -> None:
    """Ask a server for its head, through the proxy that the environment names; any answer will do.

    Raises
    ------
    OSError
        If there is none within a few seconds.
    """
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310  (addresses of the libraries)
    try:
        urllib.request.urlopen(request, timeout=REACHABLE_SECONDS).close()  # noqa: S310
    except HTTPError:
        return


def check_hub_reachable() -> None:
    """As :func:`check_reachable`, for the Hugging Face hub or the mirror that the environment names."""
    from huggingface_hub import constants

    check_reachable(constants.ENDPOINT)


def hub_is_offline() -> bool:
    """Return whether the Hugging Face hub is to be left alone (HF_HUB_OFFLINE, or inside :func:`hub_kept_offline`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


_weights_dir: ContextVar[Path | None] = ContextVar("weights_dir", default=None)


@contextmanager
def hub_as_set(*, offline: bool, weights_dir: Path | None) -> Iterator[None]:
    """Look for repositories of the hub in the user's folder of weights first, and ask the hub only if allowed."""
    token = _weights_dir.set(weights_dir)
    try:
        with hub_kept_offline(offline):
            yield
    finally:
        _weights_dir.reset(token)


def repository_folder(repository: str) -> Path | None:
    """Return the folder of a repository with its configuration in the user's folder of weights, or None."""
    folder = _weights_dir.get()
    found = None if folder is None else folder / repository
    return found if found is not None and (found / CONFIGURATION).is_file() else None


@contextmanager
def hub_kept_offline(offline: bool) -> Iterator[None]:
    """Keep the hub's own client from the network inside the block."""
    from huggingface_hub import constants

    before: Any = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
