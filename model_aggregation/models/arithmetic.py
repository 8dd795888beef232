"""How a network is computed on this machine: precision and memory format, for training and for inference.

What is chosen here changes numbers in their last digits, so it is settled once before a run's first step, stored with
the run, and used again whenever the run continues or predicts.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
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
    what was timed, per image.
    """

    training: Mode = Mode()
    inference: Inference = Inference()
    threads: int = 1
    device: str = "cpu"
    origin: str = "set"
    seconds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        inference = self.inference
        return (
            f"training {self.training}, inference {inference.mode} in batches of {inference.batch_size}, "
            f"threads {self.threads} ({self.origin})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Arithmetic":
        """Read what :meth:`to_dict` wrote."""
        inference = {**values["inference"], "mode": Mode(**values["inference"]["mode"])}
        return cls(**{**values, "training": Mode(**values["training"]), "inference": Inference(**inference)})
