"""Names of models: one way to write them, for every library.

``torchvision:resnet18``, ``timm:efficientnet_lite0``, ``timm:resnet18.a1_in1k`` (a weights tag behind a dot),
``timm:hf_hub:OWNER/NAME`` (a repository of the Hugging Face hub), ``my_networks:small`` (a function of the user's own
module). A bare name belongs to the source that the settings name. ``timm:efficientnet_b[0-3]`` stands for every name
that the pattern fits, ``@quick`` for a set. Nothing here is a hand-written list: the libraries are asked.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import get_args

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError
from model_aggregation.input_options import Source
from model_aggregation.models.custom_modules import code_of_networks
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.own import is_module, own_function
from model_aggregation.models.sets import expand_sets
from model_aggregation.trusted_code import require_trust

SOURCES: tuple[str, ...] = get_args(Source)
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Suffixes of files of weights."""


@dataclass(frozen=True)
class ModelName:
    """One network of one library; ``tag`` chooses among its published weights.

    >>> str(ModelName("timm", "resnet18", "a1_in1k"))
    'timm:resnet18.a1_in1k'

    The source of a user's own network is the module that holds its function.
    """

    source: str
    architecture: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.full_name}"

    @property
    def on_hub(self) -> bool:
        """Whether the network is a repository of the Hugging Face hub."""
        return self.architecture.startswith("hf_hub:")

    @property
    def own(self) -> bool:
        """Whether the network comes from a function of the user's."""
        return self.source not in SOURCES

    @property
    def full_name(self) -> str:
        """The name as the library takes it, with the tag."""
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture


def parse_model_name(text: str, default_source: str = "torchvision") -> ModelName:
    """Take a model's name apart without asking whether it exists.

    >>> parse_model_name("timm:resnet18.a1_in1k")
    ModelName(source='timm', architecture='resnet18', tag='a1_in1k')
    >>> parse_model_name("pytorch:resnet18") == parse_model_name("resnet18")
    True
    >>> parse_model_name("hf-hub:timm/resnet18.a1_in1k")
    ModelName(source='timm', architecture='hf_hub:timm/resnet18.a1_in1k', tag='')

    Raises
    ------
    ModelError
        If the source before the colon is neither a library nor a module, or the name is empty.
    """
    source, name = _source_and_name(text, default_source)
    if source not in SOURCES and not is_module(source):
        raise ModelError(
            f"Model '{text}': the source '{source}' is unknown; {nearest(source, SOURCES)} "
            "(A network of your own is MODULE:FUNCTION, with MODULE.py in the folder that the program is started in"
            f"{_as_module(source, name)}.)"
        )
    if not name:
        raise ModelError(f"Model '{text}': a name is missing after '{source}:'.")
    if name.startswith("hf_hub:") or source not in SOURCES:
        return ModelName(source, name)  # a repository's name may hold dots
    architecture, _, tag = name.partition(".")
    return ModelName(source, architecture, tag)


def _as_module(file: str, function: str) -> str:
    """Return how a network is named whose file was given: ``nets.small:make`` for ``nets/small.py:make``."""
    path = PureWindowsPath(file)  # takes both kinds of slashes
    module = ".".join(path.with_suffix("").parts) if path.suffix == ".py" else ""
    return f": {module}:{function}" if is_module(module) else ""


def _source_and_name(text: str, default_source: str) -> tuple[str, str]:
    text = re.sub(r"(^|:)hf-hub:", r"\1hf_hub:", text.strip())  # as timm writes it
    if text.startswith("hf_hub:"):
        return "timm", text
    source, colon, name = text.partition(":")
    if not colon:
        source, name = default_source, text
    return "torchvision" if source == "pytorch" else source, name


def find_models(
    texts: list[str],
    default_source: str = "torchvision",
    *,
    sets_file: Path | None = None,
    weights_dir: Path | None = None,
) -> list[ModelName]:
    """Return the models behind ``texts`` (names, patterns and ``@sets``), each of which is known, in their order.

    A model that a pattern or a set brings once more is not repeated.

    Parameters
    ----------
    sets_file
        YAML file of named sets beside those of the program.
    weights_dir
        Folder of weights: a tag that the library does not publish is known if a file there has the model's name.

    Raises
    ------
    ModelError
        Listing every name that is unknown, with the nearest ones, and every model that is itself named twice.
    UntrustedCodeError
        If the file of sets names a network of somebody's own, and the user has not said yes to it.
    """
    found: list[ModelName] = []
    named: list[ModelName] = []
    problems: list[str] = []
    for text in texts:
        try:
            names = expand_sets([text], sets_file)
            if sets_file is not None:
                require_trust(code_of_networks(names if text.startswith("@") else []), sets_file)
            models = [
                model
                for name in names
                for model in (
                    _fitting(name, default_source) if is_pattern(name) else [_known(name, default_source, weights_dir)]
                )
            ]
        except ModelError as error:
            problems += [error.message, *error.problems]
            continue
        if not text.startswith("@") and not is_pattern(text):
            problems += [f"Model '{text}' is named twice." for model in models if model in named]
            named += models
        found += [model for model in dict.fromkeys(models) if model not in found]
    if problems:
        raise ModelError("The models cannot be used as named:", problems)
    return found


