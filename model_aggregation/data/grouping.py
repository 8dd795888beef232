"""Groups: the units (patient, part, lot) that no split may tear apart."""

import re
from collections.abc import Sequence

import pandas as pd

from model_aggregation.data.image_table import SPLITS
from model_aggregation.data.table_file import as_text
from model_aggregation.errors import DataError

_FEWEST_GROUPS = 5
# Tried in this order; each must fit every id. The last folder counts only below the class folder.
_PATTERNS = (
    r"(?i)(?P<group>(?:patient|subject|person|case|pat|sub|lot|part)[-_ ]?\d+)",
    r"/(?P<group>[^/]+)/[^/]+$",
    r"(?P<group>[^/_\-. ]+)[_\- ][^/]*$",
    r"(?P<group>[^/]+?)[_\- ]\d+\.[^/.]+$",
)


def groups_from_column(frame: pd.DataFrame, column: str) -> list[str]:
    """Return the groups in a column as text, or raise a ``DataError`` that lists the rows without one."""
    groups = as_text(frame[column])
    empty = (groups == "").to_numpy()
    if empty.any() and not empty.all():
        problems = [f"no group for {name}" for name in frame.loc[empty, "id"]]
        raise DataError(f"column {column!r} gives a group to some images only; give one to all", problems)
    return groups.tolist()


def groups_from_pattern(ids: Sequence[str], pattern: str) -> list[str]:
    """Return what the named group ``group`` of a regular expression finds in each id.

    Raises
    ------
    DataError
        When the expression is wrong, has no named group ``group``, or misses images (all are listed).

    >>> groups_from_pattern(["cat/P7_1.png"], r"(?P<group>P\\d+)_")
    ['P7']
    """
    expression = _compiled(pattern)
    found = [expression.search(name) for name in ids]
    groups = [(match["group"] or "") if match else "" for match in found]
    missed = [name for name, group in zip(ids, groups, strict=True) if not group]
    if missed:
        raise DataError(
            f"--group {pattern!r} finds no group in {len(missed)} of {len(ids)} images; it must fit all",
            missed,
        )
    return groups


def guess_pattern(ids: Sequence[str], labels: Sequence[str]) -> str | None:
    """Return a regular expression that may find the groups in the ids, or None; only ever a suggestion.

    It fits every id and gives at least five groups, of two images each on average, that are not the classes.

    >>> ids = [f"cat/P{number // 3}_{number}.png" for number in range(30)]
    >>> guess_pattern(ids, ["cat"] * 30)
    '(?P<group>[^/_\\\\-. ]+)[_\\\\- ][^/]*$'
    """
    known = {*labels, *SPLITS}
    for pattern in _PATTERNS:
        expression = re.compile(pattern)
        groups = set()
        for name in ids:
            match = expression.search(name)
            if match is None:
                break
            groups.add(match["group"])
        else:
            if _FEWEST_GROUPS <= len(groups) <= len(ids) / 2 and not groups & known:
                return pattern
    return None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as reason:
        raise DataError(f"--group {pattern!r} is no regular expression: {reason}") from reason
    if "group" not in expression.groupindex:
        raise DataError(
            f"--group {pattern!r} is neither a column of the table nor a regular expression with a part "
            "named 'group', as in (?P<group>P\\d+)_"
        )
    return expression
