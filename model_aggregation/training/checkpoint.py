"""The state of a training, stored after each epoch in two generations, so that the same command continues from there.

A generation is whole when its content has the SHA-256 in its name and the best weights it speaks of are there. One that
is not is removed, and the one before is used; without any the training starts again.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from model_aggregation.errors import DamagedCacheError
from model_aggregation.files import file_hash, to_disk, whole_or_absent

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_GENERATIONS = 2
_NAME = re.compile(r"checkpoint_(\d+)_([0-9a-f]{16})\.pt")


@dataclass
class Progress:
    """Where a training stands. ``epoch`` counts finished epochs; ``history`` has one row per epoch.

    ``seconds`` is what all epochs took, ``longest_seconds`` the longest of them, ``seconds_waited`` the part in which
    the network waited for images. ``passes`` counts what the whole network computed, in images forward (learning from
    one is three), and ``pass_seconds`` what that took. ``best_hash`` is the SHA-256 of the file of the best weights.
    ``ended_early`` says why the last epochs are missing; ``cut_short`` is ``run`` or ``whole``: the time limit that a
    training would go on without.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    best_hash: str | None = None
    seconds: float = 0.0
    longest_seconds: float = 0.0
    seconds_waited: float = 0.0
    images_seen: int = 0
    passes: int = 0
    pass_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    ended_early: str | None = None
    cut_short: str | None = None

    def add(self, images: int, *, passes: int, seconds: float) -> None:
        """Add an epoch: the images learnt, and how many passes through the whole network each of them took."""
        self.images_seen += images
        if passes:
            self.passes += passes * images
            self.pass_seconds += seconds


