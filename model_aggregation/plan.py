"""Deciding: from settings and data to a frozen plan in which no choice is left.

``make_plan`` looks and decides, and writes nothing. What is wrong with settings, data and names is reported before
anything is done.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from model_aggregation.cache_folder import user_folder, why_not_writable
from model_aggregation.config import Settings, nearest
from model_aggregation.data.augmentation import load_transforms
from model_aggregation.data.decoding import reading_rule
from model_aggregation.data.doctor.dividing import keep_together, words_of_kept
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.inspection import Finding, check, default_cache, inspect
from model_aggregation.data.kept_tables import default_kept
from model_aggregation.data.look_alikes import LookAlikes, find_look_alikes
from model_aggregation.data.scan import scan
from model_aggregation.data.splitting import FoldRule, SplitRule, apply_split, fold_tables, split_images
from model_aggregation.environment import device_choice, with_launched_devices
from model_aggregation.errors import DataError, SettingsError
from model_aggregation.models.libraries import rescales_input
from model_aggregation.models.zoo import ModelName, find_models
from model_aggregation.names import SINGLE, check_path_lengths
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_plan import PoolPlan, RunPlan, plan_pools, plan_runs

TWO_CLASS_METRICS = ("auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "mcc")
MANY_CLASS_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "mcc", "macro_auc")


MADE_HERE = "made here"


class PositiveClassError(SettingsError):
    """Two classes, and nobody said which is the positive one."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        super().__init__(
            "Which class is the positive one, whose detected share is the sensitivity? "
            f"Give --positive {classes[0]} or --positive {classes[1]}."
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before the first step.

    ``tables`` holds the images with their splits: one table, or for cross-validation one per fold.
    """

    settings: Settings
    tables: tuple[ImageTable, ...]
    split_origin: str
    findings: tuple[Finding, ...]
    positive: str | None
    primary_metric: str
    plot: PlotSettings
    runs: tuple[RunPlan, ...]
    pools: tuple[PoolPlan, ...] = ()

    @property
    def all_runs(self) -> tuple[RunPlan | PoolPlan, ...]:
        """Everything that gets a run folder."""
        return (*self.runs, *self.pools)

    @property
    def table(self) -> ImageTable:
        """The images; their splits are those of the first run."""
        return self.runs[0].table

    @property
    def folder(self) -> Path:
        """The folder that holds the split table: the group's, or the only run's."""
        first = self.runs[0]
        return first.folder if first.group_name == SINGLE else first.folder.parent

    @property
    def log_folder(self) -> Path:
        """The log folder, absolute."""
        return self.settings.log_folder.resolve()

    def for_run(self, run: RunPlan | PoolPlan) -> "Plan":
        """Return what the execution of one run needs: little, since it is sent to another process.

        Other runs of its model stay, since seeds and folds are computed alike; their tables do not, and neither do the
        files that findings list.
        """
        first = self.runs[0]
        alike = tuple(replace(other, table=first.table) for other in self.runs[1:] if other.model == run.model)
        findings = tuple(replace(finding, files=(), details=()) for finding in self.findings)
        return replace(self, tables=(), runs=(first, *alike), pools=(), findings=findings)

    def split_files(self) -> dict[str, ImageTable]:
        """Return the split tables to write into the folder, by file name."""
        if self.settings.folds is None:
            return {"splits.csv": self.tables[0]}
        return {f"splits_f{number}.csv": table for number, table in enumerate(self.tables, 1)}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the images are given by counts and fingerprint."""
        return {
            "data": str(self.table.root),
            "data_fingerprint": [table.fingerprint() for table in self.tables],
            "classes": list(self.table.classes),
            "positive": self.positive,
            "primary_metric": self.primary_metric,
            "split": self.split_origin,
            "images": {name: _counts_of(table) for name, table in self.split_files().items()},
            "findings": [{"severity": f.severity, "kind": f.kind, "message": f.message} for f in self.findings],
            "runs": [run.to_dict() for run in self.runs],
            "pooled": {pool.run_name: [member.run_name for member in pool.members] for pool in self.pools},
        }


def _counts_of(table: ImageTable) -> dict[str, dict[str, int]]:
    return {str(label): {str(split): int(n) for split, n in row.items()} for label, row in table.counts().iterrows()}


Count = Callable[[str, int, int], None]


