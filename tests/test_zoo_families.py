"""The smallest network of every family of both libraries goes through what ``benchmarks/zoo.py`` does with all."""

import csv
import importlib.util
import re
import sys
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
    """Return the networks of each module of the libraries, smallest first, by the module's name."""
    sizes = {(entry.source, entry.architecture): entry.parameters for entry in known_counts().values()}
    found = {}
    timm = timm_library()
    for family in timm.list_modules():
        found[f"timm-{family}"] = [ModelName("timm", name) for name in timm.list_models(module=family)]
    for name in known_architectures("torchvision"):
        family = torchvision_models().get_model_builder(name).__module__.rpartition(".")[2]
        found.setdefault(f"torchvision-{family}", []).append(ModelName("torchvision", name))
    return {
        family: sorted(models, key=lambda model: sizes.get((model.source, model.architecture), 10**12))
        for family, models in found.items()
    }


FAMILIES = families()
SCRIPT = zoo_script()


def test_the_families_are_the_files_of_the_libraries():
    libraries = {"timm": timm_library().models, "torchvision": torchvision_models()}
    files = {
        f"{source}-{file.stem}"
        for source, library in libraries.items()
        for file in Path(library.__file__).parent.glob("*.py")
        if re.search("^@register_model", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(FAMILIES) == files


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_builds_freezes_and_learns(family):
    for model in FAMILIES[family]:
        try:
            shapes = SCRIPT.check_shapes(model, backward=False)
        except ModelError as error:
            if "no classification head" in str(error):
                continue  # an encoder; the family has networks with a classifier too
            raise
        if int(shapes["parameters"]) < REAL_BELOW:
            SCRIPT.check_steps(model, SCRIPT.SIZES)
        return
    pytest.fail("the family has no network with a classifier")


def test_results_are_kept_one_line_each_and_not_tried_again(tmp_path, monkeypatch, capsys):
    out = tmp_path / "zoo.csv"
    monkeypatch.setattr(sys, "argv", ["zoo.py", "torchvision:squeezenet1_*", "--out", str(out), "--real-below", "0.73"])
    SCRIPT.main()
    assert "torchvision: 2 of 2 pass, 1 of them with real weights" in capsys.readouterr().out
    with out.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["model"], first["mode"], first["size"]) == ("torchvision:squeezenet1_0", "meta", "")
    assert (second["mode"], second["head"], second["features"]) == ("real", "classifier.1", "512×3×3")
    written = out.read_bytes()
    SCRIPT.main()
    assert "squeezenet1_1  " not in capsys.readouterr().out
    assert out.read_bytes() == written
    out.write_bytes(written.replace(b",pass,torch ", b",pass,torch 0."))
    SCRIPT.main()
    assert out.read_bytes() == written, "rows of other versions are tried again"


def test_the_published_results_are_in_the_form_of_the_script():
    rows = SCRIPT.read_rows(SCRIPT.PUBLISHED)
    assert list(rows) == sorted(rows)
    assert all(tuple(row) == SCRIPT.COLUMNS for row in rows.values())
    assert [name for name, row in rows.items() if row["result"] not in SCRIPT.DONE] == []
