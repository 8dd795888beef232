"""One page that shows what was found: self-contained, with thumbnails, nothing from the network."""

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from html import escape

import pandas as pd
from PIL import Image

from model_aggregation.data.decoding import ReadingRule, open_image
from model_aggregation.data.doctor.shortcuts import Shortcuts
from model_aggregation.data.finding import Finding
from model_aggregation.data.image_table import ImageTable
from model_aggregation.errors import DataError

_THUMBNAIL_PX = 96
_PICTURES_PER_FINDING = 12
_LINES_PER_FINDING = 20
_MOST_ROWS = 60
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2733; }
section { border-left: 5px solid #9aa7b4; margin: 1.2rem 0; padding: .2rem 1rem; overflow-wrap: anywhere; }
section.error { border-color: #b42318; } section.warning { border-color: #b5720b; }
.severity { font-weight: 600; } .kind { color: #5b6875; } ul { margin: .4rem 0; padding-left: 1.2rem; }
figure { display: inline-block; margin: .3rem; width: 104px; vertical-align: top; font-size: 11px; }
figure img { width: 96px; height: 96px; object-fit: contain; } table { border-collapse: collapse; font-size: 13px; }
td, th { border-bottom: 1px solid #d7dee5; padding: .15rem .6rem; text-align: right; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
.wide { overflow-x: auto; }
"""


def page(
    table: ImageTable,
    findings: Sequence[Finding],
    statistics: pd.DataFrame,
    shortcuts: Shortcuts,
    reading: ReadingRule,
) -> str:
    """Return the page as HTML; the pictures of each finding are read again, the first twelve of them."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Check of {escape(table.root.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Check of {escape(str(table.root))}</h1>",
        f"<p>{escape(summary(table, findings))}</p>",
        _html_table(table.counts().reset_index()),
        "<h2>Findings</h2>",
        *(_section(finding, table, reading) for finding in findings),
        "<h2>What predicts the class without looking at it</h2>",
        "<p>AUC of a logistic regression on images left out, one class against the rest; 0.5 is chance.</p>",
        _html_table(shortcuts.aucs) if len(shortcuts.aucs) else f"<p>{escape(shortcuts.reason or 'nothing')}</p>",
        "<h2>How the images look</h2>",
        _html_table(statistics),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def summary(table: ImageTable, findings: Sequence[Finding]) -> str:
    """Return one sentence: images, classes, and how many findings of each severity."""
    numbers = dict.fromkeys(("error", "warning", "note"), 0)
    for finding in findings:
        numbers[finding.severity] += 1
    found = ", ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in numbers.items())
    return f"{len(table.frame)} images in {len(table.classes)} classes: {found}."


def _section(finding: Finding, table: ImageTable, reading: ReadingRule) -> str:
    lines = finding.details[:_LINES_PER_FINDING]
    more = len(finding.details) - len(lines)
    items = [*lines, *([f"… and {more} more, see findings.csv"] if more > 0 else [])]
    return "\n".join(
        [
            f'<section class="{finding.severity}"><p><span class="severity">{finding.severity}</span> '
            f'<span class="kind">{escape(finding.kind)}</span><br>{escape(finding.message)}</p>',
            "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in items) + "</ul>" if items else "",
            *_figures(finding.files[:_PICTURES_PER_FINDING], table, reading),
            "</section>",
        ]
    )


def _figures(ids: Sequence[str], table: ImageTable, reading: ReadingRule) -> Iterator[str]:
    if not ids:
        return
    rows = table.readable()
    paths = rows[rows["id"].isin(ids)].drop_duplicates("id").set_index("id")["path"]
    for name in ids:
        if name in paths:
            yield f"<figure>{_picture(paths[name], reading)}<figcaption>{escape(name)}</figcaption></figure>"


def _picture(path: str, reading: ReadingRule) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the inspection has them as remarks
            image = open_image(path, channels=3, rule=reading)
    except DataError:  # changed since it was inspected
        return "(unreadable now)"
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}">'


def _html_table(frame: pd.DataFrame) -> str:
    shown = frame.head(_MOST_ROWS)
    left = len(frame) - len(shown)
    html = shown.to_html(index=False, border=0, float_format=_three_digits, escape=True)
    return f'<div class="wide">{html}</div>' + (f"<p>… and {left} more rows</p>" if left else "")


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield each finding as text for a screen: severity, message, and its first files or details."""
    for finding in findings:
        yield "\n".join([f"{finding.severity}: {finding.message}", *finding.lines(limit=5)])
