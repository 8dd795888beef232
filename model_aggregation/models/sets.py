"""Named sets of models: ``@name`` stands for a list from ``model_sets.yaml`` or from the user's own file.

The user's file is the one that the settings name, else ``model_sets.yaml`` in the user's configuration folder. Its
form is that of the program's own: a name, with ``about`` (a sentence) and ``models`` (a list) below it.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from platformdirs import user_config_path

from model_aggregation.cache_folder import folder_in_home
from model_aggregation.config import nearest
from model_aggregation.errors import ModelError


@dataclass(frozen=True)
class ModelSet:
    """Models under one name; ``about`` says in a sentence what they are chosen for."""

    about: str
    models: tuple[str, ...]


def own_sets_file() -> Path:
    """Return where a user's own sets are looked for when no file is named."""
    return folder_in_home(user_config_path) / "model_sets.yaml"


def model_sets(own_file: Path | None = None) -> dict[str, ModelSet]:
    """Return every named set: those of the program, then the user's.

    Raises
    ------
    ModelError
        If the user's file cannot be read, is not in the form of the program's, or uses one of its names.
    """
    shipped = _read(
        files("model_aggregation").joinpath("model_sets.yaml").read_text(encoding="utf-8"), "model_sets.yaml"
    )
    file = own_file or own_sets_file()
    if own_file is None and not file.is_file():
        return shipped
    try:
        own = _read(file.read_text(encoding="utf-8-sig"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The file of model sets {file} cannot be read as UTF-8 text: {error}") from error
    taken = sorted(shipped.keys() & own.keys())
    if taken:
        raise ModelError(f"The file of model sets {file} uses names of the program's own sets: {', '.join(taken)}.")
    return shipped | own


def _read(text: str, origin: str) -> dict[str, ModelSet]:
    try:
        content = yaml.safe_load(text) or {}
        sets = {
            str(name): ModelSet(str(entry.get("about", "")), tuple(entry["models"])) for name, entry in content.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"The file of model sets {origin} must hold 'NAME:' with 'models: [MODEL, …]' (and 'about: TEXT') "
            f"below it: {error}"
        ) from error
    wrong = [
        f"@{name}: {model!r} is no name"
        for name, entry in sets.items()
        for model in entry.models
        if not isinstance(model, str)
    ]
    wrong += [
        f"@{name}: a set holds no other set ({model})"
        for name, entry in sets.items()
        for model in entry.models
        if str(model).startswith("@")
    ]
    if wrong:
        raise ModelError(f"The file of model sets {origin} cannot be used:", wrong)
    return sets


def expand_sets(texts: list[str], own_file: Path | None = None) -> list[str]:
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
        sets = model_sets(own_file)
        if text[1:] not in sets:
            raise ModelError(f"There is no set of models '{text}'; {nearest(text, [f'@{name}' for name in sets])}")
        names.extend(sets[text[1:]].models)
    return names
