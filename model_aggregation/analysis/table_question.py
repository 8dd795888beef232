"""What is asked of tables of predictions: the one source of the flags of ``magg analyze`` and their help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

_Several = Parameter(consume_multiple=True, negative=())


@dataclass(frozen=True)
class TableQuestion:
    """How tables of predictions are to be read and what is asked of them.

    Parameters
    ----------
    positive
        Class counted as positive (two classes).
    cutoff
        Scores above it count as positive; default 0.5.
    cutoff_from
        Table of validation predictions that the cutoff is chosen on; of several tables one for each, in their order.
    cutoff_rule
        How a cutoff is chosen: balanced_accuracy (default) or youden on the tables of --cutoff-from; earlier, as the
        earlier program did, also on the table itself, which makes the numbers exploratory.
    group_column
        Column with the unit that belongs together (patient).
    by
        Column whose values are evaluated one by one (site, scanner); for a run a column of its images.csv.
    score
        Column with a single score of any range (two classes), higher meaning --positive.
    classes
        The columns that are classes, where other columns stand behind correct_label; with --score the two classes.
    selected
        Of several tables the model that was best on validation images; the others are compared with it.
    primary
        The one metric that is tested between models; default auc, for three classes and more balanced_accuracy.
    plot_settings
        YAML with title, xlabel, ylabel of the ROC figure and cutoff_ll, cutoff_ul, the limits of a chosen cutoff.
    seed
        Seed of the bootstrap resamples.
    """

    positive: str | None = None
    cutoff: float | None = None
    cutoff_from: Annotated[tuple[Path, ...], _Several] = ()
    cutoff_rule: Literal["balanced_accuracy", "youden", "earlier"] | None = None
    group_column: str | None = None
    by: str | None = None
    score: str | None = None
    classes: Annotated[tuple[str, ...], _Several] = ()
    selected: str | None = None
    primary: str | None = None
    plot_settings: Path | None = None
    seed: int = 0

    @property
    def chooses_here(self) -> bool:
        """Whether the cutoff is chosen on the very table that it is applied to."""
        return self.cutoff_rule == "earlier" and not self.cutoff_from
