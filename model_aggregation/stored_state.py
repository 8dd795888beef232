"""Which stored states of a training may be gone on with: those that were trained on what was decoded and computed.

Beside a state lies which image stores it has used since one was last read again and found right.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from model_aggregation.files import read_json, write_json
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.run_images import RunImages
from model_aggregation.training.feature_file import FeatureFile
from model_aggregation.training.features import feature_paths

_STORES = "image_stores.json"


def begin_state(folder: RunFolder, images: RunImages, say: Callable[[str], None]) -> None:
    """Remove a state that has seen changed pixels or features, and note which store is used from now on."""
    reason = _why_not_trusted(folder.state_folder, images)
    if reason is not None:
        forget_training(folder)
        say(f"The stored state of the training is not used, since {reason}: it starts again.")
    if images.store is not None:
        known = dict.fromkeys([*_used_stores(folder.state_folder), images.store.identifier])
        write_json(folder.state_folder / _STORES, list(known))


def note_check(folder: RunFolder) -> None:
    """Note that all pixels which the state was trained on were right."""
    (folder.state_folder / _STORES).unlink(missing_ok=True)


def forget_training(folder: RunFolder) -> None:
    """Remove the state of a training and what was predicted with its weights."""
    for name in ("val", "test"):
        folder.predictions_csv(name).unlink(missing_ok=True)
    if folder.state_folder.is_dir():
        shutil.rmtree(folder.state_folder)


def _why_not_trusted(state_folder: Path, images: RunImages) -> str | None:
    if images.store is not None and images.store.damaged_stores() & set(_used_stores(state_folder)):
        return "decoded images that it had used were changed"
    if any(FeatureFile.is_damaged(path) for path in feature_paths(state_folder)):
        return "its stored features were changed"
    return None


def _used_stores(state_folder: Path) -> list[str]:
    try:
        return list(map(str, read_json(state_folder / _STORES)))
    except (OSError, ValueError):
        return []
