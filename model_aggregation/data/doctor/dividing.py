"""Making divisions in which nothing leaks, and checking given ones."""

from dataclasses import dataclass, replace
from pathlib import Path

from model_aggregation.data.doctor.rule import CheckRule, Count, inspected
from model_aggregation.data.finding import Finding, sorted_findings
from model_aggregation.data.findings import list_findings
from model_aggregation.data.image_table import LOOK_ALIKE, ImageTable
from model_aggregation.data.kept_tables import default_kept
from model_aggregation.data.look_alikes import LookAlikes, find_look_alikes, mark_look_alikes
from model_aggregation.data.splitting import FoldRule, SplitRule, apply_split, repeated_fold_tables, split_images
from model_aggregation.errors import DataError, SettingsError

_LARGEST_FAMILY = 0.05  # share of the images


@dataclass(frozen=True)
class DivisionRule:
    """How images are divided: shares as in ``SplitRule``; with ``folds`` into so many, drawn ``repeats`` times."""

    test_share: float = 0.2
    train_share: float = 0.8
    seed: int = 0
    folds: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.folds is not None and self.folds < 2:
            problems.append(f"--folds must be at least 2, not {self.folds}")
        if self.repeats < 1:
            problems.append(f"--repeats must be at least 1, not {self.repeats}")
        if self.repeats > 1 and self.folds is None:
            problems.append("--repeats draws folds again; say how many: --folds")
        if self.folds is not None and self.test_share != SplitRule.test_share:
            problems.append("--test-share has no effect with --folds: each fold is the test once")
        if problems:
            raise SettingsError("no images can be divided so", problems)


def divide(
    data: Path, rule: DivisionRule, images: CheckRule, *, count: Count | None = None
) -> tuple[dict[str, ImageTable], list[Finding]]:
    """Return the divided tables by the end of their file's name (``""``, ``"_f1"``, ``"_r1_f1"``), and the findings.

    Findings that only say that all is well divided are left out; unreadable images get no split, and are a warning.
    """
    table, alike = _with_look_alikes(inspected(data, images, count=count), images)
    if rule.folds is None:
        tables = {"": split_images(table, SplitRule(rule.test_share, rule.train_share, rule.seed))}
    else:
        fold_rule = FoldRule(rule.folds, rule.train_share, rule.seed)
        tables = {
            f"_r{repeat}_f{fold}" if rule.repeats > 1 else f"_f{fold}": one
            for repeat, folds in enumerate(repeated_fold_tables(table, fold_rule, repeats=rule.repeats), 1)
            for fold, one in enumerate(folds, 1)
        }
    return tables, _findings(list(tables.values()), alike)


def check_division(
    data: Path, split_file: Path, images: CheckRule, *, count: Count | None = None
) -> tuple[dict[str, ImageTable], list[Finding]]:
    """Return the images divided as a file says, under the empty name, and what stands against that."""
    table, alike = _with_look_alikes(inspected(data, images, count=count), images)
    divided = apply_split(table, split_file)
    return {"": divided}, _findings([divided], alike)


def keep_together(table: ImageTable, alike: LookAlikes) -> ImageTable:
    """Return a table whose near duplicates no split will part, however it is drawn.

    Raises
    ------
    DataError
        When so many images are joined, each like the next, that they are hardly copies of one another.
    """
    marked = mark_look_alikes(table, alike)
    sizes = marked.frame[LOOK_ALIKE].value_counts()
    if len(sizes) and sizes.iloc[0] > max(20, _LARGEST_FAMILY * len(marked.frame)):
        raise DataError(
            f"{sizes.iloc[0]} of {len(marked.frame)} images look alike, each like the next, and would all lie in one "
            f"split. If they do not show the same thing, say so with a stricter --alike than {alike.threshold:g}, such "
            "as 0.99; if they do, give their groups with --group."
        )
    return marked


def words_of_kept(table: ImageTable) -> str:
    """Say how many near duplicates a table keeps together, and how many groups become one with another by that."""
    rows = table.frame[table.frame[LOOK_ALIKE].notna()]
    families = rows.groupby(LOOK_ALIKE)["group"]
    across = rows[families.transform("nunique") > 1]["group"].nunique()
    joined = f", which joins {across} groups to others" if across else ""
    return f"{len(rows)} near duplicates in {families.ngroups} families kept together{joined}"


def _with_look_alikes(table: ImageTable, images: CheckRule) -> tuple[ImageTable, LookAlikes]:
    alike = find_look_alikes(table, threshold=images.alike, kept=default_kept(images.cache_folder))
    return keep_together(table, alike), alike


def _findings(tables: list[ImageTable], alike: LookAlikes) -> list[Finding]:
    """Return each finding once; of several folds with the number of folds it concerns."""
    found: dict[Finding, int] = {}
    for table in tables:
        for finding in list_findings(table, skip_unreadable=True, alike=alike):
            found[finding] = found.get(finding, 0) + 1
    return sorted_findings(
        finding if number == len(tables) else replace(finding, message=f"in {number} folds: {finding.message}")
        for finding, number in found.items()
    )
