"""How large networks are: parameters and multiply-adds, counted on networks without memory (meta tensors).

Counting takes about a second a network, so the counts of the pinned library versions come with the package
(``model_counts.csv``, made by ``benchmarks/count_models.py``). Those of another version are unknown until they are
counted here, and then kept in the user's cache folder.
"""

import csv
import io
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_aggregation.cache_folder import folder_in_home
from model_aggregation.errors import ModelError
from model_aggregation.files import write_text
from model_aggregation.models.libraries import make_module
from model_aggregation.models.zoo import ModelName

CLASSES = 1000
"""Classes of the head that is counted with, so that networks compare, whatever their weights were trained on."""


@dataclass(frozen=True)
class Count:
    """Size of one architecture of one library version, for one image of ``image_size`` pixels, three channels.

    ``multiply_adds`` are those of convolutions and matrix products; other work is not in it.
    """

    source: str
    version: str
    architecture: str
    image_size: int
    parameters: int
    multiply_adds: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What the count belongs to."""
        return self.source, self.version, self.architecture, self.image_size


def count(model: ModelName, image_size: int) -> Count:
    """Count parameters and multiply-adds of a network; no weights are made, no image is computed.

    Raises
    ------
    ModelError
        If the network cannot be made for this size, or does not run without memory.
    """
    try:
        module = _without_memory(model, image_size).eval().requires_grad_(False)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            module(torch.empty(1, 3, image_size, image_size, device="meta"))
    except Exception as error:  # whatever a library raises for sizes it cannot do
        raise ModelError(f"'{model}' at {image_size} pixels cannot be counted: {error}") from error
    parameters = sum(parameter.numel() for parameter in module.parameters())
    operations = counter.get_total_flops() // 2  # the counter takes a multiplication and an addition for two
    return Count(*count_key(model, image_size), parameters, operations)


def _without_memory(model: ModelName, image_size: int) -> nn.Module:
    shape: dict[str, Any] = {"channels": 3, "image_size": image_size}
    try:
        with torch.device("meta"):
            return make_module(model, CLASSES, pretrained=True, **shape)
    except RuntimeError:  # architectures that read tensor values while being built
        return make_module(model, CLASSES, pretrained=True, **shape).to("meta")


def count_key(model: ModelName, image_size: int) -> tuple[str, str, str, int]:
    """Return what a count is kept under."""
    return model.source, library_version(model.source), model.architecture, image_size


@cache
def library_version(source: str) -> str:
    """Return the version of a library without its build (``0.28.0+cpu`` is ``0.28.0``)."""
    return version(source).partition("+")[0]


def read_counts(text: str) -> list[Count]:
    """Read the table of counts.

    >>> read_counts("source,version,architecture,image_size,parameters,multiply_adds\\ntimm,1,a,8,5,9\\n")[0].parameters
    5
    """
    return [
        Count(row["source"], row["version"], row["architecture"], *(int(row[key]) for key in _NUMBERS))
        for row in csv.DictReader(io.StringIO(text))
    ]


_NUMBERS = ("image_size", "parameters", "multiply_adds")


def counts_text(counts: list[Count]) -> str:
    """Return the table of counts as CSV, sorted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Count)])
    writer.writerows(astuple(entry) for entry in sorted(counts, key=lambda entry: entry.key))
    return text.getvalue()


def known_counts() -> dict[tuple[str, str, str, int], Count]:
    """Return every count that came with the package or was made on this machine."""
    shipped = read_counts(files("model_aggregation").joinpath("model_counts.csv").read_text(encoding="utf-8"))
    return {entry.key: entry for entry in [*shipped, *_kept_counts()]}


def keep_counts(counts: list[Count]) -> None:
    """Keep new counts in the user's cache folder, where that can be written."""
    merged = {entry.key: entry for entry in [*_kept_counts(), *counts]}
    with suppress(OSError):  # they are counted again next time
        write_text(_kept_file(), counts_text(list(merged.values())))


def _kept_counts() -> list[Count]:
    file = _kept_file()
    return read_counts(file.read_text(encoding="utf-8")) if file.is_file() else []


def _kept_file() -> Path:
    return folder_in_home(user_cache_path) / "model_counts.csv"
