"""Processes that somebody else has started for one command: torchrun, or SLURM's srun, on one or several machines."""

import os
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from model_aggregation.errors import SettingsError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

_TASKS_OF_STEP = "SLURM_STEP_NUM_TASKS"  # set by srun only: a batch script by itself is one process
_TASKS_PER_NODE = "SLURM_NTASKS_PER_NODE"
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
        If srun was asked for processes without saying how many on each machine.
    """
    if not may_be_launched():
        return None
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    environment: ClusterEnvironment
    served = False
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
        served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    elif os.environ.get(_TASKS_OF_STEP, "1") != "1" and SLURMEnvironment.detect():
        _check_tasks_per_node()
        environment = SLURMEnvironment()
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


def _check_tasks_per_node() -> None:
    """Refuse processes of srun that may lie on the machines in any way: Fabric must be told how many on each."""
    tasks, nodes = (int(os.environ.get(name, "1")) for name in (_TASKS_OF_STEP, "SLURM_NNODES"))
    if _TASKS_PER_NODE in os.environ:
        return
    program, *words = sys.argv
    started_as = ["magg"] if Path(program).stem in ("magg", "__main__") else ["python", program]
    line = shlex.join(["srun", f"--nodes={nodes}", f"--ntasks-per-node={-(-tasks // nodes)}", *started_as, *words])
    raise SettingsError(
        f"srun started {tasks} processes, but was not told how many on each machine. Type\n  {line}\n"
        "or start it without srun: then it computes on one device."
    )
