"""How a file becomes the square of pixels that a network sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model_aggregation.data.decoding import decode_bytes, read_bytes, reduction, resize_image

_REDUCED_AT_LEAST = 2
"""A JPEG may be decoded at a half, a quarter or an eighth of its size if that leaves twice the pixels asked for."""


@dataclass(frozen=True)
class PixelRule:
    """How a file becomes an array: channels, squashed to a square of ``image_size`` pixels, interpolation."""

    image_size: int
    channels: int
    interpolation: str

    @property
    def bytes_per_image(self) -> int:
        """Bytes of one image in the store."""
        return self.image_size * self.image_size * self.channels

    def reduction_of(self, data: bytes) -> int:
        """Return by how much a file may be reduced in decoding: whole pixels are taken by ``nearest``, so not then."""
        return 1 if self.interpolation == "nearest" else reduction(data, _REDUCED_AT_LEAST * self.image_size)


def decode_to_rule(path: str, rule: PixelRule) -> np.ndarray:
    """Decode one file to (H, W, C) uint8 by ``rule``."""
    return decode_to_rules(path, [rule])[0]


def decode_to_rules(path: str, rules: Sequence[PixelRule]) -> list[np.ndarray]:
    """Read one file once and return it by each rule, exactly as by that rule alone.

    A JPEG far larger than needed is decoded at a reduced size (the DCT coefficients of high frequencies are left
    out), which changes the squashed pixels by less than half a grey level on average. Rules that need the same
    reduction share the decoding.

    Raises
    ------
    DataError
        When the file cannot be read whole.
    """
    data = read_bytes(path)
    decoded: dict[tuple[int, int], Image.Image] = {}
    pixels = []
    for rule in rules:
        how = (rule.channels, rule.reduction_of(data))
        if how not in decoded:
            decoded[how] = decode_bytes(data, path, channels=how[0], reduced=how[1]).image  # type: ignore[arg-type]
        image = resize_image(decoded[how], (rule.image_size, rule.image_size), rule.interpolation)
        pixels.append(np.array(image, dtype=np.uint8).reshape(rule.image_size, rule.image_size, rule.channels))
    return pixels
