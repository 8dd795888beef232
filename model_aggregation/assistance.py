"""What the other ranks do in a run whose first rank executes it: the same steps in the same order, and no file."""

import torch

from model_aggregation.fabric import make_fabric
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import build_network
from model_aggregation.models.inference import predict_logits
from model_aggregation.plan import Plan
from model_aggregation.progress import Reporter
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_images import load_images
from model_aggregation.run_plan import RunPlan
from model_aggregation.startup import keep_freed_memory
from model_aggregation.training.job import Training, TrainingFiles, epoch_seed
from model_aggregation.training.journal import Journal
from model_aggregation.training.loop import run_training
from model_aggregation.training.time_limit import TimeLimit


def assist(plan: Plan, run: RunPlan, *, seconds_left: float) -> None:
    """Take part in a run from its images to its predictions; rank 0 decides and writes.

    Raises
    ------
    ModelAggregationError
        As :func:`experiment.execute` does; ``NotEnoughMemoryError`` too.
    """
    keep_freed_memory()
    settings = run.settings
    fabric = make_fabric(settings)
    images = load_images(plan, run, Reporter())
    splits = images.splits
    fabric.barrier()
    torch.manual_seed(epoch_seed(settings.seed, -1))
    network = build_network(run.model, len(plan.table.classes), settings)
    arithmetic: Arithmetic = fabric.broadcast(Arithmetic())
    torch.set_num_threads(arithmetic.threads)
    fabric = make_fabric(settings, arithmetic.training.precision)
    network.module.to(fabric.device)
    if settings.train:
        folder, classes = RunFolder(run.folder), plan.table.classes
        files = TrainingFiles(
            folder.state_folder, folder.weight_pth("last"), folder.weight_pth("best"), folder.epoch_pth(0).parent
        )
        run_training(
            Training(
                network,
                splits["train"].labelled(classes),
                splits["val"].labelled(classes) if "val" in splits else None,
                settings,
                fabric,
                files,
                Reporter(),
                Journal(run.run_name, lambda _: None, None),
                arithmetic,
                TimeLimit(seconds_left, settings.seconds("run_time_limit")),
            )
        )
    images.check(fabric)
    for name in ("val", "test"):
        if name in splits:
            predict_logits(network, splits[name].images, fabric, inference=arithmetic.inference)
    images.check(fabric)
