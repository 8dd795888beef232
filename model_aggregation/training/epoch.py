"""One epoch of training: its batches, its steps and its sums."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model_aggregation.data.augmentation import augment
from model_aggregation.data.prefetch import pinned, prefetched
from model_aggregation.models.build import float32_head
from model_aggregation.training.checkpoint import Progress
from model_aggregation.training.features import FrozenFeatures
from model_aggregation.training.job import Training, epoch_seed
from model_aggregation.training.losses import Loss
from model_aggregation.training.mixing import Mixing

_SECONDS_BETWEEN_NOTES = 0.5


@dataclass(frozen=True, eq=False)
class Machinery:
    """What turns a batch into a step: the module and optimiser as Fabric wraps them, schedule and loss.

    ``class_weights`` (C,) are those of the loss; None where every image counts the same.
    """

    module: Any
    optimizer: Any
    schedule: Any
    loss: Loss
    class_weights: Tensor | None = None
    compiled_for: set[bool] = field(default_factory=set)  # frozen, not frozen: each is compiled by itself


def train_epoch(
    training: Training, progress: Progress, machinery: Machinery, features: FrozenFeatures | None
) -> dict[str, Any]:
    """Take the steps of one epoch and return its row of the history.

    With ``features`` only the head computes. Where the time is over before the last step, the row says after how many
    batches.
    """
    network, epoch = training.network, progress.epoch
    frozen = training.is_frozen(epoch)
    if frozen:
        network.freeze()
    else:
        network.thaw()
    network.train_mode(keep_frozen_statistics=training.settings.frozen_batch_norm == "keep")
    seed = epoch_seed(training.settings.seed, epoch)
    torch.manual_seed(seed)
    order = training.order(epoch)
    if features is None:
        batches = _waited_for(_image_batches(training, order, seed), progress)
        forward = _from_pixels(training, machinery.module)
    else:
        batches, forward = features.training_batches(epoch), features.head.layers
    mixing = Mixing.of(training.settings, network.classes, seed)
    if mixing is not None and epoch == 0:
        training.journal.note(
            "the train accuracy is that on mixed images, each counted for the class with its larger share: it is lower "
            "than on images as they are"
        )
    meter = _Meter(training, progress, len(order))
    with float32_head(network):
        for number, inputs in enumerate(batches):
            started = time.perf_counter()
            targets = training.train.labels[order[number]].to(training.device, non_blocking=True)
            if mixing is not None:
                inputs, targets = mixing(_normalized(training, inputs), targets)  # noqa: PLW2901
            part = _part(training, number, len(order))
            loss, right = _learn(training, machinery, forward, inputs, targets, part=part)
            if training.settings.compile and features is None and frozen not in machinery.compiled_for:
                machinery.compiled_for.add(frozen)
                training.journal.note(f"compiled with the first step in {time.perf_counter() - started:.1f} s")
            meter.add(loss, right, len(targets), machinery.schedule.get_last_lr()[0])
            if part.last and training.time.seconds_left <= 0:
                break
    meter.tell()
    progress.images_seen += meter.seen
    return {
        "epoch": epoch,
        "train_loss": meter.loss / meter.seen,
        "train_accuracy": meter.right / meter.seen,
        "learning_rate": machinery.schedule.get_last_lr()[0],
        "frozen": frozen,
        **({"cut_after_batches": meter.done} if meter.done < len(order) else {}),
    }


def _image_batches(training: Training, order: list[Any], seed: int) -> Iterator[Tensor]:
    """Yield batches of pixels, or of what a transform made; gathered and turned while the one before is learnt."""
    images, device, settings = training.train.images, training.device, training.settings
    generator = torch.Generator().manual_seed(seed)
    changed = (
        pinned(batch if images.augments else augment(batch, settings.augmentation, generator), device)
        for batch in images.batches(order, training=True, seed=seed)
    )
    return prefetched(changed) if images.can_prefetch else changed


def _waited_for(batches: Iterator[Tensor], progress: Progress) -> Iterator[Tensor]:
    """Yield the batches and count the seconds until each was there."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        progress.seconds_waited += time.perf_counter() - started
        if batch is None:
            return
        yield batch


