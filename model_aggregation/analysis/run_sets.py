"""From the predictions in a run folder to every reported number and its files.

A run is evaluated from the files in its folder, never from what training had in memory: evaluating the folder again
gives the same bytes. External sets, which ``magg test`` adds, are evaluated with the frozen cutoff of the run. A folder
of pooled out-of-fold predictions is evaluated like any other, each image with the cutoff of its fold.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.analysis.other_folders import what_it_is
from model_aggregation.analysis.shared_images import leakage, learnt_images
from model_aggregation.config import Settings
from model_aggregation.earlier_settings import is_earlier
from model_aggregation.errors import PredictionsError, ResultsError
from model_aggregation.evaluation import (
    Cutoff,
    CutoffRule,
    Evaluation,
    EvaluationOptions,
    FoldCutoffs,
    Predictions,
    choose_cutoff,
    default_cutoff,
    evaluate,
    roc_table,
)
from model_aggregation.evaluation.decision import decide
from model_aggregation.files import file_hash
from model_aggregation.results.checksums import ACCEPTED, accepted_files, changed_files, refuse_changed
from model_aggregation.results.index import INDEX_NAME, Index
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.results.tables import read_words
from model_aggregation.settings_files import stored_settings

Metrics = dict[str, dict[str, Any]]

OWN_SETS = ("train", "val", "test")
"""Names that belong to the run's own data; an external set has another."""

FOLD_COLUMNS = ("fold", "run_name", "cutoff", "cutoff_source", "reason", "n_test")
"""What a folder of pooled predictions says of each fold, from 1; the cutoff is empty for three classes and more."""

_ROLES = {"val": {"role": "used for choosing"}, "test": {}}
_EXTERNAL = {"role": "external"}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One set of images of a run: their rows (every value as text), and what was predicted for the readable ones."""

    images: pd.DataFrame
    predictions: Predictions
    remarks: tuple[str, ...] = ()

    @property
    def unreadable(self) -> dict[str, str]:
        """Path and class of the images that could not be read."""
        left_out = self.images[self.images["readable"] != "True"]
        return dict(zip(left_out["path"], left_out["label"], strict=True))


@dataclass(frozen=True, eq=False)
class RunSets:
    """The evaluated sets of a run, its own before the external ones, and what was frozen (two classes).

    That is a cutoff, or for predictions pooled over folds the cutoff of each fold.
    """

    folder: RunFolder
    settings: Settings
    sets: Mapping[str, ImageSet]
    cutoff: Cutoff | FoldCutoffs | None

    def evaluate(self, name: str, part: Predictions | None = None, unreadable: Collection[str] = ()) -> Evaluation:
        """Evaluate a set, or a part of its predictions with the part's unreadable images."""
        image_set = self.sets[name]
        lost = image_set.unreadable
        cutoff = self.cutoff
        if isinstance(cutoff, Cutoff) and name not in OWN_SETS:
            cutoff = replace(cutoff, exploratory=False)  # these images had no part in choosing it
        evaluation = evaluate(
            image_set.predictions if part is None else part,
            positive=self.settings.positive,
            cutoff=cutoff,
            options=EvaluationOptions(seed=self.settings.seed),
            unreadable=lost if part is None else {path: lost[path] for path in unreadable},
        )
        return replace(evaluation, warnings=(*evaluation.warnings, *image_set.remarks))


def evaluate_run(
    folder: RunFolder,
    *,
    before_metrics: Callable[[Metrics], None] | None = None,
    accept_changed: bool = False,
) -> Metrics:
    """Evaluate the predictions of a run folder and write all results; metrics.json comes last.

    Parameters
    ----------
    before_metrics
        Called with the numbers before ``metrics.json``, the mark of completion, is written.
    accept_changed
        Take files that are not what the run wrote as they are now; a warning beside the numbers says so.

    Raises
    ------
    ResultsError
        If the folder has no predictions, or files are not what the run wrote.
    PredictionsError
        If predictions and images do not belong together, or a pooled image has no fold or no cutoff.
    """
    run = read_run(folder, accept_changed=accept_changed)
    plot = PlotSettings()
    if run.settings.plot_settings is not None and run.settings.plot_settings.is_file():
        plot = read_plot_settings(run.settings.plot_settings)
    evaluations = {name: run.evaluate(name) for name in run.sets}
    predictions = {name: image_set.predictions for name, image_set in run.sets.items()}
    return write_results(folder, predictions, evaluations, plot=plot, before_metrics=before_metrics)


