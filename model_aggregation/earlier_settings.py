"""Settings of the earlier program in today's words.

Every key is mapped, none is ignored, and what means something else today is said in a note.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath, PurePosixPath
from typing import Any, NamedTuple

from model_aggregation.config import Settings, nearest
from model_aggregation.errors import SettingsError
from model_aggregation.names import check_group_name, check_run_name, normalised
from model_aggregation.setting_values import current_source

MARKS = frozenset({"run_name", "data_dir", "model_name", "weight_freeze", "ss_label", "loss_num", "sys_split", "lr"})
"""Keys that only the earlier program had; one of them makes a file its settings."""

EARLIER_TRANSFORMS = "use_transform.py"
"""The Python file in which the earlier program's users changed its transforms."""

_LOSSES = {0: "cross_entropy", 1: "bce_with_logits", 2: "multi_margin", 3: "bce_with_logits", 4: "cosine"}
_CTC = 5
_RESCALING = ("inception_v3", "googlenet")
_RECIPE_NOTE = (
    "trains as the earlier program did: Adam at a constant rate, flips, mean and deviation 0.5, drop_last, best by "
    "accuracy, head of two layers"
)


@dataclass
class Conversion:
    """Settings in today's words, for each the note that belongs beside it, and the earlier key it came from.

    ``given`` are the keys of the file, ``above`` the settings that stand above it (flags), in today's words.
    """

    given: Mapping[str, Any]
    above: Mapping[str, Any]
    settings: dict[str, Any] = field(default_factory=lambda: {"recipe": "earlier"})
    notes: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    converting: str = ""

    def put(self, key: str, value: Any, note: str = "") -> None:
        """Set a value; two keys of the file may not fight over one setting."""
        if key in self.settings and self.settings[key] != value:
            self.problems.append(f"{key}: given twice, as {shown(self.settings[key])} and {shown(value)}")
        self.settings[key] = value
        self.origins[key] = self.converting
        if note:
            self.notes[key] = note

    def in_force(self, key: str, earlier: str = "", default: Any = None) -> Any:
        """Return the value of a setting, wherever it is given: by a flag, by today's key or by the earlier one."""
        for source, name in ((self.above, key), (self.given, key), (self.given, earlier)):
            if name in source:
                return source[name]
        return default

    def sentences(self) -> list[str]:
        """Return the notes for people, each with the earlier key; what a flag decides needs none."""
        lines = []
        for key, note in self.notes.items():
            origin = self.origins.get(key) or key
            renamed = "" if origin == key else f"{origin} is now "
            line = f"earlier settings: {renamed}{key}: {shown(self.settings[key])} ({note})"
            lines += [line] * (key not in self.above)
        return lines


def shown(value: Any) -> str:
    """Return a value as it stands in a YAML file.

    >>> shown(True), shown(None), shown("false"), shown(["ng", 1])
    ('true', 'null', '"false"', '["ng", 1]')
    """
    return json.dumps(value, ensure_ascii=False, default=str)


def is_earlier(given: Mapping[str, Any]) -> bool:
    """Return whether the keys of a settings file are those of the earlier program."""
    return bool(MARKS & given.keys())


def convert_earlier(given: Mapping[str, Any], above: Mapping[str, Any] | None = None) -> Conversion:
    """Return the settings of the earlier program in today's words; today's own keys may stand among them.

    ``above`` are settings that stand above the file; they are not part of the result, but what the file means may
    depend on them.

    Raises
    ------
    SettingsError
        Listing every key that is unknown or has a value that cannot be used.

    >>> convert_earlier({"model_name": "ResNet18", "epoch": 3, "lr": 1e-4}).settings["model"]
    'resnet18'
    """
    result = Conversion(given, above or {}, notes={"recipe": _RECIPE_NOTE})
    for key, value in given.items():
        result.converting = key
        if key in _KEYS:
            _convert(result, key, value)
        elif key in Settings.model_fields:
            result.put(key, value)
        else:
            result.problems.append(f"{key}: unknown; {nearest(key, [*_KEYS, *Settings.model_fields])}")
    result.converting = ""
    _say_cutoff(result)
    _say_whether_input_is_rescaled(result)
    if result.problems:
        raise SettingsError("The settings of the earlier program cannot be used:", result.problems)
    return result


def _convert(result: Conversion, key: str, value: Any) -> None:
    rule = _KEYS[key]
    if rule.fits(value):
        rule.convert(result, value)
        return
    quotes = "; put it in quotes" if rule.expected == _TEXT[0] and isinstance(value, bool | float | date) else ""
    result.problems.append(f"{key}: expected {rule.expected}, but {shown(value)} was given{quotes}")


def _say_cutoff(result: Conversion) -> None:
    classes = result.in_force("num_classes", default=2)
    if "cutoff_on" in result.settings or (isinstance(classes, int) and classes > 2):
        return
    note = "the earlier program chose the cutoff on the test images, which makes the results there too good"
    if result.in_force("validation", default=True) is False:
        note += "; without validation images it is 0.5"
    result.put("cutoff_on", "validation", f"{note}; cutoff_on: test does as before")


