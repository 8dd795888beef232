"""Finding the Python modules of a user's own networks: installed ones, or those of the working directory.

From the working directory comes what a model names (``my_networks:small``) and what such a module imports itself from
beside it, and nothing else: a file called ``onnx.py`` there is not what a library looks for. The same holds for the
folder of a pickled network's classes.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import get_args

from model_aggregation.input_options import Source
from model_aggregation.trusted_code import NamedCode, code_file, code_text

_LIBRARIES = (*get_args(Source), "pytorch", "hf_hub", "hf-hub")
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class FolderFinder:
    """The last place where Python looks for a module: a folder, for the names that were allowed to come from it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.named: set[str] = set()
        self.loaded: set[str] = set()

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return where a module lies if it was named, or if a module that came from here imports it."""
        if path is not None or not (name in self.named or _importing_module() in self.loaded):
            return None
        found = PathFinder.find_spec(name, [self.folder])
        if found is not None:
            self.loaded.add(name)
        return found


def _importing_module() -> str:
    """Return the name, up to the first dot, of the module whose code is importing now."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("importlib"):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__", "")).partition(".")[0]


@cache
def _finder(folder: str) -> FolderFinder:
    finder = FolderFinder(folder)
    sys.meta_path.append(finder)
    return finder


@contextmanager
def modules_from(folder: Path | None) -> Iterator[FolderFinder]:
    """Let modules that are put into ``named`` come from a folder inside the block; afterwards they are forgotten.

    Without a folder nothing comes from anywhere but where Python looks by itself.
    """
    finder = FolderFinder("" if folder is None else str(folder.resolve()))
    if folder is not None:
        sys.meta_path.append(finder)
    try:
        yield finder
    finally:
        if folder is not None:
            sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in finder.loaded]:
            del sys.modules[name]


def module_spec(name: str) -> ModuleSpec | None:
    """Return where a module lies, installed or in the working directory; nothing is executed.

    >>> module_spec("no_such_module"), Path(module_spec("json.decoder").origin).name
    (None, 'decoder.py')
    """
    if not _NAME.fullmatch(name):
        return None
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # as of __main__, which has no origin
        return None
    spec = spec or PathFinder.find_spec(first, [str(Path.cwd())])
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


def import_module(name: str) -> ModuleType:
    """Import a module that a model names.

    Raises
    ------
    ImportError, or whatever the module raises
        If it cannot be imported.
    """
    _finder(str(Path.cwd())).named.add(name.partition(".")[0])
    return importlib.import_module(name)


def code_of_networks(models: Iterable[str]) -> Iterator[NamedCode]:
    """Yield the modules behind names of models, but for those of the libraries and names that no module has."""
    for model in models:
        module, colon, _ = model.partition(":")
        if not colon or module in _LIBRARIES or (spec := module_spec(module)) is None:
            continue
        if spec.has_location and spec.origin:
            yield code_file("model", Path(spec.origin), model)
        else:
            yield code_text("model", model)
