"""The state of a training, stored after each epoch so that the same command continues from there."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Progress:
    """Where a training stands. ``epoch`` counts finished epochs; ``history`` has one row per epoch."""

    epoch: int = 0
    step: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    seconds: float = 0.0
    images_seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(path: Path, progress: Progress, parts: dict[str, Any]) -> None:
    """Store the progress and the ``state_dict()`` of each part, whole or absent."""
    content = {"progress": asdict(progress), **{name: part.state_dict() for name, part in parts.items()}}
    save_whole(content, path)


def save_whole(content: Any, path: Path) -> None:
    """Write with ``torch.save``, whole or absent; equal content gives equal bytes.

    torch writes the file's name into the archive, so the temporary name is always the same: only the process that
    holds the run's lock writes here. A path and no open file, because Ctrl-C in the middle of Python's own writing
    comes out of torch as another error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, parts: dict[str, Any]) -> Progress | None:
    """Bring ``parts`` to the stored state and return the progress; None if nothing was stored.

    Random numbers need no storing: each epoch seeds its own from the seed and its number.
    """
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    return Progress(**content["progress"])
