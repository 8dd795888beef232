"""Files of published weights: what they are called, where they come from, and whether they are on this machine.

A file is looked for in the user's folder of weights, then where the libraries keep their downloads. Only then, and
never in offline mode, the network is asked.
"""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_aggregation.errors import ModelError
from model_aggregation.files import whole_or_absent
from model_aggregation.models.libraries import quiet, timm_configuration, torchvision_weights
from model_aggregation.models.own import make_own, own_takes
from model_aggregation.models.servers import CONFIGURATION, check_hub_reachable, check_reachable, hub_is_offline
from model_aggregation.models.weights import read_weights
from model_aggregation.models.zoo import (
    SOURCES,
    SUFFIXES,
    ModelName,
    file_names,
    is_published,
    known_architectures,
    weight_tags,
)

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that a repository of the hub gives to its weights, in the order in which timm looks for them."""

CLASSES = 1000
"""Classes of a user's network that is asked for its own weights; its head is replaced anyway."""


@dataclass(frozen=True)
class Whereabouts:
    """Where weights may come from: a folder of the user's, and the network unless ``offline``."""

    weights_dir: Path | None = None
    offline: bool = False


@dataclass(frozen=True)
class PublishedFile:
    """The weights that a library publishes for one model.

    ``address`` is where a person can download them, ``name`` what the file is called in a folder of weights, and
    ``repository`` the one of the Hugging Face hub, if they are kept there.
    """

    name: str
    address: str
    repository: str = ""

    @property
    def expected_hash(self) -> str | None:
        """Return the beginning of the SHA-256 that the file's name holds, if any."""
        found = re.search(r"-([a-f0-9]{8,})\.", self.address.rpartition("/")[2])
        return found.group(1) if found else None


def published_file(model: ModelName) -> PublishedFile | None:
    """Return what a library publishes for ``model``, or None."""
    if model.own or not is_published(model):
        return None
    if model.source == "torchvision":
        entry = torchvision_weights(model)
        return PublishedFile(entry.url.rpartition("/")[2], entry.url) if entry else None
    if model.on_hub:
        repository = model.architecture.removeprefix("hf_hub:")
        return PublishedFile(f"{repository}/{HUB_FILES[0]}", _hub_address(repository), repository)
    configuration = timm_configuration(model)
    if configuration.hf_hub_id:
        name = f"{model.architecture}.{model.tag or weight_tags(model)[0]}.safetensors"
        return PublishedFile(name, _hub_address(configuration.hf_hub_id), configuration.hf_hub_id)
    return PublishedFile(configuration.url.rpartition("/")[2], configuration.url) if configuration.url else None


def _hub_address(repository: str) -> str:
    name, _, revision = repository.partition("@")
    return f"https://huggingface.co/{name}/resolve/{revision or 'main'}/{HUB_FILES[0]}"


def local_file(model: ModelName, weights_dir: Path | None = None) -> Path | None:
    """Return the file of a model's weights on this machine, or None; raises as :func:`weights_in_folder`."""
    found = weights_in_folder(model, weights_dir)
    published = published_file(model)
    return _downloaded(published) if found is None and published else found


def weights_in_folder(model: ModelName, folder: Path | None) -> Path | None:
    """Return the file of a model's weights in a folder of the user's, or None.

    Raises
    ------
    ModelError
        If the folder is missing, or several of its files are for this model.
    """
    if folder is None:
        return None
    if not folder.is_dir():
        raise ModelError(f"The folder of weights {folder} (--weights-dir) is not there.")
    found = [path for name in _names_in_folder(model) if (path := folder / name).is_file()]
    if len(found) > 1:
        raise ModelError(
            f"{folder} holds several files for '{model}': {', '.join(path.name for path in found)}. Keep one of them, "
            f"or name the file with --weights {model}=FILE."
        )
    return found[0] if found else None


