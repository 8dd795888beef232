"""Options that the commands about data sets share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Group = Annotated[
    str | None,
    Parameter(
        help="Unit that must not be torn apart: a column of the table, or a regular expression on the path with a part "
        "named 'group'."
    ),
]
Layout = Annotated[
    Literal["auto", "classes", "splits"],
    Parameter(help="How a folder is read: 'classes' = DATA/class/image, 'splits' = DATA/train/class/image."),
]
Alike = Annotated[
    float,
    Parameter(help="Correlation of thumbnails, 0.5 to 1, from which two pictures count as near duplicates."),
]
Workers = Annotated[int | None, Parameter(help="Processes that read images; default: one per core.")]
CacheFolder = Annotated[
    Path | None,
    Parameter(
        help="Folder for what was found in files, so that unchanged ones are not read again; default: the user's cache "
        "folder."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """How the images of a data set are found and looked at."""

    group: Group = None
    layout: Layout = "auto"
    alike: Alike = 0.95
    workers: Workers = None
    cache_folder: CacheFolder = None
