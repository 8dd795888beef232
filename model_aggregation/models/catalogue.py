"""What is known about the networks of the libraries without making them: size, input, accuracy, licence, weights here.

Nothing is invented: what a library does not say offline stays None. timm publishes its results in its repository, not
in its package, so its accuracies are unknown here; torchvision names a licence for a few weights only.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError
from model_aggregation.models.counting import Count, count, count_key, keep_counts, known_counts
from model_aggregation.models.imports import timm_library
from model_aggregation.models.libraries import input_facts, torchvision_weights
from model_aggregation.models.published import local_file, models_here, published_file
from model_aggregation.models.servers import hub_as_set
from model_aggregation.models.zoo import (
    SOURCES,
    ModelName,
    find_models,
    is_pattern,
    is_published,
    known_architectures,
    models_fitting,
    weight_tags,
)

Order = Literal["name", "params", "size", "accuracy", "speed"]


@dataclass(frozen=True)
class Entry:
    """One model with the weights that its name chooses.

    ``parameters`` and ``multiply_adds`` (one image of ``image_size`` pixels) are those with a head for 1,000 classes;
    ``top1`` is the accuracy on ImageNet-1K in percent that the library publishes; ``file`` is where the weights lie on
    this machine. None: not known, or not there.
    """

    model: str
    weights: str | None
    parameters: int | None
    multiply_adds: int | None
    image_size: int
    top1: float | None
    license: str | None
    file: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "file": str(self.file) if self.file else None}


@dataclass(frozen=True)
class Question:
    """Which models are wanted: those that meet every condition that is given.

    ``here``: with weights on this machine; those that have a tag of their own are looked for too.
    """

    patterns: tuple[str, ...] = ()
    source: str | None = None
    pretrained: bool = False
    max_parameters: float | None = None
    image_size: int | None = None
    license: str | None = None
    here: bool = False


@dataclass(frozen=True)
class Answer:
    """The models that were asked for, and how many were left out because their size is not known."""

    entries: tuple[Entry, ...]
    uncounted: int


Told = Callable[[str, int, int], None]


def catalogue(
    question: Question,
    *,
    order: Order = "name",
    weights_dir: Path | None = None,
    sets_file: Path | None = None,
    count_unknown: bool = False,
    told: Told | None = None,
) -> Answer:
    """Return what is known about the models that a question asks for.

    Parameters
    ----------
    order
        ``speed`` goes by multiply-adds, since nothing is timed; unknown values come last.
    weights_dir
        Folder of weights that is looked into beside the libraries' own.
    count_unknown
        Count the networks whose size is not known for the installed version, about a second each.
    told
        Called with what is done, how much of it, and of how much, while networks are counted.

    Raises
    ------
    ModelError
        Listing names and patterns that fit nothing, with the nearest.
    """
    models = [
        model for model in _chosen(question, sets_file, weights_dir) if not question.pretrained or weight_tags(model)
    ]
    counts = known_counts()
    if question.here:
        models = _those_here(models, weights_dir)
    with hub_as_set(offline=False, weights_dir=weights_dir):
        if count_unknown:
            counts |= _counted(models, counts, told)
        entries = [_entry(model, counts, weights_dir) for model in models]
    if question.image_size is not None:
        entries = [entry for entry in entries if entry.image_size == question.image_size]
    if question.license is not None:
        wanted = question.license.casefold()
        entries = [entry for entry in entries if wanted in (entry.license or "").casefold()]
    uncounted = 0
    if question.max_parameters is not None:
        uncounted = sum(entry.parameters is None for entry in entries)
        limit = question.max_parameters
        entries = [entry for entry in entries if entry.parameters is not None and entry.parameters <= limit]
    return Answer(tuple(sorted(entries, key=_KEYS[order]) if order != "name" else entries), uncounted)


_LAST = float("inf")
_KEYS: dict[str, Callable[[Entry], float]] = {
    "params": lambda entry: _LAST if entry.parameters is None else entry.parameters,
    "size": lambda entry: entry.image_size,
    "accuracy": lambda entry: _LAST if entry.top1 is None else -entry.top1,
    "speed": lambda entry: _LAST if entry.multiply_adds is None else entry.multiply_adds,
}


def _chosen(question: Question, sets_file: Path | None, weights_dir: Path | None) -> list[ModelName]:
    sources = (question.source,) if question.source else SOURCES
    if not question.patterns:
        return [ModelName(source, name) for source in sources for name in known_architectures(source)]
    models: list[ModelName] = []
    problems: list[str] = []
    for pattern in question.patterns:
        try:
            models += _fitting(pattern, sources, sets_file, weights_dir)
        except ModelError as error:
            problems += error.problems or [error.message]
    if problems:
        raise ModelError("Nothing is known by these names:", problems)
    return [model for model in dict.fromkeys(models) if not question.source or model.source == question.source]


def _those_here(models: list[ModelName], weights_dir: Path | None) -> list[ModelName]:
    own = [model for model in models_here(weights_dir) if ModelName(model.source, model.architecture) in models]
    return [model for model in dict.fromkeys([*models, *own]) if local_file(model, weights_dir)]


def _fitting(pattern: str, sources: Sequence[str], sets_file: Path | None, weights_dir: Path | None) -> list[ModelName]:
    """Return the models of a name or pattern; a bare one is looked for in every library."""
    if pattern.startswith("@") or ":" in pattern:
        return find_models([pattern], sets_file=sets_file, weights_dir=weights_dir)
    models = models_fitting(pattern, tuple(sources)) if is_pattern(pattern) else _named(pattern, sources, weights_dir)
    if not models:
        names = [name for source in sources for name in known_architectures(source)]
        raise ModelError(f"'{pattern}': {nearest(pattern.partition('.')[0].strip('*?[]'), names)}")
    return models


def _named(name: str, sources: Sequence[str], weights_dir: Path | None) -> list[ModelName]:
    architecture = name.partition(".")[0]
    having = [source for source in sources if architecture in known_architectures(source)]
    models: list[ModelName] = []
    problems: list[str] = []
    for source in having:
        try:
            models += find_models([f"{source}:{name}"], weights_dir=weights_dir)
        except ModelError as error:  # it has no such tag
            problems += error.problems
    if problems and not models:
        raise ModelError("Nothing is known by this name:", problems)
    return models


def _counted(models: list[ModelName], known: dict[Any, Count], told: Told | None) -> dict[Any, Count]:
    pairs = [(model, input_facts(model).size) for model in models]
    missing = [pair for pair in pairs if count_key(*pair) not in known and not pair[0].own]
    found: list[Count] = []
    try:
        for number, (model, size) in enumerate(missing, 1):
            found.append(count(model, size))
            if told:
                told("counting networks", number, len(missing))
    finally:
        keep_counts(found)  # also when it was stopped
    return {entry.key: entry for entry in found}


def _entry(model: ModelName, counts: dict[Any, Count], weights_dir: Path | None) -> Entry:
    size = input_facts(model).size
    known = None if model.own else counts.get(count_key(model, size))
    tag = model.tag or next(iter(weight_tags(model)), None)
    return Entry(
        str(model),
        tag,
        known.parameters if known else None,
        known.multiply_adds if known else None,
        size,
        _top1(model),
        _license(model),
        local_file(model, weights_dir) if published_file(model) or weights_dir else None,
    )


def _top1(model: ModelName) -> float | None:
    entry = torchvision_weights(model) if model.source == "torchvision" else None
    return entry.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1") if entry else None


def _license(model: ModelName) -> str | None:
    if model.source == "torchvision":
        entry = torchvision_weights(model)
        return entry.meta.get("license") if entry else None
    if model.source != "timm" or model.on_hub or not is_published(model):
        return None
    configuration = timm_library().models.get_pretrained_cfg(model.full_name)
    if configuration is None or not configuration.has_weights or configuration.license == "unknown":
        return None
    return configuration.license
