"""Random changes of training images, drawn for each image of a batch by itself; and a user's own transforms.

The names and what they mean: ``setting_values.AUGMENTATIONS``. Mirroring makes few exact views; ``light`` and
``medical`` draw numbers (``changes``); ``trivial`` and ``randaugment`` exist for single images only and are no
batch code: worker processes apply them (``loading``).
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_aggregation.data.changes import CHANGES, change, draw_changes
from model_aggregation.errors import SettingsError
from model_aggregation.torchvision_operators import with_operators

Transform = Callable[[Any], Any]

EXACT_VIEWS = {"none": 1, "horizontal": 2, "flips": 4}
"""How many views of an image the augmentations make that only mirror."""

PER_IMAGE = ("trivial", "randaugment")


def augment(
    images: Tensor,
    name: str,
    generator: torch.Generator,
    *,
    rows: np.ndarray | slice = slice(None),
    batch_size: int | None = None,
) -> Tensor:
    """Return a changed copy of a batch (N, C, H, W).

    Images that are only some ``rows`` of a batch of ``batch_size`` are changed as they would be in the whole batch.

    ``horizontal`` mirrors each image with probability 1/2; ``flips`` also turns each upside down with
    probability 1/2 of its own; ``none`` returns the batch as it is. For ``light`` and ``medical`` see ``changes``.
    """
    count = len(images) if batch_size is None else batch_size
    if name in CHANGES:
        return change(images, draw_changes(count, name, generator)[rows])
    return flip(images, draw_views(count, name, generator)[rows])


def view_count(name: str) -> int:
    """Return how many different views of an image an augmentation that only mirrors can make."""
    return EXACT_VIEWS[name]


def draw_views(count: int, name: str, generator: torch.Generator) -> Tensor:
    """Draw the view of each of ``count`` images, (count,) int64: 1 is mirrored, 2 upside down, 3 both, 0 as it is."""
    views = torch.zeros(count, dtype=torch.int64)
    for drawn in range(1, view_count(name).bit_length()):
        views += drawn * (torch.rand(count, generator=generator) < 0.5)
    return views


def flip(images: Tensor, views: Tensor) -> Tensor:
    """Return each image of a batch (N, C, H, W) in its view; see :func:`draw_views`."""
    for view, dimension in ((1, 3), (2, 2)):
        chosen = (views & view).bool()
        if chosen.any():
            images = torch.where(chosen.view(-1, 1, 1, 1).to(images.device), images.flip(dimension), images)
    return images


def load_transforms(path: Path) -> dict[str, Transform]:
    """Run a user's Python file and return its ``train`` and ``val`` transforms (PIL image to tensor).

    The earlier program's form, a dict ``use_transform`` with the keys ``train`` and ``val``, is read too.

    Raises
    ------
    SettingsError
        If the file cannot be run or gives no such transforms.
    """
    specification = importlib.util.spec_from_file_location("user_transforms", path)
    if specification is None or specification.loader is None:
        raise SettingsError(f"transforms: {path} is no Python file.")
    module = importlib.util.module_from_spec(specification)
    try:
        with_operators(partial(specification.loader.exec_module, module))
    except SyntaxError as error:
        raise SettingsError(f"transforms: running {path} failed: {_advice(path)}{error}") from error
    except Exception as error:
        raise SettingsError(f"transforms: running {path} failed: {type(error).__name__}: {error}") from error
    given = getattr(module, "use_transform", None) or vars(module)
    found = {name: given.get(name) for name in ("train", "val")}
    missing = [name for name, transform in found.items() if not callable(transform)]
    if missing:
        raise SettingsError(
            f"transforms: {path} must define 'train' and 'val' (or a dict 'use_transform' with both), each a "
            f"callable from a PIL image to a tensor; missing or not callable: {', '.join(missing)}."
        )
    return found  # type: ignore[return-value]


def _advice(path: Path) -> str:
    """Return what to do if it is the encoding that Python stumbles over."""
    try:
        importlib.util.decode_source(path.read_bytes())
    except (UnicodeDecodeError, SyntaxError):
        return (
            "its text is not UTF-8, which Python expects. In an editor save it as UTF-8; or, if it is in cp932 (Shift "
            "JIS), put # -*- coding: cp932 -*- as its first line. Python said: "
        )
    return ""
