"""Memory that does not suffice: what libraries say of it in many ways becomes one error."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from model_aggregation.errors import TrainingError

Action = Literal["learning", "predicting"]

_SENTENCES = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "not enough memory")


class NotEnoughMemoryError(TrainingError):
    """So many images at once do not fit into memory; ``action`` says in doing what."""

    def __init__(self, message: str, action: Action = "learning") -> None:
        self.action = action
        super().__init__(message)


@dataclass(frozen=True)
class Lack:
    """What there was too little memory for, and what was said of it."""

    action: Action
    message: str


class BeginAgainError(Exception):
    """A rank had too little memory while others wait for it: all have to begin again, with smaller batches."""

    def __init__(self, lack: Lack) -> None:
        self.lack = lack
        super().__init__(lack.message)


@contextmanager
def memory_watched(action: Action) -> Iterator[None]:
    """Turn what a library raises for lack of memory inside the block into ``NotEnoughMemoryError``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        words = str(error).splitlines() or [type(error).__name__]
        raise NotEnoughMemoryError(f"There is not enough memory: {words[0]}", action) from error


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, CUDA or torch's allocator of ordinary memory says that there is too little.

    >>> is_lack_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    True
    """
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sentence in str(error) for sentence in _SENTENCES)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
