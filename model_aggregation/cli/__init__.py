"""The command line: read, call one function, print. torch is imported only by the commands that compute."""

from model_aggregation.cli import cache, looking, making, viewing  # noqa: F401  (they add their commands to the app)
from model_aggregation.cli.app import app, main

__all__ = ["app", "main"]
