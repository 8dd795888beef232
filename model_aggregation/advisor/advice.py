"""Suggesting a list of networks: each is measured and probed, the best by the probe that fit the budget are proposed.

``advise`` reads the images and the weights that are here, and writes nothing but timings into the cache.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import psutil
import torch

from model_aggregation.advisor.candidates import obstacles
from model_aggregation.advisor.memory import most_bytes, training_bytes
from model_aggregation.advisor.probe import Question, features_of, probe, sampled
from model_aggregation.config import Settings
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import ImageSource, StoredImages
from model_aggregation.data.parallel import usable_cores
from model_aggregation.data.pixels import PixelRule, decode_to_rules
from model_aggregation.errors import ModelAggregationError
from model_aggregation.evaluation.estimate import Estimate
from model_aggregation.fabric import make_fabric
from model_aggregation.forecast import forecast
from model_aggregation.models.build import build_network, pixel_rule
from model_aggregation.plan import Plan
from model_aggregation.progress import Reporter
from model_aggregation.run_images import stored_images
from model_aggregation.run_plan import RunPlan

State = Literal["proposed", "measured", "over budget", "too large", "failed", "not here", "stopped"]
PROBE_IMAGES = 500


@dataclass(frozen=True)
class Candidate:
    """One network: what its runs will cost here, and what a linear model makes of its frozen features.

    ``seconds`` and ``disk_bytes`` are those of all its runs, without decoding; ``memory_bytes`` is counted for one
    training batch; ``probe`` holds estimates by metric. None: not measured. ``reason`` says why it is not proposed.
    """

    model: str
    state: State
    reason: str = ""
    weights: str | None = None
    parameters: int | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    probe: Mapping[str, Estimate] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        probed = None if self.probe is None else {name: estimate.to_dict() for name, estimate in self.probe.items()}
        return {**vars(self), "probe": probed}


@dataclass(frozen=True)
class Advice:
    """The candidates, best probe first, and what the proposed ones need together.

    ``decoding_seconds`` and ``images_bytes`` are those of reading all images once for every candidate; nothing if they
    are kept from before. ``probe_images`` is the size of the sample of the training part that was probed.
    """

    candidates: tuple[Candidate, ...]
    metric: str
    positive: str | None = None
    budget_seconds: float | None = None
    probe_images: int = 0
    decoding_seconds: float = 0.0
    images_bytes: int = 0
    interrupted: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the proposed networks, best probe first."""
        return tuple(entry.model for entry in self.candidates if entry.state == "proposed")

    @property
    def seconds(self) -> float:
        """Seconds that the proposed networks take together, with decoding."""
        return self.decoding_seconds + sum(entry.seconds or 0 for entry in self._proposed())

    @property
    def memory_bytes(self) -> int:
        """Memory of the proposed network that needs most."""
        return max((entry.memory_bytes or 0 for entry in self._proposed()), default=0)

    @property
    def disk_bytes(self) -> int:
        """Bytes on the disk of the proposed networks together, with the decoded images."""
        return self.images_bytes + sum(entry.disk_bytes or 0 for entry in self._proposed())

    def _proposed(self) -> list[Candidate]:
        return [entry for entry in self.candidates if entry.state == "proposed"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        together = {"seconds": self.seconds, "memory_bytes": self.memory_bytes, "disk_bytes": self.disk_bytes}
        return {
            **vars(self),
            "candidates": [entry.to_dict() for entry in self.candidates],
            "proposed": {"models": list(self.models), **together},
        }

    def table(self) -> pd.DataFrame:
        """Return one row per candidate; ``probe`` is the metric, with its interval."""
        rows = []
        for entry in self.candidates:
            estimate = (entry.probe or {}).get(self.metric)
            found = (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)
            values = {key: value for key, value in vars(entry).items() if key not in ("probe", "reason")}
            numbers = dict(zip(("probe", "probe_low", "probe_high"), found, strict=True))
            rows.append({**values, "probe_metric": self.metric, **numbers, "reason": entry.reason})
        integers = dict.fromkeys(("parameters", "memory_bytes", "disk_bytes"), "Int64")
        return pd.DataFrame(rows).astype(integers)


def suggested(settings: Settings, planned: Callable[[Settings], Plan], **options: Any) -> Advice:
    """Return the advice for all models of the settings; those that cannot be looked at are rows with the reason.

    Parameters
    ----------
    planned
        Makes the plan of those that can.
    options
        As for :func:`advise`.
    """
    missing = obstacles(settings)
    others = tuple(Candidate(name, "not here", reason) for name, reason in missing.items())
    ready = tuple(name for name in settings.models if name not in missing)
    if not ready:
        return Advice(others, "", budget_seconds=options.get("budget_seconds"))
    return advise(planned(settings.model_copy(update={"models": ready})), others=others, **options)


def advise(
    plan: Plan,
    *,
    budget_seconds: float | None = None,
    probe_images: int = PROBE_IMAGES,
    reporter: Reporter | None = None,
    others: tuple[Candidate, ...] = (),
) -> Advice:
    """Measure and probe every model of a plan and propose those that fit.

    A model that fails is a row with its reason; Ctrl-C ends the measuring, and what was measured is returned.

    Parameters
    ----------
    budget_seconds
        Seconds that the comparison may take; default: no limit.
    probe_images
        About so many images of the training part are probed; validation and test images never.
    others
        Candidates that are listed without being measured.
    """
    models = list(dict.fromkeys(str(run.model) for run in plan.runs))
    found: dict[str, Candidate] = {}
    interrupted = False
    sample = None
    with (reporter or Reporter()).working() as working:
        try:
            sample = _Sample.of(plan, probe_images, working)
            for number, model in enumerate(models):
                working.count("networks", number, len(models), f"now {model}", steady=False)
                runs = tuple(run for run in plan.runs if str(run.model) == model)
                found[model] = _measured(plan, runs, sample, working)
        except KeyboardInterrupt:
            interrupted = True
    rest = [Candidate(model, "stopped", "stopped before it was measured") for model in models if model not in found]
    decoding = 0.0 if sample is None else sample.seconds_each * len(stored_images(plan)) / usable_cores()
    advice = Advice(
        (*found.values(), *rest, *others),
        plan.primary_metric,
        plan.positive,
        budget_seconds,
        0 if sample is None else len(sample.question.rows),
        round(decoding, 1),
        0 if sample is None else sum(rule.bytes_per_image for rule in sample.pixels) * len(stored_images(plan)),
        interrupted,
    )
    return _proposing(advice, plan)


@dataclass(frozen=True, eq=False)
class _Sample:
    """Images of the training part, decoded once by the rule of each network; ``seconds_each`` for all rules."""

    question: Question
    pixels: dict[PixelRule, np.ndarray]
    seconds_each: float

    @classmethod
    def of(cls, plan: Plan, most: int, reporter: Reporter) -> "_Sample":
        rows = sampled(plan.table.part("train"), most)
        rules = list(dict.fromkeys(pixel_rule(run.preprocessing, run.settings) for run in plan.runs))
        started, decoded = time.perf_counter(), []
        for number, path in enumerate(rows["path"]):
            decoded.append(decode_to_rules(path, rules))
            reporter.count("decoding a sample", number + 1, len(rows))
        seconds = (time.perf_counter() - started) / max(1, len(rows))
        pixels = {rule: np.stack([images[place] for images in decoded]) for place, rule in enumerate(rules)}
        question = Question(rows, plan.table.classes, plan.positive, plan.primary_metric, plan.table.has_groups)
        return cls(question, pixels, seconds)

    def source(self, rule: PixelRule) -> ImageSource:
        """Return the images as a network sees them."""
        return StoredImages(ImageStore(self.pixels[rule]), np.arange(len(self.pixels[rule])))


def _measured(plan: Plan, runs: tuple[RunPlan, ...], sample: _Sample, reporter: Reporter) -> Candidate:
    """Return a model's costs and probe, as far as they can be had."""
    run = runs[0]
    candidate = Candidate(str(run.model), "failed", weights=run.weights)
    try:
        costs = forecast(replace(plan, runs=runs))
        candidate = replace(
            candidate,
            parameters=costs[0].parameters,
            seconds=round(sum(cost.seconds for cost in costs if cost.state != "finished"), 1),
            disk_bytes=sum(cost.disk_bytes for cost in costs if cost.state != "finished"),
        )
        torch.manual_seed(run.settings.seed)
        network = build_network(run.model, len(plan.table.classes), run.settings)
        device = make_fabric(run.settings).device
        network.module.to(device)
        candidate = replace(candidate, memory_bytes=training_bytes(network, run.settings, device))
        features = features_of(
            network,
            sample.source(pixel_rule(run.preprocessing, run.settings)),
            device,
            told=lambda done, total: reporter.count(f"features of {run.model}", done, total),
        )
        return replace(candidate, state="measured", probe=probe(features, sample.question))
    except (ModelAggregationError, RuntimeError, ValueError, OSError, MemoryError) as error:
        return replace(candidate, reason=" ".join(str(error).split()) or type(error).__name__)


def _proposing(advice: Advice, plan: Plan) -> Advice:
    """Propose the measured candidates from the best probe down, as long as they fit."""
    device = make_fabric(plan.settings).device
    memory = most_bytes(device)
    folder = next(path for path in (plan.log_folder, *plan.log_folder.parents) if path.exists())
    disk = psutil.disk_usage(str(folder)).free - advice.images_bytes
    seconds = None if advice.budget_seconds is None else advice.budget_seconds - advice.decoding_seconds
    decided: list[Candidate] = []
    for entry in sorted(advice.candidates, key=lambda each: -_value(each, advice.metric)):
        needs = entry.seconds or 0.0, entry.memory_bytes or 0, entry.disk_bytes or 0
        if entry.state != "measured":
            decided.append(entry)
        elif needs[1] > memory:
            reason = f"needs {needs[1] / 2**30:.1f} GiB of memory for a batch; {device.type} has {memory / 2**30:.1f}"
            decided.append(replace(entry, state="too large", reason=f"{reason}; try a smaller --batch-size"))
        elif needs[2] > disk:
            decided.append(
                replace(entry, state="too large", reason=f"no room on the disk of {folder} beside the others")
            )
        elif seconds is not None and needs[0] > seconds:
            decided.append(replace(entry, state="over budget", reason="does not fit into what better probes leave"))
        else:
            decided.append(replace(entry, state="proposed"))
            disk -= needs[2]
            seconds = None if seconds is None else seconds - needs[0]
    return replace(advice, candidates=tuple(decided))


def _value(candidate: Candidate, metric: str) -> float:
    estimate = (candidate.probe or {}).get(metric)
    return -1.0 if estimate is None or estimate.value is None else estimate.value
