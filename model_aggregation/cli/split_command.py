"""The command that makes a split or looks at one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from model_aggregation.cli.app import app, reporter_for_console, say
from model_aggregation.cli.data_options import DataOptions

if TYPE_CHECKING:
    from model_aggregation.data.image_table import ImageTable


@app.command
def split(
    data: Path,
    /,
    *,
    out: Path = Path("splits.csv"),
    check: Annotated[Path | None, Parameter(negative=())] = None,
    folds: int | None = None,
    repeats: int = 1,
    test_share: float = 0.2,
    train_share: float = 0.8,
    seed: int = 0,
    images: DataOptions = DataOptions(),  # noqa: B008  (frozen)
) -> int:
    """Divide images into train, val and test, or into folds, so that nothing leaks; or check a given division.

    Stratified by class; groups, equal pictures and near duplicates are kept together. Train with it: --split FILE.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    out
        File to write; with folds one for each (splits_f1.csv, …), with repeats splits_r1_f1.csv, ….
    check
        Table (splits.csv) to check against the images; nothing is written.
    folds
        Make so many folds: each is test once, the others are divided into train and val.
    repeats
        Draw the folds so many times, with seed, seed + 1, ….
    test_share
        Share of all images for the test.
    train_share
        Share of the remaining images for training; the rest is validation.
    seed
        Another seed gives another split; the same one gives the same on every machine.
    """
    from model_aggregation.data.doctor.dividing import DivisionRule, check_division, divide
    from model_aggregation.data.doctor.page import finding_lines

    looked_at = images.check_rule()
    with reporter_for_console().working() as reporter:
        if check is not None:
            tables, findings = check_division(data, check, looked_at, count=reporter.count)
        else:
            rule = DivisionRule(test_share, train_share, seed, folds, repeats)
            tables, findings = divide(data, rule, looked_at, count=reporter.count)
    for line in finding_lines(findings):
        say(line)
    for name, table in tables.items():
        _show(name, table)
        if check is None:
            _write(table, out.with_name(f"{out.stem}{name}{out.suffix or '.csv'}"))
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _write(table: "ImageTable", path: Path) -> None:
    from model_aggregation.data.splitting import write_split

    write_split(table, path)
    say(f"written: {path}")


def _show(name: str, table: "ImageTable") -> None:
    """Print the images and shares of each class in each split."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    counts = table.counts()
    shown = Table(title=f"Images{name.replace('_', ' ')}", title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("class", overflow="fold")
    for split_name in counts.columns:
        shown.add_column(str(split_name), justify="right")
    totals = counts.sum()
    for label, row in counts.iterrows():
        cells = [f"{number} ({number / max(1, total):.1%})" for number, total in zip(row, totals, strict=True)]
        shown.add_row(Text(str(label)), *cells)
    shown.add_row("all", *(str(int(number)) for number in totals))
    say(shown)
