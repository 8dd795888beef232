"""Pickled networks: read only when they are trusted, with classes from the folder that the user names.

A pickle names the classes of what it holds by module and name; loading it imports these modules, and runs whatever else
the file says. The earlier program pickled whole networks, those of timm as ``available_model_timm.FineTuning``, a class
of its own Python files.
"""

import pickle
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from model_aggregation.errors import ModelError
from model_aggregation.models.custom_modules import FolderFinder, modules_from
from model_aggregation.torchvision_operators import with_operators

_REFUSED_CLASS = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")


class PickledNetworkError(ModelError):
    """A file is a pickled network that nobody has trusted."""


def read_pickle(path: Path, folder: Path | None) -> Any:
    """Read a torch file with whatever code is in it, on the CPU.

    Parameters
    ----------
    folder
        Where modules that the pickle names are looked for after all that are installed; what such a module imports may
        come from there too. None: nowhere else.

    Raises
    ------
    ModelError
        If a class that the file names cannot be found.
    """
    if folder is not None and not folder.is_dir():
        raise ModelError(f"--pickle-folder: there is no folder {folder}.")
    with modules_from(folder) as finder:
        reading = partial(torch.load, path, map_location="cpu", weights_only=False, pickle_module=_reader(path, finder))
        return with_operators(reading)


def _reader(path: Path, finder: FolderFinder) -> Any:
    """Return what torch takes for the module ``pickle``: classes are looked for in the folder too."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str, /) -> Any:
            finder.named.add(module_name.partition(".")[0])
            try:
                return super().find_class(module_name, global_name)
            except (ImportError, AttributeError) as error:
                raise ModelError(_class_is_missing(path, module_name, global_name, finder.folder, error)) from error

    return SimpleNamespace(__name__="pickle", load=pickle.load, Unpickler=Unpickler)


def _class_is_missing(path: Path, module: str, name: str, folder: str, error: Exception) -> str:
    file = f"{module.partition('.')[0]}.py"
    start = f"{path} is a pickled network of the class {module}.{name}, which cannot be found ({error})."
    if module == "__main__":
        return f"{start} It stood in the script that saved the file; use the state dict beside it."
    if folder:
        return f"{start} --pickle-folder {folder} must name the folder that holds {file}."
    return f"{start} Name the folder that holds {file}: --trust-pickle --pickle-folder FOLDER."


def refusal_of_pickle(path: Path, error: Exception) -> PickledNetworkError:
    """Return the error for a pickled network that nobody has trusted; torch's own names its class."""
    found = _REFUSED_CLASS.search(str(error))
    name = found[1] if found else ""
    module = name.partition(".")[0]
    needs_folder = module not in ("", "torch", "torchvision", "timm", "__main__")
    flags = "--trust-pickle" + (f" --pickle-folder FOLDER (the folder that holds {module}.py)" if needs_folder else "")
    return PickledNetworkError(
        f"The file {path} holds more than weights: a pickled network{f' of the class {name}' if name else ''}, as in "
        "the earlier program's best_model_weight.pth. Loading it runs the code in it. If you trust whoever made the "
        f"file, give {flags}; otherwise use a state dict beside it (best_model_all.pth or last_model_weight.pth of the "
        "earlier program)."
    )
