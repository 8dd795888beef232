"""Cross-validation's end: the out-of-fold predictions of one model, each image once, evaluated as one test set."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from model_aggregation.analysis.run_sets import evaluate_run
from model_aggregation.analysis.stored_numbers import metrics_of
from model_aggregation.errors import ResultsError
from model_aggregation.files import write_csv
from model_aggregation.results.checksums import ACCEPTED, refuse_changed
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import predictions_table
from model_aggregation.run_plan import PoolPlan
from model_aggregation.settings_files import write_settings

_OF_ONE_MEMBER = (
    "history", "best_epoch", "epochs_trained", "weights", "part_of", "reason", "cut_short", "peak_memory_bytes",
)  # fmt: skip
"""What the environment of a member says about itself alone."""

Members = Mapping[int, RunFolder]
"""By the number of the fold, from 1."""


def pool(plan: PoolPlan) -> RunFolder:
    """Write the run folder of pooled predictions from its members, and evaluate it.

    Raises
    ------
    ResultsError
        If a member is not finished, or its files are not what it wrote; the folder then holds settings and no results.
    """
    folder = RunFolder(plan.folder)
    write_settings(plan.settings, folder.settings_yaml)
    members = {int(member.settings.fold or 0): RunFolder(member.folder) for member in plan.members}
    missing = [
        f"fold {fold}, {member.name}: {member.failure_reason() or member.state()}"
        for fold, member in members.items()
        if not member.finished
    ]
    if missing:
        raise ResultsError("The pooled result needs every fold:", missing)
    for member in members.values():
        refuse_changed(member, member.external_sets())
    folder.checksums.unlink(missing_ok=True)
    images = _images(plan)
    write_csv(folder.images_csv, images)
    write_csv(folder.predictions_csv("test"), _predictions(members, images))
    write_csv(folder.folds_csv, _folds(members))
    folder.write_environment(_environment(plan, members))
    folder.clear_error()
    folder.append_status(f"model {plan.model}: out-of-fold predictions of {len(members)} folds")
    evaluate_run(folder)
    return folder


def _images(plan: PoolPlan) -> pd.DataFrame:
    """Return the images with the fold that tests each; unreadable ones are in none, and count among the tested."""
    images = plan.members[0].table.facts().assign(split="test", fold="")
    for member in plan.members:
        images.loc[member.table.frame["split"] == "test", "fold"] = str(member.settings.fold)
    return images


def _predictions(members: Members, images: pd.DataFrame) -> pd.DataFrame:
    """Return every out-of-fold prediction once, in the order of the images."""
    table = pd.concat([member.read_predictions("test") for member in members.values()], ignore_index=True)
    place = {path: number for number, path in enumerate(table.iloc[:, 0])}
    paths = images.loc[images["fold"] != "", "path"]
    return predictions_table(table.iloc[[place[path] for path in paths]].reset_index(drop=True))


def _folds(members: Members) -> pd.DataFrame:
    """Return one row per fold: its run, the cutoff that was frozen there (two classes), and its test images."""
    rows = []
    for fold, member in members.items():
        tested = metrics_of(member)[0]["test"]
        cutoff = tested.get("cutoff") or {}
        rows.append(
            {
                "fold": fold,
                "run_name": member.name,
                "cutoff": cutoff.get("value"),
                "cutoff_source": cutoff.get("source"),
                "reason": cutoff.get("reason"),
                "n_test": tested["accuracy"]["n"],
            }
        )
    return pd.DataFrame(rows)


def _environment(plan: PoolPlan, members: Members) -> dict[str, Any]:
    """Return the environment of the members, with what belongs to one of them left out and times added up."""
    environments = [member.read_environment() for member in members.values()]
    first = {key: value for key, value in environments[0].items() if key not in _OF_ONE_MEMBER}
    timings = [environment["timing"] for environment in environments]
    tables = [member.table for member in plan.members]
    return {
        **first,
        "run_name": plan.run_name,
        "part_of": plan.part_of,
        "fold": None,
        "reason": "; ".join(_reasons(members)) or None,
        "members": [member.name for member in members.values()],
        "data_fingerprint": tables[0].without_splits().fingerprint(),
        "test_fingerprint": tables[0].without_splits().fingerprint(),
        "findings": sorted({finding for environment in environments for finding in environment["findings"]}),
        "started": min(environment["started"] for environment in environments),
        "finished": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "timing": _summed(timings, sum(len(table.part("test")) for table in tables)),
    }


def _reasons(members: Members) -> Iterator[str]:
    """Yield what a reader should know of members, by their names."""
    for member in members.values():
        metrics, remarks = metrics_of(member)
        accepted = [line for line in metrics["test"].get("warnings", []) if line.startswith(ACCEPTED)]
        said = [member.read_environment().get("reason"), *remarks, *accepted]
        yield from (f"{member.name}: {line}" for line in said if line)


def _summed(timings: list[dict[str, Any]], tested: int) -> dict[str, Any]:
    train_seconds = sum(timing["train_seconds"] for timing in timings)
    test_seconds = sum(timing["test_seconds"] for timing in timings)
    decoded = [timing.get("images_decoded") for timing in timings]  # runs of an earlier version did not count
    images = sum((timing["train_images_per_second"] or 0) * timing["train_seconds"] for timing in timings)
    return {
        "train_seconds": round(train_seconds, 3),
        "train_images_per_second": round(images / train_seconds, 2) if train_seconds else None,
        "test_seconds": round(test_seconds, 3),
        "test_images_per_second": round(tested / test_seconds, 2),
        "images_decoded": sum(decoded) if None not in decoded else None,
    }
