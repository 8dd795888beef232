"""Files of weights: reading them safely and fitting them to a network.

A pickled network is never loaded unless the user says so: ``.pth`` files go through ``weights_only=True``.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model_aggregation.errors import ModelError
from model_aggregation.models.libraries import fold_channels
from model_aggregation.models.pickled_networks import read_pickle, refusal_of_pickle

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module")


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """The state dict of a file; of a pickled network also whether it rescales its input itself, where it may."""

    state: dict[str, Tensor]
    transform_input: bool | None = None


def read_weights(path: Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """Return the state dict of a file alone; see :func:`read_weights_file`."""
    return read_weights_file(path, trust_pickle=trust_pickle).state


def read_weights_file(path: Path, *, trust_pickle: bool = False, pickle_folder: Path | None = None) -> StoredWeights:
    """Read the weights of a ``.safetensors`` or torch file, on the CPU.

    The earlier program's ``best_model_weight.pth`` holds a whole pickled network, its ``best_model_all.pth`` a state
    dict (the names were swapped). The latter is read as it is, the former only with ``trust_pickle``, since loading
    a pickle runs whatever code is in it; its classes may come from the Python files of ``pickle_folder``.

    Raises
    ------
    PickledNetworkError
        If the file is a pickled network that is not trusted.
    ModelError
        If the file is missing or damaged, or a class that it names cannot be found.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return StoredWeights(load_file(path))
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not trust_pickle:
                raise refusal_of_pickle(path, error) from error
            content = read_pickle(path, pickle_folder)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"The weights file {path} cannot be read: {error}") from error
    if isinstance(content, nn.Module):
        return StoredWeights(dict(content.state_dict()), getattr(content, "transform_input", None))
    return StoredWeights(_unwrapped(content, path))


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    for key in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise ModelError(f"The weights file {path} holds no state dict (names with tensors).")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"The weights file {path} holds no tensors.")
    return tensors


@dataclass(frozen=True)
class Fit:
    """How a state dict goes into a network: tensors that fit, and in words what does not."""

    tensors: dict[str, Tensor]
    problems: tuple[str, ...]


def fit_weights(
    module: nn.Module,
    state: dict[str, Tensor],
    *,
    head: frozenset[str],
    origin: str,
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    allow_partial: bool = False,
) -> tuple[str, ...]:
    """Load ``state`` into ``module``, but for the tensors of ``head``: a new head keeps its fresh weights.

    With an empty ``head`` everything must be in the file. Tensors are cast to the network's type. A first layer for
    three channels is summed for a grey network. Where something does not fit, ``adapt`` may bring the state dict into
    the network's form. With ``allow_partial`` what fits is loaded, and what does not is returned.

    Raises
    ------
    ModelError
        Listing every tensor that is missing, left over or of another shape. Nothing is loaded then.
    """
    own = module.state_dict()
    state = _without_prefix(state, own)
    fit = _compared(state, own, head)
    if fit.problems and adapt is not None:
        fit = min(fit, _compared(adapt(state), own, head), key=lambda one: len(one.problems))
    if fit.problems and not (allow_partial and fit.tensors):
        advice = "--allow-partial-weights takes what fits" if fit.tensors else "nothing fits: it is of another network"
        raise ModelError(f"The weights from {origin} do not fit the network ({advice}):", fit.problems)
    module.load_state_dict({**own, **fit.tensors})
    return fit.problems


def _compared(state: dict[str, Tensor], own: dict[str, Tensor], head: frozenset[str]) -> Fit:
    state = {name: value for name, value in state.items() if not _is_auxiliary(name)}
    places = tuple({f"{_classifier(name)}." for name in head})
    fitted: dict[str, Tensor] = {}
    problems: list[str] = []
    for name, value in state.items():
        if name in head or (name not in own and name.startswith(places)):
            continue  # a classifier for other classes: the new head keeps its fresh weights
        if name not in own:
            problems.append(f"{name}: the network has no such tensor")
        elif value.shape == own[name].shape:
            fitted[name] = value.to(own[name].dtype)
        elif _is_first_layer(value, own[name]):
            fitted[name] = fold_channels(value.float(), own[name].shape[1]).to(own[name].dtype)
        else:
            problems.append(f"{name}: shape {tuple(value.shape)}, the network needs {tuple(own[name].shape)}")
    missing = [
        name for name in own if name not in state and name not in head and not name.endswith("num_batches_tracked")
    ]
    problems += [f"{name}: missing in the file" for name in missing]
    return Fit(fitted, tuple(problems))


def _without_prefix(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove what wrappers put before every name (``module.model.``), if more names fit without it."""
    variants = [state]
    while True:
        state = variants[-1]
        prefix = next(iter(state)).partition(".")[0] + "."
        if not all(name.startswith(prefix) for name in state):
            return max(variants, key=lambda variant: len(variant.keys() & own.keys()))
        variants.append({name.removeprefix(prefix): value for name, value in state.items()})


def _classifier(name: str) -> str:
    """Return the attribute of the network that holds a tensor of the head: ``fc`` for ``fc.0.weight``."""
    return name.partition(".")[0] if name.count(".") > 1 else name.rpartition(".")[0]


def _is_auxiliary(name: str) -> bool:
    return name.split(".", maxsplit=1)[0].lower() in ("aux1", "aux2", "auxlogits")


def _is_first_layer(value: Tensor, own: Tensor) -> bool:
    return value.ndim == 4 and value.shape[1] == 3 and own.shape == (value.shape[0], 1, *value.shape[2:])