def make_plan(settings: Settings, *, count: Count | None = None) -> Plan:
    """Look at data and models and decide everything; nothing is written.

    Parameters
    ----------
    settings
        Complete settings.
    count
        Called with what is done, how much of it, and of how much, while files are read.

    Raises
    ------
    SettingsError, DataError, ModelError
        With all problems of the kind at once. ``PositiveClassError`` if there are two classes and no positive one.
    """
    settings = with_launched_devices(settings)
    models = named_models(settings)
    _check_engine(settings)
    _check_log_folder(settings.log_folder.resolve())
    _check_cache_folder(settings)
    if settings.transforms is not None:
        load_transforms(settings.transforms)  # what is wrong with the file is said before the images are read
    plot = _plot(settings)
    table = scan(settings.data, group=settings.group, layout=settings.layout)
    if settings.folds is not None and "fold" in table.metadata_columns:
        raise SettingsError(f"{settings.data} has a column 'fold', and --folds makes folds of its own; rename it.")
    positive = _positive(settings, table.classes)
    primary = _primary(settings, table.classes)
    if settings.has_cutoff_limits:
        settings = settings.model_copy(update={"cutoff_lower": plot.cutoff_ll, "cutoff_upper": plot.cutoff_ul})
    runs = plan_runs(settings, models, positive, table)
    check_path_lengths(path for run in runs for path in RunFolder(run.folder).all_paths(str(run.model)))
    reading = (lambda done, total: count("reading images", done, total)) if count else None
    cache = default_cache(settings.cache_folder)
    rule = reading_rule(settings.window, settings.max_pixels)
    looking = settings.alike is not None
    table = inspect(table, workers=settings.workers, progress=reading, cache=cache, rule=rule, appearance=looking)
    alike = _look_alikes(settings, table, count)
    tables, origin = _with_splits(settings, table.without_appearance().with_mapped_texts(), alike)
    findings = _checked(settings, tables, alike)
    tables = tuple(table.reduced_to_facts() for table in tables)
    runs = tuple(replace(run, table=tables[(run.settings.fold or 1) - 1]) for run in runs)
    plan = Plan(
        settings, tables, origin, tuple(findings), positive, primary, plot, runs, pools=plan_pools(settings, runs)
    )
    _check_effects(plan)
    return plan


def named_models(settings: Settings) -> list[ModelName]:
    """Return the models that the settings name; imports their libraries.

    Raises
    ------
    ModelError
        With every name that is wrong.
    """
    named = list(settings.models) or [str(settings.model)]
    return find_models(named, settings.source, sets_file=settings.model_sets, weights_dir=settings.weights_dir)


def _check_engine(settings: Settings) -> None:
    """Refuse devices that are not here; those of a cluster are looked at when it is reached."""
    if settings.engine == "local":
        device_choice(settings.device)
    elif find_spec("ray") is None:
        raise SettingsError("--engine ray needs Ray: pip install 'model_aggregation[cluster]'")
    elif settings.device not in ("auto", "cpu", "cuda"):
        raise SettingsError(
            f"--device: expected auto, cpu or cuda with --engine ray, which chooses the GPU of each run, but "
            f"'{settings.device}' was given."
        )


