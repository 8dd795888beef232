"""The story of one run: build, train, predict, evaluate, save.

``execute`` needs only a plan and one of its runs; it runs in this process and writes one run folder.
"""

import math
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric

from model_aggregation.analysis.run_sets import evaluate_run
from model_aggregation.data.image_table import FINGERPRINTED, ImageTable
from model_aggregation.environment import describe_environment, versions
from model_aggregation.errors import DamagedCacheError
from model_aggregation.fabric import make_fabric
from model_aggregation.files import disk_troubles_said, remove_unfinished, write_csv, write_json, write_text
from model_aggregation.models.arithmetic import Arithmetic
from model_aggregation.models.build import Network, build_network
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.models.memory import BeginAgainError, Lack, NotEnoughMemoryError, free_memory
from model_aggregation.plan import Plan
from model_aggregation.processes import peak_memory_bytes
from model_aggregation.progress import Reporter
from model_aggregation.results.locks import settling_lock
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import predictions_table
from model_aggregation.run_images import RunImages, Split, cache_of, load_images
from model_aggregation.run_plan import RunPlan
from model_aggregation.settings_files import settings_mapping, write_settings
from model_aggregation.startup import FreeCores, keep_freed_memory
from model_aggregation.stored_state import begin_state, forget_training, note_check
from model_aggregation.training.checkpoint import Progress, save_weights, save_whole
from model_aggregation.training.effort import timing_of
from model_aggregation.training.job import Training, TrainingFiles, epoch_seed
from model_aggregation.training.journal import Journal
from model_aggregation.training.loop import run_training
from model_aggregation.training.measurement import amount_of, settle_arithmetic
from model_aggregation.training.time_limit import TimeLimit


@dataclass(frozen=True, eq=False)
class _Work:
    """What every step of a run needs."""

    plan: Plan
    run: RunPlan
    folder: RunFolder
    fabric: Fabric
    reporter: Reporter
    time: TimeLimit
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def say(self, text: str) -> None:
        """Put a line into the status file and on the screen."""
        self.folder.append_status(text)
        self.reporter.message(f"  {text}")


def execute(
    plan: Plan, run: RunPlan, reporter: Reporter, *, seconds_left: float = math.inf, lack: Lack | None = None
) -> RunFolder:
    """Do one run from its images to its metrics and return its folder.

    A run that was interrupted continues from its last finished epoch. One whose training is not at its end when
    ``seconds_left`` are over tests the best so far. What does not fit into memory is tried again in smaller batches;
    ``lack`` is that of an attempt before. Of several ranks this is the first; the others assist (``assistance``).

    Raises
    ------
    BeginAgainError
        If there is too little memory and other ranks take part.
    ModelAggregationError
        What the user can act on; anything else that a library raises passes through.
    """
    limit = TimeLimit(seconds_left, run.settings.seconds("run_time_limit"))
    with disk_troubles_said(plan.log_folder):
        return _execute(plan, run, reporter, limit, lack)


def _execute(plan: Plan, run: RunPlan, reporter: Reporter, limit: TimeLimit, lack: Lack | None) -> RunFolder:
    begun_with = _arithmetic_of(run)
    work = _Work(plan, run, _start_folder(run), make_fabric(run.settings), reporter, limit)
    environment = _environment(work)
    work.folder.write_environment(environment | ({"arithmetic": begun_with.to_dict()} if begun_with else {}))
    if lack is not None:
        _settle_for_smaller_batches(work, environment, lack)
    images = load_images(plan, run, reporter)
    keep_freed_memory()
    cores = FreeCores()  # not before: the processes that decode images use them all
    while True:
        try:
            return _compute(work, environment, images, cores)
        except NotEnoughMemoryError as error:
            lack = Lack(error.action, str(error))
            if work.fabric.world_size > 1:
                raise BeginAgainError(lack) from error
            _settle_for_smaller_batches(work, environment, lack)
        except DamagedCacheError as error:
            forget_training(work.folder)
            raise DamagedCacheError(
                f"{error.message} Nothing computed from them is used; the same command trains from the beginning."
            ) from error
        free_memory()  # nothing holds the network any more


