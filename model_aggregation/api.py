"""The verbs of the command line as Python functions."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pandas as pd

from model_aggregation import engine
from model_aggregation import plan as planning
from model_aggregation.advisor.advice import PROBE_IMAGES, Advice, suggested
from model_aggregation.advisor.candidates import asked_for, seconds_of
from model_aggregation.analysis import verbs
from model_aggregation.analysis.external import ExternalData, evaluate_external
from model_aggregation.analysis.run_sets import Metrics
from model_aggregation.analysis.stored_numbers import metrics_of
from model_aggregation.analysis.table_question import TableQuestion
from model_aggregation.analysis.tables import plain_comparison
from model_aggregation.config import Settings, make_settings, nearest
from model_aggregation.data.doctor.examination import Examination, examine
from model_aggregation.data.doctor.rule import CheckRule
from model_aggregation.errors import SettingsError
from model_aggregation.named_code import trusted_settings
from model_aggregation.names import SINGLE
from model_aggregation.plan import Plan
from model_aggregation.prediction import predict_folder
from model_aggregation.progress import ConsoleReporter, Reporter
from model_aggregation.results import leaderboard as ranking
from model_aggregation.results.earlier_evaluation import rebuild_index as rebuild
from model_aggregation.results.earlier_sources import EarlierSources
from model_aggregation.results.index import RebuildReport
from model_aggregation.results.objects import Group, Run
from model_aggregation.trusted_code import Trust, trusting

__all__ = [
    "Group",
    "Plan",
    "Run",
    "analyze",
    "check",
    "compare",
    "leaderboard",
    "make_plan",
    "predict",
    "rebuild_index",
    "run",
    "suggest",
    "test",
    "train",
]


def train(data: str | Path, model: str, *, quiet: bool = False, **settings: Any) -> Run:
    """Train and test one model and return its run.

    Parameters
    ----------
    data
        Folder of images or table with the columns ``path``, ``label``.
    model
        ``torchvision:NAME`` or ``timm:NAME``.
    quiet
        Show no progress.
    settings
        Any setting by its name, such as ``epochs=5``.

    Raises
    ------
    ModelAggregationError
        If settings or data cannot be used. A model that fails gives a run whose ``state`` is ``failed``.
    """
    return cast(Run, run(make_settings(data=data, model=model, **settings), quiet=quiet))


def compare(data: str | Path, models: Sequence[str], *, quiet: bool = False, **settings: Any) -> Group:
    """Train and test several models on the same images and return their group; see :func:`train`."""
    return cast(Group, run(make_settings(data=data, models=tuple(models), **settings), quiet=quiet))


def make_plan(
    settings: Settings | str | Path | None = None, *, trust_code: bool = False, remember: bool = False, **given: Any
) -> Plan:
    """Return the plan for settings, for a settings file, or for settings given by name; nothing is written.

    ``trust_code`` and ``remember``: see :class:`model_aggregation.trusted_code.Trust`.
    """
    with trusting(Trust(trust_code, remember)):
        if isinstance(settings, str | Path):
            return planning.make_plan(trusted_settings(Path(settings), say=ConsoleReporter().message, **given))
        return planning.make_plan(settings if settings is not None else make_settings(**given))


def run(
    plan: Plan | Settings | str | Path, *, quiet: bool = False, trust_code: bool = False, remember: bool = False
) -> Run | Group:
    """Execute a plan (or settings, or a settings file) and return the run or, for a comparison, the group.

    ``trust_code`` and ``remember``: see :class:`model_aggregation.trusted_code.Trust`.
    """
    reporter = Reporter() if quiet else ConsoleReporter()
    with trusting(Trust(trust_code, remember)):
        if isinstance(plan, str | Path):
            plan = trusted_settings(Path(plan), say=reporter.message)
        if isinstance(plan, Settings):
            plan = planning.make_plan(plan)
    engine.run(plan, reporter)
    first = plan.runs[0]
    if plan.settings.is_comparison:
        return Group(plan.log_folder, first.group_name)
    return Run(first.folder)


def predict(
    run: Run | str | Path,
    folder: str | Path,
    *,
    device: str = "auto",
    quiet: bool = False,
    trust_code: bool = False,
    remember: bool = False,
    **earlier: Any,
) -> pd.DataFrame:
    """Return probabilities and labels for the images in a folder; see :func:`prediction.predict_folder`.

    ``trust_code`` and ``remember``: see :class:`model_aggregation.trusted_code.Trust`.

    For a run folder of the earlier program ``earlier`` may give what
    :class:`model_aggregation.results.earlier_network.EarlierSources` knows, such as ``settings="old.yaml"``.
    """
    path = run.path if isinstance(run, Run) else Path(run)
    sources = _earlier_sources(earlier, "A prediction")
    reporter = Reporter() if quiet else ConsoleReporter()
    with trusting(Trust(trust_code, remember)), reporter.working() as working:
        return predict_folder(path, Path(folder), sources, device=device, reporter=working)


def _earlier_sources(given: dict[str, Any], verb: str, others: Sequence[str] = ()) -> EarlierSources:
    """Return what was said for a run of the earlier program; ``others`` are further names that are known."""
    known = [entry.name for entry in fields(EarlierSources)]
    if unknown := [f"{name}: {nearest(name, [*others, *known])}" for name in given if name not in known]:
        raise SettingsError(f"{verb} has no such settings:", unknown)
    files = ("settings", "weights", "transforms", "pickle_folder")
    values: dict[str, Any] = {
        name: Path(value) if name in files and value is not None else value for name, value in given.items()
    }
    return EarlierSources(**{**values, "classes": tuple(given.get("classes", ()))})


def analyze(
    predictions: str | Path | Sequence[str | Path], *, out: str | Path | None = None, **question: Any
) -> dict[str, Any]:
    """Evaluate a table of predictions, or a run folder again; returns the content of ``metrics.json``.

    Several tables over the same images are compared: the result then holds ``evaluations`` by the name of the table,
    and ``comparison``.

    Parameters
    ----------
    out
        For tables: the folder to write to.
    question
        For tables what ``analysis.table_question.TableQuestion`` knows, such as ``positive="ill"``; for a
        run folder only ``by``.

    Raises
    ------
    ModelAggregationError
        If something cannot be evaluated as asked.
    """
    paths = [Path(predictions)] if isinstance(predictions, str | Path) else [Path(path) for path in predictions]
    analysis = verbs.analyze(paths, _question(question), None if out is None else Path(out))
    if isinstance(analysis, verbs.RunAnalysis):
        return analysis.metrics
    return analysis.metrics() if analysis.comparison is None else plain_comparison(analysis)


def _question(given: dict[str, Any]) -> TableQuestion:
    known = [entry.name for entry in fields(TableQuestion)]
    if unknown := [f"{name}: {nearest(name, known)}" for name in given if name not in known]:
        raise SettingsError("An analysis has no such settings:", unknown)
    files = given.get("cutoff_from") or ()
    files = [files] if isinstance(files, str | Path) else files
    return TableQuestion(
        **{
            **given,
            "cutoff_from": tuple(Path(path) for path in files),
            "classes": tuple(given.get("classes") or ()),
            "plot_settings": Path(given["plot_settings"]) if given.get("plot_settings") else None,
        }
    )


def test(  # the name of the command; pytest does not look for tests here
    run: Run | str | Path,
    data: str | Path,
    *,
    device: str = "auto",  # noqa: PT028
    quiet: bool = False,  # noqa: PT028
    trust_code: bool = False,  # noqa: PT028
    remember: bool = False,  # noqa: PT028
    **external: Any,
) -> Metrics:
    """Test a finished run on other images with its frozen cutoff; returns the content of ``metrics.json``.

    ``trust_code`` and ``remember``: see :class:`model_aggregation.trusted_code.Trust`.

    ``external`` may give ``name``, ``group``, ``layout``, ``skip_unreadable`` and ``allow_duplicates``; see
    :class:`model_aggregation.analysis.external.ExternalData`. For a run folder of the earlier program the error says
    the command that tests it; what is missing for it may be given as for :func:`predict`.
    """
    known = [entry.name for entry in fields(ExternalData)]
    of_data = {name: value for name, value in external.items() if name in known}
    sources = _earlier_sources({name: external[name] for name in external if name not in known}, "A test", known)
    path = run.path if isinstance(run, Run) else Path(run)
    reporter = Reporter() if quiet else ConsoleReporter()
    with trusting(Trust(trust_code, remember)), reporter.working() as working:
        return evaluate_external(path, ExternalData(Path(data), **of_data), sources, device=device, reporter=working)[1]


def check(data: str | Path, *, out: str | Path | None = None, quiet: bool = False, **options: Any) -> Examination:
    """Examine a data set and return what was found; ``findings_table()`` of the result has one row per finding.

    Parameters
    ----------
    data
        Folder of images or table with the columns ``path``, ``label``.
    out
        Folder for ``findings.csv``, ``statistics.csv`` and ``findings.html``; without it nothing is written.
    quiet
        Show no progress.
    options
        What :class:`model_aggregation.data.doctor.rule.CheckRule` knows, such as ``split="splits.csv"``.

    Raises
    ------
    ModelAggregationError
        If there is no data set to examine. What is wrong with the images is not raised but found.
    """
    known = [entry.name for entry in fields(CheckRule)]
    if unknown := [f"{name}: {nearest(name, known)}" for name in options if name not in known]:
        raise SettingsError("A check has no such options:", unknown)
    paths = {name: Path(options[name]) for name in ("split", "cache_folder") if options.get(name) is not None}
    reporter = Reporter() if quiet else ConsoleReporter()
    with reporter.working() as working:
        found = examine(Path(data), CheckRule(**{**options, **paths}), count=working.count)
    if out is not None:
        found.write(Path(out))
    return found


def suggest(
    data: str | Path,
    models: Sequence[str] = (),
    *,
    budget: str | float | None = None,
    probe_images: int = PROBE_IMAGES,
    quiet: bool = False,
    **settings: Any,
) -> Advice:
    """Measure and probe networks on this machine and propose those that fit a budget; nothing is trained.

    Parameters
    ----------
    data
        Folder of images or table with the columns ``path``, ``label``.
    models
        Names, patterns and sets; without any, all whose weights are on this machine, else ``@balanced``.
    budget
        Time that the comparison may take: ``"2h"``, ``"90min"``, or seconds.
    probe_images
        About so many images of the training part are probed; validation and test images never.
    settings
        Settings of the comparison by their names, such as ``epochs=5``.

    Raises
    ------
    ModelAggregationError
        If settings or data cannot be used. A network that fails is a row of the result.
    """
    seconds = seconds_of(budget)
    asked = asked_for(Path(data), tuple(models), **settings)
    reporter = Reporter() if quiet else ConsoleReporter()
    options = {"budget_seconds": seconds, "probe_images": probe_images, "reporter": reporter}
    return suggested(asked, planning.make_plan, **options)


def leaderboard(group: str = SINGLE, log_folder: str | Path = "log", *, members: bool = False) -> pd.DataFrame:
    """Return the ranking of a comparison; see :func:`model_aggregation.results.leaderboard.leaderboard`."""
    return ranking.leaderboard(Path(log_folder), group, members=members)


def rebuild_index(log_folder: str | Path = "log") -> RebuildReport:
    """Make the database of a log folder anew from its run folders; predictions of earlier runs are evaluated."""
    return rebuild(Path(log_folder), read_numbers=metrics_of)
