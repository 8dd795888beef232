"""Lightning Fabric for the device and the precision of a run.

Only what computes imports this module: Fabric takes a second to import, and whoever plans and leads does without it.
"""

import logging
import os

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from model_aggregation.config import Settings
from model_aggregation.environment import device_choice
from model_aggregation.models.arithmetic import Precision
from model_aggregation.ranks import are_several

_THREADS = "OMP_NUM_THREADS"
_PRECISIONS = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_fabric(settings: Settings, precision: Precision | None = None) -> Fabric:
    """Return Fabric for the device of the settings, and for their precision unless another was settled.

    In a process that is one of several ranks it is that of DDP, and computes on the only device that the process sees.

    Raises
    ------
    SettingsError
        If the device is unknown or not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the status file says the precision
    accelerator, devices = device_choice(settings.device)
    name = _PRECISIONS[precision or settings.precision]
    if not are_several():
        alone = [LightningEnvironment()]  # else Fabric guesses from variables, and a job of SLURM looks like a launcher
        return Fabric(accelerator=accelerator, devices=devices, precision=name, plugins=alone)  # type: ignore[arg-type]
    strategy = DDPStrategy(find_unused_parameters=True)  # some networks have layers that only some images reach
    fabric = Fabric(accelerator=accelerator, devices=1, strategy=strategy, precision=name, plugins=[Seated()])  # type: ignore[arg-type]
    threads, variable = torch.get_num_threads(), os.environ.get(_THREADS)
    fabric.launch()
    torch.set_num_threads(threads)  # how many is decided elsewhere
    if variable is None:
        os.environ.pop(_THREADS, None)
    return fabric


class Seated(ClusterEnvironment):
    """What Fabric wants to know of a process that sits already; of its machine it sees one device."""

    @property
    def creates_processes_externally(self) -> bool:
        """All ranks were started by us."""
        return True

    @property
    def main_address(self) -> str:
        """Nobody asks: the ranks have met."""
        return ""

    @property
    def main_port(self) -> int:
        """Nobody asks: the ranks have met."""
        return 0

    @staticmethod
    def detect() -> bool:
        """It is given to Fabric, never looked for."""
        return False

    def world_size(self) -> int:
        """Return the number of ranks."""
        return torch.distributed.get_world_size()

    def set_world_size(self, size: int) -> None:
        """It is as it is."""

    def global_rank(self) -> int:
        """Return the own rank."""
        return torch.distributed.get_rank()

    def set_global_rank(self, rank: int) -> None:
        """It is as it is."""

    def local_rank(self) -> int:
        """Each rank sees its own device only."""
        return 0

    def node_rank(self) -> int:
        """Return the own rank: with one device each, ranks are to Fabric what machines are."""
        return torch.distributed.get_rank()
