"""What the index holds of one run folder: a row and its metrics, read from the files; missing is NULL."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_aggregation.data.image_table import ImageTable
from model_aggregation.errors import ChangedResultsError, ResultsError
from model_aggregation.names import SINGLE
from model_aggregation.results.checksums import ACCEPTED, changed_files
from model_aggregation.results.run_folder import RunFolder

_TIMING = ("train_seconds", "test_seconds", "train_images_per_second", "test_images_per_second")
_COPIED = (
    "model", "seed", "fold", "folds", "part_of", "device", "precision", "data_fingerprint", "test_fingerprint",
    "positive", "primary_metric", "started", "finished", "parameters", "image_size", "command",
)  # fmt: skip
_JSON = ("classes", "versions", "git")

ReadNumbers = Callable[[RunFolder], tuple[dict[str, Any], tuple[str, ...]]]
"""Returns the numbers of a finished run and what is to be said of them, or raises ``ResultsError``."""


def stored_numbers(folder: RunFolder) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return ``metrics.json``, of which there is nothing to be said."""
    return folder.read_metrics(), ()


@dataclass(frozen=True)
class RunRecord:
    """A row of ``runs`` (without id) and its rows of ``metrics``; ``problem`` is what could not be read.

    ``test_evaluations`` holds, for its own test and each external set, the fingerprint of the images and what tells
    the tested weights from others of the run.
    """

    row: dict[str, Any]
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    problem: str | None = None
    test_evaluations: tuple[tuple[str, str], ...] = ()


def run_folders(log_folder: Path) -> Iterator[RunFolder]:
    """Return the run folders of a log folder, those of groups too, in the order of their names."""
    for child in folders_in(log_folder):
        if RunFolder(child).exists:
            yield RunFolder(child)
        else:
            yield from (RunFolder(path) for path in folders_in(child) if RunFolder(path).exists)


