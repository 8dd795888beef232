"""The code that settings and run folders name; what may run it asks ``trusted_code`` first.

``docs/safety.md`` has the table of every way from a file to code.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from model_aggregation.config import Settings
from model_aggregation.models.custom_modules import code_of_networks
from model_aggregation.settings_files import read_settings
from model_aggregation.trusted_code import NamedCode, code_file, code_folder, code_text, require_trust


def trusted_settings(path: Path, *, say: Callable[[str], None] | None = None, **typed: Any) -> Settings:
    """Read settings from a file, as :func:`settings_files.read_settings`; refuse code that it names without a yes.

    What stands in ``typed`` was given by the user and needs none.

    Raises
    ------
    SettingsError
        If the settings cannot be used.
    UntrustedCodeError
        If they name code that nobody here has said yes to.
    """
    settings = read_settings(path, say=say, **typed)
    require_trust(code_in_settings(settings, typed), path)
    return settings


def code_in_settings(settings: Settings, typed: Collection[str] = ()) -> Iterator[NamedCode]:
    """Yield what settings name that runs code, but for the settings that are ``typed``."""
    if settings.transforms is not None and "transforms" not in typed:
        yield code_file("transforms", settings.transforms)
    if settings.trust_pickle and "trust_pickle" not in typed:
        yield from (code_file("trust_pickle", path) for path in settings.weights_by_model().values())
    if settings.pickle_folder is not None and "pickle_folder" not in typed:
        yield code_folder("pickle_folder", settings.pickle_folder)
    if settings.engine == "ray" and settings.address is not None and "address" not in typed:
        yield code_text("address", settings.address)
    if not {"model", "models"} & set(typed):
        yield from code_of_networks([*settings.models, *filter(None, [settings.model])])


def code_of_run(facts: Mapping[str, Any], transforms: Path | None) -> Iterator[NamedCode]:
    """Yield what predicting with a run would run: its copy of the transforms, and a network of the user's own."""
    if transforms is not None:
        yield code_file("transforms", transforms)
    yield from code_of_networks([str(facts["model"])])
