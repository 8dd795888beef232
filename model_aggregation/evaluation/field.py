"""The field of models that are compared: their values and resamples on one common set of images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from model_aggregation.errors import PredictionsError, SettingsError
from model_aggregation.evaluation.bootstrap import Resamples, Values, percentile_interval
from model_aggregation.evaluation.cutoff import DEFAULT_CUTOFF, Cutoff
from model_aggregation.evaluation.delong import DeLong, delong
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.evaluation.many_class_values import (
    OVERALL_METRICS,
    ManyClassTask,
    many_class_value,
    many_class_values,
)
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.ranking import Spread
from model_aggregation.evaluation.two_class_values import (
    DECISION_METRICS,
    LIKELIHOOD_RATIOS,
    PROBABILITY_METRICS,
    RANK_METRICS,
    TwoClassTask,
    two_class_value,
    two_class_values,
)

Metric = Callable[[np.ndarray], Values]
SingleMetric = Callable[[np.ndarray, str], np.ndarray]


@dataclass(frozen=True, eq=False)
class Field:
    """K models on the same images, in the order of their names as given.

    ``drawn`` holds (K, B) resampled values per metric, ``point`` (K,) values; both share one set of resamples.
    """

    names: list[str]
    predictions: list[Predictions]
    positive: str | None
    cutoffs: dict[str, Cutoff | FoldCutoffs]
    plan: Resamples
    singles: list[SingleMetric]
    right: np.ndarray  # (K, N) whether each image is decided rightly
    point: Values
    drawn: Values

    @classmethod
    def of(
        cls,
        models: Mapping[str, Predictions],
        positive: str | None,
        cutoffs: Mapping[str, Cutoff | FoldCutoffs],
        options: EvaluationOptions,
    ) -> "Field":
        """Check that the models fit together, and compute all values and resamples."""
        if not models:
            raise SettingsError("There is no model to compare.")
        if unknown := sorted(set(cutoffs) - set(models)):
            raise SettingsError(f"There are cutoffs for models that are not compared: {', '.join(unknown)}.")
        names = list(models)
        tables = [models[name].sorted_by_id() for name in names]
        _check_same(names, tables)
        positive = _checked_positive(tables, positive, cutoffs)
        tasks, singles, right = zip(
            *(_task(table, positive, cutoffs.get(name), options) for name, table in zip(names, tables, strict=True)),
            strict=True,
        )
        plan = Resamples.of(tables[0], count=options.resamples, seed=options.seed)
        point = _stack([task(np.ones((len(tables[0]), 1))) for task in tasks])
        drawn = _resample(plan, list(tasks), list(point))
        flat = {name: values[:, 0] for name, values in point.items()}
        return cls(names, tables, positive, dict(cutoffs), plan, list(singles), np.stack(right), flat, drawn)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that can be compared, in order."""
        known: tuple[str, ...] = (*RANK_METRICS, *DECISION_METRICS, *PROBABILITY_METRICS)
        if self.positive is None:
            known = (*OVERALL_METRICS, "quadratic_kappa", "top_k_accuracy")
        return tuple(name for name in known if name in self.point)

    @property
    def any_exploratory(self) -> bool:
        """Whether a cutoff was chosen on the images it is applied to."""
        return any(cutoff.exploratory for cutoff in self.cutoffs.values())

    @property
    def without_cutoff(self) -> list[str]:
        """Names of the models with probabilities that were given no cutoff."""
        if self.positive is None or not self.predictions[0].has_probabilities:
            return []
        return [name for name in self.names if name not in self.cutoffs]

    def exploratory(self, metric: str, i: int, j: int) -> bool:
        """Whether a metric of two models rests on a cutoff chosen on these images."""
        given = [self.cutoffs.get(self.names[k]) for k in (i, j)]
        return metric in DECISION_METRICS and any(cutoff is not None and cutoff.exploratory for cutoff in given)

    def value(self, metric: str, i: int) -> float | None:
        """Return the value of a model, None where undefined."""
        value = float(self.point[metric][i])
        return None if np.isnan(value) else value

    def empty_cell(self, metric: str, models: Iterable[int]) -> str | None:
        """Say that the spread of a likelihood ratio cannot be told, since a cell of a model's table is 0."""
        if metric not in LIKELIHOOD_RATIOS:
            return None
        labels = self.predictions[0].labels
        cells = [len(np.unique(2 * labels + self.right[model])) for model in models]
        return "a cell of a model's table is 0" if min(cells) < 4 else None

    @cached_property
    def areas(self) -> DeLong | None:
        """The areas of all models with their covariance; None when a class is missing, or for many classes."""
        if self.positive is None:
            return None
        truth = self.predictions[0].labels == self.predictions[0].class_index(self.positive)
        if truth.all() or not truth.any():
            return None
        scores = np.stack([table.score_of(self.positive) for table in self.predictions])
        return delong(truth, scores, self.predictions[0].unit_index())

    def spread(self, metric: str) -> Spread | str:
        """Return covariance and deviations of the differences, or why there are none.

        DeLong's for AUC, of the paired resamples otherwise.
        """
        k = len(self.names)
        if metric == "auc" and self.areas is not None:
            if objection := self.areas.objection():
                return objection
            variances = [[self.areas.variance_of_difference(i, j) for j in range(k)] for i in range(k)]
            return Spread(self.areas.covariance(), np.sqrt(np.array(variances)), self.areas.degrees)
        if objection := self.plan.objection() or self.empty_cell(metric, range(k)):
            return objection
        values = self.drawn[metric]
        values = values[:, ~np.isnan(values).any(axis=0)]
        if values.shape[1] < 0.95 * self.plan.count:
            return f"{metric} is undefined in too many resamples"
        deviations = np.stack([np.std(values - row, axis=1, ddof=1) for row in values])
        deviations[deviations < 1e-12] = 0
        return Spread(np.atleast_2d(np.cov(values)), deviations, self.plan.degrees)

    def decided(self, metric: str, sign: float, confidence: float) -> np.ndarray | None:
        """(K, K) bool: whether i lies above j in nearly all resamples; None without resamples."""
        if self.plan.objection():
            return None
        values = sign * self.drawn[metric]
        share = np.stack([(row > values).mean(axis=1) for row in values])
        return share >= 0.5 + confidence / 2

    def left_out(self, metric: str) -> np.ndarray:
        """(K, B) values of a metric on the images that each resample leaves out, NaN where undefined."""
        if self.plan.count == 0:
            return np.empty((len(self.names), 0))

        def all_models(weights: np.ndarray) -> Values:
            rest = (weights == 0).astype(np.float64)
            return {metric: np.stack([single(rest, metric) for single in self.singles])}

        return self.plan.apply(all_models)[metric]

    def difference_interval(self, metric: str, i: int, j: int, confidence: float) -> tuple[float, float, str] | str:
        """Return the percentile interval of the paired differences, or why there is none."""
        objection = self.plan.objection()
        return objection or percentile_interval(self.drawn[metric][i] - self.drawn[metric][j], confidence)


