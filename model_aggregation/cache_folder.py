"""Where what can be computed again is kept: the user's cache folder, or temporary files where that cannot be written.

Every process finds the same folder by itself, so nobody has to be told.
"""

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from model_aggregation.errors import SettingsError

_NAME = "model_aggregation"
_NOWHERE = Path(os.devnull) / _NAME
_NOT_FOR_OTHERS = 0o700
_WRITABLE_BY_OTHERS = 0o022


def default_cache_folder() -> Path:
    """Return the folder for decoded images and what is known of files, where the settings name none."""
    return user_folder() / "images"


def user_folder() -> Path:
    """Return the user's cache folder for this program; one among the temporary files where that cannot be written.

    Raises
    ------
    SettingsError
        If neither can be written.
    """
    wanted = folder_in_home(user_cache_path)
    reason = why_not_writable(wanted)
    return wanted if reason is None else temporary_folder(f"{wanted} ({reason})")


def folder_in_home(path_of: Callable[[str], Path]) -> Path:
    """Return this program's folder by a function of platformdirs; without a home folder one that cannot be made."""
    try:
        folder = path_of(_NAME)
    except RuntimeError:  # neither HOME nor an entry among the users, as in some containers
        return _NOWHERE
    return folder if folder.is_absolute() else _NOWHERE


def viewer_folder() -> Path:
    """Return the folder of the viewer, which does without where it cannot be written."""
    return folder_in_home(lambda name: user_cache_path(name, False)) / "viewer"


def cache_note() -> str | None:
    """Return what to tell people where the user's cache folder cannot be written."""
    wanted = folder_in_home(user_cache_path)
    reason = why_not_writable(wanted)
    if reason is None:
        return None
    why = "There is no home folder" if wanted == _NOWHERE else f"The cache folder {wanted} cannot be written ({reason})"
    return (
        f"{why}: decoded images are kept in {user_folder()}, until somebody clears the temporary files. "
        "--cache-folder chooses another folder."
    )


@cache
def why_not_writable(folder: Path) -> str | None:
    """Return why no file can be made in a folder; None if one can. The folder is made for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def temporary_folder(instead_of: str) -> Path:
    """Return a folder among the temporary files that belongs to this user alone: others might put false images there.

    Raises
    ------
    SettingsError
        If it cannot be made; ``instead_of`` says what could not be written before.
    """
    user = os.getuid() if hasattr(os, "getuid") else "cache"
    folder = Path(tempfile.gettempdir()) / f"{_NAME}_{user}"
    try:
        folder.mkdir(mode=_NOT_FOR_OTHERS, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise _no_place(instead_of, f"{folder} ({error.strerror or error})") from error
    if hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & _WRITABLE_BY_OTHERS):
        raise _no_place(instead_of, f"{folder} (others may write it)")
    return folder


def _no_place(*tried: str) -> SettingsError:
    return SettingsError(
        "Decoded images and what is known of files need a folder that can be written; give one with --cache-folder. "
        f"Tried were {' and '.join(tried)}."
    )
