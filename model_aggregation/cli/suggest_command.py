"""The command that proposes networks for a data set and a budget."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from model_aggregation.cli.app import TrustFlags, app, reporter_for_console, say
from model_aggregation.cli.making import Flags, plan_for
from model_aggregation.options import Options
from model_aggregation.trusted_code import Trust, trusting

if TYPE_CHECKING:
    from model_aggregation.advisor.advice import Advice

Models = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


@app.command
def suggest(
    data: Path,
    /,
    *,
    models: Models = None,
    budget: str | None = None,
    probe_images: int = 500,
    csv: Path | None = None,
    json: Path | None = None,
    flags: Flags = Options(),  # noqa: B008  (frozen)
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """Propose networks to compare: measures a few batches of each here and probes its frozen features; trains none.

    Ctrl-C ends the measuring; what was measured until then is shown.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    models
        Names, patterns and sets to choose from; default: every network whose weights are on this machine, else
        @balanced. Nothing is downloaded.
    budget
        Time that the comparison may take, such as 2h, 90min or 1h30m; default: no limit.
    probe_images
        About so many images of the training part are probed; validation and test images never.
    csv
        Write the table to this .csv file too.
    json
        Write the table to this .json file too.
    """
    from model_aggregation.advisor.advice import suggested
    from model_aggregation.advisor.candidates import asked_for, seconds_of
    from model_aggregation.cli.models_command import check_suffixes
    from model_aggregation.files import write_csv, write_json

    check_suffixes(csv=csv, json=json)
    seconds = seconds_of(budget)
    with trusting(trust):
        asked = asked_for(data, tuple(models or ()), **flags.given())
    reporter = reporter_for_console()
    advice = suggested(asked, plan_for, budget_seconds=seconds, probe_images=probe_images, reporter=reporter)
    command = _command(data, advice, flags)
    for part in _parts(advice, command):
        say(part)
    if csv is not None:
        write_csv(csv, advice.table())
        say(f"written: {csv}")
    if json is not None:
        write_json(json, {**advice.to_dict(), "command": command})
        say(f"written: {json}")
    if advice.interrupted:
        return 130
    return 2 if any(entry.state == "failed" for entry in advice.candidates) else 0


def _parts(advice: "Advice", command: str | None) -> Iterator[Any]:
    """Yield the table, why networks are not proposed, what the proposed ones need together, and what to type."""
    from model_aggregation.cli.texts import duration

    yield _table(advice)
    for entry in advice.candidates:
        if entry.reason:
            yield f"{entry.model}: {entry.state}: {entry.reason}"
    if advice.interrupted:
        yield "Stopped: what was not measured could not be proposed."
    if advice.probe_images:
        yield (
            f"The probe is no result: a linear model on frozen features of {advice.probe_images} training images, "
            "each predicted by a model that did not learn it; in brackets 95 % intervals. Nothing was trained, "
            "validation and test images were not looked at."
        )
    if command is None:
        yield "Nothing can be proposed."
        return
    limit = "" if advice.budget_seconds is None else f" of {duration(advice.budget_seconds)}"
    yield (
        f"Proposed: {len(advice.models)} of {len(advice.candidates)}, best probe first. Together about "
        f"{duration(advice.seconds)}{limit} on this machine (of it {duration(advice.decoding_seconds)} to decode the "
        f"images, unless they are kept from before); memory at least {_bytes(advice.memory_bytes)} for a batch, "
        f"beside the program's own; disk {_bytes(advice.disk_bytes)}."
    )
    yield command


def _table(advice: "Advice") -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from model_aggregation.cli.texts import duration

    view = Table(title="Candidates", title_justify="left", box=box.SIMPLE_HEAD)
    view.add_column("model", overflow="fold")
    for heading in (f"probe:\n{advice.metric.replace('_', chr(10))}", "million\nweights", "time", "memory\ndisk"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("", no_wrap=True)
    for entry in advice.candidates:
        estimate = (entry.probe or {}).get(advice.metric)
        cells = (
            entry.model,
            "–" if estimate is None else estimate.text().replace(" (", "\n("),
            "–" if entry.parameters is None else f"{entry.parameters / 1e6:.1f}",
            "–" if entry.seconds is None else duration(entry.seconds),
            "\n".join("–" if number is None else _bytes(number) for number in (entry.memory_bytes, entry.disk_bytes)),
            entry.state,
        )
        view.add_row(*map(Text, cells))
    return view


def _bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _command(data: Path, advice: "Advice", flags: Options) -> str | None:
    """Return the command that compares (of one: trains) the proposed networks with the settings that were given."""
    from model_aggregation.cli.texts import quoted

    if not advice.models:
        return None
    given = {key: value for key, value in flags.given().items() if key not in ("positive", "weights")}
    words = ["magg", "compare", str(data), "--models", *advice.models]
    if len(advice.models) == 1:
        words = ["magg", "train", str(data), "--model", *advice.models]
    files = [word for word in flags.weights if word.partition("=")[0] in advice.models]
    words += ["--weights", *files] if files else []
    words += ["--positive", advice.positive] if advice.positive else []
    for key, value in given.items():
        words += _flag(key.replace("_", "-"), value)
    return " ".join(map(quoted, words))


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, tuple):
        return [f"--{name}", *map(str, value)] if value else []
    return [f"--{name}", "none" if value is None else str(value)]
