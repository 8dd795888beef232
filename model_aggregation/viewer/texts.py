"""Every sentence a user of the viewer reads, in English and Japanese: ``texts/<page>.yaml``, loaded once.

A key is ``<file>.<name>``; in the file, each name holds its two sentences side by side:
``name: {en: "Runs", ja: "実行"}``. Words in braces are filled in by :func:`say`.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from model_aggregation.viewer.visitor import Language

TEXTS_FOLDER = Path(__file__).parent / "texts"


@cache
def texts() -> dict[str, dict[str, str]]:
    """Return all texts by key, then by language."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster, but not in every build
    found: dict[str, dict[str, str]] = {}
    for path in sorted(TEXTS_FOLDER.glob("*.yaml")):
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  (a safe loader)
        found |= {f"{path.stem}.{name}": pair for name, pair in content.items()}
    return found


def say(language: Language, key: str, **values: Any) -> str:
    """Return the text of ``key`` in ``language`` with ``values`` in place of the words in braces.

    >>> say("en", "state.failed")
    'failed'
    """
    text = texts()[key][language]
    return text.format(**values) if values else text
