"""Images that a set shares with those its run has learnt from or was chosen by: its numbers are then too high."""

from collections.abc import Iterator

import pandas as pd

from model_aggregation.config import Settings

_NAMED = 10


def learnt_images(settings: Settings, images: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``images.csv`` that the run was trained on or chosen by."""
    used = [name for name, on in (("train", settings.train), ("val", settings.validation)) if on]
    return images[images["split"].isin(used) & (images["readable"] == "True")]


def shared_images(images: pd.DataFrame, learnt: pd.DataFrame) -> list[str]:
    """Return a line for each image with the pixels of an image the run has learnt from or was chosen by.

    Where one of the two tables knows no pixels (an older run), the bytes of the files are compared.
    """
    key = "pixel_hash" if "pixel_hash" in images and "pixel_hash" in learnt else "content_hash"
    first = learnt.drop_duplicates(key).set_index(key, drop=False)
    found = images[images[key].isin(first.index) & (images[key] != "")]
    known = first.loc[found[key]]
    same = found["content_hash"].to_numpy() == known["content_hash"].to_numpy()
    return [
        f"{name}: the same {'file' if file else 'pixels'} as {other} ({split})"
        for name, file, other, split in zip(found["id"], same, known["id"], known["split"], strict=True)
    ]


def leakage(images: pd.DataFrame, learnt: pd.DataFrame) -> Iterator[str]:
    """Yield what an external set shares with the images of the run."""
    shared = shared_images(images, learnt)
    if shared:
        yield (
            f"{len(shared)} of {len(images)} images are also among the run's train or val images "
            "(--allow-duplicates): the numbers are too high"
        )
    groups = sorted((set(images["group"]) & set(learnt["group"])) - {""})
    if groups:
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        yield (
            f"{len(groups)} groups have the name of a group among the run's train or val images; if they are the same, "
            f"the numbers are too high: {', '.join(groups[:_NAMED])}{more}"
        )
