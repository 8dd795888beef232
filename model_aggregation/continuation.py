"""May a plan write where its names point? Yes for new names, and for the same settings and data; else no.

A name that is taken by other settings or other data is refused with a list of what differs, before anything is done.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.data.splitting import write_split
from model_aggregation.errors import ResultsError
from model_aggregation.files import write_csv, write_json
from model_aggregation.names import SINGLE, check_path_lengths
from model_aggregation.plan import Plan, RunPlan
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.settings_files import settings_mapping

_WITHOUT_EFFECT = frozenset({"log_folder", "cache_folder", "workers", "tensorboard", "split", "recipe", "keep_cache"})
"""Settings that change no number: a run may continue with others. What ``split`` says is compared by its images."""

SPLIT_COLUMNS = ["id", "label", "group", "split", "content_hash"]


def prepare_folders(plan: Plan) -> None:
    """Check every name of the plan against what is in the log folder, then write the split table and the plan.

    Raises
    ------
    ResultsError
        Listing every difference to the runs that have these names, up to 20.
    """
    problems = [problem for run in plan.runs for problem in _problems_of_run(run)]
    problems += _problems_of_split(plan)
    check_path_lengths(path for run in plan.runs for path in RunFolder(run.folder).all_paths(str(run.model)))
    if problems:
        raise ResultsError(
            "Names are taken by results with other settings or data. Give another --name, or the settings and data "
            "of before:",
            problems,
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    if not _split_path(plan).exists():
        write_split(plan.table, _split_path(plan))
    if plan.runs[0].group_name != SINGLE and not plan.settings.comparison:
        write_json(plan.folder / "plan.json", plan.to_dict())
    findings = [
        (found.severity, found.kind, found.message, "; ".join(found.files), "; ".join(found.details))
        for found in plan.findings
    ]
    columns = ["severity", "kind", "message", "files", "details"]
    write_csv(plan.folder / "findings.csv", pd.DataFrame(findings, columns=columns))


def _split_path(plan: Plan) -> Path:
    return plan.folder / "splits.csv"


def _problems_of_run(run: RunPlan) -> list[str]:
    """Return how an existing folder contradicts the run."""
    folder = RunFolder(run.folder)
    kind_problem = _problem_of_kind(run)
    if kind_problem:
        return [kind_problem]
    if not folder.path.is_dir() or not any(folder.path.iterdir()):
        return []
    if not folder.settings_yaml.is_file():
        return [f"{run.run_name}: {folder.path} holds other files"]
    stored = folder.read_settings()
    now = settings_mapping(run.settings)
    return [
        f"{run.run_name}: {key} was {_shown(stored.get(key))}, now {_shown(now[key])}"
        for key in now
        if key not in _WITHOUT_EFFECT and _comparable(stored.get(key)) != _comparable(now[key])
    ]


def _problem_of_kind(run: RunPlan) -> str | None:
    """A run and a group cannot share a name."""
    if run.group_name != SINGLE:
        group = run.folder.parent
        if RunFolder(group).settings_yaml.is_file():
            return f"{run.group_name} is the name of a single run; a comparison needs another"
        return None
    nested = run.folder.is_dir() and any((child / f"{child.name}.yaml").is_file() for child in run.folder.iterdir())
    return f"{run.run_name} is the name of a comparison; a single run needs another" if nested else None


def _problems_of_split(plan: Plan) -> list[str]:
    """Return how images, labels, splits or contents differ from the stored split table."""
    path = _split_path(plan)
    if not path.is_file():
        return []
    stored = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8").set_index("id")
    now = plan.table.frame[SPLIT_COLUMNS].fillna("").set_index("id")
    problems = [f"image {image}: new" for image in now.index.difference(stored.index)]
    problems += [f"image {image}: not there any more" for image in stored.index.difference(now.index)]
    both = now.index.intersection(stored.index)
    for column in SPLIT_COLUMNS[1:]:
        was, is_now = stored.loc[both, column], now.loc[both, column]
        differing = both[(was != is_now).to_numpy()]
        problems += [f"image {image}: {column} was {was[image]!r}, now {is_now[image]!r}" for image in differing]
    return problems


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)