def _check_log_folder(folder: Path) -> None:
    """Refuse a log folder that cannot be written, before anything is read."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise SettingsError(f"--log-folder {folder}: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise SettingsError(f"--log-folder {folder}: {there} cannot be written; choose another folder.")


def _check_cache_folder(settings: Settings) -> None:
    """Refuse a cache folder that cannot be written; on the machines of a cluster it is another one."""
    if settings.cache_folder is None:
        user_folder()  # or one among the temporary files
    elif settings.engine == "local" and (reason := why_not_writable(settings.cache_folder.resolve())):
        raise SettingsError(f"--cache-folder {settings.cache_folder} cannot be written ({reason}); choose another one.")


def _check_effects(plan: Plan) -> None:
    """Refuse settings that this data set gives no effect."""
    settings, splits = plan.settings, plan.runs[0].sizes()
    made_here = plan.split_origin.startswith(MADE_HERE)
    conditions = {
        "test_share": ("the split is made here", made_here),
        "train_share": ("the split is made here", made_here),
        "split_seed": ("the split is made here", made_here),
        "patience": ("there are validation images", "val" in splits),
        "best_by": ("there are validation images", "val" in splits),
        "cutoff_rule": ("there are two classes", plan.positive is not None),
        "cutoff_on": ("there are two classes", plan.positive is not None),
    }
    if settings.transform_input is not None:
        can = any(rescales_input(run.model) for run in plan.runs)
        conditions["transform_input"] = ("a model is torchvision's inception_v3 or googlenet", can)
    problems = [
        f"{key} has an effect only if {needs}"
        for key, (needs, effective) in conditions.items()
        if not effective and settings.differs_from_default(key)
    ]
    if settings.train and "train" not in splits:
        problems.append("there are no training images; train: false tests the weights of a file")
    problems += _problems_of_validation(plan)
    if problems:
        raise SettingsError("The settings do not fit the data set:", problems)


def _problems_of_validation(plan: Plan) -> Iterator[str]:
    """Yield the splits in which the best epoch could not be chosen by AUC."""
    if plan.settings.best_by != "auc":
        return
    for run in {id(run.table): run for run in plan.runs}.values():
        validation = run.table.part("val", ["label"])["label"] if "val" in run.sizes() else None
        missing = sorted(set(plan.table.classes) - set(validation)) if validation is not None else []
        if missing:
            yield (
                f"best_by: auc needs every class among the validation images; {', '.join(missing)} is missing"
                + (f" in fold {run.settings.fold}" if run.settings.fold else "")
            )


def _plot(settings: Settings) -> PlotSettings:
    """Return the plot settings; their limits are those of the cutoff, and must not contradict flags."""
    if settings.plot_settings is None:
        return PlotSettings(cutoff_ll=settings.cutoff_lower, cutoff_ul=settings.cutoff_upper)
    plot = read_plot_settings(settings.plot_settings)
    given = settings.given()
    pairs = (("cutoff_lower", "cutoff_ll", plot.cutoff_ll), ("cutoff_upper", "cutoff_ul", plot.cutoff_ul))
    problems = [
        f"{flag} is {given[flag]}, {key} is {value}" for flag, key, value in pairs if given.get(flag, value) != value
    ]
    if problems:
        raise SettingsError(f"Settings and the plot settings {settings.plot_settings} contradict each other:", problems)
    return plot


def _positive(settings: Settings, classes: tuple[str, ...]) -> str | None:
    """Return the positive class of two, checked; None for more classes."""
    problems = []
    if settings.num_classes not in (None, len(classes)):
        problems.append(
            f"num_classes is {settings.num_classes}, but there are {len(classes)}: {', '.join(classes[:10])}"
        )
    for flag, name in (("positive", settings.positive), ("negative", settings.negative)):
        if name is not None and len(classes) > 2:
            problems.append(f"{flag} belongs to two classes; here are {len(classes)}: {', '.join(classes[:10])}")
        elif name is not None and name not in classes:
            problems.append(f"{flag}: '{name}' is no class; {nearest(name, classes)}")
    if settings.positive is not None and settings.positive == settings.negative:
        problems.append(f"positive and negative are both '{settings.positive}'")
    if problems:
        raise SettingsError("The classes of the data set do not fit the settings:", problems)
    if len(classes) == 2 and settings.positive is None:
        raise PositiveClassError(classes)
    return settings.positive


def _primary(settings: Settings, classes: tuple[str, ...]) -> str:
    known = TWO_CLASS_METRICS if len(classes) == 2 else MANY_CLASS_METRICS
    if settings.primary_metric is None:
        return known[0]
    if settings.primary_metric not in known:
        raise SettingsError(
            f"primary_metric: expected one of {', '.join(known)} for {len(classes)} classes, but "
            f"'{settings.primary_metric}' was given."
        )
    return settings.primary_metric


def _look_alikes(settings: Settings, table: ImageTable, count: Count | None) -> LookAlikes | None:
    if settings.alike is None:
        return None
    if count:
        count("looking for near duplicates", 0, 1)
    alike = find_look_alikes(table, threshold=settings.alike, kept=default_kept(settings.cache_folder))
    if count:
        count("looking for near duplicates", 1, 1)
    return alike


def _with_splits(settings: Settings, table: ImageTable, alike: LookAlikes | None) -> tuple[tuple[ImageTable, ...], str]:
    """Return the table with its splits, for cross-validation one per fold, and in words where they come from."""
    if settings.split is not None:
        return (apply_split(table, settings.split),), f"table {settings.split}"
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    unit = "group" if table.has_groups else "image"
    if table.presplit and settings.folds is None:
        return (table,), "as the data set says"
    if settings.test_share == 1:
        frame = table.frame.assign(split=np.where(table.frame["readable"].astype(bool), "test", ""))
        return (replace(table, frame=frame),), f"{MADE_HERE}: all images are tested"
    if alike is not None:
        table = keep_together(table, alike)
        unit += f", {words_of_kept(table)}"
    if settings.folds is not None:
        rest = "validation" if settings.validation else "unused"
        return (
            fold_tables(table, FoldRule(settings.folds, settings.train_share, seed)),
            f"{MADE_HERE}: {settings.folds} folds, each tested once by networks trained on {settings.train_share:g} of "
            f"the other images, the rest of them {rest}; stratified, by {unit}, seed {seed}",
        )
    rule = SplitRule(settings.test_share, settings.train_share, seed)
    return (
        (split_images(table, rule),),
        f"{MADE_HERE}: test {rule.test_share:g} of all, train {rule.train_share:g} of the rest, stratified, "
        f"by {unit}, seed {rule.seed}",
    )


def _checked(settings: Settings, tables: tuple[ImageTable, ...], alike: LookAlikes | None) -> list[Finding]:
    """Return what stands against the images, of several folds each finding once with the folds it concerns."""
    found: dict[Finding, list[int]] = {}
    for number, table in enumerate(tables, 1):
        try:
            _, findings = check(
                table,
                skip_unreadable=settings.skip_unreadable,
                allow_duplicates=settings.allow_duplicates,
                alike=alike,
                trains=settings.train,
            )
        except DataError as error:
            where = f"Fold {number} of {len(tables)}: " if len(tables) > 1 else ""
            raise DataError(f"{where}{error.message}", error.problems) from error
        for finding in findings:
            found.setdefault(finding, []).append(number)
    return [
        finding
        if len(folds) == len(tables)
        else replace(finding, message=f"fold {', '.join(map(str, folds))}: {finding.message}")
        for finding, folds in found.items()
    ]
