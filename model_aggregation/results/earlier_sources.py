"""What may be said about a run of the earlier program: flags of ``magg predict`` and ``magg test``.

Stands apart from where it is used (``earlier_network``), so that the command line starts quickly.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@dataclass(frozen=True)
class EarlierSources:
    """What a run folder of the earlier program lacks, or what stands above what it holds.

    Parameters
    ----------
    settings
        Its settings file; default: RUN.yaml in its folder.
    weights
        Its file of weights; default: those of the best or the last epoch, as its settings tested it.
    classes
        Its class names in the order of its class folders; default: from its RUN_test.csv, else from its data folder.
    positive
        Its positive class of two; default: the sensitive one of its settings.
    transforms
        Python file with the transforms that it was trained with, if they were changed.
    trust_pickle
        Load a pickled network; loading runs whatever code the file holds.
    pickle_folder
        Folder whose Python files the classes of a trusted pickle come from, that of the earlier program.
    """

    settings: Path | None = None
    weights: Path | None = None
    classes: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    positive: str | None = None
    transforms: Path | None = None
    trust_pickle: Annotated[bool, Parameter(negative=())] = False
    pickle_folder: Path | None = None

    def given(self) -> list[str]:
        """Return the names of what is given."""
        return [entry.name for entry in fields(self) if getattr(self, entry.name) != entry.default]


NOTHING_GIVEN = EarlierSources()