def _names_in_folder(model: ModelName) -> list[str]:
    """Return the names under which a folder of weights may hold a model's file.

    They are the name that the library gives it, or the model's own name with any suffix of weights; without its tag
    only for the weights that the library would choose itself.
    """
    published = published_file(model)
    names = [published.name, f"{published.repository or '-'}/{HUB_FILES[0]}"] if published else []
    default = next(iter(weight_tags(model)), "")
    stems = file_names(model)
    if not model.tag and default:
        stems.append(f"{model.architecture}.{default}")
    elif model.tag and model.tag == default:
        stems.append(model.architecture)
    return list(dict.fromkeys(names + [f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]))


def models_here(weights_dir: Path | None) -> list[ModelName]:
    """Return every model whose pretrained weights are on this machine: the libraries' choice, and files with a tag."""
    found: dict[Path, ModelName] = {}
    for model in (ModelName(source, name) for source in SOURCES for name in known_architectures(source)):
        file = local_file(model, weights_dir) if weight_tags(model) else None
        if file is not None:
            found.setdefault(file, model)
    for file in sorted(weights_dir.iterdir()) if weights_dir else []:
        architecture, _, tag = file.stem.replace("-", ".", 1).partition(".")
        for model in (ModelName(source, architecture, file.stem[len(architecture) + 1 :]) for source in SOURCES):
            known = tag and file.suffix in SUFFIXES and architecture in known_architectures(model.source)
            if known and weights_in_folder(model, weights_dir) == file:
                found.setdefault(file, model)
    return list(found.values())


def _downloaded(published: PublishedFile) -> Path | None:
    if not published.repository:
        file = _torch_cache() / published.name
        return file if file.is_file() else None
    return _in_hub_cache(published.repository, HUB_FILES)


