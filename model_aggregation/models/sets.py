"""Named sets of models: ``@name`` stands for a list from ``model_sets.yaml``."""

from functools import cache
from importlib.resources import files

import yaml

from model_aggregation.config import nearest
from model_aggregation.errors import ModelError


@cache
def model_sets() -> dict[str, tuple[str, ...]]:
    """Return the models of each named set."""
    text = files("model_aggregation").joinpath("model_sets.yaml").read_text(encoding="utf-8")
    return {name: tuple(entry["models"]) for name, entry in yaml.safe_load(text).items()}


def expand_sets(texts: list[str]) -> list[str]:
    """Return the names with each ``@set`` replaced by its models.

    >>> expand_sets(["resnet18", "@earlier_timm"])[:3]
    ['resnet18', 'timm:vgg11_bn', 'timm:vgg13']

    Raises
    ------
    ModelError
        For an unknown set; the nearest one is named.
    """
    names: list[str] = []
    for text in texts:
        if not text.startswith("@"):
            names.append(text)
            continue
        models = model_sets().get(text[1:])
        if models is None:
            raise ModelError(f"There is no set of models '{text}'; {nearest(text[1:], model_sets())}")
        names.extend(models)
    return names
