"""Settings as YAML files: reading with every mistake named, writing complete.

Paths in a file are relative to the directory that the program is started in, as on the command line.
"""

from pathlib import Path
from typing import Any

import yaml

from model_aggregation.config import Settings, make_settings
from model_aggregation.errors import SettingsError
from model_aggregation.files import write_text


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice; plain YAML would keep the last one without a word."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise SettingsError(f"Given twice in the settings file: {', '.join(twice)}. Keep one of each.")
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _strict_mapping)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping (UTF-8, or cp932 as the earlier program wrote on Windows).

    Raises
    ------
    SettingsError
        If the file is missing, is no YAML, holds no mapping, or gives a key twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror or error}.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp932", errors="replace")
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (derived from SafeLoader)
    except yaml.YAMLError as error:
        raise SettingsError(f"The settings file {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(
            f"The settings file {path} must hold 'key: value' lines; it holds {type(content).__name__}."
        )
    return {str(key): value for key, value in content.items()}


def read_settings(path: Path, **overrides: Any) -> Settings:
    """Read settings from YAML; ``overrides`` (flags) stand above the file.

    Raises
    ------
    SettingsError
        As :func:`read_mapping`, and for every key or value that is wrong, all at once.
    """
    given = {**read_mapping(path), **overrides}
    if overrides.get("model"):
        given.pop("models", None)
    if overrides.get("models"):
        given.pop("model", None)
    return make_settings(**given)


def settings_mapping(settings: Settings) -> dict[str, Any]:
    """Return settings as plain values, complete, in the order of the classes, ready for YAML or JSON."""
    values = settings.model_dump(mode="json")
    order = ["data", "model", "models", *(key for key in values if key not in ("data", "model", "models"))]
    plain = {key: values[key] for key in order}
    if settings.is_comparison:
        plain.pop("model")
    else:
        plain.pop("models")
    return plain


def write_settings(settings: Settings, path: Path) -> None:
    """Write settings, complete, as YAML."""
    write_text(path, yaml.safe_dump(settings_mapping(settings), sort_keys=False, allow_unicode=True))
