"""Settings of the earlier program in today's words.

Every key is mapped, none is ignored, and what means something else today is said in a note.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from model_aggregation.config import Settings, nearest
from model_aggregation.errors import SettingsError
from model_aggregation.names import default_name

MARKS = frozenset({"run_name", "data_dir", "model_name", "weight_freeze", "ss_label", "loss_num", "sys_split", "lr"})
"""Keys that only the earlier program had; one of them makes a file its settings."""

_LOSSES = {0: "cross_entropy", 1: "bce_with_logits", 2: "multi_margin", 3: "bce_with_logits", 4: "cosine"}
_SHARED = frozenset({"device", "source", "num_classes", "batch_size", "pretrained", "log_folder"})


@dataclass
class Conversion:
    """Settings in today's words, and for each the note that belongs beside it."""

    settings: dict[str, Any] = field(default_factory=lambda: {"recipe": "earlier"})
    notes: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any, note: str = "") -> None:
        """Set a value; two keys of the file may not fight over one setting."""
        if key in self.settings and self.settings[key] != value:
            self.problems.append(f"{key}: given twice, as {self.settings[key]!r} and {value!r}")
        self.settings[key] = value
        if note:
            self.notes[key] = note


def is_earlier(given: Mapping[str, Any]) -> bool:
    """Return whether the keys of a settings file are those of the earlier program."""
    return bool(MARKS & given.keys())


def convert_earlier(given: Mapping[str, Any]) -> Conversion:
    """Return the settings of the earlier program in today's words; today's own keys may stand among them.

    Raises
    ------
    SettingsError
        Listing every key that is unknown or has a value that cannot be used.

    >>> convert_earlier({"model_name": "ResNet18", "epoch": 3, "lr": 1e-4}).settings["model"]
    'resnet18'
    """
    result = Conversion()
    for key, value in given.items():
        if key in _CONVERTERS:
            _CONVERTERS[key](result, value, given)
        elif key in Settings.model_fields and key not in MARKS:
            result.put(key, value)
        else:
            result.problems.append(f"{key}: unknown; {nearest(key, [*_CONVERTERS, *Settings.model_fields])}")
    result.notes["recipe"] = (
        "the earlier program's training: Adam at a constant rate, flips, mean and deviation 0.5, drop_last, best by "
        "accuracy, head of two layers"
    )
    if "cutoff_on" not in result.settings:
        result.put(
            "cutoff_on", "validation", "the earlier program chose the cutoff on the test images: cutoff_on: test"
        )
    if result.problems:
        raise SettingsError("The settings of the earlier program cannot be used:", result.problems)
    return result


Converter = Callable[[Conversion, Any, Mapping[str, Any]], None]


def _renamed(key: str, note: str = "") -> Converter:
    return lambda result, value, _given: result.put(key, value, note)


def _run_name(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    name = default_name(str(value))
    result.put("name", name, "" if name == str(value) else f"'{value}' is not allowed as a name any more")


def _data(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:
    path = str(value).replace("\\", "/")
    result.put("data", path)
    if "sys_split" not in given:
        return
    already = PurePosixPath(path).parts[-2:-1] == ("cache",)
    if given["sys_split"] and not already:
        result.put("layout", "classes", "sys_split: true: test 0.2 of all, then train 0.8 of the rest")
    else:
        note = "the folder in cache/ is already split" if given["sys_split"] else "sys_split: false"
        result.put("layout", "splits", note)


def _sys_split(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:
    if not isinstance(value, bool):
        result.problems.append(f"sys_split: expected true or false, but {value!r} was given")
    if "data_dir" not in given and "data" not in given:
        result.problems.append("sys_split: says how data_dir is read, but data_dir is missing")


def _log_folder(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    parts = PurePosixPath(str(value or "log").replace("\\", "/")).parts
    end = len(parts) - parts[::-1].index("log") if "log" in parts else len(parts)
    result.put("log_folder", str(PurePosixPath(*parts[:end])))
    if len(parts) == end + 1:
        group = default_name(parts[end]).replace(".", "_")
        result.put("comparison", group, f"the group of log_folder: {value}")
    elif len(parts) > end:
        result.problems.append(f"log_folder: expected log or log/GROUP, but '{value}' was given")


def _weight_freeze(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    if not (isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], bool)):
        result.problems.append(f"weight_freeze: expected [true or false, epoch or null], but {value!r} was given")
        return
    result.put("freeze", value[0])
    if value[0]:
        result.put("thaw_at", value[1], "epoch (from 0) at which the whole network starts to learn")


def _ss_label(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:
    classes = given.get("num_classes")
    if isinstance(classes, int) and classes > 2:
        result.notes["num_classes"] = f"ss_label {value!r} has no meaning for three classes and more"
        return
    if value is None:
        return  # the program asks for the positive class
    if not (isinstance(value, list | tuple) and len(value) == 2):
        result.problems.append(f"ss_label: expected [sensitive class, specific class], but {value!r} was given")
        return
    result.put("positive", str(value[0]), "the sensitive label")
    result.put("negative", str(value[1]), "the specific label")


def _loss(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    if value == 5:
        result.problems.append(
            "loss_num: 5 is CTC, which compares sequences; an image with one label has none. Choose 0 to 4."
        )
    elif isinstance(value, bool) or not isinstance(value, int) or value not in _LOSSES:
        result.problems.append(f"loss_num: expected 0 to 4, but {value!r} was given")
    else:
        note = "BCE, with the sigmoid inside: the same on logits" if value == 1 else ""
        result.put("loss", _LOSSES[value], note)


def _save_every(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    result.put("save_every", value or None)  # false, 0 and null meant: never


def _weight_only(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    result.put("whole_model", not value, "weight_only: false; the state dict is stored as well" if not value else "")


def _model_name(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    result.put("model", str(value).lower())


def _test_best(result: Conversion, value: Any, given: Mapping[str, Any]) -> None:  # noqa: ARG001
    result.put("test_weights", "best" if value else "last")


_CONVERTERS: dict[str, Converter] = {
    "run_name": _run_name,
    "cache": _renamed("keep_cache", "images stay where they are; this keeps their decoded copies"),
    "sys_split": _sys_split,
    "save_wip_model": _save_every,
    "test": _renamed("test"),
    "validation": _renamed("validation"),
    "test_best_model": _test_best,
    "data_dir": _data,
    "weight_only": _weight_only,
    "weight_freeze": _weight_freeze,
    "device": _renamed("device"),
    "source": _renamed("source"),
    "model_name": _model_name,
    "channel": _renamed("channels"),
    "num_classes": _renamed("num_classes"),
    "ss_label": _ss_label,
    "batch_size": _renamed("batch_size"),
    "pretrained": _renamed("pretrained"),
    "epoch": _renamed("epochs"),
    "lr": _renamed("learning_rate"),
    "loss_num": _loss,
    "log_folder": _log_folder,
}
