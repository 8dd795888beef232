"""Names and numbers in the words of a report."""

from collections.abc import Iterable, Sequence

METRIC_NAMES = {
    "auc": "AUC",
    "precision": "positive predictive value",
    "npv": "negative predictive value",
    "f1": "F1",
    "mcc": "Matthews correlation coefficient",
    "kappa": "Cohen's kappa",
    "quadratic_kappa": "quadratically weighted kappa",
    "lr_positive": "positive likelihood ratio",
    "lr_negative": "negative likelihood ratio",
    "partial_auc_specificity_90": "partial AUC (specificity 0.90 to 1)",
    "partial_auc_specificity_90_corrected": "standardised partial AUC (specificity 0.90 to 1)",
    "partial_auc_sensitivity_90": "partial AUC (sensitivity 0.90 to 1)",
    "partial_auc_sensitivity_90_corrected": "standardised partial AUC (sensitivity 0.90 to 1)",
    "sensitivity_at_specificity_90": "sensitivity at a specificity of 0.90",
    "sensitivity_at_specificity_95": "sensitivity at a specificity of 0.95",
    "specificity_at_sensitivity_90": "specificity at a sensitivity of 0.90",
    "specificity_at_sensitivity_95": "specificity at a sensitivity of 0.95",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auc": "macro one-vs-rest AUC",
    "hand_till_auc": "Hand–Till AUC",
    "top_k_accuracy": "top-k accuracy",
    "prevalence": "prevalence",
    "majority_baseline": "accuracy of always naming the larger class",
}


def metric_name(metric: str) -> str:
    """Return the name of a metric as a paper writes it.

    >>> metric_name("auc"), metric_name("balanced_accuracy"), metric_name("macro_f1_present")
    ('AUC', 'balanced accuracy', 'macro F1 over the classes present')
    """
    if metric.endswith("_mean_of_folds"):
        return f"mean of the folds' {metric_name(metric.removesuffix('_mean_of_folds'))}"
    if metric.endswith("_sd_of_folds"):
        return f"standard deviation of the folds' {metric_name(metric.removesuffix('_sd_of_folds'))}"
    if metric.endswith("_present"):
        return f"{metric_name(metric.removesuffix('_present'))} over the classes present"
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


_TOGETHER = (
    ("sensitivity_at_specificity_90", "sensitivity_at_specificity_95", "sensitivity at specificities of 0.90 and 0.95"),
    ("specificity_at_sensitivity_90", "specificity_at_sensitivity_95", "specificity at sensitivities of 0.90 and 0.95"),
    ("partial_auc_specificity_90", "partial_auc_sensitivity_90", "partial AUC (specificity or sensitivity 0.90 to 1)"),
    (
        "partial_auc_specificity_90_corrected",
        "partial_auc_sensitivity_90_corrected",
        "standardised partial AUC (specificity or sensitivity 0.90 to 1)",
    ),
    ("lr_positive", "lr_negative", "positive and negative likelihood ratio"),
    ("precision", "npv", "positive and negative predictive value"),
    ("calibration_slope", "calibration_intercept", "calibration slope and intercept"),
)


def metric_phrases(metrics: Iterable[str]) -> dict[str, str]:
    """Return the words for metrics by the first metric behind them; pairs that belong together share theirs.

    >>> metric_phrases(["auc", "precision", "npv"])
    {'auc': 'AUC', 'precision': 'positive and negative predictive value'}
    """
    phrases = {metric: metric_name(metric) for metric in metrics}
    for first, second, words in _TOGETHER:
        if first in phrases and second in phrases:
            phrases[first] = words
            del phrases[second]
    return phrases


def listing(words: Iterable[str], last: str = "and") -> str:
    """Join words as a sentence does.

    >>> listing(["a", "b", "c"]), listing(["a", "b"]), listing(["a"])
    ('a, b and c', 'a and b', 'a')
    """
    *first, end = list(words)
    return f"{', '.join(first)} {last} {end}" if first else end


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "image"), counted(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def quoted(names: Sequence[str]) -> str:
    """Return names in quotation marks, as a sentence lists them.

    >>> quoted(["val", "test"])
    '‘val’ and ‘test’'
    """
    return listing(f"‘{name}’" for name in names)


def shortened(name: str, letters: int) -> str:
    """Return a name cut in its middle to at most ``letters``, both ends kept.

    >>> shortened("vit_base_patch16_clip_224", 12), shortened("resnet18", 12)
    ('vit_ba…p_224', 'resnet18')
    """
    if len(name) <= letters:
        return name
    end = (letters - 1) // 2
    return f"{name[: letters - 1 - end]}…{name[-end:]}"
