"""What a training leaves to read: lines for people, TensorBoard scalars, and the history as a table."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Line = Callable[[str], None]


class Journal:
    """Writes the story of one training while it happens.

    Parameters
    ----------
    name
        The run's name, for the bar of its epochs.
    line
        Takes one line for people (the status file and the screen).
    events
        Folder for TensorBoard events, or None for none. The tags are ``train/loss``, ``train/acc``,
        ``train/learning_rate``, ``val/loss`` and ``val/acc`` for each epoch, and ``batch/loss``, ``batch/acc`` and
        ``batch/learning_rate`` for each batch.
    tags_by_batch
        Give ``train/…`` and ``val/…`` for each batch, as the earlier program did, when their epoch is over, and those
        of epochs as ``epoch/train/…`` and ``epoch/val/…``: one tag never holds both.
    """

    def __init__(self, name: str, line: Line, events: Path | None, *, tags_by_batch: bool = False) -> None:
        self.name = name
        self.note = line
        self._writer = _writer(events) if events is not None else None
        self._by_batch, self._by_epoch = ("train", "epoch/") if tags_by_batch else ("batch", "")
        self._waiting: list[tuple[int, dict[str, float]]] = []  # an epoch that does not end leaves no points
        self.wants_validation_batches = tags_by_batch and self._writer is not None

    def batch(self, step: int, loss: float, accuracy: float, learning_rate: float) -> None:
        """Record one batch of the training."""
        points = {"loss": loss, "acc": accuracy}
        if self._by_batch == "train":
            self._waiting.append((step, points))
        elif self._writer is not None:
            for name, value in (points | {"learning_rate": learning_rate}).items():
                self._writer.add_scalar(f"batch/{name}", value, step)

    def validation_batches(self, epoch: int, batches: Sequence[tuple[float, float]]) -> None:
        """Record loss and accuracy of each batch of the validation images in an epoch, counted from 0."""
        if self._writer is not None:
            for number, (loss, accuracy) in enumerate(batches, epoch * len(batches)):
                self._writer.add_scalar("val/loss", loss, number)
                self._writer.add_scalar("val/acc", accuracy, number)

    def epoch(self, row: dict[str, Any], number: int, epochs: int) -> None:
        """Record one finished epoch: a line for each split, and the scalars."""
        self.note(
            f"epoch {number}/{epochs} train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}"
            + (" (head only)" if row["frozen"] else "")
        )
        scalars = {"train/loss": row["train_loss"], "train/acc": row["train_accuracy"]}
        scalars["train/learning_rate"] = row["learning_rate"]
        if "val_loss" in row:
            self.note(f"epoch {number}/{epochs} val loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.4f}")
            scalars |= {"val/loss": row["val_loss"], "val/acc": row["val_accuracy"]}
        waiting, self._waiting = self._waiting, []
        if self._writer is not None:
            for step, points in waiting:
                for name, value in points.items():
                    self._writer.add_scalar(f"train/{name}", value, step)
            for tag, value in scalars.items():
                self._writer.add_scalar(f"{self._by_epoch}{tag}", value, row["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()


def _writer(events: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboard's own imports warn about their dependencies
        from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=str(events))
