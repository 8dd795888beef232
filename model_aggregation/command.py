"""Where the command line begins: what must be done before anything is imported that takes time."""

import sys

from model_aggregation.launch import may_be_launched
from model_aggregation.processes import path_without_working_directory, start_server
from model_aggregation.standard_streams import open_standard_streams, outlast_readers
from model_aggregation.startup import importing

_MAKE_RUNS = {"train", "compare"}
_NEED_NO_SERVER = ("--jobs", "--engine", "--help", "-h")


def main() -> None:
    """Run the command line and exit with its code."""
    open_standard_streams()
    outlast_readers()
    sys.path[:] = path_without_working_directory()  # PYTHONPATH may name it
    words = sys.argv[1:]
    if _needs_server(words):  # its imports go on beside ours
        start_server(*(["timm"] if any(word.startswith("timm:") for word in words) else []))
    with importing():
        from model_aggregation import cli
    cli.main()


def _needs_server(words: list[str]) -> bool:
    """Return whether the words ask for runs in processes of their own; where that is uncertain the command decides."""
    asks = bool(words) and words[0] in _MAKE_RUNS and not may_be_launched()
    return asks and not any(word.startswith(_NEED_NO_SERVER) for word in words)
