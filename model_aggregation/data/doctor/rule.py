"""What may be chosen about an examination, and the data set that it looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_aggregation.data.decoding import USUAL_READING, ReadingRule
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.inspection import default_cache, inspect
from model_aggregation.data.look_alikes import ALIKE
from model_aggregation.data.scan import Layout, scan

Count = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckRule:
    """What may be chosen about an examination.

    Attributes
    ----------
    group, layout
        As for training: the unit that must not be torn apart, and how a folder is read.
    split
        A table (splits.csv) to check the images by.
    image_size
        Pixels that a model takes, each way.
    alike
        Correlation of thumbnails from which two pictures count as near duplicates.
    reading
        The window of deep grey images, and the most pixels of a file.
    workers
        Processes that read, default: one per core.
    cache_folder
        Folder for what was found in files, default: the user's cache folder.
    """

    group: str | None = None
    layout: Layout = "auto"
    split: Path | None = None
    image_size: int = 224
    alike: float = ALIKE
    reading: ReadingRule = USUAL_READING
    workers: int | None = None
    cache_folder: Path | None = None


def inspected(data: Path, rule: CheckRule, *, count: Count | None = None) -> ImageTable:
    """Return the table of a data set with everything that is known of its files, appearance included."""
    table = scan(data, group=rule.group, layout=rule.layout)
    reading = (lambda done, total: count("reading images", done, total)) if count else None
    cache = default_cache(rule.cache_folder)
    return inspect(table, workers=rule.workers, progress=reading, cache=cache, rule=rule.reading, appearance=True)