def _compute(work: _Work, environment: dict[str, Any], images: RunImages, cores: FreeCores) -> RunFolder:
    """Do what needs the network."""
    plan, run, splits = work.plan, work.run, images.splits
    torch.manual_seed(epoch_seed(run.settings.seed, -1))
    network = build_network(run.model, len(plan.table.classes), run.settings)
    if run.settings.allow_partial_weights or (run.settings.weights and run.settings.train):
        start = ": all but the head, which starts anew" if run.settings.train else ""
        work.say(f"weights of {network.weights_origin}{start}")
    work.fabric.barrier()  # now the files of its weights are here for the other ranks too
    write_text(work.folder.architecture_txt(str(run.model)), f"{network.module}\n")
    with settling_lock(plan.log_folder, run.group_name, str(run.model)):  # seeds and folds may go on at once
        work = _with_arithmetic(work, network, _settled_before(plan, run), cores)
        environment = environment | {"arithmetic": work.arithmetic.to_dict(), "threads": work.arithmetic.threads}
        work.folder.write_environment(environment)
    work.fabric.broadcast(work.arithmetic)
    progress = _train(work, network, images) if run.settings.train else _keep_weights(work, network)
    _check_pixels(work, images)  # before the test images are looked at with weights that may be good for nothing
    seconds = _predict(work, network, splits)
    _check_pixels(work, images)
    work.folder.write_environment(environment | _results_of(work, network, progress, images, seconds))
    metrics = evaluate_run(work.folder, before_metrics=lambda found: _save_weight_facts(work, network, found))
    _close(work.folder, metrics, progress)
    return work.folder


def _check_pixels(work: _Work, images: RunImages) -> None:
    images.check(work.fabric, lambda: forget_training(work.folder))
    note_check(work.folder)


def _settled_before(plan: Plan, run: RunPlan) -> Arithmetic | None:
    """Return how this run was computed when it began, or another of the same model: seeds and folds are alike in it.

    What another run halved for lack of memory is its own: it may have lacked what runs beside it held.
    """
    if own := _arithmetic_of(run):
        return own
    found = (_arithmetic_of(other) for other in plan.runs if other.model == run.model)
    return next((other.before_halving() for other in found if other), None)


def _arithmetic_of(run: RunPlan) -> Arithmetic | None:
    folder = RunFolder(run.folder)
    values = folder.read_environment().get("arithmetic") if folder.environment_json.is_file() else None
    return Arithmetic.from_dict(values) if values else None


def _settle_for_smaller_batches(work: _Work, environment: dict[str, Any], lack: Lack) -> None:
    """Settle for half as many images at once; the run folder knows it from now on."""
    now = Arithmetic.from_dict(work.folder.read_environment()["arithmetic"])
    try:
        smaller = now.with_smaller_batches(lack.action, work.run.settings.images_at_once)
    except ValueError as none:
        raise NotEnoughMemoryError(f"{lack.message} Even one image at a time is too much for {lack.action}.") from none
    work.folder.write_environment(environment | {"arithmetic": smaller.to_dict()})
    work.say(f"{lack.message} {lack.action} goes on with half as many images at once.")


def _with_arithmetic(work: _Work, network: Network, settled: Arithmetic | None, cores: FreeCores) -> _Work:
    """Settle how the network computes and say it."""
    settings, device = work.run.settings, work.fabric.device
    amount = amount_of(settings, work.run.sizes(), pretrained=network.pretrained)
    folder = cache_of(settings).folder / "timings"
    arithmetic = settle_arithmetic(network, settings, device, amount, earlier=settled, folder=folder, cores=cores)
    work.say(str(arithmetic))
    if settings.devices > 1:
        work.say(
            f"{settings.devices} devices, each learns at most {settings.images_at_once} images of a batch of "
            f"{settings.batch_size}"
        )
    return replace(work, fabric=make_fabric(settings, arithmetic.training.precision), arithmetic=arithmetic)