def read_run(folder: RunFolder, *, accept_changed: bool = False) -> RunSets:
    """Read what a run folder holds for an evaluation; nothing is computed but the cutoff.

    Raises
    ------
    ResultsError, PredictionsError
        As :func:`evaluate_run`.
    """
    accepted = _accepted(folder, accept_changed=accept_changed)
    settings = stored_settings(_settings_of(folder), folder.settings_yaml)
    outdated = outdated_sets(folder)
    external = [name for name in folder.external_sets() if name not in outdated]
    images = folder.read_images(hashes=bool(external))
    pooled = is_pooled(folder)
    wanted = {"val": settings.validation, "test": settings.test}
    present = set(images["split"])
    names = [name for name, used in wanted.items() if used and name in present and not (pooled and name == "val")]
    lacking = [str(folder.predictions_csv(name)) for name in names + external if not _is_predicted(folder, name)]
    if lacking:
        raise ResultsError(f"Predictions to evaluate are missing: {', '.join(lacking)}")
    sets = {name: _read_set(folder, name, images[images["split"] == name], pooled=pooled) for name in names}
    predictions = {name: image_set.predictions for name, image_set in sets.items()}
    cutoff = _fold_cutoffs(folder, settings, predictions) if pooled else _cutoff_of(settings, predictions)
    for name in external:
        image_set = _read_set(folder, name, folder.read_set_images(name))
        remarks = tuple(leakage(image_set.images, learnt_images(settings, images)))
        sets[name] = replace(image_set, remarks=remarks)
        if cutoff is None and len(image_set.predictions.classes) == 2:
            cutoff = _cutoff_without_images(settings)
    sets = {name: replace(found, remarks=(*found.remarks, *accepted)) for name, found in sets.items()}
    return RunSets(folder, settings, sets, cutoff)


def _accepted(folder: RunFolder, *, accept_changed: bool) -> list[str]:
    """Return a warning where files are not what the run wrote, but are to be taken as they are."""
    external = folder.external_sets()
    names = accepted_files(folder, external)
    if accept_changed:
        names = sorted({*names, *changed_files(folder, external)})
    else:
        refuse_changed(folder, external)
    return [f"{ACCEPTED}{', '.join(names)}"] if names else []


def is_pooled(folder: RunFolder) -> bool:
    """Return whether a folder holds the out-of-fold predictions of several runs."""
    return folder.environment_json.is_file() and bool(folder.read_environment().get("members"))


def _is_predicted(folder: RunFolder, name: str) -> bool:
    return folder.predictions_csv(name).is_file()


def outdated_sets(folder: RunFolder) -> list[str]:
    """Return the external sets that other weights predicted than those the run has now (it was trained again)."""
    weights = folder.weight_pth(folder.tested_weights())
    names = folder.external_sets()
    if not names or not weights.is_file():
        return []
    now = file_hash(weights)
    return [name for name in names if folder.read_set_facts(name).get("weights_sha256") != now]


def _settings_of(folder: RunFolder) -> dict[str, Any]:
    given = folder.read_settings() if folder.settings_yaml.is_file() else {}
    if not given or is_earlier(given):
        reason = "is of the earlier program" if given else "is missing"
        raise ResultsError(f"{folder.settings_yaml} {reason}. {what_it_is(folder.path)}")
    return given


def _read_set(folder: RunFolder, name: str, images: pd.DataFrame, *, pooled: bool = False) -> ImageSet:
    """Read one table of predictions, with the groups of its images; every readable image exactly once."""
    table = folder.read_predictions(name)
    expected = images[images["readable"] == "True"]
    missing = sorted(set(expected["path"]) - set(table.iloc[:, 0]))
    surplus = sorted(set(table.iloc[:, 0]) - set(expected["path"]))
    if missing or surplus:
        listed = (folder.images_csv if name in OWN_SETS else folder.set_images_csv(name)).name
        problems = [f"not predicted: {path}" for path in missing] + [f"not in {listed}: {path}" for path in surplus]
        raise PredictionsError(f"{folder.predictions_csv(name)} and {listed} differ:", problems)
    groups = table.iloc[:, 0].map(dict(zip(expected["path"], expected["group"], strict=True))).to_numpy(dtype=object)
    folds = _folds(folder, expected, table.iloc[:, 0]) if pooled else None
    return ImageSet(images, _predictions(table, groups if (groups != "").all() else None, folds))


def _folds(folder: RunFolder, images: pd.DataFrame, paths: pd.Series) -> np.ndarray:
    """Return the (N,) folds in which the images at these paths were tested."""
    words = images.set_index("path")["fold"] if "fold" in images else pd.Series("", index=images["path"])
    lacking = [f"no fold: {path}" for path, fold in words.items() if not fold.isdecimal()]
    if lacking:
        raise PredictionsError(f"{folder.images_csv}: the column fold must say where each image was tested:", lacking)
    return words.loc[paths].to_numpy().astype(np.int64)


def _predictions(table: pd.DataFrame, groups: np.ndarray | None, folds: np.ndarray | None) -> Predictions:
    """Build predictions by the place of the columns, since a class may be called like one of them."""
    classes = tuple(str(name) for name in table.columns[2:])
    codes = pd.Categorical(table.iloc[:, 1], categories=list(classes)).codes
    return Predictions(
        table.iloc[:, 0].to_numpy(dtype=object), codes.astype(np.int64), table.iloc[:, 2:].to_numpy(np.float64),
        classes, groups, folds=folds,
    )  # fmt: skip


