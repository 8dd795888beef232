"""One examination of a data set: everything that stands against it, before hours are spent on training."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from model_aggregation import files
from model_aggregation.data.decoding import ReadingRule
from model_aggregation.data.doctor.page import page
from model_aggregation.data.doctor.rule import CheckRule, Count, inspected
from model_aggregation.data.doctor.shortcuts import Shortcuts, find_shortcuts, shortcut_findings
from model_aggregation.data.doctor.statistics import split_findings, statistics
from model_aggregation.data.file_findings import small_images
from model_aggregation.data.finding import Finding, findings_table, sorted_findings
from model_aggregation.data.findings import list_findings
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.kept_tables import default_kept
from model_aggregation.data.look_alikes import LookAlikes, find_look_alikes
from model_aggregation.data.splitting import apply_split


@dataclass(frozen=True, eq=False)
class Examination:
    """The images and what was found in them; ``findings`` holds errors first."""

    table: ImageTable
    findings: tuple[Finding, ...]
    statistics: pd.DataFrame
    shortcuts: Shortcuts
    alike: LookAlikes
    reading: ReadingRule

    @property
    def passed(self) -> bool:
        """Whether training may begin: there is no error."""
        return all(finding.severity != "error" for finding in self.findings)

    def findings_table(self) -> pd.DataFrame:
        """Return one row per finding; see :func:`model_aggregation.data.finding.findings_table`."""
        return findings_table(self.findings)

    def write(self, folder: Path) -> list[Path]:
        """Write ``findings.csv``, ``statistics.csv`` and ``findings.html``; return their paths."""
        paths = [folder / name for name in ("findings.csv", "statistics.csv", "findings.html")]
        files.write_csv(paths[0], self.findings_table())
        files.write_csv(paths[1], self.statistics)
        files.write_text(paths[2], page(self.table, self.findings, self.statistics, self.shortcuts, self.reading))
        return paths


def examine(data: Path, rule: CheckRule, *, count: Count | None = None) -> Examination:
    """Read all images and return everything found; nothing is written but the cache of inspections.

    Parameters
    ----------
    data
        Folder of images, or table with the columns ``path``, ``label``.
    count
        Called with what is done, how much of it, and of how much.

    Raises
    ------
    DataError, SettingsError
        When there is no data set to examine, or the split does not fit it.
    """
    table = inspected(data, rule, count=count)
    if rule.split is not None:
        table = apply_split(table, rule.split)
    count_step = count or _no_count
    count_step("looking for near duplicates and shortcuts", 0, 3)
    kept = default_kept(rule.cache_folder)
    alike = find_look_alikes(table, threshold=rule.alike, kept=kept)
    count_step("looking for near duplicates and shortcuts", 1, 3)
    shortcuts = find_shortcuts(table, kept=kept)
    count_step("looking for near duplicates and shortcuts", 2, 3)
    findings = [
        *(found for found in list_findings(table, alike=alike) if table.presplit or found.kind != "no-split"),
        *shortcut_findings(shortcuts),
        *split_findings(table),
        *small_images(table, rule.image_size),
    ]
    summary = statistics(table)
    count_step("looking for near duplicates and shortcuts", 3, 3)
    return Examination(table, tuple(sorted_findings(findings)), summary, shortcuts, alike, rule.reading)


def _no_count(what: str, done: int, total: int) -> None:
    """Say nothing."""
