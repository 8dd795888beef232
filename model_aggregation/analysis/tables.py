"""From tables of predictions, whoever made them, to every number: one table evaluated, several compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_aggregation.analysis.run_sets import Metrics, write_results
from model_aggregation.analysis.subgroups import Subgroups, subgroups, unknown_column, value_texts, write_subgroups
from model_aggregation.analysis.table_question import TableQuestion
from model_aggregation.data.table_file import read_table
from model_aggregation.errors import PredictionsError, ResultsError, SettingsError
from model_aggregation.evaluation import (
    Comparison,
    Cutoff,
    CutoffRule,
    Evaluation,
    EvaluationOptions,
    Predictions,
    choose_cutoff,
    compare_predictions,
    default_cutoff,
    evaluate,
)
from model_aggregation.reporting.comparison_report import write_comparison_report
from model_aggregation.reporting.evaluation_report import write_evaluation_report
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.software import versions

PATH, LABEL, PREDICTED = "path", "correct_label", "predict_label"
SINGLE_SET = "test"
"""The name of the set when one table is evaluated."""

_SOFTWARE = ("python", "model_aggregation", "numpy", "scipy", "scikit-learn", "statsmodels")


@dataclass(frozen=True, eq=False)
class TableAnalysis:
    """What was found: the evaluations by the name of the set or table, the comparison of several, the subgroups."""

    evaluations: Mapping[str, Evaluation]
    comparison: Comparison | None = None
    subgroups: Subgroups | None = None

    def metrics(self) -> Metrics:
        """Return the content of ``metrics.json``."""
        return {name: evaluation.to_dict() for name, evaluation in self.evaluations.items()}


@dataclass(frozen=True, eq=False)
class _Table:
    """One table, read and checked, with its cutoff and the value of each image in the column ``by``."""

    predictions: Predictions
    cutoff: Cutoff | None
    values: Mapping[str, str]


def analyze_tables(
    paths: Sequence[Path], question: TableQuestion, out: Path | None = None, *, report: bool = True
) -> TableAnalysis:
    """Evaluate a table of predictions, or evaluate and compare several over the same images.

    A table has the columns ``path, correct_label`` and one of probabilities per class. With ``out`` the results are
    written to that folder: of one table those of a run, named ``test``, and a report; of several ``comparisons.csv``,
    ``ranking.csv``, ``methods.md``, figures, and the metrics by the name of the table. Without ``report`` there are
    neither report nor figures for papers, of several tables the metrics alone.

    Raises
    ------
    PredictionsError
        If a table cannot be evaluated, tables are not over the same images, or the positive class of two is not given.
    SettingsError
        If what is asked does not fit the tables. Nothing is written in either case.
    """
    _check_question(paths, question, out)
    if out is not None:
        _check_out(out)
    plot = PlotSettings() if question.plot_settings is None else read_plot_settings(question.plot_settings)
    tables = dict(zip(table_names(paths), _read_tables(paths, question, plot), strict=True))
    names = [SINGLE_SET] if len(paths) == 1 else list(tables)
    comparison = _compare(tables, paths, question) if len(paths) > 1 else None
    evaluations = {
        name: _evaluate(table.predictions, table.cutoff, question)
        for name, table in zip(names, tables.values(), strict=True)
    }
    parts = None
    if question.by is not None:
        parts = {
            name: _subgroups(table, question, question.by) for name, table in zip(names, tables.values(), strict=True)
        }
    analysis = TableAnalysis(evaluations, comparison, parts)
    if out is not None:
        _write(RunFolder(out.resolve()), analysis, tables, question, plot)
        if report:
            _write_report(out.resolve(), analysis, list(tables), question)
    return analysis


def table_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each table: its file's, with the folder's before it or a number behind it where needed.

    >>> table_names([Path("a/x.csv"), Path("a/y.csv")]), table_names([Path("a/x.csv"), Path("b/x.csv")])
    (['x', 'y'], ['a/x', 'b/x'])
    """
    names = [path.stem for path in paths]
    longer = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    if len(set(names)) < len(set(longer)):
        names = longer
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def read_predictions(path: Path, question: TableQuestion) -> Predictions:
    """Read a table of predictions in UTF-8 or cp932, as ours and the earlier program's.

    Raises
    ------
    PredictionsError
        If columns are missing or hold no numbers, or as :class:`Predictions`; the file is named.
    """
    return _predictions(path, read_table(path), question)


def _predictions(path: Path, table: pd.DataFrame, question: TableQuestion) -> Predictions:
    table = table.rename(columns=str)
    try:
        classes = question.classes or (None if question.score else _class_columns(table, question))
        return Predictions.from_table(
            table,
            group_column=question.group_column,
            score=question.score,
            positive=question.positive if question.score else None,
            classes=classes,
        )
    except PredictionsError as error:
        raise PredictionsError(f"{path}: {error.message}", error.problems) from error


