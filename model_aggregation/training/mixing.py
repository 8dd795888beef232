"""Mixup and CutMix on batches, with a share and a partner of its own for each image.

Zhang et al. 2018 (mixup) and Yun et al. 2019 (CutMix), per image instead of per batch as timm's mode "elem".
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor

from model_aggregation.config import Settings


@dataclass(frozen=True, eq=False)
class Mixing:
    """Draws partners and shares from ``generator``; ``mixup`` and ``cutmix`` are the parameters of their Beta(a, a)."""

    mixup: float
    cutmix: float
    classes: int
    generator: np.random.Generator

    @classmethod
    def of(cls, settings: Settings, classes: int, seed: int) -> "Mixing | None":
        """Return the mixing that the settings ask for; None for none."""
        return cls(settings.mixup, settings.cutmix, classes, np.random.default_rng(seed)) if settings.mixes else None

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return float images (N, C, H, W) mixed with each other, and the share of each class in them, (N, C)."""
        count, device, draw = len(images), images.device, self.generator
        partners = torch.from_numpy(draw.permutation(count)).to(device)
        cut = draw.random(count) < (0.5 if self.mixup else 1.0) * (self.cutmix > 0)
        shares = draw.beta(self.mixup, self.mixup, count) if self.mixup else np.ones(count)
        weights = torch.from_numpy(shares).to(device, torch.float32).view(-1, 1, 1, 1)
        if self.cutmix:
            pasted = self._boxes(images)
            weights = torch.where(torch.from_numpy(cut).to(device).view(-1, 1, 1, 1), (~pasted).float(), weights)
        share = weights.mean(dim=(1, 2, 3))[:, None]
        one_hot = F.one_hot(labels, self.classes).to(torch.float32)
        mixed = images * weights + images[partners] * (1 - weights)
        return mixed, one_hot * share + one_hot[partners] * (1 - share)

    def _boxes(self, images: Tensor) -> Tensor:
        """Return a rectangle of the image's shape for each image, cut off at its edges, as masks (N, 1, H, W)."""
        half = np.sqrt(1 - self.generator.beta(self.cutmix, self.cutmix, len(images))) / 2
        middles = self.generator.random((2, len(images)))
        inside = []
        for length, middle in zip(images.shape[2:], middles, strict=True):
            pixels = (torch.arange(length, device=images.device) + 0.5) / length
            low, high = (torch.from_numpy(limit).to(images.device)[:, None] for limit in (middle - half, middle + half))
            inside.append((low < pixels) & (pixels < high))
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