def _start_folder(run: RunPlan) -> RunFolder:
    folder = RunFolder(run.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder.path)
    folder.clear_error()
    folder.checksums.unlink(missing_ok=True)  # of a run that was finished once and goes on
    write_settings(run.settings, folder.settings_yaml)
    write_csv(folder.images_csv, run.table.facts())
    if run.settings.transforms is not None:
        folder.transforms_py.write_bytes(run.settings.transforms.read_bytes())  # its encoding is its own
    folder.append_status(f"model {run.model}, weights: {run.weights}")
    return folder


def _environment(work: _Work) -> dict[str, Any]:
    plan, run = work.plan, work.run
    sizes = run.sizes()
    return {
        "run_name": run.run_name,
        "group_name": run.group_name,
        "model": str(run.model),
        "state": "running",
        "seed": run.settings.seed,
        "fold": run.settings.fold,
        "folds": run.settings.folds,
        "part_of": run.part_of,
        "precision": run.settings.precision,
        "image_size": run.preprocessing.image_size,
        "data_fingerprint": run.table.fingerprint(),
        "test_fingerprint": _fingerprint(run.table, "test") if "test" in sizes else None,
        "split": plan.split_origin,
        "classes": list(plan.table.classes),
        "positive": plan.positive,
        "primary_metric": plan.primary_metric,
        "has_validation": "val" in sizes,
        "inputs": dict(run.inputs),
        "findings": [f"{finding.severity}: {finding.message}" for finding in plan.findings],
        "started": _now(),
        **describe_environment(work.fabric),
    }


def _fingerprint(table: ImageTable, split: str) -> str:
    return replace(table, frame=table.part(split, FINGERPRINTED)).fingerprint()


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _train(work: _Work, network: Network, images: RunImages) -> Progress:
    plan, run, folder, splits = work.plan, work.run, work.folder, images.splits
    begin_state(folder, images, work.say)
    events = plan.log_folder.parent / "runs" / run.run_name if run.settings.tensorboard else None
    journal = Journal(run.run_name, work.say, events, tags_by_batch=run.settings.recipe == "earlier")
    classes = plan.table.classes
    files = TrainingFiles(
        state=folder.state_folder,
        last_weights=folder.weight_pth("last"),
        best_weights=folder.weight_pth("best"),
        epoch_weights=folder.epoch_pth(0).parent,
    )
    validation = splits["val"].labelled(classes) if "val" in splits else None
    try:
        return run_training(
            Training(
                network,
                splits["train"].labelled(classes),
                validation,
                run.settings,
                work.fabric,
                files,
                work.reporter,
                journal,
                work.arithmetic,
                work.time,
            )
        )
    finally:
        journal.close()


def _keep_weights(work: _Work, network: Network) -> Progress:
    """Without training, the weights of the file are those of the run."""
    network.module.to(work.fabric.device)
    work.say(f"no training: the weights of {network.weights_origin} are tested as they are")
    save_weights(network.module, work.folder.weight_pth("last"))
    return Progress()


def _predict(work: _Work, network: Network, splits: dict[str, Split]) -> dict[str, float]:
    """Write the predictions of the validation and test images; return the seconds each took."""
    seconds: dict[str, float] = {}
    for name in ("val", "test"):
        if name not in splits:
            continue
        started = time.perf_counter()
        split = splits[name]
        logits = predict_logits(
            network,
            split.images,
            work.fabric,
            inference=work.arithmetic.inference,
            progress=lambda done, total, name=name: work.reporter.count(f"predicting {name} images", done, total),  # type: ignore[misc]
        )
        seconds[name] = time.perf_counter() - started
        probabilities = pd.DataFrame(softmax(logits), columns=list(work.plan.table.classes))
        table = split.table[["path", "label"]].rename(columns={"label": "correct_label"}).reset_index(drop=True)
        table = predictions_table(pd.concat([table, probabilities], axis=1))
        write_csv(work.folder.predictions_csv(name), table)
    return seconds


