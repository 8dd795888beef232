"""Training one network, from top to bottom.

Each epoch seeds its own random numbers from the seed and its number, so a training that continues from a checkpoint
takes the same steps as one that was never interrupted.
"""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.prefetch import on_device
from model_aggregation.errors import TrainingError
from model_aggregation.models.build import Network
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_whole
from model_aggregation.training.epoch import Machinery, train_epoch
from model_aggregation.training.features import FrozenFeatures, frozen_features
from model_aggregation.training.job import LabelledImages, Training
from model_aggregation.training.losses import Loss, balanced_class_weights, make_loss
from model_aggregation.training.optimization import make_optimizer, make_schedule
from model_aggregation.training.selection import is_better, validation_value


def run_training(training: Training) -> Progress:
    """Train, and leave the network with the weights to test: the best on validation (unless the last are asked for).

    Continues from the checkpoint if there is one. Writes ``last_model_weight.pth`` and, with validation,
    ``best_model_weight.pth``.

    Raises
    ------
    TrainingError
        If the loss is not finite in the first epoch.
    """
    network, settings, files = training.network, training.settings, training.files
    training = _with_images_on_device(training)
    machinery, stored = _machinery(training)
    progress = load_checkpoint(files.checkpoint, stored) or Progress()
    if progress.epoch:
        training.reporter.message(f"  continues after epoch {progress.epoch} of {settings.epochs}")
    features = frozen_features(training, progress.epoch)
    with training.reporter.working():
        training.reporter.count("epochs", progress.epoch, settings.epochs, training.journal.name)
        while progress.epoch < settings.epochs and not _patience_is_over(progress, settings):
            started = time.perf_counter()
            if features is not None and not training.is_frozen(progress.epoch):
                features.remove()
                features = None
            row = train_epoch(training, progress, machinery, features)
            if not math.isfinite(row["train_loss"]):
                progress = _last_good_epoch(training, stored, progress)
                break
            row |= _validate(training, progress, machinery.loss, features)
            progress.seconds += time.perf_counter() - started
            progress.history.append(row)
            progress.epoch += 1
            training.journal.epoch(row, progress.epoch, settings.epochs)
            _save_epoch_weights(training, progress)
            save_checkpoint(files.checkpoint, progress, stored)
            training.reporter.count("epochs", progress.epoch, settings.epochs, training.journal.name)
    save_weights(network, files.last_weights)
    if progress.best_epoch is not None and settings.test_weights == "best":
        network.module.load_state_dict(torch.load(files.best_weights, weights_only=True))
    return progress


def _with_images_on_device(training: Training) -> Training:
    """Keep the training images in the memory of a GPU where they fit."""
    images = on_device(training.train.images, training.device)
    return replace(training, train=LabelledImages(images, training.train.labels))


def _machinery(training: Training) -> tuple[Machinery, dict[str, Any]]:
    """Return what takes the steps, and the parts of it that a checkpoint stores."""
    network, settings = training.network, training.settings
    network.module.to(memory_format=training.arithmetic.training.layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, settings)
    module: Any = torch.compile(network.module) if settings.compile else network.module
    module, wrapped = training.fabric.setup(module, optimizer)
    schedule = make_schedule(optimizer, settings, math.ceil(len(training.order(0)) / settings.accumulate))
    machinery = Machinery(module, wrapped, schedule, make_loss(settings, _class_weights(training)))
    return machinery, {"network": network.module, "optimizer": optimizer, "schedule": schedule}


def _class_weights(training: Training) -> Tensor | None:
    if training.settings.class_weights == "none":
        return None
    return balanced_class_weights(training.train.labels, training.network.classes).to(training.fabric.device)


def _patience_is_over(progress: Progress, settings: Settings) -> bool:
    if settings.patience is None or progress.best_epoch is None:
        return False
    return progress.epoch - 1 - progress.best_epoch >= settings.patience


def _validate(training: Training, progress: Progress, loss: Loss, features: FrozenFeatures | None) -> dict[str, Any]:
    """Measure the validation images, keep the weights if they are the best so far, return the row's part."""
    validation, settings = training.validation, training.settings
    if validation is None:
        return {}
    logits = features.validation_logits() if features is not None else _logits(training, validation)
    probabilities = softmax(logits)
    labels = validation.labels.numpy()
    row = {
        "val_loss": float(
            loss(logits.float().to(training.fabric.device), validation.labels.to(training.fabric.device))
        ),
        "val_accuracy": float((probabilities.argmax(1) == labels).mean()),
    }
    value = validation_value(settings.best_by, row, probabilities, labels)
    row["val_" + settings.best_by] = value
    if is_better(value, progress.best_value, settings.best_by, ties=settings.best_ties):
        progress.best_epoch, progress.best_value = progress.epoch, value
        save_weights(training.network, training.files.best_weights)
    return row


def _logits(training: Training, labelled: LabelledImages) -> Tensor:
    return predict_logits(
        training.network,
        labelled.images,
        training.fabric,
        inference=training.arithmetic.inference,
        progress=lambda done, total: training.reporter.count("validation images", done, total),
    )


def save_weights(network: Network, path: Path) -> None:
    """Write the network's state dict, on the CPU, whole or absent."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.module.state_dict().items()}
    save_whole(state, path)


def _save_epoch_weights(training: Training, progress: Progress) -> None:
    epoch, every = progress.epoch - 1, training.settings.save_every
    if every is not None and epoch % every == 0:
        save_weights(training.network, training.files.epoch_weights / f"{epoch}.pth")


def _last_good_epoch(training: Training, stored: dict[str, Any], progress: Progress) -> Progress:
    """Go back to the state before the loss stopped being finite."""
    restored = load_checkpoint(training.files.checkpoint, stored)
    if restored is None:
        raise TrainingError(
            "The loss is not a finite number in the first epoch. Try a lower learning_rate, clip_gradient: 1, or "
            "precision: 32."
        )
    training.journal.note(
        f"The loss is not a finite number in epoch {progress.epoch}: training stopped; the weights of the epochs "
        "before are used."
    )
    return restored
