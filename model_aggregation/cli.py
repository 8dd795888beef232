"""The command line: read, call one function, print.

Flags come from the settings classes; torch is imported only by the commands that compute.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from model_aggregation.config import Options, Settings, make_settings, problems_of
from model_aggregation.errors import ModelAggregationError, listed
from model_aggregation.table_question import TableQuestion

if TYPE_CHECKING:
    from model_aggregation.plan import Plan

Flags = Annotated[Options, Parameter(name="*")]
Models = Annotated[list[str], Parameter(consume_multiple=True, negative=())]
Files = Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())]
Question = Annotated[TableQuestion, Parameter(name="*")]

EPILOGUE = "Exit code: 0 when all is done, 2 when some runs failed, 1 for an error, 130 when stopped with Ctrl-C."


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


@app.command
def train(data: Path, /, *, model: str, flags: Flags = Options()) -> int:  # noqa: B008  (frozen)
    """Train and test one model.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    model
        torchvision:NAME or timm:NAME; a bare name belongs to --source.
    """
    return _execute(make_settings(data=data, model=model, **flags.given()))


@app.command
def compare(data: Path, /, *, models: Models, flags: Flags = Options()) -> int:  # noqa: B008
    """Train and test several models on the same images and rank them.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    models
        Two or more of torchvision:NAME or timm:NAME; bare names belong to --source.
    """
    return _execute(make_settings(data=data, models=tuple(models), **flags.given()))


@app.command
def run(settings: Path, /, *, flags: Flags = Options()) -> int:  # noqa: B008
    """Do what a settings file says; flags stand above the file.

    Parameters
    ----------
    settings
        YAML file of settings, for one model (model:) or for a comparison (models:).
    """
    from model_aggregation.settings_files import read_settings

    return _execute(read_settings(settings, say=_reporter().message, **flags.given()))


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
        _print(text.rstrip("\n"))
    else:
        write_text(out, text)
        _print(f"written: {out}")
    return 0


@app.command
def plan(settings: Path, /, *, json: Path | None = None, flags: Flags = Options()) -> int:  # noqa: B008
    """Show what a settings file would do, without doing it.

    Parameters
    ----------
    settings
        YAML file of settings.
    json
        Write the plan to this file too.
    """
    from model_aggregation.files import write_json
    from model_aggregation.forecast import forecast
    from model_aggregation.settings_files import read_settings
    from model_aggregation.texts import plan_parts

    made = _plan(read_settings(settings, say=_reporter().message, **flags.given()))
    with _reporter().working() as reporter:
        forecasts = forecast(made, count=reporter.count)
    for part in plan_parts(made, forecasts):
        _print(part)
    if json is not None:
        write_json(json, {**made.to_dict(), "forecast": [entry.to_dict() for entry in forecasts]})
    _print("Nothing was written." if json is None else f"written: {json}")
    return 0


@app.command
def predict(
    run: Path,
    folder: Path,
    /,
    *,
    out: Path | None = None,
    device: str = "auto",
    batch_size: int = 32,
) -> int:
    """Predict new images with a finished run: probabilities, and the label at the run's cutoff.

    Parameters
    ----------
    run
        Folder of the run.
    folder
        Folder of images (all below it are taken), or one image.
    out
        CSV file to write; without it the table is printed.
    device
        auto, cpu, cuda, cuda:1, mps.
    batch_size
        Images per batch.
    """
    from model_aggregation.files import csv_text, write_csv
    from model_aggregation.prediction import predict_folder

    with _reporter().working() as reporter:
        table = predict_folder(run, folder, device=device, batch_size=batch_size, reporter=reporter)
    if out is None:
        _print(csv_text(table).rstrip("\n"))
    else:
        write_csv(out, table)
        unreadable = int((table["(error)"] != "").sum())
        _print(f"{len(table) - unreadable} images predicted, {unreadable} unreadable: {out}")
    return 0


@app.command
def leaderboard(
    group: str,
    /,
    *,
    log_folder: Path = Path("log"),
    csv: Path | None = None,
    xlsx: Path | None = None,
    json: Path | None = None,
) -> int:
    """Show the ranking of a comparison.

    Parameters
    ----------
    group
        Name of the comparison.
    log_folder
        Folder that holds all results.
    csv, xlsx, json
        Write the table to this file.
    """
    from model_aggregation.results.leaderboard import leaderboard as make
    from model_aggregation.results.leaderboard import leaderboard_parts, write_leaderboard

    table = make(log_folder, group)
    for part in leaderboard_parts(table, width=Console().width):
        _print(part)
    for form, path in (("csv", csv), ("xlsx", xlsx), ("json", json)):
        if path is not None:
            if path.suffix.lower() != f".{form}":
                raise ModelAggregationError(f"--{form} writes a .{form} file, but {path} was given.")
            write_leaderboard(table, path)
            _print(f"written: {path}")
    return 0


@app.command(name="analyze")
def analyze_files(
    predictions: Files,
    /,
    *,
    question: Question = TableQuestion(),  # noqa: B008
    out: Path | None = None,
    report: bool = True,
) -> int:
    """Evaluate a table of predictions (path, correct_label, a column per class), compare several, or redo a run folder.

    Parameters
    ----------
    predictions
        CSV file, several over the same images, or the folder of a finished run.
    out
        Folder for metrics, ROC, confusion matrix and report, or of several tables for comparison and ranking.
    report
        Write methods.md, curves and figures for papers too.
    """
    from model_aggregation.analysis_texts import analysis_parts
    from model_aggregation.run_analysis import analyze

    for part in analysis_parts(analyze(predictions, question, out, report=report)):
        _print(part)
    written = predictions[0] if predictions[0].is_dir() else out
    if written is not None:
        _print(f"written: {written}")
    return 0


@app.command(name="test")
def external_test(
    run: Path,
    data: Path,
    /,
    *,
    name: str | None = None,
    group: str | None = None,
    layout: Literal["auto", "classes", "splits"] = "auto",
    skip_unreadable: bool = False,
    allow_duplicates: bool = False,
    device: str = "auto",
) -> int:
    """Test a finished run on other images with its frozen cutoff; the results are stored beside its own.

    Parameters
    ----------
    run
        Folder of the run.
    data
        Folder of images or table (.csv, .parquet) with the columns path, label; where it has splits, its test images.
    name
        Name of the set; default made from the name of the folder.
    group
        Column of the table, or a regular expression with (?P<group>…) on the path.
    layout
        Whether the folders of the root are classes or splits.
    skip_unreadable
        Leave unreadable images out, and report the result with and without them.
    allow_duplicates
        Accept images that the run was trained on or chosen by; the results then say so.
    device
        auto, cpu, cuda, cuda:1, mps.
    """
    from model_aggregation.external import ExternalData, evaluate_external
    from model_aggregation.texts import metrics_parts

    external = ExternalData(data, name, group, layout, skip_unreadable, allow_duplicates)
    with _reporter().working() as reporter:
        set_name, metrics = evaluate_external(run, external, device=device, reporter=reporter)
    for part in metrics_parts(set_name, metrics[set_name]):
        _print(part)
    _print(f"written: {run} (set {set_name})")
    return 0


@app.command
def index(log_folder: Path = Path("log"), /) -> int:
    """Rebuild the database of a log folder from its run folders.

    Parameters
    ----------
    log_folder
        Folder that holds all results.
    """
    from model_aggregation.results.index import Index

    _print(str(Index(log_folder).rebuild()))
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
    from model_aggregation.engine import run as run_plan
    from model_aggregation.texts import finding_lines, outcome_parts

    made = _plan(settings)
    reporter = _reporter()
    for line in finding_lines(made):
        reporter.message(line)
    outcome = run_plan(made, reporter)
    for part in outcome_parts(made, outcome):
        _print(part)
    return outcome.exit_code


def _plan(settings: Settings) -> "Plan":
    from model_aggregation.plan import PositiveClassError, make_plan

    with _reporter().working() as reporter:
        try:
            return make_plan(settings, count=reporter.count)
        except PositiveClassError as needed:
            if not sys.stdin.isatty():
                raise
            classes = needed.classes
    positive = _ask_for_positive(classes)
    with _reporter().working() as reporter:
        return make_plan(settings.model_copy(update={"positive": positive}), count=reporter.count)


def _ask_for_positive(classes: tuple[str, ...]) -> str:
    from rich.prompt import Prompt

    return Prompt.ask("Which class is the positive one?", choices=list(classes), console=Console(stderr=True))


def _reporter() -> Any:
    from model_aggregation.progress import ConsoleReporter

    return ConsoleReporter()


def _print(content: Any) -> None:
    console = Console(highlight=False, soft_wrap=isinstance(content, str))
    console.print(content, markup=False) if isinstance(content, str) else console.print(content)


def main() -> None:
    """Run the command line and exit with its code; an error of ours is one message without a traceback."""
    # Idle OpenMP threads that spin slow a shared machine down many times; it must be set before torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Japanese name must not stop a cp932 or ASCII console
    try:
        code = app(sys.argv[1:], result_action="return_value")
    except CycloptsError:
        code = 1  # printed already
    except ModelAggregationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        code = 130 if type(error).__name__ == "InterruptionError" else 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)  # noqa: T201
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