def _results_of(
    work: _Work, network: Network, progress: Progress, images: RunImages, seconds: dict[str, float]
) -> dict[str, Any]:
    notes = (
        progress.ended_early,
        work.arithmetic.memory_note(work.run.settings.images_at_once),
        _note_of_devices(work, network),
    )
    tested = len(images.splits["test"].table) if "test" in images.splits else 0
    timing = timing_of(
        network, work.arithmetic, work.fabric, progress, tested=tested, test_seconds=seconds.get("test", 0.0)
    )
    return {
        "state": "finished",
        "finished": _now(),
        "parameters": network.parameters,
        "weights": network.weights_origin,
        "epochs_trained": progress.epoch,
        "best_epoch": progress.best_epoch,
        "reason": "; ".join(filter(None, notes)) or None,
        "cut_short": progress.cut_short
        and {"by": progress.cut_short, "run_time_limit": work.run.settings.run_time_limit},
        "history": progress.history,
        "peak_memory_bytes": peak_memory_bytes(),
        "timing": timing | {"images_decoded": images.decodes.count},
    }


def _note_of_devices(work: _Work, network: Network) -> str | None:
    """Return what a reader should know of batch norm on several devices."""
    settings = work.run.settings
    has_batch_norm = any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in network.module.modules())
    if settings.devices == 1 or not settings.train or not has_batch_norm:
        return None
    return (
        f"each batch of {settings.batch_size} was divided among {settings.devices} devices; batch norm saw the parts, "
        f"of at most {settings.images_at_once} images"
    )


def _save_weight_facts(work: _Work, network: Network, metrics: dict[str, Any]) -> None:
    """Write beside each state dict what is needed to use it: classes, preprocessing, cutoff, settings, versions."""
    folder, run, plan = work.folder, work.run, work.plan
    evaluated = metrics.get("test") or metrics.get("val") or {}
    facts = {
        "model": str(run.model),
        "classes": list(plan.table.classes),
        "positive": plan.positive,
        "cutoff": evaluated.get("cutoff"),
        "preprocessing": network.preprocessing.to_dict(),
        "settings": settings_mapping(run.settings),
        "arithmetic": work.arithmetic.to_dict(),
        "versions": versions(),
    }
    for which in ("last", "best"):
        if folder.weight_pth(which).is_file():
            write_json(folder.weight_json(which), facts)
            if run.settings.whole_model:
                _save_whole_model(network, folder.weight_pth(which), folder.whole_model_pth(which))


def _save_whole_model(network: Network, weights: Path, path: Path) -> None:
    """Store the network with these weights as a pickle; the weights it has now are put back."""
    kept = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    network.module.load_state_dict(torch.load(weights, weights_only=True))
    save_whole(network.module, path)
    network.module.load_state_dict(kept)


def _close(folder: RunFolder, metrics: dict[str, Any], progress: Progress) -> None:
    """Say the result in the status file and remove the state, which nothing needs any more."""
    test = metrics.get("test", {})
    if "accuracy" in test:
        folder.append_status(f"test accuracy {test['accuracy']['value']}")
    cutoff = (test or metrics.get("val", {})).get("cutoff")
    if cutoff:
        folder.append_status(
            f"cutoff {cutoff['value']} ({cutoff['source']}{', ' + cutoff['reason'] if cutoff['reason'] else ''})"
        )
    if progress.epoch and "val" not in metrics:
        folder.append_status("no validation images: the weights of the last epoch were tested")
    folder.remove_state()
