"""From tables of predictions to every reported number and its files.

A run is evaluated from the files in its folder, never from what training had in memory: evaluating the folder again
gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.config import Settings
from model_aggregation.data.table_file import read_table
from model_aggregation.errors import PredictionsError, ResultsError
from model_aggregation.evaluation import (
    Cutoff,
    CutoffRule,
    Evaluation,
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    default_cutoff,
    evaluate,
    roc_table,
)
from model_aggregation.evaluation.decision import decide
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.settings_files import stored_settings

Metrics = dict[str, dict[str, Any]]


def evaluate_run(folder: RunFolder, *, before_metrics: Callable[[Metrics], None] | None = None) -> Metrics:
    """Evaluate the validation and test predictions of a run folder and write all results; metrics.json comes last.

    Parameters
    ----------
    before_metrics
        Called with the numbers before ``metrics.json``, the mark of completion, is written.

    Raises
    ------
    ResultsError
        If the folder has no predictions.
    PredictionsError
        If predictions and images do not belong together.
    """
    settings = stored_settings(_settings_of(folder), folder.settings_yaml)
    images = folder.read_images()
    wanted = {"val": settings.validation, "test": settings.test}
    present = set(images["split"])
    names = [name for name, used in wanted.items() if used and name in present]
    missing = [str(folder.predictions_csv(name)) for name in names if not folder.predictions_csv(name).is_file()]
    if missing:
        raise ResultsError(f"Predictions to evaluate are missing: {', '.join(missing)}")
    sets = {name: _read_set(folder, name, images) for name in names}
    cutoff = _cutoff_of(settings, sets)
    evaluations = {
        name: evaluate(
            predictions,
            positive=settings.positive,
            cutoff=cutoff,
            options=EvaluationOptions(seed=settings.seed),
            unreadable=_unreadable(images, name),
        )
        for name, predictions in sets.items()
    }
    plot = PlotSettings()
    if settings.plot_settings is not None and settings.plot_settings.is_file():
        plot = read_plot_settings(settings.plot_settings)
    return _write(folder, sets, evaluations, plot, before_metrics=before_metrics)


def _settings_of(folder: RunFolder) -> dict[str, Any]:
    if not folder.settings_yaml.is_file():
        runs = [path.name for path in sorted(folder.path.iterdir()) if (path / f"{path.name}.yaml").is_file()]
        hint = f"It is a comparison; give one of its runs: {', '.join(runs[:10])}." if runs else "It is no run folder."
        raise ResultsError(f"{folder.settings_yaml} is missing. {hint}")
    return folder.read_settings()


def _read_set(folder: RunFolder, name: str, images: pd.DataFrame) -> Predictions:
    """Read one table of predictions, with the groups of ``images.csv``; every image of the set exactly once."""
    table = folder.read_predictions(name)
    expected = images[(images["split"] == name) & (images["readable"] == "True")]
    missing = sorted(set(expected["path"]) - set(table.iloc[:, 0]))
    surplus = sorted(set(table.iloc[:, 0]) - set(expected["path"]))
    if missing or surplus:
        problems = [f"not predicted: {path}" for path in missing] + [f"not in images.csv: {path}" for path in surplus]
        raise PredictionsError(f"{folder.predictions_csv(name)} and images.csv differ:", problems)
    groups = table.iloc[:, 0].map(dict(zip(expected["path"], expected["group"], strict=True))).to_numpy(dtype=object)
    return _predictions(table, groups if (groups != "").all() else None)


def _predictions(table: pd.DataFrame, groups: np.ndarray | None) -> Predictions:
    """Build predictions by the place of the columns, since a class may be called like one of them."""
    classes = tuple(str(name) for name in table.columns[2:])
    codes = pd.Categorical(table.iloc[:, 1], categories=list(classes)).codes
    return Predictions(
        table.iloc[:, 0].to_numpy(dtype=object), codes.astype(np.int64), table.iloc[:, 2:].to_numpy(np.float64),
        classes, groups,
    )  # fmt: skip


def _unreadable(images: pd.DataFrame, name: str) -> dict[str, str]:
    """Return path and class of the images of a set that could not be read."""
    left_out = images[(images["split"] == name) & (images["readable"] != "True")]
    return dict(zip(left_out["path"], left_out["label"], strict=True))


def _cutoff_of(settings: Settings, sets: dict[str, Predictions]) -> Cutoff | None:
    """Choose the cutoff as the settings say; None for three classes and more."""
    if not sets or len(next(iter(sets.values())).classes) != 2:
        return None
    rule = cutoff_rule(settings)
    source = settings.cutoff_on
    name = "val" if source == "validation" else "test"
    if rule.kind != "fixed" and name not in sets:
        return default_cutoff(f"no {source} images to choose it on")
    chosen_on = sets.get(name, next(iter(sets.values())))
    return choose_cutoff(chosen_on, str(settings.positive), rule, source=source, seed=settings.seed)


def cutoff_rule(settings: Settings) -> CutoffRule:
    """Return the rule that the settings describe."""
    kind = settings.cutoff_rule
    return CutoffRule(
        kind,
        settings.cutoff_lower,
        settings.cutoff_upper,
        value=settings.cutoff_value if kind == "fixed" else None,
        target=settings.cutoff_target if kind.startswith("min_") else None,
        cost_false_negative=settings.cutoff_cost,
    )


def _write(
    folder: RunFolder,
    sets: dict[str, Predictions],
    evaluations: dict[str, Evaluation],
    plot: PlotSettings,
    *,
    before_metrics: Callable[[Metrics], None] | None = None,
) -> Metrics:
    metrics: Metrics = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
    if "val" in metrics:
        metrics["val"] = {"role": "used for choosing", **metrics["val"]}
    if "test" in sets:
        predictions, evaluation = sets["test"], evaluations["test"]
        if predictions.has_probabilities:
            folder.write_predictions("test", predictions.to_table(), predicted=_predicted(predictions, evaluation))
        if evaluation.confusion is not None:
            folder.write_confusion(evaluation.confusion.tolist(), predictions.classes)
        if evaluation.positive is not None:
            roc = roc_table(predictions, evaluation.positive)
            folder.write_roc(roc)
            folder.write_roc_figure(roc, metrics["test"], plot=plot)
    tables = [evaluation.to_table().assign(split=name) for name, evaluation in evaluations.items()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["split"])
    if before_metrics is not None:
        before_metrics(metrics)
    folder.write_metrics(metrics, table[["split", *table.columns.drop("split")]])
    return metrics


def _predicted(predictions: Predictions, evaluation: Evaluation) -> list[str]:
    """Return the decision for each image, by name."""
    if evaluation.positive is None or evaluation.cutoff is None:
        chosen = decide(predictions.probabilities)
    else:
        positive = predictions.class_index(evaluation.positive)
        chosen = decide(predictions.probabilities, positive=positive, cutoff=evaluation.cutoff.value)
    return [predictions.classes[index] for index in chosen]


@dataclass(frozen=True)
class TableQuestion:
    """How a table of predictions is to be read: the positive class, the cutoff, the column of groups."""

    positive: str | None = None
    cutoff: float | None = None
    cutoff_from: Path | None = None
    group_column: str | None = None
    score: str | None = None
    seed: int = 0


def analyze_table(path: Path, question: TableQuestion, out: Path | None) -> Metrics:
    """Evaluate any table of predictions (``path,correct_label``, one column of probabilities per class).

    With ``out`` the results are written to that folder, named as for a run, with the set name ``test``.

    Raises
    ------
    PredictionsError
        If the table cannot be evaluated, or the positive class of two is not given. Nothing is written then.
    """
    if question.cutoff is not None and question.cutoff_from is not None:
        raise PredictionsError("Give either a cutoff or a table to choose it on, not both.")
    if out is not None:
        _check_out(out)
    predictions = read_predictions(path, question)
    positive = _positive_of(predictions, question.positive)
    evaluation = evaluate(
        predictions,
        positive=positive,
        cutoff=_asked_cutoff(question, predictions, positive),
        options=EvaluationOptions(seed=question.seed),
    )
    if out is None:
        return {"test": evaluation.to_dict()}
    return _write(RunFolder(out.resolve()), {"test": predictions}, {"test": evaluation}, PlotSettings())


def _check_out(out: Path) -> None:
    """Results of a foreign table may not take the place of a run's."""
    folder = RunFolder(out.resolve())
    if folder.environment_json.is_file() or folder.settings_yaml.is_file():
        raise ResultsError(f"{out} is the folder of a run; choose another --out.")


