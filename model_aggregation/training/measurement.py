"""Settling how a network computes on this machine: what the settings leave open is timed, once before a run.

A run that is too short to win back what the timing costs is computed plainly: in float32, contiguous.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from model_aggregation.config import Settings
from model_aggregation.files import read_json, write_json
from model_aggregation.models.arithmetic import Arithmetic, Inference, MemoryFormat, Mode, Precision
from model_aggregation.models.build import Network
from model_aggregation.models.inference import copied_for_inference, example_images
from model_aggregation.models.learning import as_learnt
from model_aggregation.models.memory import free_memory, is_lack_of_memory
from model_aggregation.software import versions
from model_aggregation.startup import FreeCores
from model_aggregation.training.job import is_frozen, kept_views

_STEP_IMAGES = {"cpu": 4, "mps": 16}  # of a timed training step; on other devices a whole batch
_LOOK_IMAGES = {"cpu": 4, "mps": 32, "cuda": 64}  # of a timed forward pass
_BATCHES = {"cpu": (16, 32), "mps": (32, 64), "cuda": (128, 512)}  # images at once: by itself, and worth trying
_PASSES = 3  # of each candidate, at most: one to warm up, two that are timed
_WORTH = 2  # a run is timed if it computes so many times as many images as timing it
_CLOSE = 1.3  # a candidate that is slower than the best by more is timed no second time

_Choice = tuple[Mode, int]  # a mode, and how many images at once
_Action = Callable[[], object]  # one pass
_Actions = Callable[[list[_Choice]], Iterator[tuple[_Choice, _Action]]]


@dataclass(frozen=True)
class Amount:
    """How many images a run computes, with learning and without; and for how many augmentation draws a change."""

    learnt: int
    looked_at: int
    changed: int = 0


def amount_of(settings: Settings, counts: dict[str, int], *, pretrained: bool) -> Amount:
    """Return the amount of a run from its images in train, val and test."""
    train, validation, test = (counts.get(name, 0) for name in ("train", "val", "test"))
    epochs = settings.epochs if settings.train else 0
    frozen = sum(is_frozen(settings, epoch, pretrained=pretrained) for epoch in range(epochs))
    kept = kept_views(settings, frozen)
    stored, views = kept is not None, frozen if kept is None else min(frozen, kept)
    rounds = (
        epochs - frozen + (min(frozen, 1) if stored else frozen) + 1
    )  # over the validation images; the last is for the results
    learnt, shown = train * (epochs - frozen), train * views
    return Amount(learnt, shown + validation * rounds + test, learnt + shown)


def settle_arithmetic(
    network: Network,
    settings: Settings,
    device: torch.device,
    amount: Amount,
    *,
    earlier: Arithmetic | None = None,
    folder: Path | None = None,
    cores: FreeCores | None = None,
) -> Arithmetic:
    """Return how the network computes, and let torch compute on so many threads from now on.

    What was settled ``earlier`` for the same run holds, unless it was for another kind of device. What was timed is
    kept in ``folder``, so that equal settings give equal choices on this machine. Threads are as many as ``cores``.
    """
    most = _most_threads()
    if earlier is not None and earlier.device == device.type:
        torch.set_num_threads(earlier.threads)
        return earlier
    threads = settings.threads or (most if "OMP_NUM_THREADS" in os.environ else 0)
    threads = threads or min(most, (cores or FreeCores()).count())
    torch.set_num_threads(threads)
    network.module.to(device)
    memory = None if folder is None else folder / f"{_key(network, settings, device, threads)}.json"
    timing = _Timing(network, settings, device, _candidates(settings), memory, {})
    training = timing.fastest_step(amount.learnt)
    mode = timing.fastest_look(amount.looked_at)
    inference = timing.fastest_batch(mode, amount.looked_at)
    if settings.decoding == "earlier":  # probabilities as they were: folding may move the fifth decimal
        inference = replace(inference, fold=False)
    return Arithmetic(training, inference, threads, device.type, timing.origin(), timing.seconds)


@cache
def _most_threads() -> int:
    """Return the threads that torch started with; asked for before any run changes them."""
    return torch.get_num_threads()


def _key(network: Network, settings: Settings, device: torch.device, threads: int) -> str:
    """Return what a timing belongs to: the network and its images, the machine, the software."""
    facts = (network.name, network.preprocessing, settings.head, settings.batch_size, threads, versions())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return hashlib.sha256(repr((facts, device.type, name, platform.node())).encode()).hexdigest()[:32]


def _candidates(settings: Settings) -> list[Mode]:
    """Return the modes that the settings leave open, the plain one last; bfloat16 is tried channels-last only."""
    precisions: list[Precision] = ["bf16", "32"] if settings.precision == "auto" else [settings.precision]
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if settings.memory_format != "auto":
        formats = [settings.memory_format]
    modes = [Mode(precision, order) for precision in precisions for order in formats]
    return [mode for mode in modes if len(modes) < 4 or mode != Mode("bf16", "contiguous")]


@dataclass(frozen=True, eq=False)
class _Timing:
    """Candidates for one network on one device; ``seconds`` collects what each took for an image.

    ``memory`` is the file that keeps them for other runs.
    """

    network: Network
    settings: Settings
    device: torch.device
    modes: list[Mode]
    memory: Path | None
    seconds: dict[str, float]

    def origin(self) -> str:
        """Say how the choice came about."""
        kinds = [kind for kind in ("training", "inference") if any(name.startswith(kind) for name in self.seconds)]
        if kinds:
            return f"{' and '.join(kinds)} timed on this machine"
        return "as set" if len(self.modes) == 1 else "plain: too few images to be worth timing"

    def fastest_step(self, amount: int) -> Mode:
        """Return the mode whose training step is the quickest, if ``amount`` images to learn are worth timing it."""
        count = _STEP_IMAGES.get(self.device.type, self.settings.batch_size)
        if not self._is_worth(count, amount):
            return self.modes[-1]
        return self._fastest_mode("training", self.modes, count, self._steps)

    def fastest_look(self, amount: int) -> Mode:
        """Return the mode in which looking at images is the quickest."""
        count = _LOOK_IMAGES[self.device.type]
        if not self._is_worth(count, amount):
            return self.modes[-1]
        return self._fastest_mode("inference", self.modes, count, self._looks)

    def fastest_batch(self, mode: Mode, amount: int) -> Inference:
        """Return the mode with the number of images at once: the usual one, or more if that is faster."""
        usual, large = _BATCHES[self.device.type]
        if self.settings.predict_batch_size is not None:
            return Inference(mode, self.settings.predict_batch_size)
        if amount < 10 * _WORTH * _PASSES * large:  # it gains little
            return Inference(mode, usual)
        try:
            return Inference(*self._fastest("inference", [(mode, usual), (mode, large)], self._looks))
        except RuntimeError as error:
            if not is_lack_of_memory(error):
                raise
            return Inference(mode, usual)  # predicting itself finds out what fits

    def _is_worth(self, count: int, amount: int) -> bool:
        return len(self.modes) > 1 and amount > _WORTH * _PASSES * count * len(self.modes)

    def _steps(self, choices: list[_Choice]) -> Iterator[tuple[_Choice, _Action]]:
        copy = replace(self.network, module=deepcopy(self.network.module))
        copy.thaw()
        copy.train_mode()
        for mode, count in choices:
            copy.module.to(memory_format=mode.layout)  # type: ignore[call-overload]
            images = example_images(copy, count, self.device).contiguous(memory_format=mode.layout)
            yield (mode, count), partial(_step, copy, mode, images)

    def _looks(self, choices: list[_Choice]) -> Iterator[tuple[_Choice, _Action]]:
        size, channels = self.network.preprocessing.image_size, self.network.preprocessing.channels
        for mode, count in choices:
            images = torch.zeros(count, channels, size, size, dtype=torch.uint8)
            with copied_for_inference(self.network, self.device, Inference(mode)) as (_, forward):
                yield (mode, count), partial(forward, images)

    def _fastest_mode(self, kind: str, modes: list[Mode], count: int, actions: _Actions) -> Mode:
        """Return the quickest mode, timed with fewer images where so many do not fit into memory."""
        while True:
            try:
                return self._fastest(kind, [(mode, count) for mode in modes], actions)[0]
            except RuntimeError as error:
                if count == 1 or not is_lack_of_memory(error):
                    raise
            free_memory()
            count //= 2

    def _fastest(self, kind: str, choices: list[_Choice], actions: _Actions) -> _Choice:
        """Return the quickest choice, from what is remembered or timed now."""
        names = {choice: f"{kind} {choice[0]}, {choice[1]} at once" for choice in choices}
        question = "; ".join(names.values())
        known = {} if self.memory is None or not self.memory.exists() else read_json(self.memory)
        if question not in known:
            known[question] = {names[choice]: value for choice, value in _timed(actions(choices), self.device).items()}
            if self.memory is not None:
                write_json(self.memory, known)
        seconds = known[question]
        self.seconds.update(seconds)
        return min((choice for choice in choices if names[choice] in seconds), key=lambda one: seconds[names[one]])


def _step(network: Network, mode: Mode, images: Tensor) -> None:
    with mode.autocast(images.device), as_learnt(network, images.device):
        loss = network.module(images).float().square().mean()
    loss.backward()
    network.module.zero_grad(set_to_none=True)


def _timed(actions: Iterator[tuple[_Choice, _Action]], device: torch.device) -> dict[_Choice, float]:
    """Return the seconds of each action for an image, after a first pass that warms up.

    What cannot be done here (no such precision on this device, no memory for so many images) is left out, and what
    follows on a choice that is far behind: float32 that is much slower than bfloat16 in one memory format is so in the
    other.
    """
    seconds: dict[_Choice, float] = {}
    obstacle: RuntimeError | None = None
    for choice, action in actions:
        try:
            seconds_of_pass(action, device)
            taken = seconds_of_pass(action, device) / choice[1]
            if not seconds or taken < _CLOSE * min(seconds.values()):
                taken = min(taken, seconds_of_pass(action, device) / choice[1])
        except RuntimeError as error:
            obstacle = error
            continue
        seconds[choice] = round(taken, 6)
        if taken > _CLOSE * min(seconds.values()):
            break
    if obstacle is not None and not seconds:
        raise obstacle
    return seconds


def seconds_of_pass(action: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that one pass takes, of a single thread its own time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter  # one thread's own time knows no neighbours
    started = clock()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started
