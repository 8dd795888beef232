"""Options that the commands about data sets share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from model_aggregation.data.doctor.rule import CheckRule

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
Window = Annotated[
    str | None,
    Parameter(
        allow_leading_hyphen=True,
        help="CENTRE,WIDTH: the values that become 0 to 255 in DICOM files and in grey images of 16 and 32 bits and "
        "floats.",
    ),
]
MaxPixels = Annotated[
    int, Parameter(help="Most pixels of an image; larger ones are refused as possible decompression bombs.")
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
    window: Window = None
    max_pixels: MaxPixels = 178_956_970
    workers: Workers = None
    cache_folder: CacheFolder = None

    def check_rule(self, **own: Any) -> "CheckRule":
        """Return the rule of an examination with these options and those of one command."""
        from model_aggregation.data.decoding import reading_rule
        from model_aggregation.data.doctor.rule import CheckRule

        options = dict(vars(self))
        reading = reading_rule(options.pop("window"), options.pop("max_pixels"))
        return CheckRule(**options, **own, reading=reading)
