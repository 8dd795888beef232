"""The runs of a comparison on the same test images: differences, rank sets, and reports for papers.

What is compared are models: a single fold of a cross-validation is left out in favour of its pooled run, and of
several seeds the lowest stands for its model.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.analysis.repeats import (
    Member,
    compared_members,
    members_of,
    reference_seed,
    repeats_table,
)
from model_aggregation.analysis.run_sets import OWN_SETS, RunSets, is_pooled, log_folder_of, read_run
from model_aggregation.data.image_table import ImageTable
from model_aggregation.errors import ModelAggregationError, ResultsError
from model_aggregation.evaluation import Comparison, Evaluation, EvaluationOptions, compare_predictions
from model_aggregation.files import write_csv
from model_aggregation.reporting.comparison_report import write_comparison_figures, write_comparison_tables
from model_aggregation.reporting.evaluation_report import write_evaluation_figures, write_evaluation_tables
from model_aggregation.reporting.evaluation_tables import Curves
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.words import counted
from model_aggregation.results.index import Index
from model_aggregation.results.leaderboard import VALIDATION
from model_aggregation.results.objects import Group
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.run_paths import REPORT_FOLDER

_FILES = (
    "comparisons.csv", "ranking.csv", "repeats.csv", "roc_points.csv", "calibration.csv", "net_benefit.csv",
    "confusion.csv", "methods.md",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GroupAnalysis:
    """A comparison of finished runs, and the evaluation of each on the test images, by the name of the run."""

    group: Group
    runs: Mapping[str, RunSets]
    comparison: Comparison
    evaluations: Mapping[str, Evaluation]
    options: EvaluationOptions
    members: Sequence[Member] = field(default=())
    """Every run of the group, also folds and seeds that are not compared."""


def analyze_group(log_folder: Path, group_name: str) -> GroupAnalysis | None:
    """Compare the finished, tested runs of a group; None when there are fewer than two on the same test images.

    One run stands for each model. The selected one is the best on validation images; pooled runs of a
    cross-validation have none of their own, and none is selected. Runs with other test images are left out.
    """
    group = Group(log_folder, group_name)
    members = members_of(group)
    compared = {member.name: member for member in compared_members(members)}
    best = _best(group, compared)
    reference = best or next(iter(compared), None)
    if reference is None:
        return None
    facts = compared[reference].facts
    fingerprint = facts.get("test_fingerprint")
    alike = [member for member in compared.values() if fingerprint == member.facts.get("test_fingerprint")]
    if not fingerprint or len(alike) < 2:
        return None
    runs = {member.name: read_run(member.run.folder) for member in alike}
    runs = {name: run for name, run in runs.items() if "test" in run.sets}
    if len(runs) < 2:
        return None
    first = runs[reference]
    options = EvaluationOptions(seed=first.settings.seed)
    comparison = compare_predictions(
        {name: run.sets["test"].predictions for name, run in runs.items()},
        selected=best,
        positive=first.settings.positive,
        primary=facts.get("primary_metric"),
        cutoffs={name: run.cutoff for name, run in runs.items() if run.cutoff is not None},
        options=options,
    )
    evaluations = {name: run.evaluate("test") for name, run in runs.items()}
    return GroupAnalysis(group, runs, comparison, evaluations, options, members)


def _best(group: Group, compared: Mapping[str, Member]) -> str | None:
    """Return the best of these runs on validation images, of equal ones the first by name."""
    if not compared:
        return None
    table = group.leaderboard()
    if table.attrs["basis"] != VALIDATION:
        return None
    ranked = table[table["rank"].notna()].sort_values("rank", kind="stable")["run_name"]
    names = [table.attrs["compared_runs"].get(name, str(name)) for name in ranked]  # seeds share a row
    return next((name for name in names if name in compared and not is_pooled(compared[name].run.folder)), None)


@dataclass(frozen=True, eq=False)
class _Report:
    """What a report says: of a run, of a comparison, or (without evaluations) of repeated runs alone."""

    folder: Path
    evaluations: Mapping[str, Evaluation]
    facts: ReportFacts
    comparison: Comparison | None = None
    repeats: pd.DataFrame | None = None
    of_group: bool = False


def write_tables(path: Path) -> Path | None:
    """Write the tables and ``methods.md`` of a finished run or of a comparison to its ``report/``; return that folder.

    The same bytes as :func:`write_report`, without figures; figures that were drawn from other tables are removed.
    Where nothing can be reported (a comparison of fewer than two finished runs, none of them a seed or a fold) an
    earlier report is removed and None returned. The index must know the run: the number of test evaluations is told.

    Raises
    ------
    ModelAggregationError
        Whatever went wrong, and nothing else: a report that cannot be written must not fail a finished run.
    """
    try:
        path = path.resolve()
        report = _collect(path)
        if report is None:
            _remove(path / REPORT_FOLDER)
            return None
        _write(report)
    except ModelAggregationError:
        raise
    except Exception as error:
        raise ResultsError(f"{path}: no report could be written: {type(error).__name__}: {error}") from error
    return report.folder


def refresh_tables(folder: RunFolder) -> None:
    """Write the tables of a run that was evaluated again, and those of the comparison it belongs to."""
    write_tables(folder.path)
    log_folder = log_folder_of(folder)
    if log_folder is not None and folder.path.parent != log_folder:
        write_tables(folder.path.parent)


def write_report(path: Path) -> Path:
    """Write tables, figures and the methods text of a finished run or of a comparison; return the folder.

    Raises
    ------
    ResultsError
        If ``path`` is neither, or a comparison has fewer than two finished runs on the same test images.
    """
    path = path.resolve()
    report = _collect(path)
    if report is None:
        raise ResultsError(
            f"{path} has nothing to report: no evaluated images, or fewer than two finished runs on the same test "
            "images."
        )
    curves = _write(report)
    if report.comparison is not None:
        write_comparison_figures(report.folder, report.comparison, report.evaluations)
    elif curves is not None:
        write_evaluation_figures(report.folder, report.evaluations, curves)
    return report.folder


def _collect(path: Path) -> _Report | None:
    """Evaluate what a folder holds; None for a run without numbers, or a group with nothing to compare or repeat."""
    folder = RunFolder(path)
    if folder.finished:
        run = read_run(folder)
        evaluations = {name: run.evaluate(name) for name in run.sets}
        if not evaluations:
            return None
        return _Report(path / REPORT_FOLDER, evaluations, _facts({folder.name: run}))
    if not path.is_dir() or folder.exists:
        raise ResultsError(f"{path} is neither the folder of a finished run nor of a comparison.")
    analysis = analyze_group(path.parent, path.name)
    members = members_of(Group(path.parent, path.name)) if analysis is None else analysis.members
    repeats = repeats_table(members)
    if analysis is not None:
        facts = _group_facts(analysis, members)
        return _Report(path / REPORT_FOLDER, analysis.evaluations, facts, analysis.comparison, repeats, of_group=True)
    if repeats is None:
        return None
    return _Report(path / REPORT_FOLDER, {}, ReportFacts(), None, repeats, of_group=True)


def _write(report: _Report) -> Curves | None:
    """Write the tables of a report and remove what is no longer true; return the curves of a run."""
    before, curves = _tables(report.folder), None
    if report.comparison is not None:
        write_comparison_tables(report.folder, report.comparison, report.evaluations, facts=report.facts)
    elif report.of_group:
        _remove(report.folder)
    else:
        curves = write_evaluation_tables(report.folder, report.evaluations, facts=report.facts)
    if report.repeats is not None:
        write_csv(report.folder / "repeats.csv", report.repeats)
    else:
        (report.folder / "repeats.csv").unlink(missing_ok=True)
    if _tables(report.folder) != before and (report.folder / "figures").is_dir():
        shutil.rmtree(report.folder / "figures")
    return curves


def _tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv")) if path.name != "repeats.csv"}


def _remove(folder: Path) -> None:
    """Remove the report of a comparison that is none any more; what somebody put beside it stays."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    if (folder / "figures").is_dir():
        shutil.rmtree(folder / "figures")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _group_facts(analysis: GroupAnalysis, members: Sequence[Member]) -> ReportFacts:
    """Return what is known about compared runs, and what was repeated among all runs of the group."""
    seed = reference_seed(members)
    names = {member.model for member in members if member.name in analysis.runs}
    repeated = {
        "folds": any(member.is_fold for member in members),
        "seeds": any(member.is_seed for member in members),
    }
    facts = _facts(analysis.runs, options=analysis.options)
    return replace(
        facts,
        seeds=tuple(sorted({int(member.facts["seed"]) for member in members if member.facts.get("seed") is not None})),
        selection=facts.selection if analysis.comparison.selected is not None else None,
        reference_seed=seed,
        repeated=tuple(name for name, is_so in repeated.items() if is_so),
        without_reference=tuple(sorted({member.model for member in members} - names)) if seed is not None else (),
    )


