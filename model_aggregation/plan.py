"""Deciding: from settings and data to a frozen plan in which no choice is left.

``make_plan`` looks and decides, and writes nothing. What is wrong with settings, data and names is reported before
anything is done.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.config import Settings, nearest
from model_aggregation.data.augmentation import load_transforms
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.inspection import Finding, check, inspect
from model_aggregation.data.scan import scan
from model_aggregation.data.splitting import SplitRule, apply_split, split_images
from model_aggregation.environment import device_choice
from model_aggregation.errors import DataError, SettingsError
from model_aggregation.files import file_hash
from model_aggregation.models.build import Preprocessing, preprocessing_for, weights_file
from model_aggregation.models.zoo import ModelName, find_models
from model_aggregation.names import (
    SINGLE,
    check_group_name,
    check_run_name,
    default_name,
    model_slug,
    run_names,
)
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings
from model_aggregation.settings_files import settings_mapping

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


@dataclass(frozen=True)
class RunPlan:
    """One run: a model with all that is decided about it."""

    run_name: str
    group_name: str
    folder: Path
    model: ModelName
    settings: Settings  # complete, for this run alone
    preprocessing: Preprocessing
    weights: str  # where they will come from, for people
    inputs: Mapping[str, str]  # SHA-256 of the files beside the images: weights, transforms

    @property
    def freezes(self) -> bool:
        """Whether only the head is trained at first."""
        return self.settings.freeze and self.settings.pretrained and self.settings.thaw_at != 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "run_name": self.run_name,
            "group_name": self.group_name,
            "folder": str(self.folder),
            "model": str(self.model),
            "weights": self.weights,
            "inputs": dict(self.inputs),
            "preprocessing": self.preprocessing.to_dict(),
            "settings": settings_mapping(self.settings),
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before the first step."""

    settings: Settings
    table: ImageTable
    split_origin: str
    findings: tuple[Finding, ...]
    positive: str | None
    primary_metric: str
    plot: PlotSettings
    runs: tuple[RunPlan, ...]

    @property
    def folder(self) -> Path:
        """The folder that holds the split table: the group's, or the only run's."""
        first = self.runs[0]
        return first.folder if first.group_name == SINGLE else first.folder.parent

    def splits(self) -> dict[str, pd.DataFrame]:
        """Return the images of each split that the runs use: those that there are and that are switched on."""
        wanted = {"train": self.settings.train, "val": self.settings.validation, "test": self.settings.test}
        parts = {name: self.table.part(name) for name, used in wanted.items() if used}
        return {name: part for name, part in parts.items() if len(part)}

    @property
    def log_folder(self) -> Path:
        """The log folder, absolute."""
        return self.settings.log_folder.resolve()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the images are given by counts and fingerprint."""
        counts = self.table.counts()
        return {
            "data": str(self.table.root),
            "data_fingerprint": self.table.fingerprint(),
            "classes": list(self.table.classes),
            "positive": self.positive,
            "primary_metric": self.primary_metric,
            "split": self.split_origin,
            "images": {
                str(label): {str(split): int(n) for split, n in row.items()} for label, row in counts.iterrows()
            },
            "findings": [{"severity": f.severity, "kind": f.kind, "message": f.message} for f in self.findings],
            "runs": [run.to_dict() for run in self.runs],
        }


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
    models = find_models(list(settings.models) or [str(settings.model)], settings.source)
    device_choice(settings.device)
    _check_log_folder(settings.log_folder.resolve())
    if settings.transforms is not None:
        load_transforms(settings.transforms)  # what is wrong with the file is said before the images are read
    plot = _plot(settings)
    table = scan(settings.data, group=settings.group, layout=settings.layout)
    positive = _positive(settings, table.classes)
    primary = _primary(settings, table.classes)
    if settings.cutoff_rule == "balanced_accuracy":
        settings = settings.model_copy(update={"cutoff_lower": plot.cutoff_ll, "cutoff_upper": plot.cutoff_ul})
    runs = _runs(settings, models, positive, table)
    reading = (lambda done, total: count("reading images", done, total)) if count else None
    table = inspect(table, workers=settings.workers, progress=reading)
    table, origin = _with_split(settings, table)
    table, findings = check(table, skip_unreadable=settings.skip_unreadable, allow_duplicates=settings.allow_duplicates)
    plan = Plan(settings, table, origin, tuple(findings), positive, primary, plot, runs)
    _check_effects(plan)
    return plan


def _check_log_folder(folder: Path) -> None:
    """Refuse a log folder that cannot be written, before anything is read."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise SettingsError(f"--log-folder {folder}: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise SettingsError(f"--log-folder {folder}: {there} cannot be written; choose another folder.")