def _class_columns(table: pd.DataFrame, question: TableQuestion) -> tuple[str, ...] | None:
    """Return the columns behind the label that are no others; what holds no numbers is no class."""
    columns = list(table.columns)
    if LABEL not in columns:
        return None  # said when the table is read
    others = {PATH, LABEL, PREDICTED, question.group_column, question.by}
    names = tuple(name for name in columns[columns.index(LABEL) + 1 :] if name not in others)
    if len(names) < 2:
        there = ", ".join(columns)
        raise PredictionsError(
            f"behind {LABEL} there must be one column of probabilities per class, at least two; there are "
            f"{len(names)}. For one column of scores give --score COLUMN. The columns are: {there}."
        )
    words = [
        name
        for name in names
        if len(table) and pd.to_numeric(table[name], errors="coerce").isna().all()
    ]  # fmt: skip
    if words:
        raise PredictionsError(
            "every column behind correct_label counts as a class, but not all hold probabilities. Name what these "
            "are, or name the classes with --classes:",
            [f"column {name} holds no numbers; --group-column {name}? --by {name}?" for name in words],
        )
    return names


def _check_question(paths: Sequence[Path], question: TableQuestion, out: Path | None) -> None:
    if not paths:
        raise SettingsError("Give one table of predictions or several, or a run folder.")
    problems = []
    if question.cutoff is not None and question.cutoff_from:
        problems.append("give either --cutoff or --cutoff-from, not both")
    if question.cutoff is not None and question.cutoff_rule is not None:
        problems.append("give either --cutoff or --cutoff-rule, not both")
    if question.cutoff_rule is not None and not (question.cutoff_from or question.chooses_here):
        problems.append(f"--cutoff-rule {question.cutoff_rule} chooses on validation predictions: give --cutoff-from")
    if question.cutoff_from and len(question.cutoff_from) != len(paths):
        problems.append(
            f"--cutoff-from needs a table for each of the {len(paths)} tables, in their order; "
            f"{len(question.cutoff_from)} came"
        )
    if question.cutoff is not None and question.score is None and not 0 <= question.cutoff <= 1:
        problems.append(f"--cutoff {question.cutoff}: probabilities lie between 0 and 1, and so must their cutoff")
    chooses = bool(question.cutoff_from) or question.chooses_here
    if chooses and question.score is not None:
        problems.append("for a single --score the cutoff must be given with --cutoff, not chosen")
    if question.plot_settings is not None and not chooses and (out is None or len(paths) > 1):
        problems.append(
            "--plot-settings has an effect on the ROC figure of one table (--out) and on a cutoff that is chosen "
            "(--cutoff-from, --cutoff-rule earlier)"
        )
    if len(paths) == 1:
        given = {"--selected": question.selected, "--primary": question.primary}
        problems += [f"{flag} belongs to a comparison of several tables" for flag, value in given.items() if value]
    if problems:
        raise SettingsError("The tables cannot be analyzed as asked:", problems)


def _check_out(out: Path) -> None:
    """Results of foreign tables may not take the place of a run's."""
    folder = RunFolder(out.resolve())
    if folder.environment_json.is_file() or folder.settings_yaml.is_file():
        raise ResultsError(f"{out} is the folder of a run; choose another --out.")
    if out.exists() and not out.is_dir():
        raise ResultsError(f"--out {out} is a file; give a folder.")


def _read_tables(paths: Sequence[Path], question: TableQuestion, plot: PlotSettings) -> list[_Table]:
    validation: Sequence[Path | None] = question.cutoff_from or [None] * len(paths)
    rule = CutoffRule(question.cutoff_rule or "balanced_accuracy", plot.cutoff_ll, plot.cutoff_ul)
    return [_read(path, chosen_on, rule, question) for path, chosen_on in zip(paths, validation, strict=True)]


def _read(path: Path, chosen_on: Path | None, rule: CutoffRule, question: TableQuestion) -> _Table:
    table = read_table(path).rename(columns=str)
    if question.by is not None and question.by not in table.columns:
        raise unknown_column(question.by, list(table.columns), str(path))
    predictions = _predictions(path, table, question)
    positive = _positive_of(predictions, question.positive)
    values = {} if question.by is None else dict(zip(predictions.ids, value_texts(table[question.by]), strict=True))
    return _Table(predictions, _asked_cutoff(question, predictions, positive, chosen_on, rule), values)


def _positive_of(predictions: Predictions, positive: str | None) -> str | None:
    if len(predictions.classes) != 2:
        if positive is not None:
            raise PredictionsError(f"--positive {_two_classes_only(predictions)}")
        return None
    if positive is None:
        first, second = predictions.classes
        raise PredictionsError(f"Which class is the positive one? Give --positive {first} or --positive {second}.")
    predictions.class_index(positive)  # names the nearest class when it is unknown
    return positive


def _two_classes_only(predictions: Predictions) -> str:
    return f"belongs to two classes; here are {len(predictions.classes)}: {', '.join(predictions.classes[:10])}."


