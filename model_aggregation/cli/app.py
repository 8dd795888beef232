"""The program on the command line: its help, its errors, its exit codes."""

import sys
from typing import Annotated, Any

import pydantic
from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from model_aggregation.config import problems_of
from model_aggregation.errors import InterruptionError, ModelAggregationError, listed
from model_aggregation.startup import calm_idle_threads, give_matplotlib_a_folder, share_freed_memory
from model_aggregation.trusted_code import Trust

TrustFlags = Annotated[Trust, Parameter(name="*", negative=())]

EPILOGUE = (
    "Exit code: 0 when all is done, 2 when some runs failed, are running elsewhere or were not begun in time, 1 for an "
    "error, 130 when stopped with Ctrl-C or SIGTERM."
)


def _formatted(error: CycloptsError) -> Any:
    if isinstance(error.__cause__, pydantic.ValidationError):
        return "\n".join(["The settings cannot be used:", *listed(problems_of(error.__cause__))])
    return f"{error} See --help."


app = App(
    name="magg",
    help="Which pretrained network works best on my images, how good is it really, and where does it go wrong?",
    help_epilogue=EPILOGUE,
    error_formatter=_formatted,
    exit_on_error=False,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


def reporter_for_console() -> Any:
    """Return what shows progress on this console."""
    from model_aggregation.progress import ConsoleReporter

    return ConsoleReporter()


def say(content: Any) -> None:
    """Print text literally, or a table."""
    console = Console(highlight=False, soft_wrap=isinstance(content, str), emoji=False)  # names are no markup
    console.print(content, markup=False) if isinstance(content, str) else console.print(content)


def main() -> None:
    """Run the command line and exit with its code; an error of ours is one message without a traceback."""
    calm_idle_threads()
    share_freed_memory()
    give_matplotlib_a_folder()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Japanese name must not stop a cp932 or ASCII console
    try:
        code = app(sys.argv[1:], result_action="return_value")
    except CycloptsError:
        code = 1  # printed already
    except ModelAggregationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        code = 130 if isinstance(error, InterruptionError) else 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)  # noqa: T201
        code = 130
    sys.exit(code)
