"""Building a network: architecture, new head, pretrained weights, freezing, and its own preprocessing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_aggregation.config import Settings
from model_aggregation.data.decoding import Decoding, reading_rule
from model_aggregation.data.pixels import PixelRule
from model_aggregation.errors import ModelError, SettingsError
from model_aggregation.models.adapting import library_form
from model_aggregation.models.earlier_weights import todays_names, without_head
from model_aggregation.models.heads import fresh_head, learning_parts, with_mlp_head
from model_aggregation.models.libraries import IMAGENET, input_facts, make_module, rescales_input
from model_aggregation.models.own import check_logits
from model_aggregation.models.published import Whereabouts, published_weights
from model_aggregation.models.servers import hub_as_set
from model_aggregation.models.weights import StoredWeights, fit_weights, read_weights_file
from model_aggregation.models.zoo import ModelName, parse_model_name


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input: brought to a square, scaled to [0, 1], normalised per channel.

    ``resize``, ``shorter_side`` (pixels, before a crop) and ``decoding`` are those of :class:`PixelRule`.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    channels: int
    resize: str = "squash"
    shorter_side: int | None = None
    decoding: Decoding = "standard"

    def pixel_rule(self) -> PixelRule:
        """Return how a file becomes the pixels of this network."""
        return PixelRule(
            self.image_size,
            self.channels,
            self.interpolation,
            self.resize,
            self.shorter_side,
            decoding=self.decoding,
        )

    def in_words(self) -> str:
        """Return size, channels, resizing, interpolation and an unusual decoding for people."""
        resize = self.resize if self.shorter_side is None else f"crop of shorter side {self.shorter_side}"
        decoding = "" if self.decoding == "standard" else f", decoded as by the {self.decoding} program"
        return f"{self.image_size}×{self.image_size}×{self.channels} {resize} {self.interpolation}{decoding}"

    def normalize(self, images: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        """Turn uint8 images (N, C, H, W) into normalised float32; float images are passed through as they are."""
        if images.dtype != torch.uint8:
            return images.contiguous(memory_format=layout)
        height, width = images.shape[2:]
        mean, std = (_plane(values, height, width, layout, images.device) for values in (self.mean, self.std))
        return images.to(torch.float32, memory_format=layout).div_(255).sub_(mean).div_(std)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


@lru_cache(maxsize=8)
def _plane(
    values: tuple[float, ...], height: int, width: int, layout: torch.memory_format, device: torch.device
) -> Tensor:
    """Return an image of one colour: channels-last, torch subtracts it eight times as quickly as the colour itself."""
    with torch.inference_mode(mode=False):  # it is used in training too
        colour = torch.tensor(values, device=device).view(1, -1, 1, 1)
        return colour.expand(1, -1, height, width).contiguous(memory_format=layout)


@dataclass(frozen=True, eq=False)
class Network:
    """A network ready to train: the module, the names of its head's tensors, and what belongs to its weights."""

    module: nn.Module
    name: ModelName
    head: frozenset[str]
    preprocessing: Preprocessing
    weights_origin: str | None

    @property
    def parameters(self) -> int:
        """Number of trainable numbers when nothing is frozen."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def classes(self) -> int:
        """Number of classes: the outputs of the last layer of the head."""
        state = self.module.state_dict()
        return state[[name for name in state if name in self.head][-1]].shape[0]

    @property
    def pretrained(self) -> bool:
        """Whether the body comes from pretrained weights."""
        return self.weights_origin is not None

    def freeze(self) -> None:
        """Let only the head learn."""
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad = name in self.head

    def thaw(self) -> None:
        """Let everything learn."""
        for parameter in self.module.parameters():
            parameter.requires_grad = True

    def train_mode(self, *, keep_frozen_statistics: bool = True) -> None:
        """Switch to training; what is frozen computes as in evaluation, unless its statistics shall be updated."""
        self.module.train()
        if keep_frozen_statistics and not all(parameter.requires_grad for parameter in self.module.parameters()):
            self.module.eval()
            for name in learning_parts(self.module, self.head):
                self.module.get_submodule(name).train()


def pixel_rule(preprocessing: Preprocessing, settings: Settings) -> PixelRule:
    """Return the rule by which a file becomes the pixels that a network sees."""
    return replace(preprocessing.pixel_rule(), reading=reading_rule(settings.window, settings.max_pixels))


def preprocessing_for(model: ModelName, settings: Settings) -> Preprocessing:
    """Return a model's own preprocessing, with what the settings put in its place.

    Raises
    ------
    SettingsError
        If ``normalize`` cannot be read for this number of channels.
    """
    with hub_as_set(offline=settings.offline, weights_dir=settings.weights_dir):
        facts = input_facts(model)
    own = facts.mean, facts.std
    if settings.channels == 1 and settings.rescales_input and rescales_input(model):
        own = (0.5,) * 3, (0.5,) * 3  # what the network would make of three channels, which it cannot of one
    mean, std = _normalization(settings.normalize, own, settings.channels)
    size = settings.image_size or facts.size
    if size == "earlier":
        size = 299 if model.architecture.startswith("inception") else 224
    interpolation = facts.interpolation if settings.interpolation == "model" else settings.interpolation
    shorter_side = facts.shorter_side(size) if settings.resize == "crop" else None
    return Preprocessing(
        size, mean, std, interpolation, settings.channels, settings.resize, shorter_side, decoding=settings.decoding
    )


def _normalization(
    text: str, own: tuple[tuple[float, ...], tuple[float, ...]], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    named = {"model": own, "imagenet": IMAGENET, "half": ((0.5,) * 3, (0.5,) * 3)}
    if text in named:
        mean, std = named[text]
        if channels == 1:  # a grey image has one value for each of the three
            return (sum(mean) / len(mean),), (sum(std) / len(std),)
        return mean, std
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if len(mean) != channels or len(std) != channels or min(std, default=0) <= 0:
        raise SettingsError(
            f"normalize: expected model, imagenet, half, or {channels} means and {channels} deviations above 0 "
            f"as 'MEAN,…/STD,…', but '{text}' was given."
        )
    return mean, std


def weights_file(model: ModelName, settings: Settings) -> Path | None:
    """Return the file of weights that the settings name for ``model``, if any."""
    for key, path in settings.weights_by_model().items():
        if not key or parse_model_name(key, settings.source) == model:
            return path
    return None


def build_network(model: ModelName, classes: int, settings: Settings, *, with_weights: bool = True) -> Network:
    """Build ``model`` with a new head for ``classes`` classes and the weights that the settings ask for.

    Without ``with_weights`` all is the same but the weights, which are random. The random part is drawn from
    torch's global generator: seed it before for the same network.

    Raises
    ------
    ModelError
        If the network cannot be made, or its weights are not to be had or do not fit.
    """
    preprocessing = preprocessing_for(model, settings)
    channels, size = preprocessing.channels, preprocessing.image_size
    shape = {"channels": channels, "image_size": size}
    try:
        with hub_as_set(offline=settings.offline, weights_dir=settings.weights_dir):
            module = make_module(
                model, classes, pretrained=settings.pretrained, transform_input=settings.transform_input, **shape
            )
            head = head_tensors(model, module, classes, **shape)
    except ModelError:
        raise
    except Exception as error:  # whatever a library raises for sizes and channels it cannot do
        raise ModelError(
            f"The network '{model}' cannot be built for images {size}×{size}×{channels}: {error}"
        ) from error
    if model.own:
        check_logits(module, str(model), torch.zeros(1, channels, size, size), classes)
    fresh_head(module, head)
    if settings.head == "mlp":
        head = with_mlp_head(module, head, source=model.source)
    network = Network(module, model, head, preprocessing, None)
    return _with_pretrained(network, settings) if with_weights and settings.pretrained else network


def _with_pretrained(network: Network, settings: Settings) -> Network:
    """Return the network with the weights of a file or of its library; where they came from is part of it."""
    file = weights_file(network.name, settings)
    if file is not None:
        stored = read_weights_file(file, trust_pickle=settings.trust_pickle, pickle_folder=settings.pickle_folder)
        origin = str(file)
    else:
        state, origin = published_weights(network.name, Whereabouts(settings.weights_dir, settings.offline))
        stored = StoredWeights(state)
    with hub_as_set(offline=settings.offline, weights_dir=settings.weights_dir):
        left = fill_network(
            network,
            stored,
            origin=origin,
            with_head=file is not None and not settings.train,
            allow_partial=settings.allow_partial_weights,
        )
    if left:
        origin += f" (in part: {len(left)} tensors did not fit or are missing, such as {left[0]})"
    return replace(network, weights_origin=origin)


def fill_network(
    network: Network, stored: StoredWeights, *, origin: str, with_head: bool, allow_partial: bool = False
) -> tuple[str, ...]:
    """Load stored weights, ours, the library's or the earlier program's, into a network; return what did not fit.

    Parameters
    ----------
    origin
        Where they come from, for the error.
    with_head
        Whether the head must come from them too; else it keeps its fresh weights.

    Raises
    ------
    ModelError
        If they do not fit, or belong to a network that treats its input in another way.
    """
    rescales = getattr(network.module, "transform_input", None)
    if None not in (rescales, stored.transform_input) and rescales != stored.transform_input:
        does = "rescales its input itself" if stored.transform_input else "does not rescale its input itself"
        raise ModelError(
            f"The pickled network of {origin} {does}, which this one would{'' if rescales else ' not'}; set "
            f"transform_input: {str(stored.transform_input).lower()} "
            f"(--{'' if stored.transform_input else 'no-'}transform-input)."
        )
    model, head, seen = network.name, network.head, network.preprocessing

    def adapted(state: dict[str, Tensor]) -> dict[str, Tensor]:
        body, own_head = without_head(state, head)
        return library_form(model, body, channels=seen.channels, image_size=seen.image_size) | own_head

    state = todays_names(stored.state, head, network.module.state_dict().keys())
    try:
        return fit_weights(
            network.module,
            state,
            head=frozenset() if with_head else head,
            origin=origin,
            adapt=adapted,
            allow_partial=allow_partial,
        )
    except ModelError as error:
        if without_head(state, head)[1] and not without_head(network.module.state_dict(), head)[1]:
            advice = " Its head has two layers, as those of the earlier program: --head mlp makes the same here."
            raise ModelError(error.message.removesuffix(":") + f".{advice}", error.problems) from error
        raise


def head_tensors(
    model: ModelName, module: nn.Module, classes: int, *, channels: int, image_size: int
) -> frozenset[str]:
    """Return the names of the tensors that belong to the head: those whose shape depends on the number of classes.

    No list of architectures is needed: a second skeleton with one class more shows what changes.
    """
    wider = _skeleton(model, classes + 1, channels=channels, image_size=image_size)
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    other = {name: tensor.shape for name, tensor in wider.state_dict().items()}
    changed = {name for name, shape in own.items() if other.get(name) != shape}
    if not changed:
        raise ModelError(f"'{model}' has no classification head: nothing in it depends on the number of classes.")
    layers = {name.rpartition(".")[0] for name in changed}
    return frozenset(name for name in own if name.rpartition(".")[0] in layers)


def _skeleton(model: ModelName, classes: int, *, channels: int, image_size: int) -> nn.Module:
    shape: dict[str, Any] = {"channels": channels, "image_size": image_size}
    with _unchanged_random_state():
        try:
            with torch.device("meta"):  # shapes only, no memory
                return make_module(model, classes, pretrained=True, **shape)
        except RuntimeError:  # architectures that read tensor values while being built
            return make_module(model, classes, pretrained=True, **shape)


@contextmanager
def _unchanged_random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
