"""The command that shows what augmentation makes of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from model_aggregation.cli.app import app, say
from model_aggregation.cli.data_options import Layout
from model_aggregation.config import make_settings
from model_aggregation.input_options import Source
from model_aggregation.options import Augmentation, Options


def _explained(setting: str) -> Parameter:
    return Parameter(help=Options.model_fields[setting].description)


@Parameter(name="*")
@dataclass(frozen=True)
class SightOptions:
    """The settings that decide what a network sees in training; they are called as in 'magg train'."""

    augmentation: Annotated[Augmentation, _explained("augmentation")] = "horizontal"
    mixup: Annotated[float, _explained("mixup")] = 0.0
    cutmix: Annotated[float, _explained("cutmix")] = 0.0
    resize: Annotated[Literal["squash", "crop", "pad"], _explained("resize")] = "squash"
    image_size: Annotated[int | None, _explained("image_size")] = None
    interpolation: Annotated[
        Literal["model", "nearest", "bilinear", "bicubic", "lanczos"], _explained("interpolation")
    ] = "model"
    channels: Annotated[Literal[1, 3], _explained("channels")] = 3
    window: Annotated[str | None, _explained("window"), Parameter(allow_leading_hyphen=True)] = None
    max_pixels: Annotated[int, _explained("max_pixels")] = Options().max_pixels
    transforms: Annotated[Path | None, _explained("transforms")] = None
    source: Annotated[Source, _explained("source")] = "torchvision"
    seed: Annotated[int, Parameter(help="Seed of the images that are shown and of what is drawn for them.")] = 0


@app.command
def augment(
    data: Path,
    /,
    *,
    model: str = "resnet18",
    out: Path = Path("augmentation.png"),
    images: int = 6,
    versions: int = 5,
    layout: Layout = "auto",
    sight: SightOptions = SightOptions(),
) -> int:
    """Write a picture of what a network will see: images, how they are tested, and versions as drawn for training.

    Parameters
    ----------
    data
        Folder of images or table (.csv, .parquet) with the columns path, label.
    model
        torchvision:NAME or timm:NAME, whose size, interpolation and crop are used; no weights are needed.
    out
        File to write: .png, .svg or .pdf.
    images
        Images to show, of all classes in turn.
    versions
        Versions of each; the first is drawn as in epoch 1 of a training, and so on.
    """
    from model_aggregation.results.contact_sheet import write_contact_sheet
    from model_aggregation.training.preview import PreviewRule, preview

    sheet = preview(make_settings(data=data, model=model, **vars(sight)), PreviewRule(images, versions, layout))
    write_contact_sheet(sheet, out)
    for line in (sheet.title, *sheet.notes):
        say(line)
    say(f"written: {out}")
    return 0
