"""One epoch of training: its batches, its steps and its sums."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.data.augmentation import augment
from model_aggregation.data.prefetch import pinned, prefetched
from model_aggregation.models.learning import as_learnt
from model_aggregation.models.memory import free_memory
from model_aggregation.ranks import Part, part_of, with_buffers_of_the_first
from model_aggregation.training.checkpoint import Progress
from model_aggregation.training.features import FrozenFeatures
from model_aggregation.training.job import Training, epoch_seed
from model_aggregation.training.losses import Loss
from model_aggregation.training.mixing import Mixing

_SECONDS_BETWEEN_NOTES = 0.5


@dataclass(frozen=True, eq=False)
class Machinery:
    """What turns a batch into a step: the optimiser as Fabric wraps it, schedule and loss.

    ``class_weights`` (C,) are those of the loss; None where every image counts the same.
    """

    optimizer: Any
    schedule: Any
    loss: Loss
    class_weights: Tensor | None = None
    compiled_for: set[bool] = field(default_factory=set)  # frozen, not frozen: each is compiled by itself
    _wrapped: dict[bool, Any] = field(default_factory=dict)

    def module(self, training: Training, *, frozen: bool) -> Any:
        """Return the network as Fabric wraps it. Ranks exchange the gradients of what learns, so it depends on that."""
        if frozen not in self._wrapped:
            self._wrapped.clear()
            free_memory()  # what listened to the gradients before is gone for certain
            module: nn.Module = training.network.module
            self._wrapped[frozen] = training.fabric.setup_module(
                torch.compile(module) if training.settings.compile else module  # type: ignore[arg-type]
            )
        return self._wrapped[frozen]


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
    torch.manual_seed(seed + training.fabric.global_rank)
    order = training.order(epoch)
    parts = [part_of(len(batch), training.fabric) for batch in order]
    module = machinery.module(training, frozen=frozen)
    if features is None:
        batches = _waited_for(_image_batches(training, order, parts, seed), progress)
        forward = _from_pixels(training, module)
    else:
        batches, forward = features.training_batches(epoch), features.head.layers
    mixing = Mixing.of(training.settings, network.classes, seed + training.fabric.global_rank)
    if mixing is not None and epoch == 0:
        training.journal.note(
            "the train accuracy is that on mixed images, each counted for the class with its larger share: it is lower "
            "than on images as they are"
        )
    meter = _Meter(training, progress, len(order))
    with as_learnt(network, training.device, compiled=training.settings.compile):
        for number, inputs in enumerate(batches):
            started = time.perf_counter()
            part = parts[number]
            targets = training.train.labels[order[number][part.rows]].to(training.device, non_blocking=True)
            if mixing is not None:
                inputs, targets = mixing(_normalized(training, inputs), targets)  # noqa: PLW2901
            step = _Step.of(training, number, len(order), module, _share_of_rank(training, machinery, targets, part))
            loss, right = _learn(training, machinery, forward, inputs, targets, step=step)
            if training.settings.compile and features is None and frozen not in machinery.compiled_for:
                machinery.compiled_for.add(frozen)
                training.journal.note(f"compiled with the first step in {time.perf_counter() - started:.1f} s")
            meter.add(loss, right, part, machinery.schedule.get_last_lr()[0])
            if step.last and _time_is_over(training) and (features is None or epoch):  # stored features are learnt soon
                break
    with_buffers_of_the_first(network.module, training.fabric)
    loss_sum, right_sum = meter.sums()
    progress.add(meter.seen, passes=0 if features else 1 if frozen else 3, seconds=meter.seconds)
    return {
        "epoch": epoch,
        "train_loss": loss_sum / meter.seen,
        "train_accuracy": right_sum / meter.seen,
        "learning_rate": machinery.schedule.get_last_lr()[0],
        "frozen": frozen,
        **({"cut_after_batches": meter.done} if meter.done < len(order) else {}),
    }


def _image_batches(training: Training, order: list[Any], parts: list[Part], seed: int) -> Iterator[Tensor]:
    """Yield the own part of each batch, of pixels or of what a transform made, while the one before is learnt."""
    images, device, name = training.train.images, training.device, training.settings.augmentation
    generator = torch.Generator().manual_seed(seed)
    own = [positions[part.rows] for positions, part in zip(order, parts, strict=True)]

    def changed(batch: Tensor, part: Part) -> Tensor:
        return batch if images.augments else augment(batch, name, generator, rows=part.rows, batch_size=part.whole)

    batches = zip(images.batches(own, training=True, seed=seed), parts, strict=True)
    ready = (pinned(changed(batch, part), device) for batch, part in batches)
    return prefetched(ready) if images.can_prefetch else ready


def _share_of_rank(training: Training, machinery: Machinery, targets: Tensor, part: Part) -> Tensor | float:
    """Return the weight of a rank's mean loss, whose gradients are averaged over the ranks, in that of the batch."""
    fabric, class_weights = training.fabric, machinery.class_weights
    if fabric.world_size == 1:
        return 1.0
    if class_weights is None:
        return fabric.world_size * part.own / part.whole
    own = _weight(targets, class_weights) * (part.own > 0)
    return fabric.world_size * own / fabric.all_reduce(own.clone(), reduce_op="sum")  # type: ignore[operator]