def _in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition("@")
    for file_name in names:
        found = try_to_load_from_cache(name, file_name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_or_bring(model: ModelName, whereabouts: Whereabouts = Whereabouts()) -> Path:
    """Return the file of a model's published weights, downloaded into the library's own folder if it is not here.

    Raises
    ------
    ModelError
        If there is none, or it is not on this machine and cannot be downloaded: the message says what the file is
        called, where it comes from and where to put it.
    """
    found = local_file(model, whereabouts.weights_dir)
    if found is not None:
        return found
    problem, published = why_not_here(model, whereabouts), published_file(model)
    if problem or published is None:
        raise ModelError(problem or no_weights(model))
    try:
        return download(published)
    except Exception as error:  # whatever the libraries raise without a network
        raise ModelError(
            _how_to_bring(model, published, whereabouts, f"they could not be downloaded ({_reason(error)})")
        ) from error


def why_not_here(model: ModelName, whereabouts: Whereabouts) -> str | None:
    """Return why a model's pretrained weights cannot be had, as far as this is known without asking the network."""
    if local_file(model, whereabouts.weights_dir) is not None:
        return None
    if model.own:
        return None if own_takes(model.source, model.architecture, "pretrained") else no_weights(model)
    published = published_file(model)
    if published is None:
        return no_weights(model)
    if whereabouts.offline or hub_is_offline():
        return _how_to_bring(model, published, whereabouts, "this is offline mode, so nothing is downloaded")
    return None


def published_weights(model: ModelName, whereabouts: Whereabouts = Whereabouts()) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that belongs to ``model`` as its file holds it, and where it came from.

    Raises
    ------
    ModelError
        As :func:`find_or_bring`.
    """
    if model.own and local_file(model, whereabouts.weights_dir) is None and not why_not_here(model, whereabouts):
        return make_own(model.source, model.architecture, CLASSES, pretrained=True).state_dict(), f"{model} itself"
    file = find_or_bring(model, whereabouts)
    published = published_file(model)
    own_file = whereabouts.weights_dir is not None and file.is_relative_to(whereabouts.weights_dir)
    return read_weights(file), str(file) if own_file or published is None else published.address


def download(published: PublishedFile) -> Path:
    """Download a file into the library's own folder and return its path there."""
    if published.repository:
        return _from_hub(published.repository, HUB_FILES)
    target = _torch_cache() / published.name
    check_reachable(published.address)
    with whole_or_absent(target) as temporary:
        torch.hub.download_url_to_file(published.address, str(temporary), published.expected_hash, progress=False)
    return target


def _from_hub(repository: str, names: Sequence[str]) -> Path:
    """Download the first of the files that the repository has."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    check_hub_reachable()
    name, _, revision = repository.partition("@")
    with quiet("huggingface_hub"):
        for file_name in names[:-1]:
            with suppress(EntryNotFoundError):
                return Path(hf_hub_download(name, file_name, revision=revision or None))
        return Path(hf_hub_download(name, names[-1], revision=revision or None))


def copy_into(folder: Path, model: ModelName, whereabouts: Whereabouts = Whereabouts()) -> Path:
    """Put a model's published weights into ``folder`` under the name by which they are found there.

    A repository of the hub gets a folder of its own, OWNER/NAME, with the configuration that says what network it is.
    """
    source = find_or_bring(model, whereabouts)
    published = published_file(model)
    if published is None:
        return source
    if model.on_hub:
        _copy(_hub_configuration(model, whereabouts), folder / published.repository / CONFIGURATION)
    if source.is_relative_to(folder):
        return source
    own_folder = published.repository if model.on_hub else "."
    name = source.name if model.on_hub else Path(published.name).with_suffix(source.suffix).name
    return _copy(source, folder / own_folder / name)


def _copy(source: Path, target: Path) -> Path:
    if source != target:
        with whole_or_absent(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _hub_configuration(model: ModelName, whereabouts: Whereabouts) -> Path:
    """Return the file that says what network a repository holds, downloaded if it is not on this machine."""
    repository = model.architecture.removeprefix("hf_hub:")
    own = (whereabouts.weights_dir or Path()) / repository / CONFIGURATION
    found = own if whereabouts.weights_dir and own.is_file() else _in_hub_cache(repository, [CONFIGURATION])
    if found is not None:
        return found
    try:
        if whereabouts.offline or hub_is_offline():
            raise ConnectionError("this is offline mode, so nothing is downloaded")
        return _from_hub(repository, [CONFIGURATION])
    except Exception as error:  # whatever the hub's client raises
        address = _hub_address(repository).rpartition("/")[0]
        raise ModelError(
            f"{CONFIGURATION} of '{model}', which says what network the repository holds, could not be downloaded "
            f"({_reason(error)}). It comes from {address}/{CONFIGURATION}: put it as {own} beside its weights."
        ) from error


def no_weights(model: ModelName) -> str:
    """Return the sentence for a model without published weights."""
    if model.own and not own_takes(model.source, model.architecture, "pretrained"):
        return (
            f"'{model}' is a network of your own whose function takes no 'pretrained'. "
            "Give a file (--weights), or start from random weights (--no-pretrained)."
        )
    return (
        f"The library publishes no pretrained weights for '{model}'. "
        "Give a file (--weights), or start from random weights (--no-pretrained)."
    )


def _how_to_bring(model: ModelName, published: PublishedFile, whereabouts: Whereabouts, reason: str) -> str:
    folder = whereabouts.weights_dir or "a folder that --weights-dir names"
    similar = _similar_files(model, whereabouts.weights_dir)
    hint = ""
    if similar:
        own = f"{model.architecture}.{Path(similar[0]).stem[len(model.architecture) + 1 :]}".rstrip(".")
        hint = f" (That folder holds {', '.join(similar)}, which is not the same; {model.source}:{own} names it.)"
    beside = f", and {CONFIGURATION} from there beside it" if model.on_hub else ""
    library = beside if published.repository else f" or as {_torch_cache() / published.name}"
    return (
        f"The pretrained weights of '{model}' are not on this machine, and {reason}. The file comes from "
        f"{published.address}: put it as {published.name} into {folder}{library}, or name it with --weights "
        f"{model}=FILE. Where there is internet, 'magg weights fetch {model} --to DIR' brings it. --no-pretrained "
        f"starts from random weights instead.{hint}"
    )


def _similar_files(model: ModelName, folder: Path | None) -> list[str]:
    if folder is None or not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if re.split(r"[.-]", name)[0] == model.architecture and name.endswith(SUFFIXES)]


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
