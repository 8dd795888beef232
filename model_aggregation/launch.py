"""Processes that somebody else has started for one command: torchrun, or SLURM's srun, on one or several machines."""

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from model_aggregation.errors import SettingsError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

_TASKS_OF_STEP = "SLURM_STEP_NUM_TASKS"  # set by srun only: a batch script by itself is one process
_TRACES = {"WORLD_SIZE", _TASKS_OF_STEP}


@dataclass(frozen=True)
class Launch:
    """This process among ``ranks``; ``local_rank`` counts on its machine. They meet at the address and port.

    ``serves`` says whether this process has to open the meeting place.
    """

    rank: int
    ranks: int
    local_rank: int
    address: str
    port: int
    serves: bool


def may_be_launched() -> bool:
    """Return whether a launcher left its traces; whoever was started by one may have nothing to start."""
    return bool(_TRACES & os.environ.keys())


@cache
def launch() -> Launch | None:
    """Return how this process was launched with others; None for a process that was started alone.

    Raises
    ------
    SettingsError
        If SLURM was asked for processes in a way that Fabric does not understand.
    """
    if not may_be_launched():
        return None
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    environment: ClusterEnvironment
    served = False
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
        served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    elif _TASKS_OF_STEP in os.environ and SLURMEnvironment.detect():
        try:
            environment = SLURMEnvironment()
        except RuntimeError as error:
            raise SettingsError(f"srun: {error}") from error
    else:
        return None
    if environment.world_size() == 1:
        return None
    rank = environment.global_rank()
    return Launch(
        rank,
        environment.world_size(),
        environment.local_rank(),
        environment.main_address,
        environment.main_port,
        rank == 0 and not served,
    )
