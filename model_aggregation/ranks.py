"""Several processes that train one network together: each is a rank with a device of its own, and rank 0 leads.

Rank 0 alone writes and decides; the others compute their part of each batch and follow. What is asked of all must be
asked by all in the same order: a rank that waits for others that never come waits for ever, until it is ended.
"""

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PATIENCE = timedelta(days=7)  # ranks that hang are ended by those that watch them


@dataclass(frozen=True)
class Seat:
    """A rank's place in a run of ``ranks`` processes, which meet in a file or at the address and port of a server.

    ``room`` tells apart those who meet at one server.
    """

    rank: int
    ranks: int
    file: Path | None = None
    address: str = ""
    port: int = 0
    room: str = ""

    def meeting(self) -> torch.distributed.Store:
        """Return the place where the ranks find each other."""
        if self.file is not None:
            return torch.distributed.FileStore(str(self.file), self.ranks)
        return torch.distributed.PrefixStore(self.room, server(self.address, self.port))


def server(address: str, port: int, *, own: bool = False, timeout: timedelta = _PATIENCE) -> torch.distributed.TCPStore:
    """Return the store at an address, which is served by this process if it is its ``own``."""
    return torch.distributed.TCPStore(
        address,
        port,
        is_master=own,
        wait_for_workers=False,
        timeout=timeout,
        use_libuv=sys.platform != "win32",  # PyTorch for Windows is built without
    )


def sit_down(seat: Seat, device: str) -> torch.distributed.Store:
    """Join the other ranks of a run on a kind of device; returns where they meet."""
    meeting = seat.meeting()
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(
        backend,
        store=torch.distributed.PrefixStore("group", meeting),
        rank=seat.rank,
        world_size=seat.ranks,
        timeout=_PATIENCE,
    )
    return meeting


def are_several() -> bool:
    """Return whether this process is one of several ranks."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@dataclass(frozen=True, eq=False)
class Part:
    """A rank's part of a batch of ``whole`` images: the ``rows`` that it computes, of which ``own`` count (or none)."""

    rows: np.ndarray
    own: int
    whole: int


def part_of(count: int, fabric: "Fabric") -> Part:
    """Return a rank's part of a batch of ``count`` images; the parts of all ranks make the batch.

    Nobody gets a single image, which would break batch norm. Who gets none computes the first two without weight,
    since gradients are added up by all.
    """
    busy = max(1, min(fabric.world_size, count // 2))
    if fabric.global_rank < busy:
        rows = np.array_split(np.arange(count), busy)[fabric.global_rank]
        return Part(rows, len(rows), count)
    return Part(np.arange(min(2, count)), 0, count)


def own_positions(count: int, fabric: "Fabric") -> np.ndarray:
    """Return which of the positions 0..count-1 a rank computes where nothing is learnt: each falls to one rank."""
    return np.array_split(np.arange(count), fabric.world_size)[fabric.global_rank]


def gathered(own: Tensor, count: int, fabric: "Fabric") -> Tensor:
    """Return the rows of all ranks (count, …) from those of each, in the order of :func:`own_positions`."""
    if fabric.world_size == 1:
        return own
    lengths = [len(part) for part in np.array_split(np.arange(count), fabric.world_size)]
    padded = own.new_zeros(max(lengths), *own.shape[1:])
    padded[: len(own)] = own
    together = [torch.empty_like(padded) for _ in lengths]
    torch.distributed.all_gather(together, padded)
    return torch.cat([rows[:length] for rows, length in zip(together, lengths, strict=True)])


def with_buffers_of_the_first(module: nn.Module, fabric: "Fabric") -> None:
    """Give every rank the buffers of rank 0, its batch norm statistics for one: each rank saw other images."""
    if fabric.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)
