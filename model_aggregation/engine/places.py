"""How many runs go on at once, and the share of the machine that each gets."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from model_aggregation.config import Settings
from model_aggregation.data.parallel import usable_cores
from model_aggregation.environment import device_choice


@dataclass(frozen=True)
class Place:
    """The share of one of ``jobs`` runs: a part of the threads, and what CUDA_VISIBLE_DEVICES says (None: as it is).

    ``others`` says the latter for the other processes of a run on several devices.
    """

    jobs: int
    gpu: str | None = None
    others: tuple[str | None, ...] = ()


def places(settings: Settings, *, most: int) -> list[Place]:
    """Return a place for each run that may go on at once, of ``most`` runs; none: runs are done in this process."""
    gpus, devices = _free_choice_of_gpus(settings), settings.devices
    teams: list[list[str | None]] = [
        [*gpus[start : start + devices]] for start in range(0, len(gpus) - devices + 1, devices)
    ] or [[None] * devices]
    jobs = min(most, len(teams) if settings.jobs is None else settings.jobs)
    chosen = [teams[number % len(teams)] for number in range(jobs)]
    return [Place(jobs, first, tuple(others)) for first, *others in chosen]


def launched_place(settings: Settings, local_rank: int) -> Place:
    """Return the place of a process that was launched with others: the GPU of its number, or the only one it sees."""
    gpus = _free_choice_of_gpus(settings)
    return Place(1, gpus[local_rank] if gpus else None)


def _free_choice_of_gpus(settings: Settings) -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them, if there are several and the settings name none."""
    if ":" in settings.device or device_choice(settings.device)[0] != "cuda" or torch.cuda.device_count() < 2:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named is not None else [str(number) for number in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def place_warnings(settings: Settings, count: int) -> Iterator[str]:
    """Yield what is said when more threads are asked for than there are cores."""
    cores = usable_cores()
    if settings.threads is not None and count > 1 and count * settings.threads > cores:
        yield f"warning: {count} runs of {settings.threads} threads each share {cores} cores and wait for each other."
