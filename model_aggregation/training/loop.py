"""Training one network, from top to bottom.

Each epoch seeds its own random numbers from the seed and its number, so a training that continues from a checkpoint
takes the same steps as one that was never interrupted.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.prefetch import on_device
from model_aggregation.errors import TrainingError
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.models.memory import memory_watched
from model_aggregation.training.checkpoint import Checkpoints, Progress, save_weights
from model_aggregation.training.epoch import Machinery, train_epoch
from model_aggregation.training.features import FrozenFeatures, frozen_features
from model_aggregation.training.job import LabelledImages, Training
from model_aggregation.training.losses import Loss, balanced_class_weights, make_loss
from model_aggregation.training.optimization import make_optimizer, make_schedule
from model_aggregation.training.selection import is_better, validation_value


def run_training(training: Training) -> Progress:
    """Train, and leave the network with the weights to test: the best on validation (unless the last are asked for).

    Continues from the stored state if there is one. Writes ``last_model_weight.pth`` and, with validation,
    ``best_model_weight.pth``. What ends a training early is in the progress: a loss that is not finite, or the time.

    Raises
    ------
    TrainingError
        If the loss is not finite in the first epoch.
    DamagedCacheError
        If features or weights that were kept on the disk were changed meanwhile.
    NotEnoughMemoryError
        If so many images at once do not fit into memory; the finished epochs are stored.
    """
    network, settings, files = training.network, training.settings, training.files
    training = _with_images_on_device(training)
    machinery, stored = _machinery(training)
    states = Checkpoints(files.state, files.best_weights, training.journal.note, training.fabric)
    progress = states.load(stored) or Progress()
    if progress.epoch:
        training.reporter.message(f"  continues after epoch {progress.epoch} of {settings.epochs}")
    course = _Course(replace(training, time=training.time.for_training(progress.seconds)), machinery, states, stored)
    features = frozen_features(training, progress.epoch)
    with training.reporter.working():
        training.reporter.count("epochs", progress.epoch, settings.epochs, training.journal.name)
        while progress.epoch < settings.epochs and not _patience_is_over(progress, settings):
            progress = course.epoch(progress, features)
            if progress.ended_early:
                break
            if features is not None and not training.is_frozen(progress.epoch - 1):  # no stored state needs them now
                features.check()
                features.remove()
                features = None
            training.reporter.count("epochs", progress.epoch, settings.epochs, training.journal.name)
    if features is not None:
        features.check()
    if training.fabric.is_global_zero:
        save_weights(network.module, files.last_weights)
    if progress.best_epoch is not None and settings.test_weights == "best":
        network.module.load_state_dict(states.best_weights(progress))
    return progress


@dataclass(frozen=True, eq=False)
class _Course:
    """What an epoch needs: the training, what takes its steps, and what of it is stored where."""

    training: Training
    machinery: Machinery
    states: Checkpoints
    stored: dict[str, Any]

    def epoch(self, progress: Progress, features: FrozenFeatures | None) -> Progress:
        """Train and validate one epoch and store the state; a training that ends early returns to the state before."""
        training, number = self.training, progress.epoch + 1
        if progress.epoch and self._is_short_of_time(progress):
            return self._over(progress, f"after epoch {progress.epoch}")
        features = features if training.is_frozen(progress.epoch) else None
        started = time.perf_counter()
        with memory_watched("learning"):
            row = train_epoch(training, progress, self.machinery, features)
        cut = row.get("cut_after_batches")
        if cut and progress.epoch:
            return self._over(self._before(), f"after epoch {progress.epoch}")
        if not math.isfinite(row["train_loss"]):
            return self._last_good(number)
        row |= _validate(training, progress, self.states, self.machinery.loss, features)
        seconds = time.perf_counter() - started
        progress.seconds += seconds
        progress.longest_seconds = max(seconds, progress.longest_seconds)
        progress.history.append(row)
        if cut:
            return self._over(progress, f"after {cut} batches of epoch {number}")
        progress.epoch = number
        training.journal.epoch(row, number, training.settings.epochs)
        _save_epoch_weights(training, progress)
        self.states.save(progress, self.stored)
        return progress

    def _is_short_of_time(self, progress: Progress) -> bool:
        """Return whether rank 0 expects another epoch to end too late."""
        training = self.training
        return bool(training.fabric.broadcast(training.time.seconds_left < progress.longest_seconds))

    def _over(self, progress: Progress, when: str) -> Progress:
        """Note that there is no time for more."""
        note = f"stopped by the time limit {when} of {self.training.settings.epochs}"
        self.training.journal.note(note)
        return replace(progress, ended_early=note, cut_short=self.training.time.nearest)

    def _before(self) -> Progress:
        """Go back to the state before this epoch."""
        restored = self.states.load(self.stored)
        if restored is None:
            raise TrainingError("The stored state of the training has vanished. Give the same command again.")
        return restored

    def _last_good(self, number: int) -> Progress:
        """Go back to the state before the loss stopped being finite."""
        if number == 1:
            raise TrainingError(
                "The loss is not a finite number in the first epoch. Try a lower learning_rate, clip_gradient: 1, or "
                "precision: 32."
            )
        note = (
            f"the loss is not a finite number in epoch {number} of {self.training.settings.epochs}: training stopped; "
            "the weights of the epochs before are used"
        )
        self.training.journal.note(note)
        return replace(self._before(), ended_early=note)


def _with_images_on_device(training: Training) -> Training:
    """Keep the training images in the memory of a GPU where they fit."""
    images = on_device(training.train.images, training.device)
    return replace(training, train=LabelledImages(images, training.train.labels))


def _machinery(training: Training) -> tuple[Machinery, dict[str, Any]]:
    """Return what takes the steps, and the parts of it that a checkpoint stores."""
    network, settings = training.network, training.settings
    network.module.to(memory_format=training.arithmetic.training.layout)  # type: ignore[call-overload]
    network.module.to(training.device)
    optimizer = make_optimizer(network, settings)
    wrapped = training.fabric.setup_optimizers(optimizer)
    schedule = make_schedule(optimizer, settings, math.ceil(len(training.order(0)) / settings.accumulate))
    weights = _class_weights(training)
    machinery = Machinery(wrapped, schedule, make_loss(settings, weights), weights)
    return machinery, {"network": network.module, "optimizer": optimizer, "schedule": schedule}


def _class_weights(training: Training) -> Tensor | None:
    if training.settings.class_weights == "none":
        return None
    return balanced_class_weights(training.train.labels, training.network.classes).to(training.fabric.device)


def _patience_is_over(progress: Progress, settings: Settings) -> bool:
    if settings.patience is None or progress.best_epoch is None:
        return False
    return progress.epoch - 1 - progress.best_epoch >= settings.patience


def _validate(
    training: Training, progress: Progress, states: Checkpoints, loss: Loss, features: FrozenFeatures | None
) -> dict[str, Any]:
    """Measure the validation images, keep the weights if they are the best so far, return the row's part."""
    validation, settings = training.validation, training.settings
    if validation is None:
        return {}
    logits = features.validation_logits() if features is not None else _logits(training, validation)
    if training.journal.wants_validation_batches:
        training.journal.validation_batches(progress.epoch, _by_batches(training, validation, logits, loss))
    row = training.fabric.broadcast(_measured(training, validation, logits, loss))  # what follows is equal everywhere
    value = row["val_" + settings.best_by]
    if is_better(value, progress.best_value, settings.best_by, ties=settings.best_ties):
        progress.best_epoch, progress.best_value = progress.epoch, value
        states.save_best(progress, training.network.module)
    return row


