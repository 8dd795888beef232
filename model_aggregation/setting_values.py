"""What people write for a setting, brought to the form that the setting has."""

import re
from pathlib import Path
from typing import Any

AUGMENTATIONS = {
    "none": "no change",
    "horizontal": "mirrored or not",
    "flips": "mirrored or not, upside down or not",
    "light": "mirrored or not, a window of 80 to 100 % of the area, brightness and contrast ±20 %",
    "medical": "turned by up to 10°, shifted by up to 5 %, 0.9 to 1.1 times as large, brightness and contrast ±10 %, "
    "never mirrored, since left and right differ in a body",
    "trivial": "torchvision's TrivialAugmentWide, one strong change of 14 kinds",
    "randaugment": "torchvision's RandAugment, two changes of strength 9 of 31",
}
"""What each named augmentation does to a training image, every time it is seen."""


def current_source(value: Any) -> Any:
    """Return today's name of a library."""
    return "torchvision" if value == "pytorch" else value  # the earlier program's word


def as_words(value: Any) -> Any:
    """Accept one word, a list of words, or a mapping from model to file; the result is a tuple of words."""
    if isinstance(value, str | Path):
        return (str(value),)
    if isinstance(value, dict):
        return tuple(f"{model}={file}" for model, file in value.items())
    return () if value is None else value


def number_as_text(value: Any) -> Any:
    """Take a number for a name: YAML reads the class 1 and the precision 32 as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def numbers_as_text(value: Any) -> Any:
    """Take a list of numbers, as YAML may hold one, for numbers with commas between them."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def model_and_file(word: str) -> tuple[str, Path]:
    """Take ``MODEL=FILE`` apart; a file whose own path holds a ``=`` is no such pair."""
    model, equals, file = word.partition("=")
    if not equals or Path(word).is_file() or ("hf_hub:" not in model and ("/" in model or "\\" in model)):
        return "", Path(word)
    return model, Path(file)


_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?=\d)" + "".join(rf"(?:(\d+){unit})?" for unit in _UNITS))


def as_duration(value: Any) -> Any:
    """Accept a length of time with its units, such as 90s, 30m, 6h or 1d12h; nothing else, a bare number neither."""
    if value is not None and seconds_of(str(value)) <= 0:
        raise ValueError("expected a time with its unit, such as 90s, 30m, 6h or 1d12h")
    return value


def seconds_of(duration: str) -> int:
    """Return the seconds of a length of time; 0 for a text that is none.

    >>> seconds_of("90s"), seconds_of("1d12h"), seconds_of("6")
    (90, 129600, 0)
    """
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        return 0
    return sum(int(number or 0) * unit for number, unit in zip(found.groups(), _UNITS.values(), strict=True))


def text_as_number(value: Any) -> Any:
    """Return digits as a number."""
    return int(value) if isinstance(value, str) and value.isdigit() else value  # the command line hands over text


def none_is_nothing(value: Any) -> Any:
    """Take the words none and null, as they are typed on the command line, for nothing."""
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value
