"""What a plan will cost and leave: time, from a few timed steps of each network on this machine, disk and files."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from model_aggregation.continuation import problems_of_run
from model_aggregation.environment import make_fabric
from model_aggregation.experiment import checkpoint_path
from model_aggregation.models.build import Network, build_network
from model_aggregation.plan import Plan
from model_aggregation.prediction import transforms_path
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import RunPlan
from model_aggregation.training.loop import is_frozen
from model_aggregation.training.losses import make_loss

_IMAGES_TIMED = 8


@dataclass(frozen=True)
class Forecast:
    """What one run will cost: seconds without decoding, parameters, bytes of weights and state; and its files.

    ``state`` is ``new``, ``continues``, ``starts again`` (after a failure or a stop in the first epoch), ``finished``
    or ``name taken``.
    """

    run_name: str
    state: str
    parameters: int
    seconds: float
    disk_bytes: int
    files: tuple[Path, ...]

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
    """What a network costs: its size, seconds for one image, and the epochs in which only its head is trained."""

    parameters: int
    weight_bytes: int
    forward: float
    step: float
    frozen_epochs: int


def run_state(run: RunPlan) -> str:
    """Return what starting the run would mean, from what lies in its folder."""
    folder = RunFolder(run.folder)
    if problems_of_run(run):
        return "name taken"
    if folder.finished:
        return "finished"
    if checkpoint_path(folder).is_file():
        return "continues"
    return "starts again" if folder.exists else "new"


def planned_files(plan: Plan, run: RunPlan) -> list[Path]:
    """Return every file that the folder of a run holds when it is finished; early stopping keeps fewer weights."""
    folder, splits = RunFolder(run.folder), run.splits()
    paths = [folder.settings_yaml, folder.images_csv, folder.status_txt, folder.architecture_txt(str(run.model))]
    if run.settings.transforms is not None:
        paths.append(transforms_path(folder))
    paths += _weight_files(run, folder, best="val" in splits)
    paths += [folder.predictions_csv(name) for name in ("val", "test") if name in splits]
    if "test" in splits:
        paths += [folder.predicted_labels_csv(), folder.confusion_xlsx()]
        paths += [folder.roc_csv(), folder.roc_png()] if plan.positive is not None else []
    paths += [folder.metrics_csv, folder.metrics_json, folder.environment_json]
    if run.folder == plan.folder:
        paths += [plan.folder / name for name in (*plan.split_files(), "findings.csv")]
    return paths


def _weight_files(run: RunPlan, folder: RunFolder, *, best: bool) -> Iterator[Path]:
    settings = run.settings
    kinds: tuple[Literal["last", "best"], ...] = ("last", "best") if best and settings.train else ("last",)
    for which in kinds:
        yield folder.weight_pth(which)
        yield folder.weight_json(which)
        if settings.whole_model:
            yield folder.whole_model_pth(which)
    if settings.train and settings.save_every:
        yield from (folder.epoch_pth(epoch) for epoch in range(0, settings.epochs, settings.save_every))


def _cost_of(plan: Plan, run: RunPlan) -> _Cost:
    fabric = make_fabric(run.settings)
    network = build_network(
        run.model,
        len(plan.table.classes),
        run.settings.model_copy(update={"pretrained": False, "weights": ()}),
    )
    network.module.to(fabric.device)
    forward, step = _seconds_per_image(network, run, fabric)
    frozen_epochs = sum(_planned_frozen(network, run, epoch) for epoch in range(run.settings.epochs))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.module.state_dict().values())
    return _Cost(network.parameters, weights, forward, step, frozen_epochs)


def _forecast_run(plan: Plan, run: RunPlan, cost: _Cost) -> Forecast:
    counts = {name: len(images) for name, images in run.splits().items()}
    train, validation, test = (counts.get(name, 0) for name in ("train", "val", "test"))
    epochs = run.settings.epochs if run.settings.train else 0
    seconds = train * (cost.frozen_epochs * 1.1 * cost.forward + (epochs - cost.frozen_epochs) * cost.step)
    seconds += cost.forward * (validation * (epochs + 1) + test)
    files = planned_files(plan, run)
    kept = sum(path.suffix == ".pth" for path in files)
    state = 3 * run.settings.train  # an optimiser may hold twice the weights beside them
    disk = cost.weight_bytes * (kept + state)
    return Forecast(run.run_name, run_state(run), cost.parameters, round(seconds, 1), disk, tuple(files))


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
