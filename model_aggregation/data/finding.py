"""One thing found in a data set, and the table that findings are written as."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from model_aggregation.errors import listed

Severity = Literal["error", "warning", "note"]

FILES_SHOWN = 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing found in a data set.

    Attributes
    ----------
    severity
        ``error`` stops before training; ``warning`` qualifies the results; ``note`` is for the record.
    kind
        A short fixed name, for tests and tables.
    message
        What was found, and what to do.
    files
        The ids concerned; for duplicates, equal ones stand next to each other.
    details
        Lines to show instead of the ids, where an id alone does not say enough.
    """

    severity: Severity
    kind: str
    message: str
    files: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.message, *self.lines(limit=FILES_SHOWN)])

    def lines(self, *, limit: int) -> list[str]:
        """Return the details, or else the files, as so many lines for a screen; a file's name may hold anything."""
        shown = [_CONTROL.sub(lambda found: repr(found[0])[1:-1], line) for line in self.details or self.files]
        return [f"    {line}" for line in listed(shown, limit=limit)]


def sorted_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors first, then warnings, then notes, each in the order given."""
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return one row per finding: ``severity``, ``kind``, ``message``, ``files`` and ``details`` joined by ``; ``."""
    rows = [
        (found.severity, found.kind, found.message, "; ".join(found.files), "; ".join(found.details))
        for found in findings
    ]
    return pd.DataFrame(rows, columns=["severity", "kind", "message", "files", "details"])