def _resample(plan: Resamples, tasks: list[Metric], metrics: list[str]) -> Values:
    def all_models(weights: np.ndarray) -> Values:
        found = [task(weights) for task in tasks]
        return {name: np.stack([values[name] for values in found]) for name in metrics}

    return plan.apply(all_models)


def _stack(found: list[Values]) -> Values:
    """Stack the metrics of all models; those per class are left out."""
    names = [name for name in found[0] if found[0][name].ndim == 1 and all(name in values for values in found)]
    return {name: np.stack([values[name] for values in found]) for name in names}


def _task(
    table: Predictions, positive: str | None, cutoff: Cutoff | FoldCutoffs | None, options: EvaluationOptions
) -> tuple[Metric, SingleMetric, np.ndarray]:
    """Return all metrics of one model and a single one as functions of weights, and (N,) its right decisions."""
    if positive is None:
        many = ManyClassTask.of(
            table, bins=options.calibration_bins, top_k=options.top_k, ordered=options.ordered_classes
        )
        return partial(many_class_values, many), partial(many_class_value, many), many.decision == many.labels
    two = TwoClassTask.of(table, positive, options.calibration_bins)
    default = DEFAULT_CUTOFF if table.has_probabilities else None
    value = cutoff.of_images(table) if cutoff is not None else default
    called = two.score > (np.inf if value is None else value)
    return partial(two_class_values, two, value), partial(two_class_value, two, value), called == two.positive


def _checked_positive(
    tables: list[Predictions], positive: str | None, cutoffs: Mapping[str, Cutoff | FoldCutoffs]
) -> str | None:
    if len(tables[0].classes) > 2:
        return None
    if positive is None:
        raise SettingsError(f"Two classes need a positive class; name one of: {', '.join(tables[0].classes)}.")
    for table in tables:
        table.score_of(positive)
    wrong = [name for name, cutoff in cutoffs.items() if cutoff.positive not in (None, positive)]
    if wrong:
        raise SettingsError(f"The cutoffs of these models were chosen for another class: {', '.join(wrong)}.")
    return positive


def _check_same(names: list[str], tables: list[Predictions]) -> None:
    """Refuse models that differ in images, labels, classes or groups, and list the differences."""
    first, problems = tables[0], []
    for name, table in zip(names[1:], tables[1:], strict=True):
        if table.classes != first.classes:
            problems.append(f"{name}: classes {', '.join(table.classes)}; {names[0]}: {', '.join(first.classes)}")
            continue
        problems += [f"{name}: lacks {path}" for path in sorted(set(first.ids) - set(table.ids))]
        problems += [f"{name}: has {path}, {names[0]} has not" for path in sorted(set(table.ids) - set(first.ids))]
        if len(table) != len(first) or (table.ids != first.ids).any():
            continue
        problems += [f"{name}: another label for {path}" for path in first.ids[table.labels != first.labels]]
        if (table.groups is None) != (first.groups is None):
            problems.append(f"{name}: groups are known for one of the two only ({names[0]})")
        elif table.groups is not None:
            problems += [f"{name}: another group for {path}" for path in first.ids[table.groups != first.groups]]
    if problems:
        raise PredictionsError("The models cannot be compared: they were not tested on the same images.", problems)
