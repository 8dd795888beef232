"""Will the results of a plan fit on the disk? Said before anything starts."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from model_aggregation.errors import ResultsError
from model_aggregation.models.counting import known_counts
from model_aggregation.plan import Plan
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.run_paths import REPORT_FOLDER, REPORT_TABLES
from model_aggregation.run_plan import RunPlan

_BYTES_OF_A_PARAMETER = 4
STATE_COPIES = 11
"""Times the weights that a training needs beside its results, at most: three states, a new one being written, each of
the weights and twice as much of the optimiser, and the best weights of two."""


def check_room(plan: Plan) -> None:
    """Refuse a plan whose weights are known not to fit on the disk.

    Networks of unknown size count nothing, so what is said to be needed is the least.

    Raises
    ------
    ResultsError
        Naming what is needed and what is free.
    """
    there = next(path for path in (plan.log_folder, *plan.log_folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    waiting = [run for run in plan.runs if not RunFolder(run.folder).finished]
    kept = sum(_weight_bytes(run) * _missing_weights(plan, run) for run in waiting)
    state = max((_weight_bytes(run) * STATE_COPIES for run in waiting if run.settings.train), default=0)
    if kept + state > free:
        raise ResultsError(
            f"There is not enough room in {plan.log_folder}: the weights of {len(waiting)} runs need "
            f"{_gigabytes(kept)} and a training in progress up to {_gigabytes(state)}, but {_gigabytes(free)} are "
            "free. Make room, choose another --log-folder or fewer models."
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _missing_weights(plan: Plan, run: RunPlan) -> int:
    return sum(path.suffix == ".pth" and not path.is_file() for path in planned_files(plan, run))


def _weight_bytes(run: RunPlan) -> int:
    """Return the bytes of a network's weights, from the counts of all published networks; 0 where it has none."""
    sizes = {(found.source, found.architecture): found.parameters for found in known_counts().values()}
    return sizes.get((run.model.source, run.model.architecture), 0) * _BYTES_OF_A_PARAMETER


def planned_files(plan: Plan, run: RunPlan) -> list[Path]:
    """Return every file that the folder of a run holds when it is finished; early stopping keeps fewer weights."""
    folder, splits = RunFolder(run.folder), run.sizes()
    paths = [folder.settings_yaml, folder.images_csv, folder.status_txt, folder.architecture_txt(str(run.model))]
    if run.settings.transforms is not None:
        paths.append(folder.transforms_py)
    paths += _weight_files(run, folder, best="val" in splits)
    paths += [folder.predictions_csv(name) for name in ("val", "test") if name in splits]
    if "test" in splits:
        paths += [folder.predicted_labels_csv(), folder.confusion_xlsx()]
        paths += [folder.roc_csv(), folder.roc_png()] if plan.positive is not None else []
    paths += [folder.metrics_csv, folder.metrics_json, folder.checksums, folder.environment_json]
    if "val" in splits or "test" in splits:
        paths += [run.folder / REPORT_FOLDER / name for name in REPORT_TABLES]
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
