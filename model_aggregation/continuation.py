"""May a plan write where its names point? Yes for new names, and for the same settings and data; else no.

A name that is taken by other settings or other data is refused with a list of what differs, before anything is done.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from model_aggregation.config import Settings
from model_aggregation.data.finding import findings_table
from model_aggregation.data.image_table import ImageTable
from model_aggregation.data.splitting import write_split
from model_aggregation.disk_space import check_room
from model_aggregation.earlier_settings import is_earlier
from model_aggregation.errors import PredictionsError, ResultsError
from model_aggregation.files import read_json, remove_abandoned, write_csv, write_json
from model_aggregation.names import SINGLE, check_path_lengths
from model_aggregation.plan import Plan
from model_aggregation.results.checksums import fault_of_metrics
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.run_paths import REPORT_FOLDER
from model_aggregation.run_plan import PoolPlan, RunPlan
from model_aggregation.setting_values import seconds_of
from model_aggregation.settings_files import settings_mapping

_WITHOUT_EFFECT = frozenset(
    {
        "log_folder",
        "cache_folder",
        "workers",
        "tensorboard",
        "split",
        "recipe",
        "keep_cache",
        "time_limit",
        "run_time_limit",
        "cache_limit",
        "jobs",
        "engine",
        "address",
        "offline",
        "model_sets",
    }
)
"""Settings that change no number: a run may continue with others. What ``split`` says is compared by its images."""

_BEFORE_A_RUN = frozenset({"splits.csv", "findings.csv", "error.txt", "progress.jsonl"})
"""Files that a folder may hold before its run has begun, the error of a beginning that failed among them."""
SPLIT_COLUMNS = ["id", "label", "group", "split", "content_hash"]


def prepare_folders(plan: Plan, say: Callable[[str], None] = lambda _: None) -> None:
    """Check every name of the plan against what is in the log folder, then write the split table and the plan.

    ``say`` takes a line for people about every damaged file that is there.

    Raises
    ------
    ResultsError
        Listing every difference to the runs that have these names, up to 20; or if the folder cannot be written, or
        the disk has no room for the results.
    """
    runs = plan.all_runs
    check_path_lengths(path for run in runs for path in RunFolder(run.folder).all_paths(str(run.model)))
    for run in runs:
        _make_sound(RunFolder(run.folder), say)
    problems = [problem for run in runs for problem in problems_of_run(run)] + _problems_of_parents(plan)
    if not problems:
        problems = _problems_of_images(plan)
    if problems:
        raise ResultsError(
            "Names are taken by results with other settings or data. Give another --name, or the settings and data "
            "of before:",
            problems,
        )
    check_room(plan)
    try:
        _reopen(plan)
        _write_plan(plan)
    except OSError as error:
        raise ResultsError(
            f"{plan.folder} cannot be written ({error.strerror or error}); choose --log-folder."
        ) from error


def _make_sound(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Put damaged files of a run aside: an unfinished one goes on without, the numbers of a finished one come again.

    So do numbers that are not what the run wrote; where they cannot be made again, everything stays as it is.
    """
    damaged = [path for path in (folder.environment_json, folder.metrics_json) if path.is_file() and not _is_json(path)]
    finished = folder.finished
    if finished and not damaged:
        _make_numbers_sound(folder, say)
    for path in damaged:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        say(f"{path} is damaged; it is now {aside.name}.")
    if finished and not folder.finished and folder.environment_json.is_file():
        say(f"The numbers of {folder.name} are made again from its predictions.")
        from model_aggregation.analysis.run_sets import evaluate_run  # rarely needed, and takes its time

        with suppress(ResultsError, PredictionsError):  # without predictions the run goes on like an unfinished one
            evaluate_run(folder)


