"""A frozen network computed once: the head learns on stored features.

Flips are views of their own, so the augmentation stays: each epoch draws the views of its images as ever, and only the
pairs of image and view that no epoch has drawn before are computed. This is never more than the plain way computes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_aggregation.data.augmentation import draw_views, flip, view_count
from model_aggregation.data.loading import ImageSource
from model_aggregation.data.prefetch import pinned, prefetched
from model_aggregation.models.build import float32_head
from model_aggregation.models.heads import HeadPart, find_head_part
from model_aggregation.models.inference import copied_for_inference, example_images
from model_aggregation.training.feature_file import FeatureFile, fits_on_disk
from model_aggregation.training.job import Training


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """The features of the training and validation images, and the head that learns on them."""

    training: Training
    head: HeadPart
    train: FeatureFile
    validation: FeatureFile | None

    def training_batches(self, order: list[np.ndarray], seed: int) -> Iterator[Tensor]:
        """Yield the features (n, …) of each batch on the device, in the views that the plain way would draw."""
        generator = torch.Generator().manual_seed(seed)
        name = self.training.settings.augmentation
        views = [draw_views(len(positions), name, generator).numpy() for positions in order]
        self._compute(self.train, self.training.train.images, np.concatenate(views), np.concatenate(order))
        for positions, drawn in zip(order, views, strict=True):
            yield self.train.read(drawn, positions).to(self.training.device)

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

    def _compute(self, file: FeatureFile, images: ImageSource, views: np.ndarray, positions: np.ndarray) -> None:
        """Compute what is missing of the pairs of view and position."""
        views, positions = file.missing(views, positions)
        if not len(views):
            return
        training, inference = self.training, self.training.arithmetic.inference
        chunks = np.split(np.arange(len(views)), range(inference.batch_size, len(views), inference.batch_size))
        batches = images.batches([positions[chunk] for chunk in chunks], training=False, seed=0)
        turned = (
            pinned(flip(batch, torch.from_numpy(views[chunk])), training.device)
            for chunk, batch in zip(chunks, batches, strict=True)
        )
        with (
            copied_for_inference(training.network, training.device, inference) as (module, forward),
            _inputs_of(module.get_submodule(self.head.entrance)) as seen,
        ):
            for chunk, batch in zip(chunks, prefetched(turned) if images.can_prefetch else turned, strict=True):
                forward(batch)
                file.write(views[chunk], positions[chunk], seen.pop())
                training.reporter.count("features of images", int(chunk[-1]) + 1, len(views))
        file.keep(views, positions)

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
    views, count = view_count(training.settings.augmentation), len(training.train.images)
    train, validation = _paths(training)
    others = 0 if training.validation is None else len(training.validation.images)
    return FrozenFeatures(
        training,
        head,
        FeatureFile(train, views, count, head.shape),
        FeatureFile(validation, 1, others, head.shape) if others else None,
    )


def _obstacle(training: Training, head: HeadPart | None, finished_epochs: int) -> str | None:
    """Return why features cannot be stored, or None if they can."""
    settings, path = training.settings, _paths(training)[0]
    if training.train.images.augments:
        return "a transforms file makes new images each time"
    if settings.frozen_batch_norm == "update":
        return "frozen_batch_norm: update changes what is frozen with every batch"
    if head is None:
        return "its head is not one sequence of layers at its end"
    if FeatureFile.exists(path):
        return None
    if finished_epochs:
        return "it was computed so in the epochs before"
    images = view_count(settings.augmentation) * len(training.train.images)
    images += 0 if training.validation is None else len(training.validation.images)
    room = fits_on_disk(path.parent, images * math.prod(head.shape))
    return None if room else f"no room on the disk in {path.parent}"


def _paths(training: Training) -> tuple[Path, Path]:
    folder = training.files.checkpoint.parent
    return folder / "features_train.npy", folder / "features_val.npy"


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what enters a layer inside the block."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
