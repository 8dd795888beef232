"""How a file becomes the square of pixels that a network sees."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from PIL import Image

from model_aggregation.data.decoding import (
    MOST_PIXELS,
    USUAL_READING,
    DecodedImage,
    Decoding,
    ReadingRule,
    decode_bytes,
    read_bytes,
    reduction,
    resize_image,
)
from model_aggregation.errors import DataError

_REDUCED_AT_LEAST = 2
"""A JPEG may be decoded at a half, a quarter or an eighth of its size if that leaves twice the pixels asked for."""

PADDING = 0
"""What fills up a square around an image that keeps its shape: black, the same for all networks."""


@dataclass(frozen=True)
class PixelRule:
    """How a file becomes an array (image_size, image_size, channels): interpolation, and what happens to its shape.

    ``resize`` is ``squash`` (width and height brought to the square, each by its own factor), ``crop`` (the shorter
    side brought to ``shorter_side`` pixels, then the square in the middle is taken) or ``pad`` (the longer side brought
    to the square, the rest filled with :data:`PADDING`, the image in the middle). ``reading`` and ``decoding``: how the
    file is read, see :mod:`model_aggregation.data.decoding`.
    """

    image_size: int
    channels: int
    interpolation: str
    resize: str = "squash"
    shorter_side: int | None = None
    reading: ReadingRule = USUAL_READING
    decoding: Decoding = "standard"

    @property
    def key(self) -> str:
        """The rule as text. What is at its default is left out: a rule keeps its text when others become possible."""
        given = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return f"PixelRule({', '.join(f'{name}={value!r}' for name, value, default in given if value != default)})"

    @property
    def bytes_per_image(self) -> int:
        """Bytes of one image in the store."""
        return self.image_size * self.image_size * self.channels

    def reduction_of(self, data: bytes) -> int:
        """Return by how much a file may be reduced in decoding: whole pixels are taken by ``nearest``, so not then."""
        enough = _REDUCED_AT_LEAST * (self.shorter_side or self.image_size)
        return 1 if self.interpolation == "nearest" or self.decoding == "earlier" else reduction(data, enough)


def decode_to_rule(path: str, rule: PixelRule) -> np.ndarray:
    """Decode one file to (H, W, C) uint8 by ``rule``."""
    return decode_to_rules(path, [rule])[0]


def decode_to_rules(path: str, rules: Sequence[PixelRule]) -> list[np.ndarray]:
    """Read one file once and return it by each rule, exactly as by that rule alone.

    A JPEG far larger than needed is decoded at a reduced size (the DCT coefficients of high frequencies are left
    out), which changes the resized pixels by less than half a grey level on average. Rules that need the same
    reduction share the decoding.

    Raises
    ------
    DataError
        When the file cannot be read whole, or is too long and thin to be cropped.
    """
    data = read_bytes(path)
    decoded: dict[tuple[int, int, ReadingRule, Decoding], DecodedImage] = {}
    pixels = []
    for rule in rules:
        how = (rule.channels, rule.reduction_of(data), rule.reading, rule.decoding)
        if how not in decoded:
            channels, reduced, reading, decoding = how
            decoded[how] = decode_bytes(
                data,
                path,
                channels=channels,  # type: ignore[arg-type]
                reduced=reduced,
                rule=reading,
                decoding=decoding,
            )
        image = _to_square(decoded[how], path, rule)
        pixels.append(np.array(image, dtype=np.uint8).reshape(rule.image_size, rule.image_size, rule.channels))
    return pixels


def _to_square(decoded: DecodedImage, path: str, rule: PixelRule) -> Image.Image:
    """Return the image as the square of its rule."""
    side, resized = rule.image_size, partial(_resized, decoded, rule.interpolation)
    if rule.resize == "squash":
        return resized((side, side))
    if rule.resize == "pad":
        size = padded_size(decoded.size, side)
        square = Image.new(decoded.image.mode, (side, side), PADDING)
        place = (round((side - size[0]) / 2), round((side - size[1]) / 2))
        square.paste(resized(size), place)
        return square
    size = cropped_size(decoded.size, rule.shorter_side or side)
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(
            f"{path}: {decoded.size[0]}×{decoded.size[1]} pixels are too long and thin to be cropped: resized they are "
            f"{size[0]}×{size[1]}. Choose --resize squash or pad."
        )
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return resized(size).crop((left, top, left + side, top + side))


def _resized(decoded: DecodedImage, interpolation: str, size: tuple[int, int]) -> Image.Image:
    return resize_image(decoded.image, size, interpolation, decoded.box)


def padded_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return width and height of an image whose longer side becomes ``side`` pixels, as in Pillow's ``pad``.

    >>> padded_size((400, 300), 224), padded_size((1, 5000), 224)
    ((224, 168), (1, 224))
    """
    width, height = size
    if width >= height:
        return side, max(1, round(height / width * side))
    return max(1, round(width / height * side)), side


def cropped_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    """Return the size of an image whose shorter side becomes ``shorter_side`` pixels, as torchvision and timm do.

    >>> cropped_size((400, 300), 256)
    (341, 256)
    """
    width, height = size
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side