def _by_batches(
    training: Training, validation: LabelledImages, logits: Tensor, loss: Loss
) -> list[tuple[float, float]]:
    """Return loss and accuracy of the validation images batch by batch, in their order."""
    size = training.settings.batch_size
    parts = zip(logits.float().split(size), validation.labels.split(size), strict=True)
    return [
        (
            float(loss(some.to(training.device), labels.to(training.device))),
            float((some.argmax(1).cpu() == labels).float().mean()),
        )
        for some, labels in parts
    ]


def _measured(training: Training, validation: LabelledImages, logits: Tensor, loss: Loss) -> dict[str, float]:
    """Return the row's part about the validation images."""
    probabilities, labels, device = softmax(logits), validation.labels.numpy(), training.device
    row = {
        "val_loss": float(loss(logits.float().to(device), validation.labels.to(device))),
        "val_accuracy": float((probabilities.argmax(1) == labels).mean()),
    }
    return row | {
        "val_" + training.settings.best_by: validation_value(training.settings.best_by, row, probabilities, labels)
    }


def _logits(training: Training, labelled: LabelledImages) -> Tensor:
    return predict_logits(
        training.network,
        labelled.images,
        training.fabric,
        inference=training.arithmetic.inference,
        progress=lambda done, total: training.reporter.count("validation images", done, total),
    )


def _save_epoch_weights(training: Training, progress: Progress) -> None:
    epoch, every = progress.epoch - 1, training.settings.save_every
    if every is not None and epoch % every == 0 and training.fabric.is_global_zero:
        save_weights(training.network.module, training.files.epoch_weights / f"{epoch}.pth")
