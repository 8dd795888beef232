"""How long a plan will take and how much disk it needs, from a few timed steps of each network on this machine."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from model_aggregation.environment import make_fabric
from model_aggregation.models.build import Network, build_network
from model_aggregation.plan import Plan, RunPlan
from model_aggregation.training.loop import is_frozen
from model_aggregation.training.losses import make_loss

_IMAGES_TIMED = 8


@dataclass(frozen=True)
class Forecast:
    """What one run will cost: seconds without decoding, parameters, bytes of weights and state on the disk."""

    run_name: str
    parameters: int
    seconds: float
    disk_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def forecast(plan: Plan) -> list[Forecast]:
    """Time a forward and a training step of each network and scale them to the plan.

    The networks are made with random weights: nothing is downloaded, and the arithmetic is the same.
    """
    return [_forecast_run(plan, run) for run in plan.runs]


def _forecast_run(plan: Plan, run: RunPlan) -> Forecast:
    fabric = make_fabric(run.settings)
    network = build_network(
        run.model,
        len(plan.table.classes),
        run.settings.model_copy(update={"pretrained": False, "weights": ()}),
    )
    network.module.to(fabric.device)
    forward, step = _seconds_per_image(network, run, fabric)
    frozen_epochs = sum(_planned_frozen(network, run, epoch) for epoch in range(run.settings.epochs))
    counts = {name: len(images) for name, images in plan.splits().items()}
    train, validation, test = (counts.get(name, 0) for name in ("train", "val", "test"))
    epochs = run.settings.epochs
    seconds = train * (frozen_epochs * 1.1 * forward + (epochs - frozen_epochs) * step)
    seconds += forward * (validation * (epochs + 1) + test)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.module.state_dict().values())
    kept = 2 + (epochs // run.settings.save_every if run.settings.save_every else 0)
    return Forecast(run.run_name, network.parameters, round(seconds, 1), weights * (kept + 3))


def _planned_frozen(network: Network, run: RunPlan, epoch: int) -> bool:
    if not run.settings.pretrained:
        return False
    pretended = Network(network.module, network.name, network.head, network.preprocessing, "planned")
    return is_frozen(pretended, run.settings, epoch)


def _seconds_per_image(network: Network, run: RunPlan, fabric: Fabric) -> tuple[float, float]:
    """Return seconds of one image forward, and forward with backward."""
    count = min(_IMAGES_TIMED, run.settings.batch_size)
    size, channels = network.preprocessing.image_size, network.preprocessing.channels
    inputs = torch.randn(max(2, count), channels, size, size, device=fabric.device)
    labels = torch.zeros(len(inputs), dtype=torch.long, device=fabric.device)
    loss = make_loss(run.settings, None)
    network.thaw()
    network.train_mode()

    def learn() -> None:
        with fabric.autocast():
            loss(network.module(inputs), labels).backward()
        network.module.zero_grad(set_to_none=True)

    def look() -> None:
        network.module.eval()
        with torch.inference_mode(), fabric.autocast():
            network.module(inputs)

    step = _timed(learn, fabric) / len(inputs)
    return _timed(look, fabric) / len(inputs), step


def _timed(action: Any, fabric: Fabric) -> float:
    """Return the seconds of the quickest of three passes, after one that warms up."""
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        action()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
