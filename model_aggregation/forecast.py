"""What a plan will cost and leave: time, from a few timed steps of each network on this machine, disk and files."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from model_aggregation.config import Settings
from model_aggregation.continuation import goes_on, problems_of_run
from model_aggregation.data.augmentation import PER_IMAGE, augment
from model_aggregation.data.loading import image_source, plain_order
from model_aggregation.data.parallel import usable_cores
from model_aggregation.disk_space import STATE_COPIES, planned_files
from model_aggregation.fabric import make_fabric
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import Network, build_network, pixel_rule
from model_aggregation.models.inference import copied_for_inference, example_images
from model_aggregation.models.learning import as_learnt
from model_aggregation.plan import Plan
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_images import cache_of, worker_count
from model_aggregation.run_plan import RunPlan
from model_aggregation.training.checkpoint import stored_states
from model_aggregation.training.image_policies import change_of_single_images
from model_aggregation.training.losses import make_loss
from model_aggregation.training.measurement import Amount, amount_of, seconds_of_pass, settle_arithmetic

CPU = torch.device("cpu")
_IMAGES_TIMED = 8
_IMAGES_CHANGED = 64  # draws differ in what they cost
_FILES_READ = 16


@dataclass(frozen=True)
class Forecast:
    """What one run will cost: seconds without decoding, parameters, bytes of weights and state; and its files.

    With a user's transforms the seconds hold reading the images, since that is done each time they are seen.

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
    """Time a forward and a training step of each network, and what is done to its images, and scale it to the plan.

    The networks are made with random weights: nothing is downloaded, and the arithmetic is the same. ``count`` is
    called with what is done, how much of it, and of how much.
    """
    costs: dict[str, Cost] = {}
    for number, run in enumerate(plan.runs):
        if count is not None:
            count("timing networks", number, len(plan.runs))
        if str(run.model) not in costs:  # seeds and folds of a model cost the same
            costs[str(run.model)] = _cost_of(plan, run)
    return [_forecast_run(plan, run, costs[str(run.model)]) for run in plan.runs]


@dataclass(frozen=True)
class Cost:
    """What a network costs: its size, seconds for one image, and how it is computed here.

    ``change`` is what augmentation takes for one image, ``reading`` what it takes to read one that is not augmented
    (nothing where images are decoded once), ``changed_beside`` whether both are done beside the computing.
    """

    parameters: int
    weight_bytes: int
    forward: float
    step: float
    arithmetic: Arithmetic
    change: float
    changed_beside: bool
    reading: float = 0.0

    def seconds_of(self, amount: Amount) -> float:
        """Return the seconds of so many images; what worker processes do beside a GPU takes no time of its own."""
        computing = amount.learnt * self.step + amount.looked_at * self.forward
        others = amount.learnt + amount.looked_at - amount.changed
        changing = amount.changed * self.change + others * self.reading
        return max(computing, changing) if self.changed_beside else computing + changing


def run_state(run: RunPlan) -> str:
    """Return what starting the run would mean, from what lies in its folder."""
    folder = RunFolder(run.folder)
    if problems_of_run(run):
        return "name taken"
    if folder.finished:
        return "continues" if goes_on(run) else "finished"
    if stored_states(folder.state_folder):
        return "continues"
    return "starts again" if folder.exists else "new"


def _cost_of(plan: Plan, run: RunPlan) -> Cost:
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
    single = run.settings.augmentation in PER_IMAGE or run.settings.transforms is not None
    workers = worker_count(run.settings) if single else 0
    at_once = max(1, min(workers, usable_cores()))
    if run.settings.transforms is None:
        change, reading = seconds_of_change(network, run.settings), 0.0
    else:
        change, reading = seconds_of_transforms(run)
    beside = workers > 0 and fabric.device.type != "cpu"
    return Cost(network.parameters, weights, forward, step, arithmetic, change / at_once, beside, reading / at_once)


def _amount(run: RunPlan) -> Amount:
    return amount_of(run.settings, run.sizes(), pretrained=run.settings.pretrained)


def _forecast_run(plan: Plan, run: RunPlan, cost: Cost) -> Forecast:
    amount = _amount(run)
    seconds = cost.seconds_of(amount)
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
        with mode.autocast(device), as_learnt(network, device):
            value = loss(network.module(inputs).float(), labels)
        value.backward()
        network.module.zero_grad(set_to_none=True)

    step = _timed(learn, device) / count
    pixels = torch.zeros(inputs.shape, dtype=torch.uint8)
    with copied_for_inference(network, device, arithmetic.inference) as (_, forward):
        return _timed(lambda: forward(pixels), device) / count, step


def seconds_of_change(network: Network, settings: Settings) -> float:
    """Return the seconds that one process takes to change one image as the augmentation says."""
    rule = network.preprocessing
    shape = (_IMAGES_CHANGED, rule.channels, rule.image_size, rule.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    change = change_of_single_images(settings.augmentation)

    def draw() -> None:
        generator = torch.random.default_generator.manual_seed(0)  # the same draws in each pass
        if change is None:
            augment(images, settings.augmentation, generator)
        else:
            for image in images:
                change(image)

    with torch.random.fork_rng(devices=[]):
        return _timed(draw, CPU) / len(images)


def seconds_of_transforms(run: RunPlan) -> tuple[float, float]:
    """Return the seconds that one process takes to read an image and to transform it as the user's file says.

    The first is for training images (``train``), the second for all others (``val``); a few files are timed.

    Raises
    ------
    DataError
        If a file cannot be transformed, or does not become a tensor (C, H, W).
    """
    images = pd.concat(run.splits().values())
    some = images.iloc[np.unique(np.linspace(0, len(images) - 1, _FILES_READ).round().astype(int))]
    rule = pixel_rule(run.preprocessing, run.settings)
    source = image_source(some, None, rule, transforms=run.settings.transforms, workers=0)
    order = plain_order(len(some), 1)

    def read(training: bool) -> None:
        for _ in source.batches(order, training=training, seed=0):
            pass

    train, val = (_timed(partial(read, training), CPU) / len(some) for training in (True, False))
    return train, val


def _timed(action: Any, device: torch.device) -> float:
    """Return the seconds of the quickest of three passes, after one that warms up."""
    return min([seconds_of_pass(action, device) for _ in range(4)][1:])
