"""Commands that make results: train, compare, run, plan, convert, demo."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from model_aggregation.cli.app import TrustFlags, app, reporter_for_console, say
from model_aggregation.config import Settings, make_settings
from model_aggregation.errors import InterruptionError
from model_aggregation.launch import may_be_launched
from model_aggregation.options import Options
from model_aggregation.processes import start_server, stopped_by_signals
from model_aggregation.startup import importing
from model_aggregation.trusted_code import Trust, trusting

if TYPE_CHECKING:
    from model_aggregation.plan import Plan

Flags = Annotated[Options, Parameter(name="*")]
_Several = Parameter(consume_multiple=True, negative=())
Models = Annotated[list[str], _Several]


@Parameter(name="*")
@dataclass(frozen=True)
class Instead:
    """What stands above a settings file and is no option of its own elsewhere.

    Parameters
    ----------
    data
        Folder of images or table, instead of the file's.
    model
        The model, instead of the file's.
    models
        The models of a comparison, instead of the file's.
    """

    data: Path | None = None
    model: str | None = None
    models: Annotated[tuple[str, ...], _Several] = ()

    def given(self) -> dict[str, Any]:
        """Return what was given."""
        return {key: value for key, value in vars(self).items() if value}


@app.command
def train(
    data: Path,
    /,
    *,
    model: str,
    flags: Flags = Options(),  # noqa: B008  (frozen)
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Train and test one model.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    model
        torchvision:NAME, timm:NAME, timm:hf_hub:OWNER/NAME or MODULE:FUNCTION; a bare name belongs to --source.
    """
    with trusting(trust):
        return _execute(make_settings(data=data, model=model, **flags.given()))


@app.command
def compare(
    data: Path,
    /,
    *,
    models: Models,
    flags: Flags = Options(),  # noqa: B008
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Train and test several models on the same images and rank them.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    models
        Two or more of torchvision:NAME, timm:NAME, timm:hf_hub:OWNER/NAME, MODULE:FUNCTION (a network of your own),
        patterns (resnet*) and sets (@quick); bare names belong to --source.
    """
    with trusting(trust):
        return _execute(make_settings(data=data, models=tuple(models), **flags.given()))


@app.command
def run(
    settings: Path,
    /,
    *,
    instead: Instead = Instead(),
    flags: Flags = Options(),  # noqa: B008
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Do what a settings file says; flags stand above the file.

    Parameters
    ----------
    settings
        YAML file of settings, for one model (model:) or for a comparison (models:).
    """
    from model_aggregation.named_code import trusted_settings

    with trusting(trust):
        typed = instead.given() | flags.given()
        return _execute(trusted_settings(settings, say=reporter_for_console().message, **typed))


@app.command
def convert(settings: Path, /, *, out: Path | None = None) -> int:
    """Write a settings file of the earlier program in today's form, with a comment per changed meaning.

    Parameters
    ----------
    settings
        YAML file of the earlier program.
    out
        File to write; without it the text is printed.
    """
    from model_aggregation.files import write_text
    from model_aggregation.settings_files import convert_file

    text = convert_file(settings)
    if out is None:
        say(text.rstrip("\n"))
        _say_what_is_lost(text)
    else:
        write_text(out, text)
        say(f"written: {out}")
    return 0


def _say_what_is_lost(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    if text.encode(encoding, errors="ignore").decode(encoding) != text:
        reporter_for_console().message(
            f"warning: some characters cannot be written in {encoding} and stand as ? above; --out FILE keeps them."
        )


@app.command
def plan(
    settings: Path,
    /,
    *,
    instead: Instead = Instead(),
    json: Path | None = None,
    flags: Flags = Options(),  # noqa: B008
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Show what a settings file would do, without doing it.

    Parameters
    ----------
    settings
        YAML file of settings.
    json
        Write the plan to this file too.
    """
    from model_aggregation.cli.texts import plan_parts
    from model_aggregation.files import write_json
    from model_aggregation.forecast import forecast
    from model_aggregation.named_code import trusted_settings

    with trusting(trust):
        typed = instead.given() | flags.given()
        made = plan_for(trusted_settings(settings, say=reporter_for_console().message, **typed))
    with reporter_for_console().working() as reporter:
        forecasts = forecast(made, count=reporter.count)
    for part in plan_parts(made, forecasts):
        say(part)
    if json is not None:
        write_json(json, {**made.to_dict(), "forecast": [entry.to_dict() for entry in forecasts]})
    say("Nothing was written (timings of networks stay in the cache)." if json is None else f"written: {json}")
    return 0


@app.command
def demo(folder: Path = Path("demo"), /) -> int:
    """Compare three small networks on handwritten digits, odd against even; needs no internet.

    Parameters
    ----------
    folder
        Where images and results are written.
    """
    from model_aggregation.demo import demo_settings

    return _execute(demo_settings(folder))


def _execute(settings: Settings) -> int:
    with stopped_by_signals():
        try:
            return _plan_and_run(settings)
        except KeyboardInterrupt as stop:
            raise InterruptionError(
                "Stopped while no run went on. What was done is stored; give the same command again to continue."
            ) from stop


def _plan_and_run(settings: Settings) -> int:
    in_processes = settings.engine == "local" and settings.jobs != 0
    if in_processes and not may_be_launched():
        start_server()  # before our own imports, so that its imports go on beside them
    with importing():
        from model_aggregation.cli.texts import finding_lines, outcome_parts
        from model_aggregation.engine import follow
        from model_aggregation.engine import run as run_plan
        from model_aggregation.plan import named_models
    if (code := follow()) is not None:  # another process of the launcher leads
        return code
    if in_processes:
        start_server()
    with importing():  # not in the block is what reads images: it leaves garbage
        named_models(settings)
    made = plan_for(settings)
    reporter = reporter_for_console()
    for line in finding_lines(made):
        reporter.message(line)
    outcome = run_plan(made, reporter)
    for part in outcome_parts(made, outcome):
        say(part)
    return outcome.exit_code


def plan_for(settings: Settings) -> "Plan":
    """Return the plan for settings; on a terminal a person is asked for the positive class where it is not given."""
    from model_aggregation.plan import PositiveClassError, make_plan

    with reporter_for_console().working() as reporter:
        try:
            return make_plan(settings, count=reporter.count)
        except PositiveClassError as needed:
            if not sys.stdin.isatty():
                raise
            classes = needed.classes
    positive = _ask_for_positive(classes)
    with reporter_for_console().working() as reporter:
        return make_plan(settings.model_copy(update={"positive": positive}), count=reporter.count)


def _ask_for_positive(classes: tuple[str, ...]) -> str:
    from rich.prompt import Prompt

    return Prompt.ask("Which class is the positive one?", choices=list(classes), console=Console(stderr=True))