def _cutoff_of(settings: Settings, sets: Mapping[str, Predictions]) -> Cutoff | None:
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


def _fold_cutoffs(folder: RunFolder, settings: Settings, sets: Mapping[str, Predictions]) -> FoldCutoffs | None:
    """Read what each fold chose on its own validation images; None for three classes and more."""
    if not sets or len(next(iter(sets.values())).classes) != 2:
        return None
    path, rule, cutoffs = folder.folds_csv, cutoff_rule(settings), {}
    table = read_words(path)
    lacking = [name for name in FOLD_COLUMNS if name not in table]
    if lacking:
        raise ResultsError(f"{path} lacks the columns {', '.join(lacking)}.")
    for row in table.to_dict("records"):
        try:
            fold, value = int(row["fold"]), float(row["cutoff"])
        except ValueError as error:
            raise ResultsError(
                f"{path}: fold and cutoff are numbers; {row['fold']!r} and {row['cutoff']!r} came."
            ) from error
        source = str(row["cutoff_source"])
        chosen = source in ("validation", "test")
        cutoffs[fold] = Cutoff(
            value,
            source,
            rule,
            str(row["reason"]) or None,
            limit_active=chosen and value in rule.limits,
            exploratory=source == "test",
            positive=settings.positive,
        )
    return FoldCutoffs(cutoffs)


def _cutoff_without_images(settings: Settings) -> Cutoff:
    """Return the cutoff of a run that evaluated no image of its own."""
    rule = cutoff_rule(settings)
    if rule.kind == "fixed" and rule.value is not None:
        return Cutoff(rule.value, "fixed", rule, positive=settings.positive)
    return default_cutoff(f"no {settings.cutoff_on} images to choose it on")


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


def write_results(
    folder: RunFolder,
    predictions: Mapping[str, Predictions],
    evaluations: Mapping[str, Evaluation],
    *,
    plot: PlotSettings | None = None,
    before_metrics: Callable[[Metrics], None] | None = None,
    of_run: bool = True,
) -> Metrics:
    """Write the files of evaluated sets, named as those of a run, rows in the order given; ``metrics.json`` last.

    Only in a folder ``of_run`` are the files listed with their checksums.
    """
    metrics, table = numbers_of(evaluations)
    for name, evaluation in evaluations.items():
        if name != "val":
            _write_decisions(folder, name, predictions[name], evaluation)
            _write_roc(folder, name, evaluation, plot=plot, metrics=metrics[name])
    if before_metrics is not None:
        before_metrics(metrics)
    folder.write_metrics(metrics, table, of_run=of_run)
    return metrics


def numbers_of(evaluations: Mapping[str, Evaluation]) -> tuple[Metrics, pd.DataFrame]:
    """Return the contents of ``metrics.json`` and of ``metrics.csv``."""
    metrics: Metrics = {
        name: {**_ROLES.get(name, _EXTERNAL), **evaluation.to_dict()} for name, evaluation in evaluations.items()
    }
    tables = [evaluation.to_table().assign(split=name) for name, evaluation in evaluations.items()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["split"])
    return metrics, table[["split", *table.columns.drop("split")]]


def _write_decisions(folder: RunFolder, name: str, predictions: Predictions, evaluation: Evaluation) -> None:
    if predictions.has_probabilities:
        folder.write_predictions(name, predictions.to_table(), predicted=_predicted(predictions, evaluation))
    if evaluation.confusion is not None:
        folder.write_confusion(evaluation.confusion.tolist(), predictions.classes, set_name=name)


def _write_roc(
    folder: RunFolder, name: str, evaluation: Evaluation, *, plot: PlotSettings | None, metrics: dict[str, Any]
) -> None:
    if evaluation.positive is not None:
        roc = roc_table(evaluation.predictions, evaluation.positive)
        folder.write_roc(roc, set_name=name)
        folder.write_roc_figure(roc, metrics, plot=plot, set_name=name)


def _predicted(predictions: Predictions, evaluation: Evaluation) -> list[str]:
    """Return the decision for each image, by name."""
    cutoff = evaluation.cutoff or evaluation.fold_cutoffs
    if evaluation.positive is None or cutoff is None:
        chosen = decide(predictions.probabilities)
    else:
        positive = predictions.class_index(evaluation.positive)
        chosen = decide(predictions.probabilities, positive=positive, cutoff=cutoff.of_images(predictions))
    return [predictions.classes[index] for index in chosen]


def refresh_index(folder: RunFolder) -> None:
    """Take over a run into the index of the log folder that it lies in; a folder elsewhere is left alone."""
    log_folder = log_folder_of(folder)
    if log_folder is not None:
        Index(log_folder).record(folder.path)


def log_folder_of(folder: RunFolder) -> Path | None:
    """Return the log folder that a run folder lies in: the one with the index, here or above the group."""
    parent = folder.path.resolve().parent
    return next((path for path in (parent, parent.parent) if (path / INDEX_NAME).is_file()), None)
