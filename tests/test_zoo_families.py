"""The smallest network of every family of both libraries goes through what ``benchmarks/zoo.py`` does with all."""

import importlib.util
from pathlib import Path

import pytest

from model_aggregation.errors import ModelError
from model_aggregation.models.counting import known_counts
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.zoo import ModelName, known_architectures

REAL_BELOW = 1.5e6
"""Parameters below which the steps are taken with numbers; the others show their shapes only, to be quick."""


def zoo_script():
    path = Path(__file__).parents[1] / "benchmarks" / "zoo.py"
    specification = importlib.util.spec_from_file_location("zoo_script", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def families():
    """Return the smallest network of each module of the libraries, by the module's name."""
    sizes = {(entry.source, entry.architecture): entry.parameters for entry in known_counts().values()}
    found = {}
    timm = timm_library()
    for family in timm.list_modules():
        names = timm.list_models(module=family)
        found[f"timm-{family}"] = [ModelName("timm", name) for name in names]
    for name in known_architectures("torchvision"):
        family = torchvision_models().get_model_builder(name).__module__.rpartition(".")[2]
        found.setdefault(f"torchvision-{family}", []).append(ModelName("torchvision", name))
    return {
        family: min(models, key=lambda model: sizes.get((model.source, model.architecture), 10**12))
        for family, models in found.items()
        if models
    }


FAMILIES = families()
SCRIPT = zoo_script()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_builds_freezes_and_learns(family):
    model = FAMILIES[family]
    try:
        shapes = SCRIPT.check_shapes(model, backward=False)
    except ModelError as error:
        if "no classification head" in str(error):
            pytest.skip(f"{model} is an encoder without a classifier")
        raise
    assert shapes["head"]
    if shapes["parameters"] < REAL_BELOW:
        SCRIPT.check_steps(model, SCRIPT.SIZES)
