"""Every error this program raises on purpose.

    ModelAggregationError       the base; the command line prints it without a traceback, exit code 1
    ├── SettingsError           a setting, a flag or a settings file
    ├── DataError               the data set: files, classes, splits, groups
    │   └── DamagedCacheError       what a run keeps on the disk for itself was changed while it went on
    ├── ModelError              a model's name, its weights, its construction
    ├── TrainingError           training cannot go on (loss is not finite, checkpoint damaged)
    ├── PredictionsError        a table of predictions cannot be evaluated
    ├── ResultsError            the log folder, a run folder or the index
    │   └── ChangedResultsError     a file of a run is not what the run wrote
    ├── UntrustedCodeError      a file names code that nobody here has said yes to
    └── InterruptionError       the user stopped the program (Ctrl-C, SIGTERM); exit code 130

An error says what was expected, what came and what to do. Where several things are wrong, all of them are
listed at once.
"""

from collections.abc import Sequence

LISTED_PROBLEMS = 20


class ModelAggregationError(Exception):
    """Base of all errors that a user can act on.

    Parameters
    ----------
    message
        What is wrong and what to do, in the user's words.
    problems
        The single findings behind the message; the first 20 are shown, the number of the rest is said.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.message = message
        self.problems = tuple(problems)
        super().__init__(message, self.problems)  # both arguments, so that the error survives pickling

    def __str__(self) -> str:
        return "\n".join([self.message, *listed(self.problems)])


def listed(problems: Sequence[str], limit: int = LISTED_PROBLEMS) -> list[str]:
    """Return at most ``limit`` problems as bullet lines, with a last line that counts the rest.

    >>> listed(["one", "two", "three"], limit=2)
    ['  - one', '  - two', '  … and 1 more']
    """
    lines = [f"  - {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  … and {len(problems) - limit} more")
    return lines


class SettingsError(ModelAggregationError):
    """A setting, a flag or a settings file cannot be used as given."""


class DataError(ModelAggregationError):
    """The data set cannot be used as it is."""


class DamagedCacheError(DataError):
    """Decoded images, features or weights that a run keeps on the disk were changed while it went on."""


class ModelError(ModelAggregationError):
    """A model cannot be found, built or given its weights."""


class TrainingError(ModelAggregationError):
    """Training cannot go on."""


class PredictionsError(ModelAggregationError):
    """A table of predictions cannot be evaluated."""


class ResultsError(ModelAggregationError):
    """The log folder, a run folder or the index does not allow what was asked."""


class ChangedResultsError(ResultsError):
    """A file of a run is not what the run wrote, or holds numbers that no evaluation can have made."""


class UntrustedCodeError(ModelAggregationError):
    """A run folder or a settings file names code that would run, and the user has not said yes to it."""


class InterruptionError(ModelAggregationError):
    """The user stopped the program; what was done is stored."""