def is_pattern(text: str) -> bool:
    """Return whether a name stands for all that it fits: with ``*``, ``?`` or ``[…]``."""
    return any(character in text for character in "*?[")


def _known(text: str, default_source: str, weights_dir: Path | None) -> ModelName:
    model = parse_model_name(text, default_source)
    _check_known(model, weights_dir)
    return model


def _fitting(pattern: str, default_source: str) -> list[ModelName]:
    source, name = _source_and_name(pattern, default_source)
    models = models_fitting(name, tuple(known for known in SOURCES if fnmatchcase(known, source)))
    if not models:
        literal = re.sub(r"[\[\]*?]", "", name).partition(".")[0]
        names = [name for known in SOURCES if fnmatchcase(known, source) for name in known_architectures(known)]
        raise ModelError(f"No model fits '{pattern}'; {nearest(literal, names)}")
    return models


def models_fitting(pattern: str, sources: tuple[str, ...] = SOURCES) -> list[ModelName]:
    """Return the models of the libraries whose name fits a pattern without a source.

    A pattern with a dot is compared with every published weights tag (``resnet50.*``), one without with architectures.
    """
    models = [ModelName(source, name) for source in sources for name in known_architectures(source)]
    architecture, dot, _ = pattern.partition(".")
    fitting = [model for model in models if fnmatchcase(model.architecture, architecture)]
    if not dot:
        return fitting
    tagged = [ModelName(model.source, model.architecture, tag) for model in fitting for tag in weight_tags(model)]
    return [model for model in tagged if fnmatchcase(model.full_name, pattern)]


@cache
def known_architectures(source: str) -> tuple[str, ...]:
    """Return the names of all classification networks of ``source``, sorted."""
    if source == "torchvision":
        models = torchvision_models()
        return tuple(models.list_models(module=models))
    return tuple(timm_library().list_models())


@cache
def weight_tags(model: ModelName) -> tuple[str, ...]:
    """Return the tags of the published weights of an architecture; the first is the library's own choice."""
    if model.own or model.on_hub:
        return ()
    if model.source == "torchvision":
        weights = torchvision_models().get_model_weights(model.architecture)
        names = [entry.name for entry in weights]
        default = [weights.DEFAULT.name] if hasattr(weights, "DEFAULT") else []
        return tuple(dict.fromkeys(default + names))
    configurations = timm_library().models.get_arch_pretrained_cfgs(model.architecture)
    return tuple(name.partition(".")[2] for name, entry in configurations.items() if entry.has_weights)


def is_published(model: ModelName) -> bool:
    """Return whether the library knows the tag of a model; any other belongs to a file of the user's."""
    return not model.tag or model.tag in weight_tags(model)


def as_published(model: ModelName) -> ModelName:
    """Return the model as its library knows it: without a tag that belongs to a file of the user's."""
    return model if is_published(model) else ModelName(model.source, model.architecture)


def file_names(model: ModelName) -> list[str]:
    """Return the names of a file of weights, without suffix, that are made of a model's own name."""
    own = model.full_name.rpartition("/")[2]
    return [own] if is_published(model) else [own, f"{model.architecture}-{model.tag}"]


def _check_known(model: ModelName, weights_dir: Path | None) -> None:
    if model.own:
        own_function(model.source, model.architecture)
        return
    if model.on_hub and model.source == "timm":
        return
    architectures = known_architectures(model.source)
    if model.architecture not in architectures:
        other = [source for source in SOURCES if source != model.source]
        elsewhere = [source for source in other if model.architecture in known_architectures(source)]
        hint = f"{elsewhere[0]} has it: {elsewhere[0]}:{model.full_name}" if elsewhere else ""
        raise ModelError(
            f"Model '{model}': {model.source} has no '{model.architecture}'; "
            f"{hint or nearest(model.architecture, architectures)}"
        )
    if not is_published(model) and not _has_file(model, weights_dir):
        tags = ", ".join(weight_tags(model)) or "none"
        raise ModelError(
            f"Model '{model}': there are no weights '{model.tag}'; published are: {tags}. A file of your own is taken "
            f"if it is called {model.full_name}.safetensors (or .pth) and lies in the folder that --weights-dir names"
            f"{f'; {weights_dir} holds none' if weights_dir else ''}."
        )


def _has_file(model: ModelName, folder: Path | None) -> bool:
    names = [f"{stem}{suffix}" for stem in file_names(model) for suffix in SUFFIXES]
    return folder is not None and any((folder / name).is_file() for name in names)
