"""The commands about files of weights: fetch, verify."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from model_aggregation.cli.app import TrustFlags, app, reporter_for_console, say
from model_aggregation.input_options import Source
from model_aggregation.trusted_code import Trust, trusting

weights = App(name="weights", help="Weights for machines without internet: fetch them into a folder, verify a folder.")
app.command(weights)

Models = Annotated[list[str], Parameter(consume_multiple=True, negative=())]


@weights.command
def fetch(
    models: Models,
    /,
    *,
    to: Path,
    source: Source = "torchvision",
    model_sets: Path | None = None,
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Put the published weights of models into a folder, for --weights-dir on a machine without internet.

    Parameters
    ----------
    models
        torchvision:NAME, timm:NAME, patterns and sets; bare names belong to --source.
    to
        Folder to fill; what it holds already is kept. It gets a list of hashes, SHA256.txt.
    source
        Library of bare names.
    model_sets
        YAML file of named sets beside those of the program.
    """
    from model_aggregation.models.weights_folder import fetch as fill
    from model_aggregation.models.zoo import find_models

    with trusting(trust):
        found = find_models(models, source, sets_file=model_sets)
    reporter = reporter_for_console()
    results = fill(found, to, said=reporter.message)
    for result in results:
        say(f"{result.model}: {result.file or 'failed'}")
    failed = [result for result in results if result.file is None]
    for result in failed:
        reporter.message(result.reason)
    say(f"{len(results) - len(failed)} of {len(results)} are in {to}.")
    return 2 if failed else 0


@weights.command
def verify(folder: Path, /) -> int:
    """Check that the files of a folder are those that its list of hashes (SHA256.txt) says.

    Parameters
    ----------
    folder
        Folder of weights.
    """
    from model_aggregation.models.weights_folder import verify as compare

    found = compare(folder)
    for name, state in found.items():
        say(f"{state:10}  {name}")
    wrong = sum(state in ("changed", "missing") for state in found.values())
    unlisted = sum(state == "not listed" for state in found.values())
    extra = f", {unlisted} are not in the list" if unlisted else ""
    say(f"{len(found) - wrong - unlisted} files are as listed, {wrong} are not{extra}.")
    return 1 if wrong else 0