def read_predictions(path: Path, question: TableQuestion) -> Predictions:
    """Read a table of predictions in UTF-8 or cp932, as ours and the earlier program's."""
    return Predictions.from_table(
        read_table(path),
        group_column=question.group_column,
        score=question.score,
        positive=question.positive if question.score else None,
    )


def _positive_of(predictions: Predictions, positive: str | None) -> str | None:
    if len(predictions.classes) != 2:
        if positive is not None:
            raise PredictionsError(f"--positive belongs to two classes; here are {len(predictions.classes)}.")
        return None
    if positive is None:
        first, second = predictions.classes
        raise PredictionsError(f"Which class is the positive one? Give --positive {first} or --positive {second}.")
    predictions.class_index(positive)  # names the nearest class when it is unknown
    return positive


def _asked_cutoff(question: TableQuestion, predictions: Predictions, positive: str | None) -> Cutoff | None:
    if positive is None:
        if question.cutoff is not None or question.cutoff_from is not None:
            raise PredictionsError(f"A cutoff belongs to two classes; here are {len(predictions.classes)}.")
        return None
    if question.cutoff is not None:
        return choose_cutoff(predictions, positive, CutoffRule("fixed", value=question.cutoff), seed=question.seed)
    if question.cutoff_from is None and question.score is not None:
        return None  # a score of any range has no cutoff of its own
    if question.cutoff_from is None:
        return default_cutoff("no cutoff and no validation predictions were given")
    validation = read_predictions(question.cutoff_from, question)
    return choose_cutoff(validation, positive, CutoffRule(), seed=question.seed)
