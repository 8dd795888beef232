"""The runs that a plan consists of: names, folders and settings of each, and what is pooled of cross-validation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.config import Settings
from model_aggregation.data.image_table import ImageTable
from model_aggregation.errors import DataError, ModelError, SettingsError
from model_aggregation.files import file_hash
from model_aggregation.models.build import Preprocessing, preprocessing_for, weights_file
from model_aggregation.models.published import Whereabouts, weights_in_folder, why_not_here
from model_aggregation.models.zoo import ModelName, is_published
from model_aggregation.names import (
    SINGLE,
    check_group_name,
    check_run_name,
    default_name,
    member_name,
    model_slug,
    parent_name,
    run_names,
)
from model_aggregation.settings_files import settings_mapping


@dataclass(frozen=True, eq=False)
class RunPlan:
    """One run: a model with all that is decided about it."""

    run_name: str
    group_name: str
    folder: Path
    model: ModelName
    settings: Settings  # complete, for this run alone
    table: ImageTable  # with the splits of this run
    preprocessing: Preprocessing
    weights: str  # where they will come from, for people
    inputs: Mapping[str, str]  # SHA-256 of the files beside the images: weights, transforms

    @property
    def freezes(self) -> bool:
        """Whether only the head is trained at first."""
        return self.settings.freeze and self.settings.pretrained and self.settings.thaw_at != 0

    @property
    def part_of(self) -> str | None:
        """The name that the seeds or folds of one model have in common; None for a run of its own."""
        if self.group_name == SINGLE:
            return None
        return parent_name(self.run_name, str(self.model), self.settings.seed, self.settings.fold)

    def sizes(self) -> dict[str, int]:
        """Return the number of images of each split that the run uses: those that there are and are switched on."""
        wanted = {"train": self.settings.train, "val": self.settings.validation, "test": self.settings.test}
        return {name: size for name, size in self.table.sizes().items() if wanted[name]}

    def splits(self, columns: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
        """Return the images of each split that the run uses; with ``columns`` only these."""
        return {name: self.table.part(name, columns) for name in self.sizes()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "run_name": self.run_name,
            "group_name": self.group_name,
            "folder": str(self.folder),
            "model": str(self.model),
            "part_of": self.part_of,
            "weights": self.weights,
            "inputs": dict(self.inputs),
            "preprocessing": self.preprocessing.to_dict(),
            "settings": settings_mapping(self.settings),
        }


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """The out-of-fold predictions of one model and seed, evaluated once: a run made of other runs."""

    run_name: str
    group_name: str
    folder: Path
    settings: Settings  # they repeat or continue all its members
    members: tuple[RunPlan, ...]
    inputs: Mapping[str, str]

    @property
    def model(self) -> ModelName:
        """The model of all members."""
        return self.members[0].model

    @property
    def part_of(self) -> str | None:
        """The name that the seeds of one model have in common; None without several seeds."""
        return parent_name(self.run_name, str(self.model), self.settings.seed, None)


def plan_runs(
    settings: Settings, models: list[ModelName], positive: str | None, table: ImageTable
) -> tuple[RunPlan, ...]:
    """Return every run of the settings: models, in each the seeds, in each the folds; the tables have no split yet."""
    log_folder = settings.log_folder.resolve()
    if log_folder == table.root or log_folder.is_relative_to(table.root):
        raise DataError(
            f"The log folder {log_folder} lies inside the data folder {table.root}; choose --log-folder elsewhere."
        )
    _check_weights(models, settings)
    group, names = _group_and_names(settings, models)
    folder = log_folder if group == SINGLE else log_folder / group
    runs = []
    for model, name in zip(models, names, strict=True):
        shared = _shared_values(settings, model, positive=positive, group=group)
        for own_name, values in _repetitions(settings, name, made_here=settings.split is None and not table.presplit):
            own = settings.model_copy(update={**shared, **values, "name": check_run_name(own_name)})
            facts = (preprocessing_for(model, own), _weights_text(model, own), _inputs(model, own))
            runs.append(RunPlan(str(own.name), group, folder / str(own.name), model, own, table, *facts))
    return tuple(runs)


def plan_pools(settings: Settings, runs: tuple[RunPlan, ...]) -> tuple[PoolPlan, ...]:
    """Return what is pooled: for each model and seed of a cross-validation the predictions of all its folds."""
    if settings.folds is None or settings.fold is not None:
        return ()
    members: dict[str, list[RunPlan]] = {}
    for run in runs:
        members.setdefault(str(run.part_of), []).append(run)
    pools = []
    for name, parts in members.items():
        first = parts[0]
        own = first.settings.model_copy(
            update={
                "name": first.group_name,
                "comparison": None,
                "fold": None,
                "seeds": (first.settings.seed,) if settings.seeds else (),
            }
        )
        folder = first.folder.parent / name
        pools.append(PoolPlan(name, first.group_name, folder, own, tuple(parts), first.inputs))
    return tuple(pools)


def _group_and_names(settings: Settings, models: list[ModelName]) -> tuple[str, list[str]]:
    """Return the group, and the name of each model's run before seeds and folds are added."""
    base = default_name(settings.data.resolve().stem if settings.data.is_file() else settings.data.resolve().name)
    if settings.is_comparison:
        group = check_group_name(settings.name or base.replace(".", "_"))
        return group, run_names(group, [str(model) for model in models])
    in_group = settings.comparison or (base.replace(".", "_") if settings.fold is not None else None)
    group = check_group_name(in_group) if in_group else SINGLE
    if settings.name:
        return group, [settings.name]
    name = f"{base if group == SINGLE else group}_{model_slug(str(models[0]))}"
    return group, [name if settings.fold is None else member_name(name, None, settings.fold)]


