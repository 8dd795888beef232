"""What a plan will cost and leave: time, from a few timed steps of each network on this machine, disk and files."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model_aggregation.continuation import goes_on, problems_of_run
from model_aggregation.disk_space import STATE_COPIES, planned_files
from model_aggregation.environment import make_fabric
from model_aggregation.experiment import state_folder
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import Network, build_network
from model_aggregation.models.inference import copied_for_inference, example_images
from model_aggregation.plan import Plan
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_images import cache_of
from model_aggregation.run_plan import RunPlan
from model_aggregation.training.checkpoint import stored_states
from model_aggregation.training.losses import make_loss
from model_aggregation.training.measurement import Amount, amount_of, seconds_of_pass, settle_arithmetic

_IMAGES_TIMED = 8


@dataclass(frozen=True)
class Forecast:
    """What one run will cost: seconds without decoding, parameters, bytes of weights and state; and its files.

    ``arithmetic`` says how the network is computed on this machine.

    ``state`` is ``new``, ``continues``, ``starts again`` (after a failure or a stop in the first epoch), ``finished``
    or ``name taken``.
    """

    run_name: str
    state: str
    parameters: int
    seconds: float
    disk_bytes: int
    files: tuple[Path, ...]
    arithmetic: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "files": [str(path) for path in self.files]}


def forecast(plan: Plan, *, count: Callable[[str, int, int], None] | None = None) -> list[Forecast]:
    """Time a forward and a training step of each network and scale them to the plan.

    The networks are made with random weights: nothing is downloaded, and the arithmetic is the same. ``count`` is
    called with what is done, how much of it, and of how much.
    """
    costs: dict[str, _Cost] = {}
    for number, run in enumerate(plan.runs):
        if count is not None:
            count("timing networks", number, len(plan.runs))
        if str(run.model) not in costs:  # seeds and folds of a model cost the same
            costs[str(run.model)] = _cost_of(plan, run)
    return [_forecast_run(plan, run, costs[str(run.model)]) for run in plan.runs]


@dataclass(frozen=True)
class _Cost:
    """What a network costs: its size, seconds for one image, and how it is computed here."""

    parameters: int
    weight_bytes: int
    forward: float
    step: float
    arithmetic: Arithmetic


def run_state(run: RunPlan) -> str:
    """Return what starting the run would mean, from what lies in its folder."""
    folder = RunFolder(run.folder)
    if problems_of_run(run):
        return "name taken"
    if folder.finished:
        return "continues" if goes_on(run) else "finished"
    if stored_states(state_folder(folder)):
        return "continues"
    return "starts again" if folder.exists else "new"


def _cost_of(plan: Plan, run: RunPlan) -> _Cost:
    fabric = make_fabric(run.settings)
    network = build_network(
        run.model,
        len(plan.table.classes),
        run.settings.model_copy(update={"pretrained": False, "weights": ()}),
    )
    folder = cache_of(run.settings).folder / "timings"
    arithmetic = settle_arithmetic(network, run.settings, fabric.device, _amount(run), folder=folder)
    forward, step = _seconds_per_image(network, run, arithmetic, fabric.device)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.module.state_dict().values())
    return _Cost(network.parameters, weights, forward, step, arithmetic)


def _amount(run: RunPlan) -> Amount:
    counts = {name: len(images) for name, images in run.splits().items()}
    return amount_of(run.settings, counts, pretrained=run.settings.pretrained)


def _forecast_run(plan: Plan, run: RunPlan, cost: _Cost) -> Forecast:
    amount = _amount(run)
    seconds = amount.learnt * cost.step + amount.looked_at * cost.forward
    files = planned_files(plan, run)
    kept = sum(path.suffix == ".pth" for path in files)
    state = STATE_COPIES * run.settings.train
    disk = cost.weight_bytes * (kept + state)
    return Forecast(
        run.run_name,
        run_state(run),
        cost.parameters,
        round(seconds, 1),
        disk,
        tuple(files),
        str(cost.arithmetic),
    )


def _seconds_per_image(
    network: Network, run: RunPlan, arithmetic: Arithmetic, device: torch.device
) -> tuple[float, float]:
    """Return seconds of one image forward, and forward with backward."""
    mode = arithmetic.training
    count = max(2, min(_IMAGES_TIMED, run.settings.batch_size))
    network.module.to(device, memory_format=mode.layout)  # type: ignore[call-overload]
    inputs = example_images(network, count, device).contiguous(memory_format=mode.layout)
    labels = torch.zeros(len(inputs), dtype=torch.long, device=device)
    loss = make_loss(run.settings, None)
    network.thaw()
    network.train_mode()

    def learn() -> None:
        with mode.autocast(device):
            value = loss(network.module(inputs).float(), labels)
        value.backward()
        network.module.zero_grad(set_to_none=True)

    step = _timed(learn, device) / count
    pixels = torch.zeros(inputs.shape, dtype=torch.uint8)
    with copied_for_inference(network, device, arithmetic.inference) as (_, forward):
        return _timed(lambda: forward(pixels), device) / count, step


def _timed(action: Any, device: torch.device) -> float:
    """Return the seconds of the quickest of three passes, after one that warms up."""
    return min([seconds_of_pass(action, device) for _ in range(4)][1:])