def folders_in(path: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def group_of(folder: RunFolder, log_folder: Path) -> str:
    """Return the group that a run folder lies in, or ``single``.

    Raises
    ------
    ResultsError
        If the folder does not lie in the log folder.
    """
    parent, root = folder.path.resolve().parent, log_folder.resolve()
    if parent == root:
        return SINGLE
    if parent.parent == root:
        return parent.name
    raise ResultsError(f"A run folder lies in {log_folder} or in a group's folder there; {folder.path} does not.")


def log_folder_text(group_name: str, log_folder: Path) -> str:
    """Return the folder that holds a run folder, relative to the parent of the log folder, with ``/``."""
    name = log_folder.resolve().name
    return name if group_name == SINGLE else f"{name}/{group_name}"


def read_record(folder: RunFolder, log_folder: Path, read_numbers: ReadNumbers = stored_numbers) -> RunRecord:
    """Read ``environment.json``, ``metrics.json`` and ``error.txt``; a damaged one is a reason, no error.

    Numbers that are not what the run wrote are left out, unless ``read_numbers`` makes them again.
    """
    group_name = group_of(folder, log_folder)
    problems: list[str] = []
    environment = _or_empty(folder.read_environment, folder.environment_json, problems)
    metrics, readable = _read_metrics(folder, read_numbers, problems)
    row = {
        "group_name": group_name,
        "run_name": folder.name,
        "log_folder": log_folder_text(group_name, log_folder),
        "state": _state(folder, environment) if readable else "interrupted",
        "reason": _reason(folder, environment, problems),
        **{name: _cell(environment.get(name)) for name in _COPIED},
        **{name: _cell((environment.get("timing") or {}).get(name)) for name in _TIMING},
        **{name: _json(environment.get(name)) for name in _JSON},
        "number_of_classes": _number_of_classes(environment, metrics),
        "has_validation": environment.get("has_validation", "val" in metrics if metrics else None),
        "tested": "test" in metrics,
        "cutoff_source": _cell((metrics.get("test", {}).get("cutoff") or {}).get("source")),
    }
    names = (group_name, folder.name)
    own = [(row["test_fingerprint"], row["finished"] or "")] if row["tested"] and row["test_fingerprint"] else []
    evaluations = (*own, *_external_evaluations(folder, problems))
    numbers = [(*names, *values) for values in _metric_rows(metrics)]
    return RunRecord(row, numbers, "; ".join(problems) or None, evaluations)


def _read_metrics(folder: RunFolder, read: ReadNumbers, problems: list[str]) -> tuple[dict[str, Any], bool]:
    """Return the numbers of a run, and whether it may count as finished; add what is wrong with its files."""
    if not folder.finished:
        return {}, True
    readable, metrics = True, dict[str, Any]()
    try:
        metrics, remarks = read(folder)
        problems += remarks
        changed = changed_files(folder, folder.external_sets(), newer=True)
        problems += [f"not what the run wrote: {', '.join(changed)}"] if changed else []
        warnings = (line for content in metrics.values() for line in content.get("warnings", ()))
        problems += dict.fromkeys(line for line in warnings if line.startswith(ACCEPTED))
    except ResultsError as error:
        problems.append(error.message)
        readable = isinstance(error, ChangedResultsError)
    return metrics, readable


def _reason(folder: RunFolder, environment: Mapping[str, Any], problems: Sequence[str]) -> str | None:
    own = folder.failure_reason() or environment.get("reason")
    return "; ".join([*problems, *([own] if own else [])]) or None


def _external_evaluations(folder: RunFolder, problems: list[str]) -> Iterator[tuple[str, str]]:
    """Return the fingerprint of each external set and the hash of the weights that were tested on it.

    The images are fingerprinted as a run's own test images are: the same folder is the same set for both.
    """
    for name in folder.external_sets():
        try:
            weights = str(folder.read_set_facts(name).get("weights_sha256"))
            images = folder.read_set_images(name)
            readable = images[images["readable"] == "True"].assign(split="test")
            yield ImageTable(folder.path, readable, ()).fingerprint(), weights
        except (ResultsError, KeyError) as error:
            problems.append(f"the set {name}: {error}")


def _or_empty(read: Any, path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(read())
    except ResultsError as error:
        problems.append(str(error))
        return {}


def _state(folder: RunFolder, environment: Mapping[str, Any]) -> str:
    state = folder.state()
    return "stopped" if state == "interrupted" and environment.get("state") == "stopped" else state


def _number_of_classes(environment: Mapping[str, Any], metrics: Mapping[str, Any]) -> int | None:
    for candidate in (
        environment.get("classes"),
        *(content.get("confusion") for content in metrics.values() if isinstance(content, Mapping)),
    ):
        if isinstance(candidate, list) and candidate:
            return len(candidate)
    return None


def _metric_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return ``set_name, class, metric, value, low, high, method, n, reason`` of every number."""
    for set_name, content in metrics.items():
        if not isinstance(content, Mapping):
            continue
        for values in _numbers(content):
            yield (set_name, "", *values)
        classes = content.get("classes")
        for class_name, numbers in classes.items() if isinstance(classes, Mapping) else ():
            for values in _numbers(numbers):
                yield (set_name, class_name, *values)


def _numbers(content: Any) -> Iterator[tuple[Any, ...]]:
    for name, entry in content.items() if isinstance(content, Mapping) else ():
        if isinstance(entry, Mapping) and "value" in entry:
            interval = entry.get("interval") or entry  # the cutoff keeps its interval in an object of its own
            low, high = _number(interval.get("low")), _number(interval.get("high"))
            value, n = _number(entry["value"] if name != "cutoff" else cutoff_value(entry)), _number(entry.get("n"))
            method = entry.get("method", entry.get("source"))
            yield name, value, low, high, _cell(method), n, _cell(entry.get("reason"))


def cutoff_value(cutoff: Mapping[str, Any]) -> float | None:
    """Return the cutoff of an entry of ``metrics.json``; of pooled folds the one that all of them have, if they do.

    >>> [cutoff_value({"value": None, "folds": [{"value": 0.5}, {"value": other}]}) for other in (0.5, 0.6)]
    [0.5, None]
    """
    folds = cutoff.get("folds")
    values = {fold.get("value") for fold in folds} if isinstance(folds, list) else set()
    value = values.pop() if cutoff.get("value") is None and len(values) == 1 else cutoff.get("value")
    return float(value) if isinstance(value, int | float) else None


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else _json(value)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
