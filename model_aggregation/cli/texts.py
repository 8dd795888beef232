"""What the command line says about plans and results: tables and sentences for people."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from model_aggregation.config import Settings
from model_aggregation.engine import Outcome
from model_aggregation.engine.places import places
from model_aggregation.names import SINGLE
from model_aggregation.plan import Plan
from model_aggregation.results.index import INDEX_NAME
from model_aggregation.results.leaderboard import leaderboard
from model_aggregation.results.leaderboard_text import leaderboard_parts
from model_aggregation.results.objects import Group, Run
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.run_paths import REPORT_FOLDER
from model_aggregation.run_plan import RunPlan
from model_aggregation.setting_values import AUGMENTATIONS

if TYPE_CHECKING:
    from model_aggregation.forecast import Forecast

_NO_METRICS = frozenset({"cutoff"})
_MAIN_METRICS = frozenset(
    {
        "auc",
        "sensitivity",
        "specificity",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "npv",
        "f1",
        "macro_f1",
        "macro_auc",
    }
)


def finding_lines(plan: Plan) -> Iterator[str]:
    """Yield a line for the data set and one for each finding about it."""
    images = plan.table.counts().sum()
    counts = ", ".join(f"{split} {int(count)}" for split, count in images.items() if count)
    counts += f" in fold {plan.runs[0].settings.fold}" if plan.runs[0].settings.fold else ""
    yield f"{len(plan.table.frame)} images, {len(plan.table.classes)} classes: {counts}; split {plan.split_origin}"
    for finding in plan.findings:
        yield f"{finding.severity}: {finding.message}"


def plan_parts(plan: Plan, forecasts: "list[Forecast]") -> Iterator[RenderableType]:
    """Yield what a plan would do: data, classes per split, models with their forecasts, files."""
    yield from finding_lines(plan)
    yield _counts_table(plan)
    basis = "on validation images" if "val" in plan.runs[0].sizes() else "on test, which is exploratory"
    positive = f"Positive class: {plan.positive}. " if plan.positive else ""
    yield f"{positive}Ranked by {plan.primary_metric} {basis}."
    table = Table(title="Runs", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("run", "state", "epochs", "parameters", "time", "disk"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("state", "parameters", "time", "disk"))
    for run, cost in zip(plan.runs, forecasts, strict=True):
        table.add_row(
            Text(run.run_name), cost.state, _epochs_words(run),
            f"{cost.parameters / 1e6:.2f} M", duration(cost.seconds), f"{cost.disk_bytes / 2**20:.0f} MiB",
        )  # fmt: skip
    yield table
    yield from (f"Pooled from its folds: {pool.run_name}" for pool in plan.pools)
    inputs = (f"{run.model}: weights {run.weights}; input {_input_words(run)}" for run in plan.runs)
    yield from dict.fromkeys(inputs)  # seeds and folds of a model share them
    yield from dict.fromkeys(f"{run.model}: {cost.arithmetic}" for run, cost in zip(plan.runs, forecasts, strict=True))
    yield from _augmentation_lines(plan.settings)
    total = sum(cost.seconds for cost in forecasts if cost.state != "finished")
    decoding = "decoding not counted"
    if plan.settings.transforms is not None:
        decoding = f"reading and {plan.settings.transforms.name} counted, as if its images had the sizes named above"
    yield f"About {duration(total)} on this machine for what is not finished, {decoding}{_one_by_one(plan)}."
    yield from _file_lines(plan, forecasts[0])
    if any(cost.state == "name taken" for cost in forecasts):
        yield "Names are taken by results with other settings or data: magg run will refuse and list what differs."
    yield "Do it with magg run and the same settings file."


def _one_by_one(plan: Plan) -> str:
    """Say what the time means where runs will go on side by side, or on several devices each."""
    settings = plan.settings
    many = settings.engine == "ray" or settings.devices > 1 or len(places(settings, most=len(plan.runs))) > 1
    return ", as if one run were done after the other, each on one device" if many else ""


def _augmentation_lines(settings: Settings) -> Iterator[str]:
    """Yield what happens to training images each time they are seen."""
    if settings.train and settings.transforms is None:
        yield f"Training images, {settings.augmentation}: {AUGMENTATIONS[settings.augmentation]}."
    kinds = [f"{name} {value:g}" for name in ("mixup", "cutmix") if (value := getattr(settings, name))]
    if kinds:
        yield f"Then mixed with each other: {' or '.join(kinds)}."


def _file_lines(plan: Plan, first: "Forecast") -> Iterator[str]:
    """Yield the files to be written; the runs of a comparison differ only in their names."""
    run = plan.runs[0]
    each = "" if len(plan.runs) == 1 else "each run has its own folder and names; "
    yield f"Files ({each}in {_shown(run.folder)}):"
    kept = [path for path in first.files if path.parent.name == "models"]
    reported = [path.name for path in first.files if path.parent.name == REPORT_FOLDER]
    names = [path.name for path in first.files if path.parent == run.folder]
    if kept:
        names.append(f"models/{kept[0].name} … {kept[-1].name} ({len(kept)})" if kept[1:] else f"models/{kept[0].name}")
    yield "  " + ", ".join(names)
    if reported:
        yield f"  {REPORT_FOLDER}/: {', '.join(reported)}"
    if run.folder != plan.folder:
        overall = [*plan.split_files(), "findings.csv", *([] if plan.settings.comparison else ["plan.json"])]
        yield f"  in {_shown(plan.folder)}: {', '.join(overall)}"
    yield f"  in {_shown(plan.log_folder)}: {INDEX_NAME}"
    if run.settings.tensorboard and run.settings.train:
        yield f"  in {_shown(plan.log_folder.parent / 'runs')}: a folder of TensorBoard events for each run"


def _counts_table(plan: Plan) -> Table:
    counts = plan.table.counts()
    table = Table(title="Images", title_justify="left")
    table.add_column("class", overflow="fold")
    for split in counts.columns:
        table.add_column(str(split) or "unused", justify="right")
    for label, row in counts.iterrows():
        table.add_row(Text(str(label)), *(str(int(count)) for count in row))
    return table


def _input_words(run: RunPlan) -> str:
    own = run.preprocessing
    made = f"as the transforms file makes it (timed at {own.image_size}×{own.image_size}×{own.channels})"
    return made if run.settings.transforms else own.in_words()


def _epochs_words(run: RunPlan) -> str:
    if not run.freezes:
        return str(run.settings.epochs)
    thaw = run.settings.thaw_at
    frozen = run.settings.epochs if thaw is None else min(thaw, run.settings.epochs)
    return f"{run.settings.epochs} ({frozen} head only)"


def duration(seconds: float) -> str:
    """Return seconds in words of the right size.

    >>> duration(42), duration(600), duration(8000)
    ('42 s', '10 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def metrics_parts(set_name: str, evaluated: Mapping[str, Any], *, brief: bool = False) -> Iterator[RenderableType]:
    """Yield one evaluated set as a table with intervals and reasons, then its warnings; ``brief``: the main numbers."""
    used = " (used for choosing)" if set_name == "val" else ""
    table = Table(title=f"{set_name}{used}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in (
        ("metric", "value", "95 % interval", "n") if brief else ("metric", "value", "95 % interval", "n", "method")
    ):
        table.add_column(heading, overflow="fold")
    for name, entry in evaluated.items():
        if name in _NO_METRICS or not isinstance(entry, Mapping) or "value" not in entry:
            continue
        if brief and name not in _MAIN_METRICS:
            continue
        undefined = entry["value"] is None
        cells = [name, "–" if undefined else _number(entry["value"]), _interval(entry), str(entry.get("n", ""))]
        method = str((entry.get("reason") if undefined else entry.get("method")) or "")
        table.add_row(*cells, *([] if brief else [Text(method)]))
    yield table
    yield from _sentences(evaluated)


def _sentences(evaluated: Mapping[str, Any]) -> Iterator[str]:
    cutoff = evaluated.get("cutoff")
    if cutoff:
        reason = f" ({cutoff['reason']})" if cutoff.get("reason") else ""
        value = "its cutoff" if cutoff["value"] is None else f"{cutoff['value']:.6g}"
        yield f"Positive above {value}; cutoff from {cutoff['source']}{reason}."
    unreadable = evaluated.get("unreadable")
    if unreadable:
        wrong = (
            f"{name} {_number(entry['value'])} ({_interval(entry)})"
            for name, entry in unreadable["counted_as_wrong"].items()
            if entry["value"] is not None
        )
        yield f"{unreadable['n']} unreadable images are left out; counted as wrong: {', '.join(wrong)}."
    yield from (f"warning: {warning}" for warning in evaluated.get("warnings", []))


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    if low is None and high is None:
        return ""
    return f"{'' if low is None else _number(low)}–{'' if high is None else _number(high)}"


def outcome_parts(plan: Plan, outcome: Outcome) -> Iterator[RenderableType]:
    """Yield the results of a plan's runs, where they are, and what to type next."""
    first = plan.runs[0]
    if first.group_name == SINGLE:
        folder = RunFolder(first.folder)
        if folder.finished:
            from model_aggregation.analysis.stored_numbers import metrics_of  # not before the first run begins

            metrics, remarks = metrics_of(folder)
            yield from (f"warning: {remark}" for remark in remarks)
            shown = [name for name in ("test", "val") if name in metrics][:1]
            for name in shown:
                yield from metrics_parts(name, metrics[name], brief=True)
                yield f"All numbers: magg analyze {_quoted(first.folder)}"
            if not shown:
                yield "Neither tested nor validated: there are weights and no numbers."
    else:
        yield from leaderboard_parts(leaderboard(plan.log_folder, first.group_name), width=Console().width)
        if (plan.folder / REPORT_FOLDER).is_dir():
            yield f"Differences with p values, methods: {_shown(plan.folder / REPORT_FOLDER)}"
            yield f"Figures for papers: magg report {_quoted(plan.folder)}"
    yield from _unfinished_lines(plan, outcome)
    yield f"Results: {_shown(plan.folder)}"
    yield f"Look at every image and curve: magg view {_quoted(plan.log_folder)}"
    log = "" if plan.log_folder == Path("log").resolve() else f" --log-folder {_quoted(plan.log_folder)}"
    if first.group_name != SINGLE:
        yield f"Ranking again: magg leaderboard {first.group_name}{log}"
    chosen = Run(first.folder) if first.group_name == SINGLE else Group(plan.log_folder, first.group_name).best
    if (
        chosen is not None
        and chosen.folder.finished
        and chosen.folder.weight_pth(chosen.folder.tested_weights()).is_file()
    ):
        yield f"New images: magg predict {_quoted(chosen.path)} FOLDER --out FILE.csv"
    if plan.settings.tensorboard and plan.settings.train:
        yield f"Curves: tensorboard --logdir {_quoted(plan.log_folder.parent / 'runs')}"


def _unfinished_lines(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """Yield a line for each way in which runs have not finished."""
    explained = [run.run_name for run in plan.all_runs if RunFolder(run.folder).error_txt.is_file()]
    failed = [name for name in outcome.failed if name in explained]
    others = [f"{name} ({reason})" for name, reason in outcome.failed.items() if name not in explained]
    elsewhere = [f"{name} ({holder})" for name, holder in outcome.elsewhere.items()]
    runs = len(plan.all_runs)
    if failed:
        yield f"{len(failed)} of {runs} runs failed: {', '.join(failed)} (see error.txt there)."
    if others:
        yield f"{len(others)} of {runs} runs did not finish: {', '.join(others)}."
    if elsewhere:
        yield (
            f"{len(elsewhere)} of {runs} runs {'are' if elsewhere[1:] else 'is'} running elsewhere: "
            f"{', '.join(elsewhere)}. magg status shows how far; the same command goes on with what is left."
        )
    if outcome.stopped:
        yield f"Not begun before the time was over: {', '.join(outcome.stopped)}. The same command goes on with them."


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _quoted(path: Path) -> str:
    """Return a path as it is typed in a shell: in quotes if it holds more than letters, digits and ``_ . / : + -``."""
    return quoted(_shown(path))


def quoted(word: str) -> str:
    """Return a word as it is typed in a shell."""
    if re.fullmatch(rf"[\w./:+{re.escape(os.sep)}-]+", word):
        return word
    return f'"{word}"' if os.name == "nt" else shlex.quote(word)
