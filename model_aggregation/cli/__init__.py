"""The command line: read, call one function, print. torch is imported only by the commands that compute."""

from model_aggregation.cli import (  # noqa: F401  (they add their commands to the app)
    augment_command,
    cache,
    check_command,
    looking,
    making,
    models_command,
    split_command,
    status_command,
    suggest_command,
    viewing,
    weights_command,
)
from model_aggregation.cli.app import app, main

__all__ = ["app", "main"]
