"""The command that examines a data set."""

from pathlib import Path

from model_aggregation.cli.app import app, reporter_for_console, say
from model_aggregation.cli.data_options import DataOptions


@app.command
def check(
    data: Path,
    /,
    *,
    out: Path | None = None,
    split: Path | None = None,
    image_size: int = 224,
    images: DataOptions = DataOptions(),  # noqa: B008  (frozen)
) -> int:
    """Find what is wrong with a data set before hours are spent on it.

    Prints the findings and writes findings.csv, statistics.csv and findings.html (with thumbnails). The exit code is 1
    if there is an error that would stop a training.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    out
        Folder to write to; default: check/NAME OF THE DATA.
    split
        Table (splits.csv) that says which image is for train, val and test.
    image_size
        Pixels that the model takes; smaller images are found.
    """
    from model_aggregation.data.doctor.examination import examine
    from model_aggregation.data.doctor.page import finding_lines, summary

    rule = images.check_rule(split=split, image_size=image_size)
    with reporter_for_console().working() as reporter:
        found = examine(data, rule, count=reporter.count)
    for line in finding_lines(found.findings):
        say(line)
    say(summary(found.table, found.findings))
    for path in found.write(out or default_folder(data)):
        say(f"written: {path}")
    return 0 if found.passed else 1


def default_folder(data: Path) -> Path:
    """Return the folder that an examination is written to unless another is given."""
    return Path("check") / (data.resolve().stem or "data")
