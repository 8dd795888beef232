"""Settings as YAML files: reading with every mistake named, writing complete.

Paths in a file are relative to the directory that the program is started in, as on the command line.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count as count_up
from pathlib import Path
from typing import Any

import yaml

from model_aggregation.config import Settings, make_settings, recipe_values
from model_aggregation.earlier_settings import EARLIER_TRANSFORMS, convert_earlier, is_earlier
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
        If the file is missing, in another encoding, no YAML, holds no mapping, or gives a key twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror or error}.") from error
    try:
        content = yaml.load(_decoded(data, path), Loader=_StrictLoader)  # noqa: S506  (derived from SafeLoader)
    except yaml.YAMLError as error:
        hint = " (In double quotes a backslash begins an escape: use single quotes, or / in paths.)"
        hint = hint if "escape" in str(error) else ""
        raise SettingsError(f"The settings file {path} is not valid YAML: {error}{hint}") from error
    if not isinstance(content, dict):
        raise SettingsError(
            f"The settings file {path} must hold 'key: value' lines; it holds {type(content).__name__}."
        )
    return {str(key): value for key, value in content.items()}


def _decoded(data: bytes, path: Path) -> str:
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SettingsError(f"The settings file {path} is text in neither UTF-8 nor cp932; save it as UTF-8.")


def read_settings(path: Path, *, say: Callable[[str], None] | None = None, **overrides: Any) -> Settings:
    """Read settings from YAML, ours or the earlier program's; ``overrides`` (flags) stand above the file.

    Parameters
    ----------
    say
        Told what settings of the earlier program mean today.

    Raises
    ------
    SettingsError
        As :func:`read_mapping`, and for every key or value that is wrong, all at once.
    """
    given = read_mapping(path)
    if is_earlier(given):
        conversion = convert_earlier(given, overrides)
        given = dict(conversion.settings)
        if overrides.get("models"):  # they are a group of their own, by their name
            given.pop("comparison", None)
        _refuse_own_folder(path, {**given, **overrides})
        if say is not None:
            for sentence in (*conversion.sentences(), *_unused_transforms(path, {**given, **overrides})):
                say(sentence)
    if "recipe" in overrides:  # a recipe given as a flag stands above the values in the file
        given |= recipe_values(overrides["recipe"])
    given |= overrides
    if overrides.get("model"):
        given.pop("models", None)
    if overrides.get("models"):
        given.pop("model", None)
    return make_settings(**given)


def _refuse_own_folder(path: Path, given: Mapping[str, Any]) -> None:
    """Refuse to run a settings file of the earlier program into the very folder of the run that it belongs to."""
    if not given.get("name"):
        return
    target = Path(given.get("log_folder", "log"), given.get("comparison") or "", str(given["name"]))
    if target.resolve() != path.resolve().parent:
        return
    free = next(name for count in count_up(2) if not target.with_name(name := f"{given['name']}_{count}").exists())
    raise SettingsError(
        f"{path} belongs to a run of the earlier program, whose results stay as they are. The same settings run under "
        f"another name: magg run {_as_typed(path)} --name {free}"
    )


def _as_typed(path: Path) -> str:
    return f'"{path}"' if any(letter.isspace() for letter in str(path)) else str(path)


def _unused_transforms(path: Path, given: Mapping[str, Any]) -> Iterator[str]:
    """Say where the earlier program's transforms lie, which nobody named: a file that lies there is not run unasked."""
    places = [Path(), *(folder for folder in path.resolve().parents[:4])]
    found = next((file for place in places if (file := place / EARLIER_TRANSFORMS).is_file()), None)
    if found is not None and not given.get("transforms"):
        flag = f"--transforms {_as_typed(found)}"
        yield (
            f"earlier settings: {found} is not used. Images become 224 px square (Inception 299) and are flipped, mean "
            f"and deviation are 0.5, as in that file when it came; if yours is another, give {flag}"
        )


def convert_file(path: Path) -> str:
    """Return a settings file of the earlier program in today's form, with a comment per changed meaning.

    Raises
    ------
    SettingsError
        If the file is not the earlier program's, or cannot be used.
    """
    given = read_mapping(path)
    if not is_earlier(given):
        raise SettingsError(f"{path} holds no settings of the earlier program (run_name, data_dir, model_name, …).")
    conversion = convert_earlier(given)
    make_settings(**conversion.settings)  # what is written can be run
    lines = [f"# From {path.name}, settings of the earlier program."]
    for key, value in conversion.settings.items():
        note = conversion.notes.get(key)
        text = yaml.safe_dump({key: value}, allow_unicode=True, default_flow_style=False, width=1000).strip()
        lines.append(f"{text}  # {note}" if note else text)
    lines += [f"# {note}" for key, note in conversion.notes.items() if key not in conversion.settings]
    return "\n".join(lines) + "\n"


def stored_settings(given: dict[str, Any], origin: Path) -> Settings:
    """Return the settings that a run stored; what is wrong with them is said with the file's name.

    Raises
    ------
    SettingsError
        If they were changed by hand or written by another version.
    """
    try:
        return make_settings(**given)
    except SettingsError as error:
        raise SettingsError(f"The stored settings {origin} cannot be used:", error.problems) from error


def settings_mapping(settings: Settings) -> dict[str, Any]:
    """Return settings as plain values, complete, in the order of the classes, ready for YAML or JSON."""
    values = settings.model_dump(mode="json")
    order = ["data", "model", "models", *(key for key in values if key not in ("data", "model", "models"))]
    plain = {key: values[key] for key in order}
    plain.pop("model" if settings.models else "models")
    if not settings.seeds:
        plain.pop("seeds")
    return plain


def write_settings(settings: Settings, path: Path) -> None:
    """Write settings, complete, as YAML."""
    write_text(path, yaml.safe_dump(settings_mapping(settings), sort_keys=False, allow_unicode=True))
