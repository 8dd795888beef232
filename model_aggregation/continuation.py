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

_PLAN_FILES = frozenset({"splits.csv", "findings.csv"})
SPLIT_COLUMNS = ["id", "label", "group", "split", "content_hash"]


def prepare_folders(plan: Plan) -> None:
    """Check every name of the plan against what is in the log folder, then write the split table and the plan.

    Raises
    ------
    ResultsError
        Listing every difference to the runs that have these names, up to 20; or if the folder cannot be written.
    """
    check_path_lengths(path for run in plan.runs for path in RunFolder(run.folder).all_paths(str(run.model)))
    problems = [problem for run in plan.runs for problem in problems_of_run(run)]
    if not problems:
        problems = _problems_of_images(plan)
    if problems:
        raise ResultsError(
            "Names are taken by results with other settings or data. Give another --name, or the settings and data "
            "of before:",
            problems,
        )
    try:
        _write_plan(plan)
    except OSError as error:
        raise ResultsError(
            f"{plan.folder} cannot be written ({error.strerror or error}); choose --log-folder."
        ) from error


def _write_plan(plan: Plan) -> None:
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


def problems_of_run(run: RunPlan) -> list[str]:
    """Return how an existing folder contradicts the run: another kind, other settings, other input files."""
    folder = RunFolder(run.folder)
    kind_problem = _problem_of_kind(run)
    if kind_problem:
        return [kind_problem]
    if not folder.path.is_dir() or {path.name for path in folder.path.iterdir()} <= _PLAN_FILES:
        return []
    if not folder.settings_yaml.is_file():
        return [f"{run.run_name}: {folder.path} holds other files"]
    stored = folder.read_settings()
    now = settings_mapping(run.settings)
    problems = [
        f"{run.run_name}: {key} was {_shown(stored.get(key))}, now {_shown(now[key])}"
        for key in now
        if key not in _WITHOUT_EFFECT and _comparable(stored.get(key)) != _comparable(now[key])
    ]
    inputs = folder.read_environment().get("inputs") if folder.environment_json.is_file() else None
    if inputs is not None:
        changed = [name for name in run.inputs if inputs.get(name) != run.inputs[name]]
        problems += [f"{run.run_name}: the content of the {name} file has changed" for name in changed]
    return problems


def _problem_of_kind(run: RunPlan) -> str | None:
    """A run and a group cannot share a name."""
    if run.group_name != SINGLE:
        group = run.folder.parent
        if RunFolder(group).settings_yaml.is_file():
            return f"{run.group_name} is the name of a single run; a comparison needs another"
        return None
    nested = run.folder.is_dir() and any((child / f"{child.name}.yaml").is_file() for child in run.folder.iterdir())
    return f"{run.run_name} is the name of a comparison; a single run needs another" if nested else None


def _problems_of_images(plan: Plan) -> list[str]:
    """Return how images, labels, splits or contents differ from those of runs that are there.

    What counts is what the runs used (their ``images.csv``). Without any run the split table in the folder counts,
    which a person may have edited: it is not overwritten unless ``split`` names the table to use.
    """
    group = [run.folder for run in plan.runs]
    if plan.runs[0].group_name != SINGLE and plan.folder.is_dir():
        group = sorted(path for path in plan.folder.iterdir() if path.is_dir())
    fingerprint = plan.table.fingerprint()
    for folder in map(RunFolder, group):
        if not folder.images_csv.is_file():
            continue
        same = folder.environment_json.is_file() and folder.read_environment().get("data_fingerprint") == fingerprint
        if not same:
            return _differences(
                plan, folder.read_images(), f"{folder.name} was made with another split or other images"
            )
    if any(RunFolder(folder).images_csv.is_file() for folder in group) or plan.settings.split is not None:
        return []
    path = _split_path(plan)
    if not path.is_file():
        return []
    stored = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    return _differences(plan, stored, f"{path} was edited: give it with --split to use it")


def _differences(plan: Plan, stored: pd.DataFrame, what: str) -> list[str]:
    was = stored.set_index("id")
    now = plan.table.frame[SPLIT_COLUMNS].fillna("").set_index("id")
    problems = [f"image {image}: new" for image in now.index.difference(was.index)]
    problems += [f"image {image}: not there any more" for image in was.index.difference(now.index)]
    both = now.index.intersection(was.index)
    for column in SPLIT_COLUMNS[1:]:
        before, after = was.loc[both, column], now.loc[both, column]
        changed = both[(before != after).to_numpy()]
        problems += [f"image {image}: {column} was {before[image]!r}, now {after[image]!r}" for image in changed]
    return [f"{what} ({len(problems)} differences)", *problems] if problems else []


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)
