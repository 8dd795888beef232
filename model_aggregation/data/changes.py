"""Random changes of whole batches, with parameters of its own for each image: a window on the image, and brightness.

``light`` is what photographs of things stand: mirrored with probability 1/2; a window of 80 to 100 % of the area,
somewhere in the image; brightness and contrast times 0.8 to 1.2.

``medical`` is what another technician, another position and another exposure would change: turned by up to 10°,
shifted by up to 5 % of the side each way, 0.9 to 1.1 times as large, brightness and contrast times 0.9 to 1.1. It is
never mirrored, since left and right differ in a body (a mirrored chest film shows another finding); where direction
means nothing, as in cells or tissue, ``flips`` is the stronger choice.

All numbers are drawn evenly from their ranges. Pixels outside the image repeat its edge.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor

PARAMETERS = 7
"""Numbers of each image: 1 or -1 (mirrored), angle in radians, side of the window and its place right and down of the
middle as shares of the image's side, factors of brightness and contrast."""


@dataclass(frozen=True)
class _Ranges:
    mirrored: bool
    area: float  # least share of the image's area that a window inside it shows; 1: the window moves freely
    degrees: float  # most, either way
    shift: float  # most, as a share of the side, either way
    enlarged: float  # most of it, and of its opposite, above and below 1
    brightness: float  # most, above and below 1; the same for contrast


_RANGES = {
    "light": _Ranges(mirrored=True, area=0.8, degrees=0, shift=0, enlarged=0, brightness=0.2),
    "medical": _Ranges(mirrored=False, area=1, degrees=10, shift=0.05, enlarged=0.1, brightness=0.1),
}
CHANGES = tuple(_RANGES)


def draw_changes(count: int, name: str, generator: torch.Generator) -> Tensor:
    """Draw the parameters of ``count`` images, (count, 7) float32; see :data:`PARAMETERS`."""
    ranges = _RANGES[name]
    drawn = torch.rand(count, PARAMETERS, generator=generator)
    even = 2 * drawn - 1  # from -1 to 1
    mirror = torch.where(drawn[:, 0] < 0.5, -1.0, 1.0) if ranges.mirrored else torch.ones(count)
    if ranges.area < 1:
        side = (ranges.area + (1 - ranges.area) * drawn[:, 2]).sqrt()
        place = even[:, 3:5] * (1 - side[:, None]) / 2
    else:
        side = 1 / (1 + ranges.enlarged * even[:, 2])
        place = ranges.shift * even[:, 3:5]
    angle = math.radians(ranges.degrees) * even[:, 1]
    factors = 1 + ranges.brightness * even[:, 5:7]
    return torch.cat([mirror[:, None], angle[:, None], side[:, None], place, factors], dim=1)


def change(images: Tensor, parameters: Tensor) -> Tensor:
    """Return the images (N, C, H, W) uint8 as their parameters (N, 7) say, uint8.

    Sampled bilinearly; contrast is the distance from the image's own mean.
    """
    mirror, angle, side, right, down, brightness, contrast = parameters.to(images.device).unbind(1)
    across, along = side * angle.cos(), side * angle.sin()
    window = torch.stack([across * mirror, -along, 2 * right, along * mirror, across, 2 * down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(window, list(images.shape), align_corners=False)
    seen = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    middle = brightness * (1 - contrast) * seen.mean(dim=(1, 2, 3))
    seen = seen.mul_((brightness * contrast).view(-1, 1, 1, 1)).add_(middle.view(-1, 1, 1, 1))
    return seen.round_().clamp_(0, 255).to(torch.uint8)