def _say_whether_input_is_rescaled(result: Conversion) -> None:
    """Weights of a network that began random saw their input as it is, whatever torchvision does for published ones."""
    began_random = result.given.get("pretrained") is False and result.in_force("pretrained") is True
    model = str(result.in_force("model", "model_name")).lower()
    if not (began_random and result.in_force("weights") and _is_torchvision(result) and model in _RESCALING):
        return
    if "transform_input" not in result.settings:
        note = "the network began with random weights and saw its input as it is; published weights need true"
        result.put("transform_input", False, note)


def _is_torchvision(result: Conversion) -> bool:
    return result.in_force("source", default="pytorch") in ("pytorch", "torchvision")


def _run_name(result: Conversion, value: Any) -> None:
    name = _allowed(str(value), check_run_name, r"[^\w.]", "run")
    result.put("name", name, _renaming(str(value), name, "letters, digits, _ and ."))


def _allowed(name: str, check: Callable[[str], str], forbidden: str, kind: str) -> str:
    """Return a name unchanged if it is allowed; else with ``_`` for what is not, and a word before it if need be."""
    replaced = re.sub(forbidden, "_", normalised(name)).rstrip(".")
    for candidate in (name, replaced):
        try:
            return check(candidate)
        except SettingsError:
            continue
    return check(f"{kind}_{replaced}")


def _renaming(given: str, name: str, allowed: str) -> str:
    return "" if normalised(given) == name else f"{shown(given)} is not allowed any more: a letter, then {allowed}"


def _cache(result: Conversion, value: Any) -> None:
    kept = "kept for other runs" if value else "removed after the run"
    result.put("keep_cache", value, f"images are not copied any more; their decoded form is {kept}")


def _data(result: Conversion, value: Any) -> None:
    result.put("data", str(value).replace("\\", "/"))


def _sys_split(result: Conversion, value: Any) -> None:
    data = result.in_force("data", "data_dir")
    if not isinstance(data, str | PurePath | int):
        if "data_dir" not in result.given:  # a wrong data_dir is named anyway
            result.problems.append("sys_split: says how data_dir is read, but data_dir is missing")
        return
    folder = PurePosixPath(str(data).replace("\\", "/"))
    if folder.suffix.lower() in (".csv", ".parquet"):
        if "data" in result.above:
            return  # a flag put a table in the place of the folder that the key is about
        result.problems.append(f"sys_split: says how a folder is read; {data} is a table, leave sys_split out")
    elif value and folder.parts[-2:-1] != ("cache",):
        result.put("layout", "classes", "split here, by default as before: test 0.2 of all, then train 0.8 of the rest")
    else:
        note = f"{folder} was split by the earlier program" if value else "the folder holds train, val and test"
        result.put("layout", "splits", note)


def _log_folder(result: Conversion, value: Any) -> None:
    parts = PurePosixPath(str(value).replace("\\", "/")).parts
    names = [part.casefold() for part in parts]
    end = len(parts) - names[::-1].index("log") if "log" in names else len(parts)
    result.put("log_folder", str(PurePosixPath(*parts[:end])))
    if len(parts) == end + 1:
        group = _allowed(parts[end], check_group_name, r"\W", "group")
        note = _renaming(parts[end], group, "letters, digits and _")
        result.put("comparison", group, f"the group of log_folder: {value}" + (f"; {note}" if note else ""))
    elif len(parts) > end:
        result.problems.append(f"log_folder: expected log or log/GROUP, but {shown(value)} was given")


def _weight_freeze(result: Conversion, value: Any) -> None:
    freeze, epoch = value
    if not freeze:
        dropped = "" if epoch is None else f"the {epoch} of {shown(value)} had no effect: nothing is frozen"
        result.put("freeze", False, dropped)
        return
    pretrained = result.in_force("pretrained", default=True)
    result.put("freeze", True, "" if pretrained else "without pretrained weights nothing is frozen")
    note = "never: only the head learns" if epoch is None else "the epoch, from 0, from which the whole network learns"
    result.put("thaw_at", epoch, note if pretrained and result.above.get("freeze", True) else "")


def _ss_label(result: Conversion, value: Any) -> None:
    classes = result.in_force("num_classes")
    if value is None or not any(value):  # ['', ''] is what it wrote where none was given
        return  # of two classes the program asks for the positive one
    if isinstance(classes, int) and classes > 2:
        result.notes["num_classes"] = f"ss_label {shown(value)} has no meaning for three classes and more"
        return
    result.put("positive", str(value[0]), "the sensitive label")
    result.put("negative", str(value[1]), "the specific label")


