"""How a picture looks, in a few numbers: to find near duplicates, and what tells classes apart too easily.

All numbers describe the 8-bit picture as the program reads it, at no more than 256 pixels each way.
"""

from typing import Any

import numpy as np
from PIL import Image

APPEARANCE_COLUMNS = (
    "look_brightness",
    "look_contrast",
    "look_sharpness",
    "look_red",
    "look_green",
    "look_blue",
    "look_border",
    "look_border_share",
    "look_thumbnail",
)
THUMBNAIL_PX = 32
_LARGEST_PX = 256
_FRAME_SHARE = 16  # the border is the outermost sixteenth, at least a pixel


def describe_appearance(image: Image.Image) -> dict[str, Any]:
    """Return ``APPEARANCE_COLUMNS`` for a picture of mode ``RGB``.

    ``look_brightness`` and ``look_contrast``: mean and standard deviation of the luma (0..255); ``look_sharpness``:
    variance of its Laplacian; ``look_red``, ``look_green``, ``look_blue``: means; ``look_border``: mean luma of the
    outermost sixteenth; ``look_border_share``: share of the rows and columns that form a border of one single
    value, as around scans; ``look_thumbnail``: 32×32 luma, stretched to 0..255, as bytes.
    """
    small = _at_most(image, _LARGEST_PX)
    colours = np.asarray(small, dtype=np.float32)
    grey_image = small.convert("L")
    grey = np.asarray(grey_image, dtype=np.float32)
    red, green, blue = (round(float(mean), 3) for mean in colours.reshape(-1, 3).mean(axis=0))
    return {
        "look_brightness": round(float(grey.mean()), 3),
        "look_contrast": round(float(grey.std()), 3),
        "look_sharpness": round(_laplacian_variance(grey), 3),
        "look_red": red,
        "look_green": green,
        "look_blue": blue,
        "look_border": round(_border_mean(grey), 3),
        "look_border_share": round(_plain_border_share(grey), 4),
        "look_thumbnail": _thumbnail(grey_image),
    }


def _at_most(image: Image.Image, largest_px: int) -> Image.Image:
    longer = max(image.size)
    if longer <= largest_px:
        return image
    width, height = (max(1, round(side * largest_px / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def _laplacian_variance(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).var())


def _border_mean(grey: np.ndarray) -> float:
    thick = [max(1, side // _FRAME_SHARE) for side in grey.shape]
    inside = grey[thick[0] : -thick[0], thick[1] : -thick[1]]
    return float((grey.sum(dtype=np.float64) - inside.sum(dtype=np.float64)) / (grey.size - inside.size))


def _plain_border_share(grey: np.ndarray) -> float:
    """Return the share of rows and columns, counted from the edges inwards, that hold the corner's value only."""
    plain = np.abs(grey - grey[0, 0]) <= 2  # JPEG does not keep a black border quite black
    rows, columns = plain.all(axis=1), plain.all(axis=0)
    if rows.all():
        return 1.0
    edges = [_leading(rows), _leading(rows[::-1]), _leading(columns), _leading(columns[::-1])]
    return sum(edges) / sum(grey.shape)


def _leading(plain: np.ndarray) -> int:
    return int(np.argmin(plain))


def _thumbnail(grey_image: Image.Image) -> bytes:
    # Bilinear, not box: what a copy of another size has in a thumbnail's pixel then hardly depends on its own grid.
    # A float picture, because the middle of a faint one would be lost in 256 steps before it is stretched.
    pixels = np.asarray(grey_image.convert("F").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR))
    low, high = float(pixels.min()), float(pixels.max())
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((pixels - low) * scale).astype(np.uint8).tobytes()
