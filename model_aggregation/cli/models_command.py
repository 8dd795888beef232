"""The command that lists networks."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from model_aggregation.cli.app import TrustFlags, app, reporter_for_console, say
from model_aggregation.errors import ModelAggregationError
from model_aggregation.input_options import Source
from model_aggregation.trusted_code import Trust, trusting

if TYPE_CHECKING:
    from model_aggregation.models.catalogue import Entry, Order

_THOUSANDS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """Which networks are listed.

    Parameters
    ----------
    source
        Only this library.
    pretrained
        Only networks with published weights.
    max_params
        Most parameters, such as 30M.
    input_size
        Only networks made for images of this size in pixels.
    license
        Only weights whose licence holds this text; where a library names no licence, they are left out.
    here
        Only networks whose weights are on this machine, those under a tag of their own in --weights-dir too.
    """

    source: Source | None = None
    pretrained: Annotated[bool, Parameter(negative=())] = False
    max_params: str | None = None
    input_size: int | None = None
    license: str | None = None
    here: Annotated[bool, Parameter(negative=())] = False


@app.command
def models(
    *patterns: str,
    wanted: Wanted = Wanted(),
    sort: Literal["name", "params", "size", "accuracy", "speed"] = "name",
    weights_dir: Path | None = None,
    model_sets: Path | None = None,
    count: Annotated[bool, Parameter(negative=())] = False,
    csv: Path | None = None,
    json: Path | None = None,
    trust: TrustFlags = Trust(),  # noqa: B008
) -> int:
    """List the networks that can be named, with size, input, accuracy, licence and whether their weights are here.

    Parameters
    ----------
    patterns
        Names, patterns (resnet*, 'timm:efficientnet_b[0-3]', with weights tags 'resnet50.*') or sets (@quick);
        without any, all networks.
    sort
        By name, parameters, input size, accuracy (best first), or speed: multiply-adds, since nothing is timed here.
    weights_dir
        Folder of weights that is looked into beside the libraries' own download folders.
    model_sets
        YAML file of named sets beside those of the program.
    count
        Count parameters and multiply-adds that are not known for the installed version, about a second a network.
    csv
        Write the table to this .csv file.
    json
        Write the table to this .json file.
    """
    from model_aggregation.models.catalogue import Question, catalogue

    limit = _number(wanted.max_params)
    question = Question(
        patterns, wanted.source, wanted.pretrained, limit, wanted.input_size, wanted.license, wanted.here
    )
    check_suffixes(csv=csv, json=json)
    with trusting(trust), reporter_for_console().working() as reporter:
        answer = catalogue(
            question, order=_order(sort), weights_dir=weights_dir, sets_file=model_sets, count_unknown=count,
            told=reporter.count,
        )  # fmt: skip
    entries = list(answer.entries)
    if csv is None and json is None and entries:
        say(_table(entries))
        say(_legend(sort))
    _write(entries, csv, json)
    say(f"{len(entries)} model{'s' * (len(entries) > 1)}." if entries else "No model meets all of these conditions.")
    if answer.uncounted:
        say(
            f"{answer.uncounted} more were left out: their size is not known for the installed version; --count counts."
        )
    return 0


def _order(sort: str) -> "Order":
    return sort  # type: ignore[return-value]  # the same words


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    unit = text[-1:].upper() if text[-1:].upper() in _THOUSANDS else ""
    try:
        return float(text[: len(text) - len(unit)]) * _THOUSANDS[unit]
    except ValueError:
        raise ModelAggregationError(f"--max-params: expected a number such as 30M, but '{text}' was given.") from None


def check_suffixes(**files: Path | None) -> None:
    """Refuse files whose suffix is not their form."""
    for form, path in files.items():
        if path is not None and path.suffix.lower() != f".{form}":
            raise ModelAggregationError(f"--{form} writes a .{form} file, but {path} was given.")


def _table(entries: list["Entry"]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    right = ("parameters", "multiply-adds", "pixels", "top-1 %")
    for heading in ("model", "weights", *right, "licence", "here"):
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for entry in entries:
        cells = (
            entry.model,
            _shown(entry.weights),
            _shown(entry.parameters, lambda number: f"{number / 1e6:.1f} M"),
            _shown(entry.multiply_adds, lambda number: f"{number / 1e9:.2f} G"),
            str(entry.image_size),
            _shown(entry.top1, lambda value: f"{value:.1f}"),
            _shown(entry.license),
            "yes" if entry.file else "no",
        )
        table.add_row(*map(Text, cells))
    return table


def _shown(value: Any, form: Any = str) -> str:
    return "–" if value is None else form(value)


def _legend(sort: str) -> str:
    lines = [
        "Parameters and multiply-adds (of one image) with a head for 1,000 classes; top-1 on ImageNet as the library "
        "publishes it; –: not known from the installed packages."
    ]
    if sort == "speed":
        lines.append("Sorted by multiply-adds; nothing was timed, and networks of the same count differ in speed.")
    return "\n".join(lines)


def _write(entries: list["Entry"], csv: Path | None, json: Path | None) -> None:
    import pandas as pd

    from model_aggregation.files import write_csv, write_json
    from model_aggregation.models.catalogue import Entry

    rows = [entry.to_dict() for entry in entries]
    if csv is not None:
        columns = [field.name for field in fields(Entry)]
        write_csv(csv, pd.DataFrame(rows, columns=columns).astype({"parameters": "Int64", "multiply_adds": "Int64"}))
        say(f"written: {csv}")
    if json is not None:
        write_json(json, rows)
        say(f"written: {json}")