def _from_pixels(training: Training, module: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function from a batch of pixels to logits: to the device, normalised, through the network."""
    return lambda batch: module(_normalized(training, batch))


def _normalized(training: Training, batch: Tensor) -> Tensor:
    """Return a batch on the device as the network expects it; float images are there already, or as they should be."""
    layout = training.arithmetic.training.layout
    return training.network.preprocessing.normalize(batch.to(training.device, non_blocking=True), layout)


@dataclass(frozen=True)
class _Part:
    """A batch's part of a step: the step adds up ``batches``, and is taken after the last of them."""

    batches: int
    last: bool


def _part(training: Training, number: int, batches: int) -> _Part:
    accumulate = training.settings.accumulate
    first = number - number % accumulate
    added_up = min(accumulate, batches - first)  # the last step of an epoch may have fewer batches
    return _Part(added_up, last=number - first == added_up - 1)


def _learn(
    training: Training,
    machinery: Machinery,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    part: _Part,
) -> tuple[Tensor, Tensor]:
    """Add one batch's gradient and step when enough batches are added up; return its loss and right answers.

    What does not fit into memory is learnt in parts, each with its share in the loss of the batch.
    """
    fabric, optimizer, limit = training.fabric, machinery.optimizer, training.settings.clip_gradient
    pieces = min(training.arithmetic.batch_parts, len(targets))
    loss, right = torch.zeros((), device=targets.device), torch.zeros((), dtype=torch.int64, device=targets.device)
    for number, (images, labels) in enumerate(
        zip(inputs.tensor_split(pieces), targets.tensor_split(pieces), strict=True), 1
    ):
        with fabric.no_backward_sync(machinery.module, enabled=not (part.last and number == pieces)):
            logits = forward(images)
            own = machinery.loss(logits, labels) * _share(labels, targets, machinery.class_weights)
            fabric.backward(own / part.batches)
        loss += own.detach()
        answers = labels if labels.ndim == 1 else labels.argmax(1)  # of a mixed image the class with the larger share
        right += (logits.detach().argmax(1) == answers).sum()
    if part.last:
        if limit is not None:
            fabric.clip_gradients(machinery.module, optimizer, max_norm=limit)
        optimizer.step()
        machinery.schedule.step()
        optimizer.zero_grad(set_to_none=True)
    return loss, right


def _share(labels: Tensor, all_labels: Tensor, class_weights: Tensor | None) -> Tensor | float:
    """Return the share that some images of a batch have in its mean loss, weighted as the loss is."""
    if len(labels) == len(all_labels):
        return 1.0
    if class_weights is None:
        return len(labels) / len(all_labels)
    own, whole = (
        class_weights[each] if each.ndim == 1 else each @ class_weights  # of mixed images, in the shares of the classes
        for each in (labels, all_labels)
    )
    return own.sum() / whole.sum()


class _Meter:
    """Sums of one epoch, and what is told of them.

    Losses wait on the device and are fetched together now and then: fetching each would make a GPU wait.
    """

    def __init__(self, training: Training, progress: Progress, batches: int) -> None:
        self.loss, self.right, self.seen, self.done = 0.0, 0, 0, 0
        self._training, self._progress, self._batches = training, progress, batches
        self._waiting: list[tuple[Tensor, Tensor, int, float]] = []
        self._started = self._told = time.perf_counter()
        training.reporter.count("batches", 0, batches)

    def add(self, loss: Tensor, right: Tensor, images: int, rate: float) -> None:
        """Count one batch."""
        self._waiting.append((loss, right, images, rate))
        if time.perf_counter() - self._told > _SECONDS_BETWEEN_NOTES:
            self.tell()

    def tell(self) -> None:
        """Fetch what waits, write it down and show it."""
        if not self._waiting:
            return
        losses, rights, counts, rates = zip(*self._waiting, strict=True)
        self._waiting = []
        fetched = torch.stack([torch.stack(losses).double(), torch.stack(rights).double()]).tolist()
        for loss, right, images, rate in zip(*fetched, counts, rates, strict=True):
            self.loss += loss * images
            self.right += int(right)
            self.seen += images
            self.done += 1
            self._training.journal.batch(self._progress.step, loss, right / images, rate)
            self._progress.step += 1
        self._told = time.perf_counter()
        self._show(self._told - self._started)

    def _show(self, seconds: float) -> None:
        speed = self.seen / seconds
        note = f"loss {self.loss / self.seen:.4f}  accuracy {self.right / self.seen:.3f}  {speed:.0f} images/s"
        reporter, epochs, name = self._training.reporter, self._training.settings.epochs, self._training.journal.name
        whole = self._batches + 1  # what is left of an epoch after its batches counts as one more
        reporter.measure(loss=self.loss / self.seen, accuracy=self.right / self.seen, images_per_second=speed)
        reporter.count("epochs", self._progress.epoch + self.done / whole, epochs, name)
        reporter.count("batches", self.done, self._batches, note)