def _make_numbers_sound(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Make numbers again that are not what the run wrote; what cannot be vouched for is said."""
    content = folder.metrics_json.read_bytes()
    try:
        fault = fault_of_metrics(folder, content)
        if fault is None:
            return
        from model_aggregation.analysis.run_sets import evaluate_run  # rarely needed, and takes its time

        say(f"{folder.metrics_json} {fault}.")
        evaluate_run(folder)
    except (ResultsError, PredictionsError) as error:
        say(f"The numbers of {folder.name} are not shown: {error.message}")
    else:
        aside = folder.metrics_json.with_name(f"{folder.metrics_json.name}.changed")
        aside.write_bytes(content)
        say(f"Its numbers were made again from the predictions of {folder.name}; what was there is now {aside.name}.")


def _is_json(path: Path) -> bool:
    try:
        return isinstance(read_json(path), dict)
    except ValueError:
        return False


def goes_on(run: RunPlan) -> bool:
    """Return whether a finished run was cut short by a time limit and has more time now.

    A limit of the whole command begins anew with each command; that of a run must be higher than it was.
    """
    folder = RunFolder(run.folder)
    if not (folder.finished and folder.environment_json.is_file()):
        return False
    cut = folder.read_environment().get("cut_short")
    if cut is None:
        return False
    return bool(cut["by"] == "whole" or run.settings.seconds("run_time_limit") > seconds_of(cut["run_time_limit"]))


def _reopen(plan: Plan) -> None:
    """Take the mark of completion from runs that were cut short and go on now, and from what was pooled of them."""
    going_on = [run for run in plan.runs if goes_on(run)]
    pools = [pool for pool in plan.pools if any(run in going_on for run in pool.members)]
    for folder in [run.folder for run in going_on] + [pool.folder for pool in pools]:
        RunFolder(folder).metrics_json.unlink(missing_ok=True)


def _write_plan(plan: Plan) -> None:
    for folder in (plan.folder, plan.folder / REPORT_FOLDER):
        remove_abandoned(folder)
    for name, table in plan.split_files().items():
        write_split(table, plan.folder / name)
    if plan.runs[0].group_name != SINGLE and not plan.settings.comparison:
        write_json(plan.folder / "plan.json", plan.to_dict())
    write_csv(plan.folder / "findings.csv", findings_table(plan.findings))


def _problems_of_parents(plan: Plan) -> list[str]:
    """A name that seeds have in common is no run; with one, the model would stand in the ranking twice."""
    parents = {run.part_of: run for run in plan.all_runs if run.part_of}
    for pool in plan.pools:
        parents.pop(pool.run_name, None)
    return [
        f"{name} is a run of its own; seeds of the same model need another comparison"
        for name, run in parents.items()
        if run.settings.fold is None and RunFolder(run.folder.with_name(name)).exists
    ]


def problems_of_run(run: RunPlan | PoolPlan) -> list[str]:
    """Return how an existing folder contradicts the run: another kind, other settings, other input files."""
    folder = RunFolder(run.folder)
    kind_problem = _problem_of_kind(run)
    if kind_problem:
        return [kind_problem]
    if not folder.path.is_dir() or {path.name for path in folder.path.iterdir()} <= _BEFORE_A_RUN:
        return []
    if not folder.settings_yaml.is_file():
        return [f"{run.run_name}: {folder.path} holds other files"]
    if is_earlier(folder.read_settings()):
        return [f"{run.run_name}: {folder.path} is a run of the earlier program, which stays as it is"]
    now = settings_mapping(run.settings)
    defaults = {key: Settings.model_fields[key].default for key in now}  # for settings that are newer than the run
    stored = {**defaults, **folder.read_settings()}
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


def _problem_of_kind(run: RunPlan | PoolPlan) -> str | None:
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
    there = [folder for folder in map(RunFolder, group) if folder.images_csv.is_file()]
    for folder in there:
        problems = _problems_of_folder(plan, folder)
        if problems:
            return problems
    if there or plan.settings.split is not None:
        return []
    for name, table in plan.split_files().items():
        path = plan.folder / name
        if path.is_file():
            stored = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
            edited = _differences(table, stored, f"{path} was edited: give it with --split to use it")
            if edited:
                return edited
    return []


def _problems_of_folder(plan: Plan, folder: RunFolder) -> list[str]:
    """Return how the images of a run that is there differ from those that the plan has for it.

    A stop may have come between ``images.csv`` and ``environment.json``: which fold it was is known from the plan too.
    """
    own = {run.folder: run for run in plan.runs}.get(folder.path)
    facts = folder.read_environment() if folder.environment_json.is_file() else {}
    pooled = facts.get("members") or folder.path in [pool.folder for pool in plan.pools]
    if pooled or (own is None and not facts):  # made of runs that are looked at themselves; or not begun
        return []
    fold = facts.get("fold") or 1
    table = own.table if own is not None else plan.tables[min(fold, len(plan.tables)) - 1]
    if facts.get("data_fingerprint") == table.fingerprint():
        return []
    what = f"{folder.name} was made with another split or other images"
    return _differences(table, folder.read_images(), what) or ([what] if facts else [])


def _differences(table: ImageTable, stored: pd.DataFrame, what: str) -> list[str]:
    was = stored.set_index("id")
    now = table.frame[SPLIT_COLUMNS].fillna("").set_index("id")
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
