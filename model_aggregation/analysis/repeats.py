"""Several seeds and the folds of a cross-validation: which runs stand for their models, and how much they differ.

A standard deviation over seeds or folds says how much trainings differ; it is no interval of a model's performance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.analysis.stored_numbers import metrics_of
from model_aggregation.results.objects import Group, Run

REPEATS_COLUMNS = (
    "kind", "model", "run", "seed", "fold", "split", "metric", "value", "low", "high", "mean", "sd", "n", "reason",
)  # fmt: skip
"""``kind`` is ``run``, ``over folds`` (of one seed) or ``over seeds``; mean, sd and n belong to the last two."""


@dataclass(frozen=True, eq=False)
class Member:
    """A run of a group with what its environment says."""

    run: Run
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.run.name

    @property
    def model(self) -> str:
        """The model, such as ``torchvision:resnet18``."""
        return str(self.facts.get("model"))

    @property
    def is_fold(self) -> bool:
        """Whether the run is one fold of a cross-validation."""
        return isinstance(self.facts.get("fold"), int)

    @property
    def is_seed(self) -> bool:
        """Whether the run is one of several seeds; its folds, if any, are pooled in it."""
        return not self.is_fold and bool(self.facts.get("part_of"))

    @property
    def finished(self) -> bool:
        """Whether the run has all its results."""
        return self.run.state == "finished"


def members_of(group: Group) -> list[Member]:
    """Return every run of a group that has said what it is, failed ones too."""
    return [Member(run, run.folder.read_environment()) for run in group.runs if run.folder.environment_json.is_file()]


def reference_seed(members: Sequence[Member]) -> int | None:
    """Return the lowest of several seeds, finished or not, so that no result decides; None without several seeds."""
    if not any(member.is_seed for member in members):
        return None
    return min(int(member.facts["seed"]) for member in members if member.is_seed or member.is_fold)


def compared_members(members: Sequence[Member]) -> list[Member]:
    """Return the finished runs that stand for their models: no single fold, and of several seeds the lowest."""
    seed = reference_seed(members)
    whole = [member for member in members if member.finished and not member.is_fold]
    return [member for member in whole if not member.is_seed or member.facts["seed"] == seed]


def repeats_table(members: Sequence[Member]) -> pd.DataFrame | None:
    """Return the numbers of every finished seed and fold, tidy, then their mean and SD; None when nothing is repeated.

    Folds are summarised for each seed apart, seeds by the runs (pooled ones where there are folds) on all test images.
    Mean and SD are empty where a run's value is undefined, and the SD with fewer than two runs; ``reason`` says so.
    """
    finished = [member for member in members if member.finished]
    folds = [member for member in finished if member.is_fold]
    seeds = [member for member in finished if member.is_seed]
    if not folds and not seeds:
        return None
    rows = [row for member in finished for row in _run_rows(member)]
    table = pd.DataFrame(rows, columns=list(REPEATS_COLUMNS))
    blocks = [table]
    if folds:
        own = table[table["run"].isin([member.name for member in folds])]
        wanted = {member.model: int(member.facts.get("folds") or 0) for member in folds}
        blocks.append(_summaries(own, "over folds", ["model", "seed", "split", "metric"], wanted))
    if seeds:
        own = table[table["run"].isin([member.name for member in seeds])]
        started = [member for member in members if member.is_seed]
        counts = {name: sum(member.model == name for member in started) for name in own["model"].unique()}
        blocks.append(_summaries(own, "over seeds", ["model", "split", "metric"], counts))
    return pd.concat([block for block in blocks if len(block)], ignore_index=True).astype(
        {"seed": "Int64", "fold": "Int64", "n": "Int64"}
    )


def _run_rows(member: Member) -> Iterator[dict[str, Any]]:
    facts = member.facts
    fold = facts["fold"] if member.is_fold else None
    first = {"kind": "run", "model": member.model, "run": member.name, "seed": facts.get("seed"), "fold": fold}
    for split, content in metrics_of(member.run.folder)[0].items():
        for metric, entry in content.items():
            if isinstance(entry, Mapping) and "value" in entry and metric != "cutoff":
                numbers = {name: entry.get(name) for name in ("value", "low", "high", "reason")}
                yield {**first, "split": split, "metric": metric, **numbers}


def _summaries(runs: pd.DataFrame, kind: str, keys: list[str], wanted: Mapping[str, int]) -> pd.DataFrame:
    rows = []
    for key, part in runs.groupby(keys, sort=False):
        named = dict(zip(keys, key, strict=True))
        rows.append({"kind": kind, **named, **_summary(part, wanted[str(named["model"])])})
    return pd.DataFrame(rows, columns=list(REPEATS_COLUMNS))


def _summary(part: pd.DataFrame, wanted: int) -> dict[str, Any]:
    values = part["value"].to_numpy(np.float64)
    undefined = part.loc[np.isnan(values), "run"].tolist()
    reasons = [f"{len(values)} of {wanted} runs are finished"] if len(values) < wanted else []
    if undefined:
        reasons.append(f"undefined in {', '.join(undefined)}")
        return {"n": len(values), "reason": "; ".join(reasons)}
    if len(values) < 2:
        reasons.append("a standard deviation needs 2 runs")
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": sd, "n": len(values), "reason": "; ".join(reasons) or None}