def _asked_cutoff(
    question: TableQuestion, predictions: Predictions, positive: str | None, chosen_on: Path | None, rule: CutoffRule
) -> Cutoff | None:
    if positive is None:
        if question.cutoff is not None or chosen_on is not None or question.cutoff_rule is not None:
            raise PredictionsError(f"A cutoff belongs to two classes; here are {len(predictions.classes)}.")
        if question.plot_settings is not None:
            raise PredictionsError(f"--plot-settings {_two_classes_only(predictions)}")
        return None
    if question.cutoff is not None:
        return choose_cutoff(predictions, positive, CutoffRule("fixed", value=question.cutoff), seed=question.seed)
    if question.chooses_here:
        return choose_cutoff(predictions, positive, rule, source="test", seed=question.seed)
    if chosen_on is None:
        return None
    validation = read_predictions(chosen_on, question)
    if validation.classes != predictions.classes:
        raise PredictionsError(
            f"{chosen_on}: its classes are {', '.join(validation.classes)}; the table to be evaluated has "
            f"{', '.join(predictions.classes)}."
        )
    source = "test" if _share_images(validation, predictions) else "validation"
    return choose_cutoff(validation, positive, rule, source=source, seed=question.seed)


def _share_images(one: Predictions, other: Predictions) -> bool:
    """Tell whether a row of one table stands in the other: the same id, label and probabilities."""
    known = dict(zip(other.ids, range(len(other)), strict=True))
    pairs = [(i, known[name]) for i, name in enumerate(one.ids) if name in known]
    return any(
        one.labels[i] == other.labels[j] and np.array_equal(one.probabilities[i], other.probabilities[j])
        for i, j in pairs
    )


def _evaluate(predictions: Predictions, cutoff: Cutoff | None, question: TableQuestion) -> Evaluation:
    two = len(predictions.classes) == 2
    if cutoff is None and two and predictions.has_probabilities:  # a score of any range has no cutoff of its own
        cutoff = default_cutoff("no cutoff and no validation predictions were given")
    options = EvaluationOptions(seed=question.seed)
    return evaluate(predictions, positive=question.positive if two else None, cutoff=cutoff, options=options)


def _subgroups(table: _Table, question: TableQuestion, by: str) -> dict[str, Evaluation]:
    return subgroups(table.predictions, by, table.values, lambda part, _: _evaluate(part, table.cutoff, question))


def _compare(tables: Mapping[str, _Table], paths: Sequence[Path], question: TableQuestion) -> Comparison:
    models = {name: table.predictions for name, table in tables.items()}
    if all(len(predictions) == 0 for predictions in models.values()):
        raise PredictionsError("The tables hold no image to compare models on.")
    return compare_predictions(
        models,
        selected=_selected(list(tables), paths, question.selected),
        positive=question.positive,
        primary=question.primary,
        cutoffs={name: table.cutoff for name, table in tables.items() if table.cutoff is not None},
        options=EvaluationOptions(seed=question.seed),
    )


def _selected(names: Sequence[str], paths: Sequence[Path], selected: str | None) -> str | None:
    if selected is None or selected in names:
        return selected
    for name, path in zip(names, paths, strict=True):
        if Path(selected) == path or selected == path.name:
            return name
    raise SettingsError(f"--selected {selected} is none of the tables: {', '.join(names)}.")


def _write(
    folder: RunFolder,
    analysis: TableAnalysis,
    tables: Mapping[str, _Table],
    question: TableQuestion,
    plot: PlotSettings,
) -> None:
    if analysis.subgroups is not None and question.by is not None:
        write_subgroups(folder.subgroups_csv, question.by, analysis.subgroups)
    if analysis.comparison is None:
        predictions = {SINGLE_SET: next(iter(tables.values())).predictions}
        write_results(folder, predictions, analysis.evaluations, plot=plot, of_run=False)
        return
    rows = [evaluation.to_table().assign(split=name) for name, evaluation in analysis.evaluations.items()]
    table = pd.concat(rows, ignore_index=True)
    folder.write_metrics(analysis.metrics(), table[["split", *table.columns.drop("split")]], of_run=False)


def _write_report(out: Path, analysis: TableAnalysis, models: Sequence[str], question: TableQuestion) -> None:
    comparison = analysis.comparison
    facts = ReportFacts(
        group_meaning=question.group_column,
        versions={name: version for name, version in versions().items() if name in _SOFTWARE},
    )
    if comparison is None:
        write_evaluation_report(out / "report", analysis.evaluations, facts=facts)
        return
    options = EvaluationOptions(seed=question.seed)
    facts = replace(facts, models=tuple(models), primary_metric=comparison.primary, comparison_options=options)
    write_comparison_report(out, comparison, analysis.evaluations, facts=facts)


def plain_comparison(analysis: TableAnalysis) -> dict[str, Any]:
    """Return evaluations and comparison as plain Python values without NaN."""
    return {
        "evaluations": analysis.metrics(),
        "comparison": None if analysis.comparison is None else analysis.comparison.to_dict(),
    }
