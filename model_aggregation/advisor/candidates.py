"""Which networks are looked at: those that were named, or every one whose weights are on this machine."""

from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.config import Settings, make_settings
from model_aggregation.errors import ModelAggregationError, SettingsError
from model_aggregation.models.build import preprocessing_for, weights_file
from model_aggregation.models.published import Whereabouts, models_here, why_not_here
from model_aggregation.models.zoo import ModelName, find_models, parse_model_name

DEFAULT = "@balanced"
"""What is looked at where nothing was named and no weights are on this machine."""

_WITHOUT_MEANING = {
    "train": (True, "it is about training"),
    "pretrained": (True, "it looks at pretrained features"),
    "folds": (None, "every image would be tested, so that none is left to choose by"),
    "transforms": (None, "it prepares images as the program itself does"),
}


def asked_for(data: Path, models: tuple[str, ...], **given: Any) -> Settings:
    """Return the settings of a comparison of all candidates.

    Raises
    ------
    SettingsError
        If the settings cannot be used, or have no meaning for a suggestion.
    """
    settings = make_settings(data=data, models=models or (DEFAULT,), **given)
    problems = [
        f"{key}: leave it out; {reason}"
        for key, (usual, reason) in _WITHOUT_MEANING.items()
        if getattr(settings, key) != usual
    ]
    if problems:
        raise SettingsError("Nothing can be suggested with these settings:", problems)
    if not models and (here := models_here(settings.weights_dir)):
        settings = settings.model_copy(update={"models": tuple(map(str, here))})
    named = find_models(
        list(settings.models), settings.source, sets_file=settings.model_sets, weights_dir=settings.weights_dir
    )
    return settings.model_copy(update={"models": tuple(map(str, named)), "model_sets": None})


def seconds_of(budget: str | float | None) -> float | None:
    """Return a time such as 2h, 90min or 1h30m in seconds; a number is seconds already.

    >>> seconds_of("2h"), seconds_of("1h30m"), seconds_of(90)
    (7200.0, 5400.0, 90)

    Raises
    ------
    SettingsError
        If it is no time above 0.
    """
    if not isinstance(budget, str):
        return budget
    try:
        seconds = float("nan") if budget.strip().isdigit() else pd.Timedelta(budget).total_seconds()
    except ValueError:
        seconds = float("nan")
    if not seconds > 0:
        raise SettingsError(f"--budget: expected a time with its unit such as 2h, 90min or 1h30m, but '{budget}' came.")
    return seconds


def obstacles(settings: Settings) -> dict[str, str]:
    """Return the candidates that cannot be looked at, each with the reason; nothing is downloaded."""
    found = {name: _obstacle(parse_model_name(name), settings) for name in settings.models}
    return {name: reason for name, reason in found.items() if reason}


def _obstacle(model: ModelName, settings: Settings) -> str | None:
    try:
        preprocessing_for(model, settings.model_copy(update={"offline": True}))
        where = Whereabouts(settings.weights_dir, offline=True)
        return None if weights_file(model, settings) else why_not_here(model, where)
    except ModelAggregationError as error:
        return str(error)
