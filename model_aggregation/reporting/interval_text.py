"""How the intervals of an evaluation were made, read from the method that each of them carries."""

from collections.abc import Iterator, Mapping, Sequence

from model_aggregation.evaluation import Estimate, Evaluation
from model_aggregation.reporting.references import Citations
from model_aggregation.reporting.words import listing, metric_phrases, quoted

# the beginning of an estimate's method, the words for it, and its papers; the longer beginning first
_KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "DeLong, clustered",
        "by DeLong's method in its form for clustered data, on the logit scale, with quantiles of Student's t (groups "
        "of the rarer class less one degrees of freedom)",
        ("delong", "obuchowski", "pepe", "cameron"),
    ),
    ("DeLong", "by DeLong's method on the logit scale", ("delong", "pepe")),
    ("Wilson", "by Wilson's score method", ("wilson",)),
    ("Clopper–Pearson", "by the exact method of Clopper and Pearson", ("clopper",)),
    ("Newcombe", "by Newcombe's hybrid score method through Youden's J", ("newcombe",)),
    ("Simel", "on the logarithmic scale", ("simel",)),
    (
        "logistic regression",
        "by Wald's method from a logistic regression on the logit of the probability",
        ("cox", "van_calster"),
    ),
)


_OF_FOLDS = tuple(
    f"{area}{ending}" for area in ("auc", "macro_auc", "hand_till_auc") for ending in ("_mean_of_folds", "_sd_of_folds")
)
WITHOUT_INTERVAL = ("prevalence", "majority_baseline", *_OF_FOLDS)
"""Facts of the set of images or of its folds, which have words of their own, not measures of the pooled predictions."""


def interval_sentences(evaluations: Mapping[str, Evaluation], cite: Citations) -> list[str]:
    """Say how each kind of interval was made, for images and for groups as units apart."""
    sentences = []
    units = {unit: [one for one in evaluations.values() if one.unit == unit] for unit in ("image", "group")}
    for unit, alike in units.items():
        found = _of_unit(alike, cite)
        if found and len([one for one in units.values() if one]) > 1:
            names = quoted([name for name, one in evaluations.items() if one.unit == unit])
            sentences.append(f"For {names}, with the {unit} as the unit:")
        sentences += found
    return sentences + _exact_areas(evaluations)


def _of_unit(evaluations: Sequence[Evaluation], cite: Citations) -> list[str]:
    kinds: dict[str, dict[str, None]] = {}
    for evaluation in evaluations:
        for metric, estimate in estimates(evaluation):
            if estimate.low is not None and not estimate.method.startswith("one-sided"):
                kinds.setdefault(estimate.method, {})[metric] = None
    if not kinds:
        return []
    parts = [
        f"{listing(metric_phrases(names).values())} {words} {cite(*papers)}"
        for beginning, words, papers in _KINDS
        if (names := _names(kinds, beginning))
    ]
    options = evaluations[0].options
    level = f"{100 * options.confidence:g}%"
    sentences = []
    if parts:
        sentences.append(f"Confidence intervals ({level}) were computed for {'; for '.join(parts)}.")
    if any("cluster-robust" in method for method in kinds):
        sentences.append(
            f"The variance of this regression was cluster-robust {cite('liang')}, with the same degrees of freedom of "
            f"Student's t {cite('cameron')}."
        )
    if drawn := _names(kinds, "percentile bootstrap"):
        measures = listing(metric_phrases(drawn).values()) if _others(evaluations, kinds) else "the other measures"
        sentences.append(_bootstrap(evaluations, measures, level, cite))
    return sentences


def _others(evaluations: Sequence[Evaluation], kinds: Mapping[str, Mapping[str, None]]) -> bool:
    """Tell whether some measure has no interval at all, or more than one kind: then names are needed."""
    named = [metric for metrics in kinds.values() for metric in metrics]
    drawn = set(_names(kinds, "percentile bootstrap"))
    closed = {metric for method, metrics in kinds.items() if not method.startswith("percentile") for metric in metrics}
    measured = {
        metric
        for evaluation in evaluations
        for metric, estimate in evaluation.metrics.items()
        if estimate.value is not None and metric not in WITHOUT_INTERVAL
    }
    return bool(drawn & closed) or not measured <= set(named)


def _names(kinds: Mapping[str, Mapping[str, None]], beginning: str) -> list[str]:
    """Return the metrics whose method begins so, and with no longer beginning of the list."""
    longer = [kind for kind, *_ in _KINDS if kind != beginning and kind.startswith(beginning)]
    names: dict[str, None] = {}
    for method, metrics in kinds.items():
        if method.startswith(beginning) and not any(method.startswith(other) for other in longer):
            names |= metrics
    return list(names)


def _bootstrap(evaluations: Sequence[Evaluation], measures: str, level: str, cite: Citations) -> str:
    options, unit = evaluations[0].options, evaluations[0].unit
    drawn = (
        "whole groups, stratified by the set of classes that they hold"
        if unit == "group"
        else "images within each class"
    )
    seeds = sorted({evaluation.options.seed for evaluation in evaluations})
    seed = f"seed{'s' if len(seeds) > 1 else ''} {listing(map(str, seeds))}"
    return (
        f"The {level} intervals of {measures} are percentiles of {options.resamples:,} bootstrap resamples "
        f"({seed}) of {drawn} {cite('efron', 'davison')}."
    )


def _exact_areas(evaluations: Mapping[str, Evaluation]) -> list[str]:
    exact: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for key, metrics in {"": evaluation.metrics, **evaluation.class_metrics}.items():
            auc = metrics.get("auc")
            if auc is not None and auc.method.startswith("one-sided") and (not key or evaluation.positive is None):
                exact.setdefault(name, []).append(f" of ‘{key}’" if key else "")
    if not exact:
        return []
    where = listing(f"‘{name}’{listing(keys) if any(keys) else ''}" for name, keys in exact.items())
    return [
        f"Where the AUC was exactly 1 or 0 (in {where}) DeLong's variance is 0, and a one-sided bound is given: α/2 to "
        "the power of one over the number of units of the rarer class."
    ]


def estimates(evaluation: Evaluation) -> Iterator[tuple[str, Estimate]]:
    """Yield every estimate with its metric: of the whole, at 0.5, and of three classes and more by class."""
    by_class = evaluation.class_metrics if evaluation.positive is None else {}  # of two, those of the whole mirrored
    blocks = [evaluation.metrics, evaluation.at_half, *by_class.values()]
    for block in blocks:
        yield from block.items()