class Checkpoints:
    """The stored states of one training. Of several ranks, rank 0 writes and reads, and tells the others.

    Parameters
    ----------
    folder
        Where they lie.
    best_weights
        The file of the best weights that a person sees; it is kept equal to those of the state in use.
    say
        Takes a line for people.
    fabric
        Of a training on several devices.
    """

    def __init__(
        self, folder: Path, best_weights: Path, say: Callable[[str], None], fabric: "Fabric | None" = None
    ) -> None:
        self._folder, self._best_weights, self._say = folder, best_weights, say
        self._fabric = fabric if fabric is not None and fabric.world_size > 1 else None
        self._best_before: int | None = None  # of the newest generation

    @property
    def _leads(self) -> bool:
        return self._fabric is None or self._fabric.is_global_zero

    def _from_the_first(self, content: Any) -> Any:
        """Return what rank 0 has."""
        return content if self._fabric is None else self._fabric.broadcast(content)

    def save(self, progress: Progress, parts: dict[str, Any]) -> None:
        """Store the progress and the ``state_dict()`` of each part; of older states one is kept."""
        if not self._leads:
            return
        content = {"progress": asdict(progress), **{name: part.state_dict() for name, part in parts.items()}}
        temporary = self._folder / "checkpoint.pt"
        save_whole(content, temporary)
        temporary.replace(self._folder / f"checkpoint_{progress.epoch:05}_{file_hash(temporary)[:16]}.pt")
        for path in stored_states(self._folder)[_GENERATIONS:]:
            path.unlink()
        needed = {self._best_path(epoch) for epoch in (progress.best_epoch, self._best_before) if epoch is not None}
        for path in set(self._folder.glob("best_*.pth")) - needed:
            path.unlink()
        self._best_before = progress.best_epoch

    def save_best(self, progress: Progress, module: nn.Module) -> None:
        """Store the weights of ``progress.best_epoch``; they count once :meth:`save` was called."""
        if not self._leads:
            return
        path = self._best_path(progress.best_epoch)
        save_weights(module, path)
        progress.best_hash = file_hash(path)
        self._show_best(path)

    def load(self, parts: dict[str, Any]) -> Progress | None:
        """Bring ``parts`` to the newest whole state and return its progress; None if there is none.

        Random numbers need no storing: each epoch seeds its own from the seed and its number.
        """
        content = self._from_the_first(self._newest() if self._leads else None)
        if content is None:
            return None
        for name, part in parts.items():
            part.load_state_dict(content[name])
        return Progress(**content["progress"])

    def best_weights(self, progress: Progress) -> dict[str, Tensor]:
        """Return the state dict of the best weights.

        Raises
        ------
        DamagedCacheError
            If their file is not what the training wrote.
        """
        stored = self._stored_best(progress) if self._leads else None
        weights: dict[str, Tensor] = self._from_the_first(stored)
        return weights

    def _stored_best(self, progress: Progress) -> dict[str, Tensor]:
        if not (self._best_weights.is_file() and file_hash(self._best_weights) == progress.best_hash):
            raise DamagedCacheError(f"The best weights in {self._best_weights} were changed while the run went on.")
        return torch.load(self._best_weights, map_location="cpu", weights_only=True)

    def _newest(self) -> dict[str, Any] | None:
        """Return the newest whole state; what is not whole is removed."""
        states = stored_states(self._folder)
        for path in states:
            if content := self._read(path):
                return content
            path.unlink()
        if states:
            self._say("No stored state of the training is whole: it starts again.")
        self._best_weights.unlink(missing_ok=True)  # of a training that nothing is known of any more
        return None

    def _read(self, path: Path) -> dict[str, Any] | None:
        """Return one state; None, and why, if it is not whole."""
        epoch, digest = _facts(path)
        if file_hash(path)[:16] != digest:
            self._say(f"The stored state after epoch {epoch} is damaged ({path.name}); it is not used.")
            return None
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress = Progress(**content["progress"])
        if progress.best_epoch is None:
            self._best_weights.unlink(missing_ok=True)
        elif not self._find_best(progress):
            self._say(f"The best weights of the state after epoch {epoch} are damaged or missing; it is not used.")
            return None
        self._best_before = progress.best_epoch
        return content

    def _find_best(self, progress: Progress) -> bool:
        """Bring the best weights of a state back to where they belong, if they are still there."""
        path = self._best_path(progress.best_epoch)
        for place in (path, self._best_weights):
            if place.is_file() and file_hash(place) == progress.best_hash:
                if place != path:
                    _put(place, path)
                self._show_best(path)
                return True
        return False

    def _best_path(self, epoch: int | None) -> Path:
        return self._folder / f"best_{epoch}.pth"

    def _show_best(self, path: Path) -> None:
        if not (self._best_weights.is_file() and self._best_weights.samefile(path)):
            _put(path, self._best_weights)


def stored_states(folder: Path) -> list[Path]:
    """Return the stored states in a folder, whole or not, the newest first."""
    return sorted((path for path in folder.glob("checkpoint_*.pt") if _NAME.fullmatch(path.name)), reverse=True)


def _facts(path: Path) -> tuple[int, str]:
    epoch, digest = path.stem.split("_")[1:]
    return int(epoch), digest


def _put(source: Path, target: Path) -> None:
    """Give a file a second name; where that cannot be done, a copy. No file of weights is ever changed in place."""
    with whole_or_absent(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a network's state dict, on the CPU, whole or absent."""
    save_whole({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, path)


def save_whole(content: Any, path: Path) -> None:
    """Write with ``torch.save``, whole or absent; equal content gives equal bytes.

    torch writes the file's name into the archive, so the temporary name is always the same: only the process that
    holds the run's lock writes here. A path and no open file, because Ctrl-C in the middle of Python's own writing
    comes out of torch as another error.

    Raises
    ------
    OSError
        If the file cannot be written, on a full disk for one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        torch.save(content, temporary)
        to_disk(temporary)
        temporary.replace(path)
    except RuntimeError as error:
        if not any(words in str(error) for words in ("PytorchStreamWriter", "inline_container", "cannot be opened")):
            raise
    else:
        return
    finally:
        temporary.unlink(missing_ok=True)
    # torch does not say why. Raised here, where its error no longer holds the file open: a full disk needs its room.
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