def _facts(runs: Mapping[str, RunSets], *, options: EvaluationOptions | None = None) -> ReportFacts:
    """Return what is known about runs that share their images."""
    first = next(iter(runs.values()))
    environments = {name: run.folder.read_environment() for name, run in runs.items()}
    environment = next(iter(environments.values()))
    images = first.folder.read_images(hashes=False)
    return ReportFacts(
        models=tuple(str(facts.get("model")) for facts in environments.values()),
        model_names={name: str(facts["model"]) for name, facts in environments.items() if facts.get("model")},
        training=_training_words(first),
        seeds=tuple(sorted({run.settings.seed for run in runs.values()})),
        images=_counts(images),
        split_origin=environment.get("split"),
        chosen_on=("val",) if environment.get("has_validation") else (),
        selection=_selection_words(environment) if len(runs) > 1 else None,
        primary_metric=environment.get("primary_metric"),
        test_evaluations=_test_evaluations(first, environment, external=len(runs) == 1),
        comparison_options=options,
        versions=environment.get("versions") or {},
    )


def _counts(images: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of images by split and class."""
    used = images[images["split"] != ""]
    return {
        str(split): {
            str(label): int(count) for label, count in part["label"].value_counts(sort=False).sort_index().items()
        }
        for split, part in used.groupby("split")
    }


def _selection_words(environment: Mapping[str, Any]) -> str | None:
    metric = environment.get("primary_metric")
    return f"{metric} on the validation images" if environment.get("has_validation") and metric else None


def _training_words(run: RunSets) -> str:
    settings = run.settings
    sentences = [
        f"Networks were trained for up to {settings.epochs} epochs with {settings.optimizer} (learning rate "
        f"{settings.learning_rate:g}, {settings.schedule} schedule, batches of {settings.batch_size}, loss "
        f"{settings.loss})."
    ]
    if settings.freeze and settings.pretrained and settings.thaw_at != 0:
        until = "throughout" if settings.thaw_at is None else f"for the first {counted(settings.thaw_at, 'epoch')}"
        sentences.append(f"Only the new head was trained {until}.")
    return " ".join(sentences)


def _test_evaluations(run: RunSets, environment: Mapping[str, Any], *, external: bool) -> dict[str, int]:
    """Return how often the test images, and those of external sets, were evaluated so far, by set."""
    log_folder = log_folder_of(run.folder)
    if log_folder is None:
        return {}
    fingerprints = {"test": environment.get("test_fingerprint")} if "test" in run.sets else {}
    if external:
        names = [name for name in run.sets if name not in OWN_SETS]
        fingerprints |= {name: _fingerprint(run.sets[name].images) for name in names}
    index = Index(log_folder)
    return {name: index.test_evaluations(found) for name, found in fingerprints.items() if found}


def _fingerprint(images: pd.DataFrame) -> str:
    """Return the fingerprint of an external set, made as that of a run's own test images."""
    readable = images[images["readable"] == "True"].assign(split="test")
    return ImageTable(Path(), readable, ()).fingerprint()
