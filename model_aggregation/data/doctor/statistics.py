"""How bright, contrasted, sharp, coloured and large the images of each class and split are."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from model_aggregation.data.finding import Finding
from model_aggregation.data.image_table import SPLITS, ImageTable

MEASURES = {
    "brightness": "look_brightness",
    "contrast": "look_contrast",
    "sharpness": "look_sharpness",
    "red": "look_red",
    "green": "look_green",
    "blue": "look_blue",
    "border": "look_border",
    "width": "width",
    "height": "height",
}
_LARGE_DIFFERENCE = 0.8  # standard deviations: large by Cohen
_FEWEST_IMAGES = 20


def statistics(table: ImageTable) -> pd.DataFrame:
    """Return ``split``, ``label``, ``images`` and mean and SD of each measure; ``all`` stands for all classes.

    Needs a table inspected with ``appearance``. Brightness, contrast, colours and border are 8-bit values, sharpness
    is the variance of the Laplacian at 256 pixels at most, width and height are pixels.
    """
    rows = table.readable()
    labelled = pd.concat([rows, rows.assign(label="all")]) if "all" not in table.classes else rows
    numbers = pd.DataFrame({name: labelled[column].astype(float) for name, column in MEASURES.items()})
    grouped = numbers.groupby([labelled["split"], labelled["label"]])
    summary = grouped.agg(["mean", "std"])
    summary.columns = pd.Index(["_".join(name).replace("_std", "_sd") for name in summary.columns.to_flat_index()])
    summary.insert(0, "images", grouped.size())
    return summary.round(3).reset_index()


def split_findings(table: ImageTable) -> Iterator[Finding]:
    """Yield a warning when the images of val or test look otherwise than those of train."""
    rows = table.readable()
    train = rows[rows["split"] == "train"]
    for split in SPLITS[1:]:
        part = rows[rows["split"] == split]
        if min(len(train), len(part)) < _FEWEST_IMAGES:
            continue
        lines = []
        for name, column in MEASURES.items():
            here, there = train[column].astype(float), part[column].astype(float)
            spread = np.sqrt((here.var() + there.var()) / 2)
            if spread > 0 and abs(there.mean() - here.mean()) >= _LARGE_DIFFERENCE * spread:
                lines.append(f"{name}: {here.mean():.1f} in train, {there.mean():.1f} in {split}")
        if lines:
            message = (
                f"the {split} images look otherwise than those of train ({'; '.join(lines)}): results on them may not "
                "be what the training promises; ask whether they come from another source"
            )
            yield Finding("warning", "split-differs", message, details=tuple(lines))
