"""Augmentation that torchvision has for single images only: one set of parameters for all it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from model_aggregation.data.augmentation import PER_IMAGE
from model_aggregation.data.loading import ImageChange
from model_aggregation.models.imports import torchvision_models


@dataclass(frozen=True)
class ImagePolicy:
    """Torchvision's policy of a name, with its own settings, sampled bilinearly as in torchvision's recipes.

    ``trivial``: TrivialAugmentWide (Müller and Hutter 2021). ``randaugment``: RandAugment (Cubuk et al. 2020) with two
    operations of strength 9. What a turn or shift leaves empty is black.
    """

    name: str

    def __call__(self, image: Tensor) -> Tensor:
        """Return an image (C, H, W) uint8 changed by draws from torch's global generator."""
        return self._transform(image)

    @cached_property
    def _transform(self) -> Callable[[Tensor], Tensor]:
        torchvision_models()  # makes the import possible beside a torch of another build
        from torchvision.transforms import InterpolationMode, v2

        policy = {"trivial": v2.TrivialAugmentWide, "randaugment": v2.RandAugment}[self.name]
        return policy(interpolation=InterpolationMode.BILINEAR)

    def __getstate__(self) -> dict[str, str]:
        return {"name": self.name}  # a worker process makes its own


def change_of_single_images(augmentation: str) -> ImageChange | None:
    """Return the change of single images that an augmentation consists of; None if it is made on batches."""
    return ImagePolicy(augmentation) if augmentation in PER_IMAGE else None
