"""The settings: the one source of YAML keys, command-line flags, help texts and the documentation page.

Every field is a YAML key and a flag of the same name (``batch_size`` is ``--batch-size``). ``options`` holds what
may be left out; ``Settings`` adds the data set and the models and is what a plan is made from. Recipes are named
sets of settings: they stand below what is given and above the defaults.

Knows nothing about files of settings (``settings_files``) or about what the values do.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from model_aggregation.errors import SettingsError
from model_aggregation.options import Options
from model_aggregation.recipes import RECIPES

SOFT_LOSSES = ("cross_entropy", "bce_with_logits", "focal")
"""Losses that are defined for an image of several classes in shares."""


class Settings(Options):
    """Complete settings of one model or of a comparison: exactly one of ``model`` and ``models`` is given."""

    data: Path = Field(description="Folder of images or table (.csv, .parquet) with the columns path, label.")
    model: str | None = Field(None, description="The model of a single run: torchvision:NAME or timm:NAME.")
    models: tuple[str, ...] = Field((), description="The models of a comparison.")

    @model_validator(mode="before")
    @classmethod
    def _start_from_recipe(cls, given: Any) -> Any:
        recipe = given.get("recipe", "standard")
        if recipe not in list(RECIPES):
            raise ValueError(f"recipe: '{recipe}' is unknown; {nearest(str(recipe), RECIPES)}")
        usual: dict[str, Any] = {}
        if recipe == "earlier" and given.get("cutoff_on") == "test":
            usual["cutoff_rule"] = "earlier"
        if recipe == "earlier" and given.get("train") is False:  # its own weights: the probabilities that they gave
            usual |= {"decoding": "earlier", "memory_format": "contiguous", "predict_batch_size": 1}
        return {**RECIPES[recipe], **usual, **given}

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        problems = []
        if bool(self.model) == bool(self.models):
            problems.append("give either 'model' (one run) or 'models' (a comparison)")
        if self.comparison and self.is_comparison:
            problems.append("'comparison' belongs to a single run; several runs are named as a group with 'name'")
        problems += self._repetition_problems() + self._device_problems()
        if self.cutoff_lower > self.cutoff_upper:
            problems.append(f"cutoff_lower ({self.cutoff_lower}) is above cutoff_upper ({self.cutoff_upper})")
        problems += self._without_effect()
        if self.mixes and self.loss not in SOFT_LOSSES:
            problems.append(
                f"mixup and cutmix need a loss that takes shares of classes ({', '.join(SOFT_LOSSES)}), not {self.loss}"
            )
        files = self.weights_by_model()
        if "" in files and (len(self.weights) > 1 or len(self.models) > 1):
            problems.append("weights: several models need MODEL=FILE for each file")
        if self.test_share == 1 and self.train:
            problems.append("test_share: 1 leaves no image to train with; it belongs to train: false")
        if not self.train and not self.weights:
            problems.append("train: false needs a file of weights to test (weights)")
        if len(files) < len(self.weights):
            problems.append("weights: two files for one model")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _repetition_problems(self) -> list[str]:
        problems = []
        if self.fold is not None and (self.folds is None or self.fold > self.folds):
            problems.append(f"fold: {self.fold} needs folds: {self.fold} or more")
        if self.folds is not None and self.split is not None:
            problems.append("folds: the folds are made here; they exclude a split table (split)")
        if self.folds is not None and not (self.train and self.test):
            problems.append("folds: cross-validation trains and tests; train: false and test: false exclude it")
        if self.fold is not None and self.models:
            problems.append("fold: belongs to a single run (model)")
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        problems += [f"seeds: {seed} is given more than once" for seed in twice]
        problems += [f"seeds: {seed} is not in 0 … 2147483647" for seed in self.seeds if not 0 <= seed < 2**31]
        if self.seeds and not self.train:
            problems.append("seeds: without training every seed gives the same")
        return problems

    def _device_problems(self) -> list[str]:
        if self.devices == 1:
            return []
        problems = []
        if self.engine == "ray":
            problems.append("devices: a run on a Ray cluster has one device; several belong to engine: local")
        if self.jobs == 0:
            problems.append("devices: each device has a process, and jobs: 0 starts none")
        if ":" in self.device or self.device == "mps":
            problems.append(f"devices: {self.devices} cannot be together on device: {self.device}; use cuda or cpu")
        if self.batch_size < 2 * self.devices:
            problems.append(
                f"devices: a batch of {self.batch_size} is divided among {self.devices} devices; batch_size must be at "
                f"least {2 * self.devices}, two images for each"
            )
        return problems

    def _without_effect(self) -> list[str]:
        """Return the settings that were changed but do nothing beside the others: refused, not ignored."""
        conditions = {
            "label_smoothing": ("loss: cross_entropy", self.loss == "cross_entropy"),
            "focal_gamma": ("loss: focal", self.loss == "focal"),
            "momentum": ("optimizer: sgd", self.optimizer == "sgd"),
            "cutoff_value": ("cutoff_rule: fixed", self.cutoff_rule == "fixed"),
            "cutoff_target": ("cutoff_rule: min_sensitivity or min_specificity", self.cutoff_rule.startswith("min_")),
            "cutoff_cost": ("cutoff_rule: cost", self.cutoff_rule == "cost"),
            "cutoff_lower": ("cutoff_rule: balanced_accuracy or earlier", self.has_cutoff_limits),
            "cutoff_upper": ("cutoff_rule: balanced_accuracy or earlier", self.has_cutoff_limits),
            "thaw_at": ("freeze: true", self.freeze),
            "test_share": ("no folds", self.folds is None),
            "split_seed": ("no split table", self.split is None),
            "weights": ("pretrained: true (--pretrained)", self.pretrained),
            "trust_pickle": ("weights", bool(self.weights)),
            "pickle_folder": ("trust_pickle: true (--trust-pickle)", self.trust_pickle),
            "transform_input": ("channels: 3", self.channels == 3),
            "weights_dir": ("pretrained: true (--pretrained)", self.pretrained),
            "allow_partial_weights": ("pretrained: true (--pretrained)", self.pretrained),
            "normalize": ("no transforms file", self.transforms is None),
            "resize": ("no transforms file", self.transforms is None),
            "interpolation": ("no transforms file", self.transforms is None),
            "augmentation": ("no transforms file", self.transforms is None),
            "compile": ("train: true", self.train),
            "mixup": ("train: true", self.train),
            "cutmix": ("train: true", self.train),
            "feature_views": (
                "stored features of an augmentation that does more than mirror (cache_features, freeze, pretrained)",
                self.keeps_draws,
            ),
            "address": ("engine: ray", self.engine == "ray"),
            "jobs": ("engine: local (a cluster does as many runs as its machines can)", self.engine == "local"),
            "keep_cache": (
                "engine: local, or a cache_folder that all machines share",
                self.engine == "local" or self.cache_folder is not None,
            ),
            "run_time_limit": ("train: true", self.train),
            "cache_features": (
                "a frozen network (freeze: true, pretrained: true) on one device",
                self.freeze and self.pretrained and self.devices == 1,
            ),
        }
        return [
            f"{key} has an effect with {needs} only"
            for key, (needs, effective) in conditions.items()
            if not effective and self.differs_from_default(key)
        ]

    def differs_from_default(self, key: str) -> bool:
        """Return whether a setting is another than its recipe says."""
        default = RECIPES[self.recipe].get(key, type(self).model_fields[key].default)
        return bool(getattr(self, key) != default)

    @property
    def has_cutoff_limits(self) -> bool:
        """Whether the cutoff is sought between ``cutoff_lower`` and ``cutoff_upper``."""
        from model_aggregation.evaluation.cutoff import LIMITED_KINDS  # numpy takes its time, and help needs none

        return self.cutoff_rule in LIMITED_KINDS

    @property
    def images_at_once(self) -> int:
        """How many images of a batch one device learns."""
        return -(-self.batch_size // self.devices)

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def keeps_draws(self) -> bool:
        """Whether features are kept of draws of an image, because its augmentation has more than a few exact views."""
        stored = self.cache_features and self.freeze and self.pretrained and not self.mixes and self.transforms is None
        return stored and self.devices == 1 and self.augmentation not in ("none", "horizontal", "flips")

    @property
    def is_comparison(self) -> bool:
        """Whether the result is a group of runs: of several models, seeds or folds."""
        return bool(self.models or self.seeds or (self.folds and self.fold is None))


def recipe_values(name: Any) -> dict[str, Any]:
    """Return every setting that some recipe sets, as the recipe ``name`` has it; nothing for an unknown one."""
    if name not in list(RECIPES):
        return {}
    keys = {key for recipe in RECIPES.values() for key in recipe}
    return {key: RECIPES[name].get(key, Settings.model_fields[key].default) for key in keys}


def make_settings(**given: Any) -> Settings:
    """Return checked settings; all problems are reported at once, in the words of the keys.

    Raises
    ------
    SettingsError
        For an unknown key (the nearest one is named), a value out of range, or values that exclude each other.

    >>> make_settings(data="images", model="resnet18", epochs=3).epochs
    3
    >>> make_settings(data="images", model="resnet18", epoch=3)
    Traceback (most recent call last):
    ...
    model_aggregation.errors.SettingsError: The settings cannot be used:
      - epoch: unknown; did you mean epochs?
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("The settings cannot be used:", problems_of(error)) from error


def problems_of(error: ValidationError) -> list[str]:
    """Return the findings of pydantic as sentences of ours, one for each setting."""
    problems = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown; {nearest(key, Settings.model_fields)}")
        elif finding["type"] == "missing":
            problems.append(f"{key}: missing; {Settings.model_fields[key].description}")
        elif not key:
            problems.extend(str(finding["ctx"]["error"]).split("; ") if "ctx" in finding else [finding["msg"]])
        else:
            problems.append(f"{key}: {finding['msg'].lower()}, but {finding['input']!r} was given")
    return problems


def nearest(word: str, known: Any) -> str:
    """Return "did you mean …?" for the nearest known word, or the list of what is known.

    >>> nearest("epoch", ["epochs", "seed"])
    'did you mean epochs?'
    """
    known = list(dict.fromkeys(map(str, known)))
    matches = get_close_matches(word, known, n=3, cutoff=0.6)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    return f"known are {', '.join(known)}" if len(known) <= 30 else "nothing known is near to it"