def _repetitions(settings: Settings, name: str, *, made_here: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the own settings of each seed and fold of one model."""
    if settings.fold is not None:
        yield name, {}
        return
    split_seed = settings.split_seed
    if settings.seeds and made_here and split_seed is None:
        split_seed = settings.seed  # all seeds see the same split
    for seed in settings.seeds or (None,):
        for fold in range(1, settings.folds + 1) if settings.folds else (None,):
            values = {"seeds": (), "split_seed": split_seed, "fold": fold}
            yield member_name(name, seed, fold), values if seed is None else {**values, "seed": seed}


def _shared_values(settings: Settings, model: ModelName, *, positive: str | None, group: str) -> dict[str, Any]:
    """Return what the settings of every run of a model say, with absolute paths."""
    return {
        "data": settings.data.resolve(),
        "model": str(model),
        "models": (),
        "jobs": None,  # of the plan, as the next two
        "engine": "local",
        "address": None,
        "comparison": None if group == SINGLE else group,
        "positive": positive,
        "log_folder": settings.log_folder.resolve(),
        "plot_settings": settings.plot_settings and settings.plot_settings.resolve(),
        "transforms": settings.transforms and settings.transforms.resolve(),
        "split": settings.split and settings.split.resolve(),
        "cache_folder": settings.cache_folder and settings.cache_folder.resolve(),
        "weights": _own_weights(model, settings),
        "weights_dir": settings.weights_dir and settings.weights_dir.resolve(),
        "pickle_folder": settings.pickle_folder and settings.pickle_folder.resolve(),
        "model_sets": None,  # the models stand by name
    }


def _own_weights(model: ModelName, settings: Settings) -> tuple[str, ...]:
    file = weights_file(model, settings)
    if file is not None and not file.is_file():
        raise SettingsError(f"--weights: the file {file} for {model} is not there.")
    return () if file is None else (f"{model}={file.resolve()}",)


def _weights_text(model: ModelName, settings: Settings) -> str:
    if not settings.pretrained:
        return "random"
    file = weights_file(model, settings) or weights_in_folder(model, settings.weights_dir)
    if not is_published(model) and weights_file(model, settings) is None:
        return f"{file}, no tag of {model.source}'s: input as its default weights expect, unless --normalize says other"
    if file == weights_file(model, settings) and file is not None and settings.train:
        return f"{file}, all but the head, which starts anew"
    return str(file) if file else f"published by {model.source}" + (f" ({model.tag})" if model.tag else "")


def _check_weights(models: list[ModelName], settings: Settings) -> None:
    """Refuse models whose pretrained weights cannot be had, before anything is done."""
    where = Whereabouts(settings.weights_dir, settings.offline)
    named = [model for model in models if settings.pretrained and weights_file(model, settings) is None]
    problems = [problem for model in named if (problem := why_not_here(model, where))]
    if problems:
        raise ModelError("Pretrained weights are missing:", problems)


def _inputs(model: ModelName, settings: Settings) -> dict[str, str]:
    named = {
        "weights": weights_file(model, settings) or weights_in_folder(model, settings.weights_dir)
        if settings.pretrained
        else None,
        "transforms": settings.transforms,
    }
    return {name: file_hash(path) for name, path in named.items() if path is not None}
