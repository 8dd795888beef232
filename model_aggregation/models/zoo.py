"""Names of models: one way to write them, for every library.

``torchvision:resnet18``, ``timm:efficientnet_lite0``, ``timm:resnet18.a1_in1k`` (a weights tag behind a dot). A bare
name belongs to the source that the settings name. Nothing here is a hand-written list: the libraries are asked.
"""

from dataclasses import dataclass
from functools import cache
from typing import get_args

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.sets import expand_sets
from model_aggregation.options import Source

SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True)
class ModelName:
    """One network of one library; ``tag`` chooses among its published weights.

    >>> str(ModelName("timm", "resnet18", "a1_in1k"))
    'timm:resnet18.a1_in1k'
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
    def full_name(self) -> str:
        """The name as the library takes it, with the tag."""
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture


def parse_model_name(text: str, default_source: str = "torchvision") -> ModelName:
    """Take a model's name apart without asking whether it exists.

    >>> parse_model_name("timm:resnet18.a1_in1k")
    ModelName(source='timm', architecture='resnet18', tag='a1_in1k')
    >>> parse_model_name("pytorch:resnet18") == parse_model_name("resnet18")
    True

    Raises
    ------
    ModelError
        If the source before the colon is unknown or the name is empty.
    """
    source, colon, name = text.strip().partition(":")
    if not colon:
        source, name = default_source, text.strip()
    source = "torchvision" if source == "pytorch" else source
    if source not in SOURCES:
        raise ModelError(f"Model '{text}': the source '{source}' is unknown; {nearest(source, SOURCES)}")
    if not name:
        raise ModelError(f"Model '{text}': a name is missing after '{source}:'.")
    if name.startswith("hf_hub:"):
        return ModelName(source, name)  # a repository's name may hold dots
    architecture, _, tag = name.partition(".")
    return ModelName(source, architecture, tag)


def find_models(texts: list[str], default_source: str = "torchvision") -> list[ModelName]:
    """Return the models behind ``texts`` (names and ``@sets``), each of which the installed libraries know.

    Raises
    ------
    ModelError
        Listing every name that is unknown, with the nearest ones, and every model named twice.
    """
    found: list[ModelName] = []
    problems: list[str] = []
    for text in expand_sets(texts):
        try:
            model = parse_model_name(text, default_source)
            _check_known(model)
        except ModelError as error:
            problems.append(error.message)
            continue
        if model in found:
            problems.append(f"Model '{text}' is named twice.")
        found.append(model)
    if problems:
        raise ModelError("The models cannot be used as named:", problems)
    return found


@cache
def known_architectures(source: str) -> tuple[str, ...]:
    """Return the names of all classification networks of ``source``, sorted."""
    if source == "torchvision":
        models = torchvision_models()
        return tuple(models.list_models(module=models))
    return tuple(timm_library().list_models())


def weight_tags(model: ModelName) -> tuple[str, ...]:
    """Return the tags of the published weights of an architecture; the first is the library's own choice."""
    if model.source == "torchvision":
        weights = torchvision_models().get_model_weights(model.architecture)
        names = [entry.name for entry in weights]
        default = [weights.DEFAULT.name] if hasattr(weights, "DEFAULT") else []
        return tuple(dict.fromkeys(default + names))
    configurations = timm_library().models.get_arch_pretrained_cfgs(model.architecture)
    return tuple(name.partition(".")[2] for name, entry in configurations.items() if entry.has_weights)


def _check_known(model: ModelName) -> None:
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
    if model.tag and model.tag not in weight_tags(model):
        tags = ", ".join(weight_tags(model)) or "none"
        raise ModelError(f"Model '{model}': there are no weights '{model.tag}'; published are: {tags}.")