def _time_is_over(training: Training) -> bool:
    """Return whether rank 0 has no time left; asked of it only where there is a limit."""
    left = training.time.seconds_left
    return math.isfinite(left) and training.fabric.broadcast(left <= 0)


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


@dataclass(frozen=True, eq=False)
class _Step:
    """A batch's part of a step: the step adds up ``batches``, and is taken after the last of them.

    ``module`` is the wrapped network, ``share`` the weight of this rank's loss.
    """

    batches: int
    last: bool
    module: Any
    share: Tensor | float

    @classmethod
    def of(cls, training: Training, number: int, batches: int, module: Any, share: Tensor | float) -> "_Step":
        """Return the part that batch ``number`` of an epoch of ``batches`` has."""
        accumulate = training.settings.accumulate
        first = number - number % accumulate
        added_up = min(accumulate, batches - first)  # the last step of an epoch may have fewer batches
        return cls(added_up, number - first == added_up - 1, module, share)


def _learn(
    training: Training,
    machinery: Machinery,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    step: _Step,
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
        with fabric.no_backward_sync(step.module, enabled=not (step.last and number == pieces)):
            logits = forward(images)
            own = machinery.loss(logits, labels) * _share(labels, targets, machinery.class_weights) * step.share
            fabric.backward(own / step.batches)
        loss += own.detach()
        answers = labels if labels.ndim == 1 else labels.argmax(1)  # of a mixed image the class with the larger share
        right += (logits.detach().argmax(1) == answers).sum()
    if step.last:
        if limit is not None:
            fabric.clip_gradients(step.module, optimizer, max_norm=limit)
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
    return _weight(labels, class_weights) / _weight(all_labels, class_weights)


def _weight(labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the sum of the weights of images; of mixed ones, in the shares of their classes."""
    return (class_weights[labels] if labels.ndim == 1 else labels @ class_weights).sum()


class _Meter:
    """Sums of one epoch, and what is told of them: of several ranks, each tells of its own images.

    ``seen`` counts those of all ranks. Losses wait on the device and are fetched together now and then: fetching each
    would make a GPU wait.
    """

    def __init__(self, training: Training, progress: Progress, batches: int) -> None:
        self.seen, self.done = 0, 0
        self._loss, self._right, self._own = 0.0, 0, 0
        self._training, self._progress, self._batches = training, progress, batches
        self._waiting: list[tuple[Tensor, Tensor, Part, float]] = []
        self._started = self._told = time.perf_counter()
        training.reporter.count("batches", 0, batches)

    def add(self, loss: Tensor, right: Tensor, part: Part, rate: float) -> None:
        """Count one batch."""
        self._waiting.append((loss, right, part, rate))
        if time.perf_counter() - self._told > _SECONDS_BETWEEN_NOTES:
            self.tell()

    def tell(self) -> None:
        """Fetch what waits, write it down and show it."""
        if not self._waiting:
            return
        losses, rights, parts, rates = zip(*self._waiting, strict=True)
        self._waiting = []
        fetched = torch.stack([torch.stack(losses).double(), torch.stack(rights).double()]).tolist()
        for loss, right, part, rate in zip(*fetched, parts, rates, strict=True):
            self._loss += loss * part.whole
            self._right += int(right) * (part.own > 0)
            self._own += part.own
            self.seen += part.whole
            self.done += 1
            if part.own:  # of its images; in the sums a rank's loss has the share of its images
                mean = loss * part.whole / (part.own * self._training.fabric.world_size)
                self._training.journal.batch(self._progress.step, mean, right / len(part.rows), rate)
            self._progress.step += 1
        self._told = time.perf_counter()
        self._show(self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the epoch began, up to the last batch that was told."""
        return self._told - self._started

    def sums(self) -> tuple[float, int]:
        """Return the sum of all losses and of right answers, over the images of all ranks."""
        self.tell()
        fabric = self._training.fabric
        if fabric.world_size == 1:
            return self._loss, self._right
        sums = torch.tensor([self._loss / fabric.world_size, self._right], dtype=torch.float64)
        loss, right = fabric.all_reduce(sums, reduce_op="sum").tolist()  # type: ignore[union-attr]
        return loss, int(right)

    def _show(self, seconds: float) -> None:
        speed, loss, accuracy = self.seen / seconds, self._loss / self.seen, self._right / max(self._own, 1)
        note = f"loss {loss:.4f}  accuracy {accuracy:.3f}  {speed:.0f} images/s"
        reporter, epochs, name = self._training.reporter, self._training.settings.epochs, self._training.journal.name
        whole = self._batches + 1  # what is left of an epoch after its batches counts as one more
        reporter.measure(loss=loss, accuracy=accuracy, images_per_second=speed)
        reporter.count("epochs", self._progress.epoch + self.done / whole, epochs, name)
        reporter.count("batches", self.done, self._batches, note)
