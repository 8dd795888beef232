"""How an image was given a class, in words."""

from collections import Counter
from collections.abc import Sequence

from model_aggregation.evaluation import Cutoff, Evaluation, FoldCutoffs
from model_aggregation.evaluation.cutoff import FEWEST_IMAGES
from model_aggregation.reporting.references import Citations
from model_aggregation.reporting.words import counted, listing

_RULES = {
    "balanced_accuracy": "the largest balanced accuracy between the limits {lower:g} and {upper:g}",
    "earlier": "the largest balanced accuracy, rounded to five decimals, of thresholds in steps of 0.01 between the "
    "limits {lower:g} and {upper:g} (the rule of the program used before)",
    "youden": "the largest Youden index {youden}",
    "min_sensitivity": "the largest specificity with a sensitivity of at least {target}",
    "min_specificity": "the largest sensitivity with a specificity of at least {target}",
    "cost": "the smallest cost, {cost_false_positive:g} for a false positive and {cost_false_negative:g} for a false "
    "negative, at the prevalence of the images it was chosen on",
}


def decision_sentences(evaluations: Sequence[Evaluation], cite: Citations) -> list[str]:
    """Say what decides the class: the cutoff and where it comes from, or the largest probability."""
    if not evaluations:
        return []
    positive = evaluations[0].positive
    if positive is None:
        sentence = f"Each image was given the class with the largest probability of {len(evaluations[0].classes)}"
        ties = sum(evaluation.argmax_ties for evaluation in evaluations)
        return [f"{sentence}; {counted(ties, 'tie')} went to the first class." if ties else f"{sentence}."]
    cutoffs = [evaluation.cutoff for evaluation in evaluations if evaluation.cutoff is not None]
    pooled = [evaluation.fold_cutoffs for evaluation in evaluations if evaluation.fold_cutoffs is not None]
    if pooled:
        return [*_by_fold(positive, pooled, cite), *_half(evaluations)]
    if not cutoffs:
        return [f"‘{positive}’ was the positive class; no cutoff was applied."]
    sentences = [
        f"‘{positive}’ was the positive class; an image counted as positive when its score lay above a cutoff."
    ]
    if len(set(cutoffs)) == 1:
        value = "" if cutoffs[0].source == "default" else f" {_value(cutoffs[0])}"
        return [*sentences, f"The cutoff{value} was {_origin(cutoffs[0], cite)}.", *_half(evaluations)]
    return [*sentences, *_origins(cutoffs, cite), *_half(evaluations)]


def _by_fold(positive: str, pooled: Sequence[FoldCutoffs], cite: Citations) -> list[str]:
    """Say that each fold has a cutoff of its own, and what they are when there is one model."""
    sentences = [
        f"‘{positive}’ was the positive class; an image counted as positive when its score lay above the cutoff of the "
        "fold in which it was tested."
    ]
    if len(pooled) == 1:
        values = [f"{cutoff.value:.3f}" for _, cutoff in sorted(pooled[0].cutoffs.items())]
        chosen = any(cutoff.source != "default" for cutoff in pooled[0].cutoffs.values())
        within = ", each chosen within its fold" if chosen else ""
        sentences.append(f"The cutoffs of the folds were {listing(values)}{within}.")
    return sentences + _origins([cutoff for one in pooled for _, cutoff in sorted(one.cutoffs.items())], cite)


def _origins(cutoffs: Sequence[Cutoff], cite: Citations) -> list[str]:
    kinds = Counter(_origin(cutoff, cite) for cutoff in cutoffs)
    if len(kinds) == 1:
        return [f"Each cutoff was {next(iter(kinds))}."]
    return [f"For {count} of {len(cutoffs)} the cutoff was {kind}." for kind, count in kinds.items()]


def _value(cutoff: Cutoff) -> str:
    if cutoff.interval is None:
        return f"{cutoff.value:.3f}"
    return f"{cutoff.value:.3f} (bootstrap interval {cutoff.interval[0]:.3f}–{cutoff.interval[1]:.3f})"


def _origin(cutoff: Cutoff, cite: Citations) -> str:
    """Complete "The cutoff was …"."""
    if cutoff.source == "fixed":
        return "given and not chosen on images"
    if cutoff.source == "default":
        return f"0.5, since there was no other: {cutoff.reason}"
    rule = cutoff.rule
    youden = cite("youden") if rule.kind == "youden" else ""
    words = _RULES[rule.kind].format(**(vars(rule) | {"youden": youden}))
    limit = ", which was a limit of the range" if cutoff.limit_active else ""
    if cutoff.exploratory:
        return (
            f"the one with {words} on the very images it was applied to{limit}; the numbers that depend on it are "
            "exploratory and too high on average"
        )
    enough = "" if rule.kind == "earlier" else f", at least {FEWEST_IMAGES} of either class"
    return f"the one with {words} on the validation images{enough}{limit}, and was then applied unchanged"


def _half(evaluations: Sequence[Evaluation]) -> list[str]:
    used = [
        (one, cutoff)
        for one in evaluations
        for cutoff in ([one.cutoff] if one.fold_cutoffs is None else one.fold_cutoffs.cutoffs.values())
    ]
    moved = any(cutoff is not None and cutoff.value != 0.5 and one.at_half for one, cutoff in used)
    return ["Results at a cutoff of 0.5 are given beside it."] if moved else []
