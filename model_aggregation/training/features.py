"""A frozen network computed once: the head learns on stored features.

Flips are views of their own, so the augmentation stays: each epoch draws the views of its images as ever, and only the
pairs of image and view that no epoch has drawn before are computed. This is never more than the plain way computes.

Stronger augmentation has no end of views: the draws of the first epochs (``feature_views``) are kept, and the epochs
after them see these again, in turn. So the first epochs take the steps of the plain way.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.augmentation import EXACT_VIEWS, PER_IMAGE, draw_views, flip
from model_aggregation.data.changes import CHANGES, PARAMETERS, change, draw_changes
from model_aggregation.data.loading import ImageSource
from model_aggregation.data.prefetch import pinned, prefetched
from model_aggregation.models.float32_head import float32_head
from model_aggregation.models.heads import HeadPart, find_head_part
from model_aggregation.models.inference import copied_for_inference, example_images
from model_aggregation.models.memory import memory_watched
from model_aggregation.training.feature_file import FeatureFile, fits_on_disk
from model_aggregation.training.job import Training, epoch_seed, kept_views


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """The features of the training and validation images, and the head that learns on them."""

    training: Training
    head: HeadPart
    train: FeatureFile
    validation: FeatureFile | None

    def training_batches(self, epoch: int) -> Iterator[Tensor]:
        """Return the features (n, …) of each batch of an epoch on the device, in the views that the plain way draws.

        What is missing is computed at once: the network is copied for it, which must not happen while its layers are
        changed for a step. Where the time is over before all is there, these are the batches of the first steps.
        """
        order, name = self.training.order(epoch), self.training.settings.augmentation
        if name in EXACT_VIEWS:
            generator = torch.Generator().manual_seed(epoch_seed(self.training.settings.seed, epoch))
            views = [draw_views(len(positions), name, generator).numpy() for positions in order]
        else:
            views = [np.full(len(positions), epoch % self.train.views) for positions in order]
        pairs = list(zip(views, order, strict=True))
        there = pairs[: self._compute_steps(pairs)]
        return (self.train.read(drawn, positions).to(self.training.device) for drawn, positions in there)

    def validation_logits(self) -> Tensor:
        """Return the logits of the validation images, (N, C) float64 on the CPU; leaves the head in evaluation mode."""
        training, file = self.training, self.validation
        if training.validation is None or file is None:
            raise ValueError("there are no validation images")
        positions = np.arange(len(training.validation.images))
        views = np.zeros_like(positions)
        self._compute(file, training.validation.images, views, positions)
        self.head.layers.eval()
        with torch.inference_mode(), float32_head(training.network):
            parts = [
                self.head.layers(file.read(views[rows], rows).to(training.device))
                for rows in np.split(positions, range(256, len(positions), 256))
            ]
        return torch.cat(parts).double().cpu()

    def _compute_steps(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> int:
        """Compute what batches of views and positions need, as far as time goes; return how many make whole steps."""
        accumulate = self.training.settings.accumulate
        least = self.train.missing(*_joined(batches[:accumulate]))[0]
        if self._compute(self.train, self.training.train.images, *_joined(batches), least=len(least)):
            return len(batches)
        there = next(number for number, batch in enumerate(batches) if len(self.train.missing(*batch)[0]))
        return there - there % accumulate

    def _compute(
        self,
        file: FeatureFile,
        images: ImageSource,
        views: np.ndarray,
        positions: np.ndarray,
        *,
        least: float = math.inf,
    ) -> bool:
        """Compute what is missing of the pairs of view and position, and return whether all is there.

        When the time is over, only the ``least`` are.
        """
        views, positions = file.missing(views, positions)
        if not len(views):
            return True
        training, inference = self.training, self.training.arithmetic.inference
        chunks = np.split(np.arange(len(views)), range(inference.batch_size, len(views), inference.batch_size))
        shown = self._shown if file is self.train else _as_they_are
        turned = (
            pinned(batch, training.device)
            for batch in shown(images, [(views[chunk], positions[chunk]) for chunk in chunks])
        )
        with (
            memory_watched("predicting"),
            copied_for_inference(training.network, training.device, inference) as (module, forward),
            self.head.features_in(module) as entered,
        ):
            for chunk, batch in zip(chunks, prefetched(turned) if images.can_prefetch else turned, strict=True):
                forward(batch)
                file.write(views[chunk], positions[chunk], entered())
                done = int(chunk[-1]) + 1
                training.reporter.count("features of images", done, len(views))
                if done >= least and training.time.seconds_left <= 0:
                    break
        file.keep(views[:done], positions[:done])
        return done == len(views)

    def _shown(self, images: ImageSource, parts: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Tensor]:
        """Yield training images in their views; draws are all of one view."""
        name, view = self.training.settings.augmentation, int(parts[0][0][0])
        seed = epoch_seed(self.training.settings.seed, view)
        draws = self._draws(view) if name in CHANGES else None
        batches = images.batches([positions for _, positions in parts], training=name in PER_IMAGE, seed=seed)
        for (views, positions), batch in zip(parts, batches, strict=True):
            if name in EXACT_VIEWS:
                yield flip(batch, torch.from_numpy(views))
            else:
                yield batch if draws is None else change(batch, draws[positions])

    def _draws(self, epoch: int) -> Tensor:
        """Return the parameters (N, 7) of all training images as the plain way draws them in an epoch."""
        training, generator = (
            self.training,
            torch.Generator().manual_seed(epoch_seed(self.training.settings.seed, epoch)),
        )
        order, everything = training.order(epoch), np.arange(len(training.train.images))
        left_out = np.setdiff1d(everything, np.concatenate(order))  # drop_last
        draws = torch.empty(len(everything), PARAMETERS)
        for positions in (*order, left_out):
            draws[positions] = draw_changes(len(positions), training.settings.augmentation, generator)
        return draws

    def check(self) -> None:
        """Raise ``DamagedCacheError`` if the stored features are not those that were computed."""
        for file in (self.train, self.validation):
            if file is not None:
                file.check()

    def remove(self) -> None:
        """Remove the stored features; nothing is left of them."""
        for file in (self.train, self.validation):
            if file is not None:
                file.remove()


def frozen_features(training: Training, finished_epochs: int) -> FrozenFeatures | None:
    """Return the stored features of a frozen network; None if the next epoch is not frozen or they cannot be had.

    Why they cannot is said in the journal; then each frozen epoch computes the whole network.
    """
    if not training.is_frozen(finished_epochs) or not training.settings.cache_features:
        return None
    network = training.network
    head = find_head_part(network.module, network.head, example_images(network, 2, training.device))
    reason = _obstacle(training, head, finished_epochs)
    if head is None or reason is not None:
        training.journal.note(f"the frozen network is computed in each epoch: {reason}")
        return None
    views, count = _kept_views(training), len(training.train.images)
    train, validation = feature_paths(training.files.state)
    others = 0 if training.validation is None else len(training.validation.images)
    return FrozenFeatures(
        training,
        head,
        FeatureFile(train, views, count, head.shape),
        FeatureFile(validation, 1, others, head.shape) if others else None,
    )


def _obstacle(training: Training, head: HeadPart | None, finished_epochs: int) -> str | None:
    """Return why features cannot be stored, or None if they can."""
    settings, path = training.settings, feature_paths(training.files.state)[0]
    if kept_views(settings, training.frozen_epochs) is None:
        return _obstacle_in_settings(settings)
    if head is None:
        return "its head is neither one sequence of layers at its end nor a sum of several with fixed shares"
    if FeatureFile.exists(path):
        return None
    if finished_epochs:
        return "it was computed so in the epochs before"
    images = _kept_views(training) * len(training.train.images)
    images += 0 if training.validation is None else len(training.validation.images)
    room = fits_on_disk(path.parent, images * math.prod(head.shape))
    return None if room else f"no room on the disk in {path.parent}"


def _obstacle_in_settings(settings: Settings) -> str:
    if settings.devices > 1:
        return f"{settings.devices} devices share the work, and stored features serve one"
    if settings.transforms is not None:
        return "a transforms file makes new images each time"
    if settings.mixes:
        return "mixup and cutmix mix images, and the features of a mixed image are no mixture of features"
    return "frozen_batch_norm: update changes what is frozen with every batch"


def _kept_views(training: Training) -> int:
    return kept_views(training.settings, training.frozen_epochs) or 1


def _joined(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the views and the positions of batches, each in one."""
    views, positions = zip(*batches, strict=True)
    return np.concatenate(views), np.concatenate(positions)


def _as_they_are(images: ImageSource, parts: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Tensor]:
    return images.batches([positions for _, positions in parts], training=False, seed=0)


def feature_paths(folder: Path) -> tuple[Path, Path]:
    """Return where the features of the training and validation images lie in the folder of a training's state."""
    return folder / "features_train.npy", folder / "features_val.npy"
