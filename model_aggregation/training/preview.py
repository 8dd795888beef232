"""What a network will see in training: files, the same as tested, and versions as augmentation draws them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.augmentation import augment
from model_aggregation.data.decoding import open_image, reading_rule
from model_aggregation.data.loading import ImageSource, image_source
from model_aggregation.data.pixels import PixelRule, decode_to_rule
from model_aggregation.data.scan import Layout, scan
from model_aggregation.errors import DataError, SettingsError, listed
from model_aggregation.models.build import preprocessing_for
from model_aggregation.models.zoo import find_models
from model_aggregation.results.contact_sheet import ContactSheet, Picture, PictureRow
from model_aggregation.setting_values import AUGMENTATIONS
from model_aggregation.training.image_policies import change_of_single_images
from model_aggregation.training.job import epoch_seed
from model_aggregation.training.mixing import Mixing

_LARGEST_ORIGINAL_PX = 512
_MOST_NAMED = 5  # images that cannot be shown


@dataclass(frozen=True)
class PreviewRule:
    """How much is shown: so many images (of all classes in turn), each in so many versions."""

    images: int = 6
    versions: int = 5
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        if min(self.images, self.versions) < 1:
            raise SettingsError(f"--images ({self.images}) and --versions ({self.versions}) must be at least 1")


def preview(settings: Settings, rule: PreviewRule) -> ContactSheet:
    """Return a sheet of training images as the only model of the settings will see them.

    Version k is drawn as in epoch k of a training with this seed; in a training the draws fall to other images.

    Raises
    ------
    SettingsError, DataError, ModelError
        If the transforms file, the data or the model cannot be used.
    """
    model = find_models([str(settings.model)], settings.source)[0]
    preprocessing = preprocessing_for(model, settings)
    table = scan(settings.data, layout=rule.layout)
    pixel_rule = replace(preprocessing.pixel_rule(), reading=reading_rule(settings.window, settings.max_pixels))
    chosen, originals, unreadable = _chosen(table.frame, rule.images, settings, pixel_rule)
    source = image_source(
        chosen,
        None,
        pixel_rule,
        transforms=settings.transforms,
        change=change_of_single_images(settings.augmentation) if settings.transforms is None else None,
        workers=0,
    )
    columns = [originals, _pictures(next(source.batches([np.arange(len(chosen))], training=False, seed=0)))]
    columns += [_version(source, chosen["label"], settings, epoch) for epoch in range(rule.versions)]
    names = chosen["id"].str.split("/").str[-1]
    rows = zip(chosen["label"], names, zip(*columns, strict=True), strict=True)
    headings = ("file", "tested as", *(f"epoch {number}" for number in range(1, rule.versions + 1)))
    title = f"What {model} sees" if settings.transforms else f"What {model} sees: {preprocessing.in_words()}"
    notes = tuple(_notes(settings, table.classes, chosen, unreadable))
    return ContactSheet(title, notes, headings, tuple(PictureRow(*row) for row in rows))


def _chosen(
    frame: pd.DataFrame, images: int, settings: Settings, rule: PixelRule
) -> tuple[pd.DataFrame, list[Picture], list[str]]:
    """Return images that may be trained on, of all classes in turn, drawn by the seed; as they are in their files; and
    what is wrong with those that came before them and cannot be shown.
    """
    usable = frame[frame["split"].isin(["", "train"])]
    if usable.empty:
        raise DataError("There are no training images to show.")
    drawn = usable.sample(frac=1, random_state=settings.seed)
    turn = drawn.groupby("label").cumcount()
    ordered = drawn.assign(turn=turn).sort_values(["turn", "label"])
    unreadable: list[str] = []
    readable = _readable(ordered["path"], rule, settings.transforms is None, unreadable)
    found = dict(islice(readable, images))
    if not found:
        raise DataError("None of the training images can be shown:", unreadable)
    chosen = ordered[ordered["path"].isin(found)].sort_values(["label", "turn"])
    return chosen, [found[path] for path in chosen["path"]], unreadable


def _readable(
    paths: Iterable[str], rule: PixelRule, made_square: bool, unreadable: list[str]
) -> Iterator[tuple[str, Picture]]:
    """Yield the images that can be read, as they are; why others cannot goes to ``unreadable``.

    Where they are ``made_square`` by the rule, those that are too long and thin for it are no images to show either.
    """
    for path in paths:
        try:
            image = open_image(path, channels=rule.channels, rule=rule.reading, decoding=rule.decoding)  # type: ignore[arg-type]
            if made_square:
                decode_to_rule(path, rule)
        except DataError as error:
            unreadable.append(str(error))
            continue
        caption = f"{image.width}×{image.height}"
        image.thumbnail((_LARGEST_ORIGINAL_PX, _LARGEST_ORIGINAL_PX))
        yield path, Picture(np.asarray(image).reshape(image.height, image.width, rule.channels), caption)


def _version(source: ImageSource, labels: pd.Series, settings: Settings, epoch: int) -> list[Picture]:
    """Return all images as drawn in one epoch, with the shares of classes in mixed ones."""
    seed = epoch_seed(settings.seed, epoch)
    batch = next(source.batches([np.arange(len(labels))], training=True, seed=seed))
    if not source.augments:
        batch = augment(batch, settings.augmentation, torch.Generator().manual_seed(seed))
    codes, names = pd.factorize(labels, sort=True)
    mixing = Mixing.of(settings, len(names), seed)
    if mixing is None:
        return _pictures(batch)
    mixed, shares = mixing(batch.float(), torch.from_numpy(codes))
    mixed = mixed.round().to(torch.uint8) if batch.dtype == torch.uint8 else mixed
    return _pictures(mixed, [_shares_in_words(row, names) for row in shares.tolist()])


def _shares_in_words(shares: list[float], names: pd.Index) -> str:
    parts = sorted(zip(shares, names, strict=True), reverse=True)
    return "\n".join(f"{100 * share:.0f} % {name}" for share, name in parts if share >= 0.005)


def _pictures(batch: Tensor, captions: list[str] | None = None) -> list[Picture]:
    """Return a batch (N, C, H, W) as pictures; what is no uint8 is stretched from its own least to its own most."""
    if batch.dtype != torch.uint8:
        low, high = batch.amin(dim=(1, 2, 3), keepdim=True), batch.amax(dim=(1, 2, 3), keepdim=True)
        batch = ((batch - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    pixels = batch.permute(0, 2, 3, 1).numpy()
    return [Picture(image, words) for image, words in zip(pixels, captions or [""] * len(pixels), strict=True)]


def _notes(settings: Settings, classes: tuple[str, ...], chosen: pd.DataFrame, unreadable: list[str]) -> Iterator[str]:
    if settings.transforms is not None:
        yield (
            f"Training images: 'train' of {settings.transforms.name}; tested as 'val' makes them. Each picture is "
            "stretched from its least to its most value."
        )
    else:
        yield f"{settings.augmentation}: {AUGMENTATIONS[settings.augmentation]}."
    if settings.mixes:
        kinds = [f"{name} {value:g}" for name in ("mixup", "cutmix") if (value := getattr(settings, name))]
        yield f"Then {' or '.join(kinds)}, with another image on this sheet."
    shown = chosen["label"].nunique()
    some = f"{shown} of {len(classes)} classes. " if shown < len(classes) else ""
    window = f"Window {settings.window}. " if settings.window else ""
    yield f"{some}{window}Seed {settings.seed}."
    if unreadable:
        yield f"Left out: {len(unreadable)} image{'s' * (len(unreadable) > 1)}."
        yield from listed(unreadable, _MOST_NAMED)
