"""The runs of a comparison on the same test images: differences, rank sets, and reports for papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.analysis.run_sets import RunSets, log_folder_of, read_run
from model_aggregation.errors import ResultsError
from model_aggregation.evaluation import Comparison, Evaluation, EvaluationOptions, compare_predictions
from model_aggregation.reporting.comparison_report import write_comparison_report
from model_aggregation.reporting.evaluation_report import write_evaluation_report
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.results.index import Index
from model_aggregation.results.objects import Group
from model_aggregation.results.run_folder import RunFolder

REPORT_FOLDER = "report"


@dataclass(frozen=True, eq=False)
class GroupAnalysis:
    """A comparison of finished runs, and the evaluation of each on the test images, by the name of the run."""

    group: Group
    runs: Mapping[str, RunSets]
    comparison: Comparison
    evaluations: Mapping[str, Evaluation]
    options: EvaluationOptions


def analyze_group(log_folder: Path, group_name: str) -> GroupAnalysis | None:
    """Compare the finished, tested runs of a group; None when there are fewer than two on the same test images.

    The selected model is the best on validation images; runs with other test images than its are left out.
    """
    group = Group(log_folder, group_name)
    finished = {run.name: run for run in group.runs if run.state == "finished"}
    facts = {name: run.folder.read_environment() for name, run in finished.items()}
    best = group.best
    reference = best.name if best is not None else next(iter(finished), None)
    if reference is None:
        return None
    fingerprint = facts[reference].get("test_fingerprint")
    names = [name for name in finished if fingerprint and facts[name].get("test_fingerprint") == fingerprint]
    runs = {name: read_run(finished[name].folder) for name in names}
    runs = {name: run for name, run in runs.items() if "test" in run.sets}
    if len(runs) < 2:
        return None
    first = runs[reference]
    options = EvaluationOptions(seed=first.settings.seed)
    comparison = compare_predictions(
        {name: run.sets["test"].predictions for name, run in runs.items()},
        selected=best.name if best is not None else None,
        positive=first.settings.positive,
        primary=facts[reference].get("primary_metric"),
        cutoffs={name: run.cutoff for name, run in runs.items() if run.cutoff is not None},
        options=options,
    )
    evaluations = {name: run.evaluate("test") for name, run in runs.items()}
    return GroupAnalysis(group, runs, comparison, evaluations, options)


def write_report(path: Path) -> Path:
    """Write tables, figures and the methods text of a finished run or of a comparison; return the folder.

    Raises
    ------
    ResultsError
        If ``path`` is neither, or a comparison has fewer than two finished runs on the same test images.
    """
    path = path.resolve()
    folder = RunFolder(path)
    if folder.finished:
        run = read_run(folder)
        evaluations = {name: run.evaluate(name) for name in run.sets}
        write_evaluation_report(path / REPORT_FOLDER, evaluations, facts=_facts({folder.name: run}))
        return path / REPORT_FOLDER
    if not path.is_dir() or folder.exists:
        raise ResultsError(f"{path} is neither the folder of a finished run nor of a comparison.")
    analysis = analyze_group(path.parent, path.name)
    if analysis is None:
        raise ResultsError(f"{path} holds fewer than two finished runs on the same test images.")
    facts = _facts(analysis.runs, options=analysis.options)
    write_comparison_report(path / REPORT_FOLDER, analysis.comparison, analysis.evaluations, facts=facts)
    return path / REPORT_FOLDER


def _facts(runs: Mapping[str, RunSets], *, options: EvaluationOptions | None = None) -> ReportFacts:
    """Return what is known about runs that share their images."""
    first = next(iter(runs.values()))
    environments = {name: run.folder.read_environment() for name, run in runs.items()}
    environment = next(iter(environments.values()))
    images = first.folder.read_images()
    return ReportFacts(
        models=tuple(str(facts.get("model")) for facts in environments.values()),
        training=_training_words(first),
        seeds=tuple(sorted({run.settings.seed for run in runs.values()})),
        images=_counts(images),
        split_origin=environment.get("split"),
        chosen_on=("val",) if environment.get("has_validation") else (),
        selection=_selection_words(environment) if len(runs) > 1 else None,
        primary_metric=environment.get("primary_metric"),
        test_evaluations=_test_evaluations(first.folder, environment),
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
        until = "throughout" if settings.thaw_at is None else f"for the first {settings.thaw_at} epochs"
        sentences.append(f"Only the new head was trained {until}.")
    return " ".join(sentences)


def _test_evaluations(folder: RunFolder, environment: Mapping[str, Any]) -> int | None:
    log_folder, fingerprint = log_folder_of(folder), environment.get("test_fingerprint")
    if log_folder is None or not fingerprint:
        return None
    return Index(log_folder).test_evaluations(fingerprint)
