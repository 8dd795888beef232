"""Where a run stands while it goes on: lines of JSON in its folder that any process may read, without a lock."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from model_aggregation.files import write_text
from model_aggregation.results.run_folder import RunFolder

_LINES = 1000
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class LiveState:
    """Where a run stood at ``time`` (local, ISO 8601).

    ``phase`` is what is done now, ``done`` of ``total`` of it; ``epoch`` counts from 1; ``loss`` and ``accuracy`` are
    those of the training images so far in the epoch.
    """

    time: str
    pid: int
    phase: str
    done: float | None = None
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    peak_memory_bytes: int | None = None

    def words(self) -> str:
        """Return the state for people, in English.

        >>> LiveState("", 1, "training", 2.5, 10, epoch=3, epochs=10, loss=0.51, seconds_left=65.2).words()
        'epoch 3 of 10, loss 0.5100, 0:01:05 left'
        """
        parts = [self.phase if self.epoch is None else f"epoch {self.epoch} of {self.epochs}"]
        if self.epoch is None and self.total:
            parts[0] += f" {int(self.done or 0)}/{self.total}"
        parts += [f"loss {self.loss:.4f}"] if self.loss is not None else []
        parts += [f"accuracy {self.accuracy:.3f}"] if self.accuracy is not None else []
        parts += [f"{self.images_per_second:.0f} images/s"] if self.images_per_second is not None else []
        parts += [f"{timedelta(seconds=round(self.seconds_left))} left"] if self.seconds_left is not None else []
        return ", ".join(parts)


class LiveFile:
    """The file of a run that goes on: lines are appended whole, and after 1000 it begins anew."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.progress_jsonl
        self._lines = 0

    def append(self, state: LiveState) -> None:
        """Add a line; where nothing can be written the run goes on unwatched."""
        line = json.dumps(asdict(state)) + "\n"
        with suppress(OSError):
            if self._lines % _LINES == 0:
                write_text(self._path, line)
            else:
                with self._path.open("ab", buffering=0) as file:
                    file.write(line.encode())
            self._lines += 1

    def remove(self) -> None:
        """Remove the file of a run that has its results."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def live_state(**facts: Any) -> LiveState:
    """Return a state of this process, now."""
    return LiveState(datetime.now().astimezone().isoformat(timespec="seconds"), os.getpid(), **facts)


def read_live(path: Path) -> LiveState | None:
    """Return the last whole line of a ``progress.jsonl``; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(ValueError, TypeError, AttributeError):  # damaged, or of another version
            return _state(json.loads(line))
    return None


def _state(values: Mapping[str, Any]) -> LiveState:
    known = LiveState.__dataclass_fields__
    return LiveState(**{name: value for name, value in values.items() if name in known})