def _check_effects(plan: Plan) -> None:
    """Refuse settings that this data set gives no effect."""
    settings, splits = plan.settings, plan.splits()
    conditions = {
        "test_share": ("the split is made here", plan.split_origin.startswith(MADE_HERE)),
        "train_share": ("the split is made here", plan.split_origin.startswith(MADE_HERE)),
        "patience": ("there are validation images", "val" in splits),
        "best_by": ("there are validation images", "val" in splits),
        "cutoff_rule": ("there are two classes", plan.positive is not None),
        "cutoff_on": ("there are two classes", plan.positive is not None),
    }
    problems = [
        f"{key} has an effect only if {needs}"
        for key, (needs, effective) in conditions.items()
        if not effective and settings.differs_from_default(key)
    ]
    if settings.train and "train" not in splits:
        problems.append("there are no training images; train: false tests the weights of a file")
    if settings.best_by == "auc" and "val" in splits:
        missing = sorted(set(plan.table.classes) - set(splits["val"]["label"]))
        problems += [
            f"best_by: auc needs every class among the validation images; {', '.join(missing)} is missing"
        ] * bool(missing)
    if problems:
        raise SettingsError("The settings do not fit the data set:", problems)


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


def _with_split(settings: Settings, table: ImageTable) -> tuple[ImageTable, str]:
    if settings.split is not None:
        return apply_split(table, settings.split), f"table {settings.split}"
    if table.presplit:
        return table, "as the data set says"
    rule = SplitRule(settings.test_share, settings.train_share, settings.seed)
    unit = "group" if table.has_groups else "image"
    return (
        split_images(table, rule),
        f"{MADE_HERE}: test {rule.test_share:g} of all, train {rule.train_share:g} of the rest, stratified, "
        f"by {unit}, seed {rule.seed}",
    )


def _runs(settings: Settings, models: list[ModelName], positive: str | None, table: ImageTable) -> tuple[RunPlan, ...]:
    log_folder = settings.log_folder.resolve()
    if log_folder == table.root or log_folder.is_relative_to(table.root):
        raise DataError(
            f"The log folder {log_folder} lies inside the data folder {table.root}; choose --log-folder elsewhere."
        )
    base = default_name(settings.data.resolve().stem if settings.data.is_file() else settings.data.resolve().name)
    if settings.is_comparison:
        group = check_group_name(settings.name or base.replace(".", "_"))
        names = run_names(group, [str(model) for model in models])
    else:
        group = check_group_name(settings.comparison) if settings.comparison else SINGLE
        names = [settings.name or f"{base if group == SINGLE else group}_{model_slug(str(models[0]))}"]
    plans = []
    for model, name in zip(models, map(check_run_name, names), strict=True):
        own = settings.model_copy(
            update={
                "data": settings.data.resolve(),
                "model": str(model),
                "models": (),
                "name": name,
                "comparison": None if group == SINGLE else group,
                "positive": positive,
                "log_folder": log_folder,
                "plot_settings": settings.plot_settings and settings.plot_settings.resolve(),
                "transforms": settings.transforms and settings.transforms.resolve(),
                "split": settings.split and settings.split.resolve(),
                "cache_folder": settings.cache_folder and settings.cache_folder.resolve(),
                "weights": _own_weights(model, settings),
            }
        )
        folder = log_folder / name if group == SINGLE else log_folder / group / name
        plans.append(
            RunPlan(
                name,
                group,
                folder,
                model,
                own,
                preprocessing_for(model, own),
                _weights_text(model, own),
                _inputs(model, own),
            )
        )
    return tuple(plans)


def _own_weights(model: ModelName, settings: Settings) -> tuple[str, ...]:
    file = weights_file(model, settings)
    if file is not None and not file.is_file():
        raise SettingsError(f"--weights: the file {file} for {model} is not there.")
    return () if file is None else (f"{model}={file.resolve()}",)


def _weights_text(model: ModelName, settings: Settings) -> str:
    if not settings.pretrained:
        return "random"
    file = weights_file(model, settings)
    return str(file) if file else f"published by {model.source}" + (f" ({model.tag})" if model.tag else "")


def _inputs(model: ModelName, settings: Settings) -> dict[str, str]:
    named = {
        "weights": weights_file(model, settings) if settings.pretrained else None,
        "transforms": settings.transforms,
    }
    return {name: file_hash(path) for name, path in named.items() if path is not None}
