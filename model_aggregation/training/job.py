"""What a training is about: images with labels, files, settings; and what follows from the settings for each epoch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.augmentation import EXACT_VIEWS
from model_aggregation.data.loading import ImageSource, training_order
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import Network
from model_aggregation.progress import Reporter
from model_aggregation.training.journal import Journal
from model_aggregation.training.time_limit import TimeLimit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one split with their labels (N,) int64."""

    images: ImageSource
    labels: Tensor


@dataclass(frozen=True)
class TrainingFiles:
    """Where a training leaves its weights and its state; features lie in the folder of the state."""

    state: Path
    last_weights: Path
    best_weights: Path
    epoch_weights: Path  # folder of <epoch>.pth


@dataclass(frozen=True, eq=False)
class Training:
    """What stays the same from the first step to the last."""

    network: Network
    train: LabelledImages
    validation: LabelledImages | None
    settings: Settings
    fabric: "Fabric"
    files: TrainingFiles
    reporter: Reporter
    journal: Journal
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    time: TimeLimit = field(default_factory=TimeLimit)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.fabric.device

    def order(self, epoch: int) -> list[Any]:
        """Return the positions of the training images in the batches of an epoch."""
        settings = self.settings
        seed = epoch_seed(settings.seed, epoch)
        return training_order(len(self.train.images), settings.batch_size, seed=seed, drop_last=settings.drop_last)

    @property
    def frozen_epochs(self) -> int:
        """In how many epochs only the head learns."""
        return sum(self.is_frozen(epoch) for epoch in range(self.settings.epochs))

    def is_frozen(self, epoch: int) -> bool:
        """Return whether only the head learns in ``epoch``."""
        return is_frozen(self.settings, epoch, pretrained=self.network.pretrained)


def kept_views(settings: Settings, frozen_epochs: int) -> int | None:
    """Return of how many views of a training image features are kept; None if each frozen epoch computes all anew."""
    computed_anew = settings.mixes or settings.transforms is not None or settings.frozen_batch_norm == "update"
    if computed_anew or settings.devices > 1 or not settings.cache_features:
        return None
    return EXACT_VIEWS.get(settings.augmentation) or min(settings.feature_views, max(1, frozen_epochs))


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch's random numbers."""
    return (seed * 1_000_003 + epoch * 7_919 + 1) % 2**31


def is_frozen(settings: Settings, epoch: int, *, pretrained: bool) -> bool:
    """Return whether only the head learns in ``epoch``; a network without pretrained weights is never frozen."""
    if not (settings.freeze and pretrained):
        return False
    return settings.thaw_at is None or epoch < settings.thaw_at
