"""How a network is computed on this machine: precision and memory format, for training and for inference.

What is chosen here changes numbers in their last digits, so it is settled once before a run's first step, stored with
the run, and used again whenever the run continues or predicts.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

Precision = Literal["32", "bf16", "16"]
MemoryFormat = Literal["contiguous", "channels_last"]

_AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Mode:
    """Precision and the order of a batch in memory."""

    precision: Precision = "32"
    memory_format: MemoryFormat = "contiguous"

    def __str__(self) -> str:
        words = {"32": "float32", "bf16": "bfloat16", "16": "float16"}
        return f"{words[self.precision]} {self.memory_format.replace('_', '-')}"

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which a network computes in this precision."""
        if self.precision == "32":
            return nullcontext()
        return torch.autocast(device.type, dtype=_AUTOCAST[self.precision])

    @property
    def layout(self) -> torch.memory_format:
        """What torch calls the memory format."""
        return _FORMATS[self.memory_format]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Mode":
        """Read plain values; what earlier versions said beside them is passed over."""
        return cls(values["precision"], values["memory_format"])


@dataclass(frozen=True)
class Inference:
    """How a network computes where nothing is learnt: ``batch_size`` images at once, batch norm folded if possible."""

    mode: Mode = Mode()
    batch_size: int = 16
    fold: bool = True


@dataclass(frozen=True)
class Arithmetic:
    """What was settled for one run.

    ``device`` is the kind of device it was settled for; ``origin`` says how each choice came about; ``seconds`` holds
    what was timed, per image. ``batch_parts`` is above 1 where a whole batch does not fit into memory: it is learnt in
    so many parts, whose gradients are added up. ``whole_batch_size`` is that of inference before it was halved for the
    same reason.
    """

    training: Mode = Mode()
    inference: Inference = Inference()
    threads: int = 1
    device: str = "cpu"
    origin: str = "set"
    seconds: dict[str, float] = field(default_factory=dict)
    batch_parts: int = 1
    whole_batch_size: int | None = None

    def __str__(self) -> str:
        inference = self.inference
        return (
            f"training {self.training}, inference {inference.mode} in batches of {inference.batch_size}, "
            f"threads {self.threads} ({self.origin})"
        )

    def with_smaller_batches(self, action: str, batch_size: int) -> "Arithmetic":
        """Return how to compute with half as many images at once, in ``learning`` batches or in ``predicting``.

        Raises
        ------
        ValueError
            If it is one image at a time already.
        """
        if (self.batch_parts >= batch_size) if action == "learning" else (self.inference.batch_size == 1):
            raise ValueError("a batch of one image has no half")
        if action == "learning":
            return replace(self, batch_parts=2 * self.batch_parts)
        images = self.inference.batch_size
        halved = replace(self.inference, batch_size=images // 2)
        return replace(self, inference=halved, whole_batch_size=self.whole_batch_size or images)

    def before_halving(self) -> "Arithmetic":
        """Return what was settled before anything was halved for lack of memory."""
        whole = replace(self.inference, batch_size=self.whole_batch_size or self.inference.batch_size)
        return replace(self, inference=whole, batch_parts=1, whole_batch_size=None)

    def memory_note(self, batch_size: int) -> str | None:
        """Return what a reader of the results should know of batches that did not fit into memory."""
        if self.batch_parts == 1:
            return None
        images = math.ceil(batch_size / self.batch_parts)
        return (
            f"for lack of memory each batch of {batch_size} was learnt in parts of at most {images} images; gradients "
            "were added up to the whole batch, but batch norm saw the parts"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Arithmetic":
        """Read what :meth:`to_dict` wrote."""
        inference = {**values["inference"], "mode": Mode.from_dict(values["inference"]["mode"])}
        return cls(**{**values, "training": Mode.from_dict(values["training"]), "inference": Inference(**inference)})
