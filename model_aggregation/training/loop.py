"""Training one network, from top to bottom.

Each epoch seeds its own random numbers from the seed and its number, so a training that continues from a checkpoint
takes the same steps as one that was never interrupted.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.data.augmentation import augment
from model_aggregation.data.loading import ImageSource, training_order
from model_aggregation.errors import TrainingError
from model_aggregation.models.build import Network, float32_head
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.progress import Reporter
from model_aggregation.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_whole
from model_aggregation.training.journal import Journal
from model_aggregation.training.losses import Loss, balanced_class_weights, make_loss
from model_aggregation.training.optimization import make_optimizer, make_schedule
from model_aggregation.training.selection import is_better, validation_value


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one split with their labels (N,) int64."""

    images: ImageSource
    labels: Tensor


@dataclass(frozen=True)
class TrainingFiles:
    """Where a training leaves its weights and its state."""

    checkpoint: Path
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
    fabric: Fabric
    files: TrainingFiles
    reporter: Reporter
    journal: Journal


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
    optimizer = make_optimizer(network, settings)
    module, wrapped = training.fabric.setup(network.module, optimizer)
    steps_per_epoch = math.ceil(len(_epoch_order(training, 0)) / settings.accumulate)
    schedule = make_schedule(optimizer, settings, steps_per_epoch)
    machinery = _Machinery(module, wrapped, schedule, make_loss(settings, _class_weights(training)))
    stored = {"network": network.module, "optimizer": optimizer, "schedule": schedule}
    progress = load_checkpoint(files.checkpoint, stored) or Progress()
    if progress.epoch:
        training.reporter.message(f"  continues after epoch {progress.epoch} of {settings.epochs}")
    with training.reporter.working():
        training.reporter.count("epochs", progress.epoch, settings.epochs, training.journal.name)
        while progress.epoch < settings.epochs and not _patience_is_over(progress, settings):
            started = time.perf_counter()
            row = _train_epoch(training, progress, machinery)
            if not math.isfinite(row["train_loss"]):
                progress = _last_good_epoch(training, stored, progress)
                break
            row |= _validate(training, progress, machinery.loss)
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


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch's random numbers."""
    return (seed * 1_000_003 + epoch * 7_919 + 1) % 2**31


def _epoch_order(training: Training, epoch: int) -> list[Any]:
    settings = training.settings
    return training_order(
        len(training.train.images),
        settings.batch_size,
        seed=epoch_seed(settings.seed, epoch),
        drop_last=settings.drop_last,
    )


def _class_weights(training: Training) -> Tensor | None:
    if training.settings.class_weights == "none":
        return None
    classes = training.network.module.state_dict()[next(iter(training.network.head))].shape[0]
    return balanced_class_weights(training.train.labels, classes).to(training.fabric.device)


def _patience_is_over(progress: Progress, settings: Settings) -> bool:
    if settings.patience is None or progress.best_epoch is None:
        return False
    return progress.epoch - 1 - progress.best_epoch >= settings.patience


def is_frozen(network: Network, settings: Settings, epoch: int) -> bool:
    """Return whether only the head learns in ``epoch``; a network without pretrained weights is never frozen."""
    if not (settings.freeze and network.pretrained):
        return False
    return settings.thaw_at is None or epoch < settings.thaw_at


@dataclass(frozen=True, eq=False)
class _Machinery:
    """What turns a batch into a step: the module and optimiser as Fabric wraps them, schedule and loss."""

    module: Any
    optimizer: Any
    schedule: Any
    loss: Loss


def _train_epoch(training: Training, progress: Progress, machinery: _Machinery) -> dict[str, Any]:
    """Take the steps of one epoch and return its row of the history."""
    network, settings = training.network, training.settings
    epoch, images = progress.epoch, training.train.images
    frozen = is_frozen(network, settings, epoch)
    if frozen:
        network.freeze()
    else:
        network.thaw()
    network.train_mode(keep_frozen_statistics=settings.frozen_batch_norm == "keep")
    seed = epoch_seed(settings.seed, epoch)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    order = _epoch_order(training, epoch)
    meter = _Meter(training, epoch, len(order))
    with float32_head(network):
        for number, batch in enumerate(images.batches(order, training=True, seed=seed)):
            changed = batch if images.augments else augment(batch, settings.augmentation, generator)
            inputs = network.preprocessing.normalize(changed.to(training.fabric.device))
            targets = training.train.labels[order[number]].to(training.fabric.device)
            value, right = _learn(training, machinery, inputs, targets, number=number, batches=len(order))
            meter.add(value, right, len(targets))
            rate = machinery.schedule.get_last_lr()[0]
            training.journal.batch(progress.step, value, right / len(targets), rate)
            progress.step += 1
    progress.images_seen += meter.seen
    return {
        "epoch": epoch,
        "train_loss": meter.loss / meter.seen,
        "train_accuracy": meter.right / meter.seen,
        "learning_rate": machinery.schedule.get_last_lr()[0],
        "frozen": frozen,
    }


def _learn(
    training: Training, machinery: _Machinery, inputs: Tensor, targets: Tensor, *, number: int, batches: int
) -> tuple[float, int]:
    """Add one batch's gradient and step when enough batches are added up; return its loss and right answers."""
    settings, fabric = training.settings, training.fabric
    first = number - number % settings.accumulate
    added_up = min(settings.accumulate, batches - first)  # the last step of an epoch may have fewer batches
    steps_now = number - first == added_up - 1
    with fabric.no_backward_sync(machinery.module, enabled=not steps_now):
        logits = machinery.module(inputs)
        value = machinery.loss(logits, targets)
        fabric.backward(value / added_up)
    if steps_now:
        if settings.clip_gradient is not None:
            fabric.clip_gradients(machinery.module, machinery.optimizer, max_norm=settings.clip_gradient)
        machinery.optimizer.step()
        machinery.schedule.step()
        machinery.optimizer.zero_grad(set_to_none=True)
    return value.item(), int((logits.argmax(1) == targets).sum())


class _Meter:
    """Sums of one epoch, and what is told of them."""

    def __init__(self, training: Training, epoch: int, batches: int) -> None:
        self.loss, self.right, self.seen, self.done = 0.0, 0, 0, 0
        self._training, self._epoch, self._batches = training, epoch, batches
        self._started = time.perf_counter()
        training.reporter.count("batches", 0, batches)

    def add(self, loss: float, right: int, images: int) -> None:
        """Count one batch."""
        self.loss += loss * images
        self.right += right
        self.seen += images
        self.done += 1
        speed = self.seen / (time.perf_counter() - self._started)
        note = f"loss {self.loss / self.seen:.4f}  accuracy {self.right / self.seen:.3f}  {speed:.0f} images/s"
        reporter, epochs, name = self._training.reporter, self._training.settings.epochs, self._training.journal.name
        whole = self._batches + 1  # what is left of an epoch after its batches counts as one more
        reporter.count("epochs", self._epoch + self.done / whole, epochs, name)
        reporter.count("batches", self.done, self._batches, note)


def _validate(training: Training, progress: Progress, loss: Loss) -> dict[str, Any]:
    """Measure the validation images, keep the weights if they are the best so far, return the row's part."""
    validation, settings = training.validation, training.settings
    if validation is None:
        return {}
    logits = predict_logits(
        training.network,
        validation.images,
        training.fabric,
        batch_size=settings.batch_size,
        progress=lambda done, total: training.reporter.count("validation images", done, total),
    )
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
