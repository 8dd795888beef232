"""Links in run folders: nothing outside of the log folder is read through them."""

from pathlib import Path

from model_aggregation.errors import ResultsError


def refuse_link_outside(path: Path) -> None:
    """Raise ResultsError for a link that leads out of the folder that its run lies in."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.parent.resolve()):
        raise ResultsError(f"{path} is a link that leads out of the results; it is not read.")
