"""Which measures and curves were computed, with the papers they come from."""

from collections.abc import Sequence

from model_aggregation.evaluation import Evaluation
from model_aggregation.evaluation.bootstrap import Resamples
from model_aggregation.reporting.interval_text import WITHOUT_INTERVAL
from model_aggregation.reporting.references import Citations
from model_aggregation.reporting.words import listing, metric_name, metric_phrases

_PAPERS = {
    "mcc": ("matthews",),
    "kappa": ("cohen_1960",),
    "quadratic_kappa": ("cohen_1968",),
    "brier": ("brier",),
    "ece": ("naeini",),
    "partial_auc_specificity_90_corrected": ("mcclish",),
    "partial_auc_sensitivity_90_corrected": ("mcclish",),
    "hand_till_auc": ("hand",),
    "calibration_slope": ("cox", "van_calster"),
    "calibration_intercept": ("cox", "van_calster"),
}


def measure_sentences(evaluations: Sequence[Evaluation], cite: Citations) -> list[str]:
    """List what was computed; a metric that is undefined everywhere is left out."""
    defined = {
        name: None for one in evaluations for name, estimate in one.metrics.items() if estimate.value is not None
    }
    names = [name for name in defined if name not in WITHOUT_INTERVAL]
    if not names:
        return []
    many = evaluations[0].positive is None
    measures = (_named(name, words, many, cite) for name, words in metric_phrases(names).items())
    sentences = [f"The measures were {listing(measures)}."]
    notes = _notes(evaluations[0], set(names), many)
    if notes:
        sentences.append(f"{notes[:1].upper()}{notes[1:]}.")
    if many:
        per_class = {
            metric: None
            for one in evaluations
            for metrics in one.class_metrics.values()
            for metric, estimate in metrics.items()
            if estimate.value is not None
        }
        if per_class:
            sentences.append(f"For each class against the rest: {listing(map(metric_name, per_class))}.")
    return sentences


def _named(name: str, words: str, many: bool, cite: Citations) -> str:
    papers = ("gorodkin",) if name == "mcc" and many else _PAPERS.get(name, ())
    return f"{words} {cite(*papers)}" if papers else words


def _notes(evaluation: Evaluation, names: set[str], many: bool) -> str:
    notes = []
    if "auc" in names:
        notes.append("the AUC is the Mann–Whitney statistic with ties counted as one half")
    if "average_precision" in names:
        notes.append("average precision is the step sum without interpolation")
    if "brier" in names:
        notes.append(f"the Brier score has the scale 0 to {2 if many else 1}")
    if "ece" in names:
        label = "of the top label " if many else ""
        bins = evaluation.options.calibration_bins
        notes.append(f"the expected calibration error {label}uses {bins} equal-width bins")
    if "top_k_accuracy" in names:
        notes.append(f"top-k accuracy has k = {evaluation.options.top_k}")
    if {"precision", "npv"} & names and not many:
        notes.append("predictive values hold at the prevalence of the evaluated images")
    return "; ".join(notes)


def curve_sentences(evaluations: Sequence[Evaluation], cite: Citations) -> list[str]:
    """Describe the curves of the figures, those that exist."""
    sentences = []
    if any(_has_roc(one) for one in evaluations):
        sentences.append("ROC curves have a point for every distinct score.")
        banded = [one for one in evaluations if _has_roc(one) and _varies(one)]
        if banded:
            level = f"{100 * banded[0].options.confidence:g}%"
            sentences.append(
                f"Their bands are pointwise {level} bootstrap intervals of sensitivity at specificities from 0 to 1 in "
                f"steps of 0.01 {cite('robin')}."
            )
    proper = [one for one in evaluations if one.predictions.has_probabilities and one.n]
    if proper:
        bins = proper[0].options.calibration_bins
        wilson = any(one.unit == "image" for one in proper)
        limits = f", with Wilson's intervals of the observed share {cite('wilson')}" if wilson else ""
        sentences.append(f"Reliability curves use {bins} equal-width bins{limits}.")
        sentences.append(f"Net benefit was computed at thresholds from 0.01 to 0.99 {cite('vickers')}.")
    return sentences


def _has_roc(evaluation: Evaluation) -> bool:
    blocks = [evaluation.metrics] if evaluation.positive is not None else list(evaluation.class_metrics.values())
    return any(block["auc"].value is not None for block in blocks)


def _varies(evaluation: Evaluation) -> bool:
    options = evaluation.options
    return Resamples.of(evaluation.predictions, count=options.resamples, seed=options.seed).objection() is None
