"""Models compared on the same images: each with the one selected on validation, and all in rank sets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from model_aggregation.errors import SettingsError
from model_aggregation.evaluation.banners import TOO_FEW, count_banners
from model_aggregation.evaluation.cutoff import Cutoff
from model_aggregation.evaluation.field import Field
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.paired import compare_metric
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.ranking import BiasCorrected, RankSets, bias_corrected_best, rank_sets

COMPARISON_COLUMNS = (
    "model",
    "reference",
    "metric",
    "value",
    "reference_value",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "method",
    "n",
    "unit",
    "exploratory",
    "reason",
)
RANKING_COLUMNS = ("model", "selected", "value", "rank", "rank_low", "rank_high", "top_group", "reason")
SMALLER_IS_BETTER = ("brier", "log_loss", "ece", "lr_negative")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models on one test set.

    ``comparisons`` has a row for each other model and metric: its difference to the selected model with interval
    and p; ``p_holm`` on the primary metric only, all else is ``exploratory``. ``ranking`` has a row per model in
    the order of the test score, which is exploratory; rank_low … rank_high is its simultaneous rank set.
    """

    primary: str
    selected: str | None
    n: int
    unit: str
    comparisons: pd.DataFrame
    ranking: pd.DataFrame
    best: BiasCorrected | None
    sentence: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain Python values without NaN, in the same order every time."""
        return {
            "primary": self.primary,
            "selected": self.selected,
            "n": self.n,
            "unit": self.unit,
            "sentence": self.sentence,
            "ranking": _records(self.ranking),
            "best_by_test_score": None if self.best is None else self.best.to_dict(),
            "comparisons": _records(self.comparisons),
            "warnings": list(self.warnings),
        }


def compare_predictions(
    models: Mapping[str, Predictions],
    *,
    selected: str | None,
    positive: str | None = None,
    primary: str | None = None,
    cutoffs: Mapping[str, Cutoff | FoldCutoffs] | None = None,
    options: EvaluationOptions | None = None,
) -> Comparison:
    """Compare models whose predictions are for the same images with the same labels.

    AUC: paired DeLong (clustered with groups). Accuracy, sensitivity, specificity: McNemar mid-p with Newcombe's
    paired interval (with groups the bootstrap over groups). Others: paired bootstrap, one set of resamples for
    all. Holm (1979), Scandinavian Journal of Statistics 6:65, over the other models on the primary metric.

    Parameters
    ----------
    selected
        The model that was best on validation; None when nothing was validated: then no comparison is made.
    primary
        The one metric that is tested; AUC for two classes, balanced accuracy for more.
    cutoffs
        Two classes: the cutoff of each model, or of each of its folds; 0.5 for those without.

    Raises
    ------
    SettingsError
        An unknown model, metric or cutoff's model, or no positive class for two classes.
    PredictionsError
        Models that differ in images, labels, classes or groups: the differences are listed.

    >>> p = np.array([0.1, 0.4, 0.35, 0.8])
    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], np.stack([1 - p, p], 1), ("ng", "ok"))
    >>> result = compare_predictions({"one": table, "two": table}, selected="one", positive="ok",
    ...                              options=EvaluationOptions(resamples=50))
    >>> result.sentence
    '2 of 2 models cannot be distinguished from the best'
    """
    options = options or EvaluationOptions()
    field = Field.of(models, positive, cutoffs or {}, options)
    primary = primary or ("auc" if field.positive else "balanced_accuracy")
    _check_choice(field, selected, primary)
    comparisons = _comparisons(field, selected, primary, options)
    sets = _rank_sets(field, primary, options)
    best = _best(field, primary, options)
    return Comparison(
        primary=primary,
        selected=selected,
        n=len(field.predictions[0]),
        unit=field.plan.unit,
        comparisons=comparisons,
        ranking=_ranking(field, selected, primary, sets),
        best=best,
        sentence=_sentence(sets, len(field.names)),
        warnings=_warnings(field, selected, best),
    )


def _check_choice(field: Field, selected: str | None, primary: str) -> None:
    if selected is not None and selected not in field.names:
        raise SettingsError(f"The selected model {selected!r} is not among: {', '.join(field.names)}.")
    if primary not in field.metrics:
        raise SettingsError(f"The primary metric {primary!r} is not one of: {', '.join(field.metrics)}.")


def _comparisons(field: Field, selected: str | None, primary: str, options: EvaluationOptions) -> pd.DataFrame:
    rows = []
    others = [] if selected is None else [name for name in field.names if name != selected]
    for name in others:
        for metric in (primary, *(metric for metric in field.metrics if metric != primary)):
            i, j = field.names.index(name), field.names.index(str(selected))
            found = compare_metric(field, metric, i, j, options)
            first, second = field.value(metric, i), field.value(metric, j)
            exploratory = metric != primary or field.exploratory(metric, i, j)
            rows.append(
                {"model": name, "reference": selected, "metric": metric, "value": first, "reference_value": second}
                | vars(found)
                | {"p_holm": None, "unit": field.plan.unit, "exploratory": exploratory}
            )
    table = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    numbers = ("value", "reference_value", "difference", "low", "high", "p", "p_holm")
    table = table.astype(dict.fromkeys(numbers, np.float64))
    _adjust(table, primary)
    return table


def _adjust(table: pd.DataFrame, primary: str) -> None:
    """Fill p_holm on the primary metric; a comparison without a p counts as one that was made."""
    from statsmodels.stats.multitest import multipletests

    at = table.index[table["metric"] == primary]
    p = table.loc[at, "p"].to_numpy(np.float64)
    if len(p):
        adjusted = multipletests(np.where(np.isnan(p), 1.0, p), method="holm")[1]
        table.loc[at, "p_holm"] = np.where(np.isnan(p), np.nan, adjusted)


def _rank_sets(field: Field, primary: str, options: EvaluationOptions) -> RankSets:
    sign = -1.0 if primary in SMALLER_IS_BETTER else 1.0
    values = sign * np.array([np.nan if (v := field.value(primary, i)) is None else v for i in range(len(field.names))])
    if np.isnan(values).any():
        absent = [name for name, value in zip(field.names, values, strict=True) if np.isnan(value)]
        return RankSets(None, None, reason=f"{primary} is undefined for: {', '.join(absent)}")
    spread = field.spread(primary)
    if isinstance(spread, str):
        return RankSets(None, None, reason=spread)
    decided = field.decided(primary, sign, options.confidence)
    return rank_sets(values, spread, decided=decided, confidence=options.confidence, seed=options.seed)


def _best(field: Field, primary: str, options: EvaluationOptions) -> BiasCorrected | None:
    values = [field.value(primary, i) for i in range(len(field.names))]
    if any(value is None for value in values) or len(values) < 2:
        return None
    if field.plan.count == 0 or field.plan.fewest < TOO_FEW:
        apparent = np.array(values, dtype=np.float64)
        best = int(np.argmax(-apparent if primary in SMALLER_IS_BETTER else apparent))
        too_few = f"fewer than {TOO_FEW} {field.plan.unit}s of a class are too few to correct it"
        reason = too_few if field.plan.count else "no resamples were asked for"
        method = "bootstrap bias correction (BBC)"
        return BiasCorrected(field.names[best], float(apparent[best]), None, None, None, method, reason)
    return bias_corrected_best(
        field.names,
        np.array(values, dtype=np.float64),
        field.drawn[primary],
        field.left_out(primary),
        larger_is_better=primary not in SMALLER_IS_BETTER,
        confidence=options.confidence,
    )


def _ranking(field: Field, selected: str | None, primary: str, sets: RankSets) -> pd.DataFrame:
    sign = -1.0 if primary in SMALLER_IS_BETTER else 1.0
    values = [field.value(primary, i) for i in range(len(field.names))]
    rows = []
    for i, (name, value) in enumerate(zip(field.names, values, strict=True)):
        better = sum(sign * other > sign * value for other in values if other is not None) if value is not None else 0
        known = sets.low is not None and sets.high is not None and sets.top is not None
        rows.append(
            {
                "model": name,
                "selected": name == selected,
                "value": value,
                "rank": None if value is None else better + 1,
                "rank_low": int(sets.low[i]) if known and sets.low is not None else None,
                "rank_high": int(sets.high[i]) if known and sets.high is not None else None,
                "top_group": bool(sets.top[i]) if known and sets.top is not None else None,
                "reason": sets.reason,
            }
        )
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0, str(row["model"])))
    table = pd.DataFrame(rows, columns=list(RANKING_COLUMNS)).astype({"value": np.float64})
    return table.astype({"rank": "Int64", "rank_low": "Int64", "rank_high": "Int64", "top_group": "boolean"})


def _sentence(sets: RankSets, models: int) -> str:
    if sets.top is None:
        return f"how many of {models} models cannot be distinguished from the best is unknown: {sets.reason}"
    return f"{int(sets.top.sum())} of {models} models cannot be distinguished from the best"


def _warnings(field: Field, selected: str | None, best: BiasCorrected | None) -> tuple[str, ...]:
    lines = [
        *count_banners(field.predictions[0]),
        "exploratory: the order by test score, and every comparison but those on the primary metric",
    ]
    if selected is None:
        lines.append("no model was selected on validation images: no model is compared with another")
    if best is not None and best.model != selected and selected is not None:
        lines.append(f"{best.model!r} has the best test score, but {selected!r} was selected on validation images")
    if field.any_exploratory:
        lines.append("exploratory: a cutoff was chosen on the images it is applied to")
    if without := field.without_cutoff:
        lines.append(f"a cutoff of 0.5 was applied to the models that have none: {', '.join(without)}")
    return tuple(lines)


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]