def _loss(result: Conversion, value: Any) -> None:
    if value == _CTC and "loss" in result.above:
        return
    if value == _CTC:
        result.problems.append(
            "loss_num: 5 is CTC, which compares sequences; an image with one label has none. Choose 0 to 4."
        )
    else:
        result.put("loss", _LOSSES[value], "BCE, with the sigmoid inside: the same on logits" if value == 1 else "")


def _save_every(result: Conversion, value: Any) -> None:
    result.put("save_every", value or None)  # false, 0 and null meant: never


def _weight_only(result: Conversion, value: Any) -> None:
    result.put("whole_model", not value, "" if value else "the whole network as a pickle, and the state dict as well")


def _test_best(result: Conversion, value: Any) -> None:
    validated = result.in_force("validation", default=True)
    note = "" if validated or not value else "without validation there is no best epoch: the last is tested"
    result.put("test_weights", "best" if value else "last", note)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _channels(result: Conversion, value: Any) -> None:
    """With torchvision the key had no effect; timm made a network of that many, but images were read as RGB."""
    if result.in_force("source", default="pytorch") != "timm":
        note = "" if value == 3 else f"channel: {value} had no effect with torchvision: its networks see 3 channels"
        result.put("channels", 3, note)
    elif value in (1, 3):
        result.put("channels", value)
    elif "channels" not in result.above:
        result.problems.append(
            f"channel: {value}: the earlier program read images as RGB too, which such a network cannot take; here a "
            "network sees 3 channels (colour) or 1 (grey): give --channels"
        )


def _is_text(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else _is_whole(value, 0)  # YAML takes the name 2024 so


def _is_rate(value: Any) -> bool:
    try:  # YAML reads 1e-4 as text
        return not isinstance(value, bool) and 0 < float(value) < float("inf")
    except (TypeError, ValueError):
        return False


def _is_freezing(value: Any) -> bool:
    fits = isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], bool)
    return fits and (value[1] is None or _is_whole(value[1], 0))


def _is_two_labels(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return value is None or (pair and (list(value) == ["", ""] or all(map(_is_text, value))))


Expected = tuple[str, Callable[[Any], bool]]
Converter = Callable[[Conversion, Any], None]


class _Key(NamedTuple):
    """One key of the earlier program: what it may hold, in words and as a test, and what becomes of it."""

    expected: str
    fits: Callable[[Any], bool]
    convert: Converter


def _key(expected: Expected, convert: Converter) -> _Key:
    return _Key(*expected, convert)


def _renamed(key: str) -> Converter:
    return lambda result, value: result.put(key, value)


def _whole(least: int) -> Expected:
    return f"a whole number from {least}", lambda value: _is_whole(value, least)


_TEXT: Expected = ("text", _is_text)
_TRUTH: Expected = ("true or false", lambda value: isinstance(value, bool))
_SOURCES: Expected = ("pytorch or timm", lambda value: value in ("pytorch", "timm", "torchvision"))
_CHANNELS: Expected = ("1 or 3", lambda value: _is_whole(value, 1))
_RATE: Expected = ("a number above 0", _is_rate)
_NUMBER_OF_LOSS: Expected = ("0 to 4", lambda value: _is_whole(value, 0) and value <= _CTC)
_FREEZING: Expected = ("[true or false, epoch or null]", _is_freezing)
_LABELS: Expected = ("[sensitive class, specific class], in quotes if they are words like yes or no", _is_two_labels)
_EVERY: Expected = (
    "a number of epochs, or false for never",
    lambda value: value is None or value is False or _is_whole(value, 0),
)

_KEYS: dict[str, _Key] = {
    "run_name": _key(_TEXT, _run_name),
    "cache": _key(_TRUTH, _cache),
    "sys_split": _key(_TRUTH, _sys_split),
    "save_wip_model": _key(_EVERY, _save_every),
    "test": _key(_TRUTH, _renamed("test")),
    "validation": _key(_TRUTH, _renamed("validation")),
    "test_best_model": _key(_TRUTH, _test_best),
    "data_dir": _key(_TEXT, _data),
    "weight_only": _key(_TRUTH, _weight_only),
    "weight_freeze": _key(_FREEZING, _weight_freeze),
    "device": _key(_TEXT, lambda result, value: result.put("device", str(value))),
    "source": _key(_SOURCES, lambda result, value: result.put("source", current_source(value))),
    "model_name": _key(_TEXT, lambda result, value: result.put("model", str(value).lower())),
    "channel": _key(_CHANNELS, _channels),
    "num_classes": _key(_whole(2), _renamed("num_classes")),
    "ss_label": _key(_LABELS, _ss_label),
    "batch_size": _key(_whole(1), _renamed("batch_size")),
    "pretrained": _key(_TRUTH, _renamed("pretrained")),
    "epoch": _key(_whole(1), _renamed("epochs")),
    "lr": _key(_RATE, lambda result, value: result.put("learning_rate", float(value))),
    "loss_num": _key(_NUMBER_OF_LOSS, _loss),
    "log_folder": _key(_TEXT, _log_folder),
}
