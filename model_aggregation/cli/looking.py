"""Commands that look at results: predict, leaderboard, analyze, test, report, index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from model_aggregation.analysis.table_question import TableQuestion
from model_aggregation.cli.app import TrustFlags, app, reporter_for_console, say
from model_aggregation.errors import ModelAggregationError
from model_aggregation.results.earlier_sources import NOTHING_GIVEN, EarlierSources
from model_aggregation.trusted_code import Trust, trusting

Files = Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())]
Question = Annotated[TableQuestion, Parameter(name="*")]
Earlier = Annotated[EarlierSources, Parameter(name="*", group="Runs of the earlier program")]


@app.command
def predict(
    run: Path,
    folder: Path,
    /,
    *,
    out: Path | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    earlier: Earlier = NOTHING_GIVEN,
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Predict new images with a finished run: probabilities, and the label at the run's cutoff.

    A run folder of the earlier program will do too: what was taken from where is said, what it lacks is asked for.

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
        Images at once; default: as many as in the run's own test.
    """
    from model_aggregation.files import csv_text, write_csv
    from model_aggregation.prediction import predict_folder

    with trusting(trust), reporter_for_console().working() as reporter:
        table = predict_folder(run, folder, earlier, device=device, batch_size=batch_size, reporter=reporter)
    if out is None:
        say(csv_text(table).rstrip("\n"))
    else:
        write_csv(out, table)
        unreadable = int((table["(error)"] != "").sum())
        say(f"{len(table) - unreadable} images predicted, {unreadable} unreadable: {out}")
    return 0


@app.command
def leaderboard(
    group: str,
    /,
    *,
    log_folder: Path = Path("log"),
    members: bool = False,
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
    members
        Show every seed and fold as a row of its own instead of one row per model.
    csv, xlsx, json
        Write the table to this file.
    """
    from model_aggregation.results.leaderboard import leaderboard as make
    from model_aggregation.results.leaderboard import write_leaderboard
    from model_aggregation.results.leaderboard_text import leaderboard_parts

    with reporter_for_console().working() as reporter:
        table = make(log_folder, group, members=members, count=reporter.count)
    for part in leaderboard_parts(table, width=Console().width):
        say(part)
    for form, path in (("csv", csv), ("xlsx", xlsx), ("json", json)):
        if path is not None:
            if path.suffix.lower() != f".{form}":
                raise ModelAggregationError(f"--{form} writes a .{form} file, but {path} was given.")
            write_leaderboard(table, path)
            say(f"written: {path}")
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
    from model_aggregation.analysis.verbs import analyze
    from model_aggregation.cli.analysis_texts import analysis_parts

    for part in analysis_parts(analyze(predictions, question, out, report=report)):
        say(part)
    written = predictions[0] if predictions[0].is_dir() else out
    if written is not None:
        say(f"written: {written}")
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
    earlier: Earlier = NOTHING_GIVEN,
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Test a finished run on other images with its frozen cutoff; the results are stored beside its own.

    For a run folder of the earlier program it prints the command that tests its network as a run of its own.

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
    from model_aggregation.analysis.external import ExternalData, evaluate_external
    from model_aggregation.cli.texts import metrics_parts

    external = ExternalData(data, name, group, layout, skip_unreadable, allow_duplicates)
    with trusting(trust), reporter_for_console().working() as reporter:
        set_name, metrics = evaluate_external(run, external, earlier, device=device, reporter=reporter)
    for part in metrics_parts(set_name, metrics[set_name]):
        say(part)
    say(f"written: {run} (set {set_name})")
    return 0


@app.command
def index(log_folder: Path = Path("log"), /) -> int:
    """Rebuild the database of a log folder from its run folders.

    The predictions of runs of the earlier program are evaluated: their AUC with its interval is kept in the database.

    Parameters
    ----------
    log_folder
        Folder that holds all results.
    """
    from model_aggregation.analysis.stored_numbers import metrics_of
    from model_aggregation.results.earlier_evaluation import rebuild_index

    with reporter_for_console().working() as reporter:
        report = rebuild_index(log_folder, reporter.count, read_numbers=metrics_of)
    say(str(report))
    return 0


@app.command
def report(path: Path, /) -> int:
    """Write tables, figures for papers and the methods text of a finished run or of a comparison.

    Parameters
    ----------
    path
        Folder of the run, or of the comparison (log/NAME); the results go to report/ in it.
    """
    from model_aggregation.analysis.groups import write_report

    say(f"written: {write_report(path)}")
    return 0
