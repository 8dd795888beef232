"""What the program wrote in English into its results, in the visitor's language.

Methods, reasons and warnings of ``metrics.json`` stand in plain words in both languages. Other sentences have a
Japanese form in ``texts/sentences.yaml``, where the English is the pattern. A text without a pattern, such as one of a
later version, or with a part that has none, is shown as it is written: nothing is translated by half.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from string import Formatter

from model_aggregation.viewer.context import Context
from model_aggregation.viewer.texts import say, texts
from model_aggregation.viewer.visitor import Language

_METHODS = {
    "wilson": r"Wilson",
    "clopper_pearson": r"Clopper–Pearson",
    "newcombe": r"Newcombe via J = .+",
    "simel": r"Simel, logarithmic",
    "delong": r"DeLong, logit scale(?:, one-vs-rest)?",
    "delong_clustered": r"DeLong, clustered \(Obuchowski\), logit scale",
    "delong_clustered_t": r"DeLong, clustered \(Obuchowski\), logit scale, t with (?P<count>\d+) df",
    "bootstrap_images": r"percentile bootstrap, (?P<count>\d+) resamples, stratified by class",
    "bootstrap_groups": r"percentile bootstrap, (?P<count>\d+) resamples, groups, stratified by the classes they hold",
    "top_label": r"top label",
    "left_out": r"(?P<count>\d+) undefined resamples left out",
    "bins": r"(?P<count>\d+) equal-width bins, L1",
    "resamples_above": r"resamples lie above the value on average",
    "scale": r"scale 0–(?P<top>\d), 0 is perfect",
    "step_sum": r"step sum, a useless score has the prevalence",
    "partial_area": r"(?P<rate>\w+) 0\.90–1, share of the unit square, at most 0\.1, linear between points",
    "partial_corrected": r"(?P<rate>\w+) 0\.90–1, standardised by McClish, 0\.5 is useless",
    "one_sided": r"one-sided bound from (?P<count>\d+) units of the rarer class",
    "one_vs_rest": r"one-vs-rest",
    "over_present": r"over the classes present",
    "mean_f1": r"mean F1 of all classes",
    "weighted_f1": r"mean F1 weighted by the images of each class",
    "mean_auc": r"mean one-vs-rest AUC of all classes",
    "mean_sensitivity": r"mean sensitivity of all classes",
    "wald": r"logistic regression on logit\(p\), Wald",
    "wald_clustered": r"logistic regression on logit\(p\), Wald, cluster-robust",
    "wald_intercept": r"logistic regression on logit\(p\), Wald, slope fixed at 1",
    "wald_intercept_clustered": r"logistic regression on logit\(p\), Wald, cluster-robust, slope fixed at 1",
    "exploratory_cutoff": r"exploratory: cutoff chosen on these images",
    "positive_share": r"share of positive images in this set",
    "majority": r"accuracy of always naming the larg(?:er|est) class",
    "fold_mean": r"mean of the areas of (?P<count>\d+) folds",
    "fold_sd": r"standard deviation \(n − 1\) of the areas of (?P<count>\d+) folds",
}
_NAME = r"['\"](?P<name>.+)['\"]"
_REASONS = {
    "no_interval": r"no interval: (?P<why>.+)",
    "empty_cell": r"a cell of the table is 0",
    "never_predicted": rf"class {_NAME} is never predicted",
    "none_predicted_positive": r"no image is predicted positive",
    "none_predicted_negative": r"no image is predicted negative",
    "no_positive": r"the positive class has no image",
    "no_negative": r"the negative class has no image",
    "no_image": r"no image|there is no image to evaluate",
    "no_image_of_class": rf"no image of class {_NAME}",
    "no_image_of_others": rf"no image of another class than {_NAME}",
    "no_image_of": r"no image of:? (?P<names>.+)",
    "few_groups": r"fewer than (?P<limit>\d+) groups of a class",
    "bootstrap_bias": r"bias of the bootstrap: the value lies outside its percentile interval",
    "no_variation": r"every resample gives the same value",
    "undefined_in": r"undefined in (?P<count>\d+) of (?P<total>\d+) resamples",
    "single_unit": r"a class with a single (?:image|group)(?: does not vary between resamples)?",
    "zero_variance": r"the variance is 0",
    "one_class": r"only one class is present or predicted|only one class has images",
    "exact_area": r"the area is exactly (?P<value>[01]), where DeLong's variance is 0: .+",
    "separated": r"the probabilities separate the classes: no finite estimate exists",
    "folds_share": r"the networks of the folds share training images",
    "no_cutoff": r"no cutoff was given for this score",
    "no_probabilities": r"the scores are no probabilities|.*needs? probabilities.*",
    "no_validation": r"no validation images to choose it on|no cutoff was chosen on validation images",
    "no_cutoff_given": r"no cutoff and no validation predictions were given",
    "few_validation": (
        rf"only (?P<count>\d+) validation images of class {_NAME}, (?P<needed>\d+) are needed to choose a cutoff"
    ),
    "few_other_validation": (
        rf"only (?P<count>\d+) validation images of the classes other than {_NAME}, "
        r"(?P<needed>\d+) are needed to choose a cutoff"
    ),
}
_WARNINGS = {
    "too_few": r"too few to conclude, fewer than (?P<limit>\d+) (?P<unit>images|groups) of: (?P<names>.+)",
    "imprecise": r"imprecise, fewer than (?P<limit>\d+) (?P<unit>images|groups) of: (?P<names>.+)",
    "exploratory": r"exploratory: the cutoff was chosen on the images it is applied to, .+",
    "default_cutoff": r"the cutoff is (?P<value>[\d.]+): (?P<why>.+)",
    "in_fold": r"in fold (?P<fold>\d+) (?P<text>.+)",
    "limit_active": r"the cutoff (?P<value>[\d.]+) is a limit of the range it was sought in",
    "no_groups": r"no groups known: .+",
    "below_half": r"below 0\.5 with its whole interval: (?P<names>.+); check the order of the classes",
    "ties": r"(?P<count>\d+) images share their largest probability between classes: .+",
    "renormalised": r"(?P<count>\d+) rows of probabilities were renormalised to a sum of 1",
}


_NUMBER = r"-?\d+(?:[.,]\d+)*"
_KINDS = dict.fromkeys(("count", "total", "limit", "fold", "value"), _NUMBER) | {
    "split": "train|val|validation|test",
    "run": "[^:;]+?",
    "files": "[^;]+?",
}
"""What a word in braces of ``sentences.yaml`` may stand for, where that is not any text."""


def in_words(context: Context, text: str) -> str:
    """Return a text of the program in the visitor's language; one that is not known stays as it is."""
    if context.language == "en":
        return text
    lines = [_translated(line) if line.strip() else line for line in text.split("\n")]
    return text if None in lines else "\n".join(map(str, lines))


def method_words(context: Context, method: str, confidence: float) -> str:
    """Return how an interval was computed, in plain words."""
    phrases = [phrase for phrase in method.replace("top label, ", "top label; ").split("; ") if phrase]
    percent = f"{100 * confidence:g}"
    known = [_plain(context.language, phrase, _METHODS, percent=percent) for phrase in phrases]
    return method if None in known else ("、" if context.language == "ja" else "; ").join(map(str, known))


def reason_words(context: Context, reason: str) -> str:
    """Return why a number or its interval is undefined, in plain words."""
    return _plain(context.language, reason, _REASONS) or reason


def warning_words(context: Context, warning: str) -> str:
    """Return a warning of an evaluation in plain words."""
    return _plain(context.language, warning, _WARNINGS | _REASONS) or warning


def _plain(language: Language, text: str, patterns: Mapping[str, str], **values: str) -> str | None:
    """Return a text in plain words; English without a pattern as it is, Japanese None."""
    for key, pattern in patterns.items():
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found:
            words = {name: _inner(language, name, word) for name, word in found.groupdict().items()}
            if None not in words.values():
                return say(language, f"words.{key}", **values, **words)
    return text if language == "en" else _sentence(text)


def _inner(language: Language, name: str, word: str) -> str | None:
    """Return what stands in a text: itself a text, a word of this program, or a name as it is."""
    if name in ("why", "text"):
        return _plain(language, word, _WARNINGS | _REASONS) if language == "en" else _translated(word)
    if name == "error":
        return _translated(word) or word
    own = {"rate": f"metric.{word}", "metric": f"metric.{word}", "split": f"data.{word}", "unit": f"words.{word}"}
    if own.get(name) in texts():
        return say(language, own[name])
    if name == "names" and language == "ja":
        return re.sub(
            r" and (\d+) more$", r"、ほか\1件", re.sub(r"AUC of (.+?)(?=, AUC of | and \d|$)", r"\1のAUC", word)
        )
    return word


@cache
def _sentences() -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns of ``sentences.yaml``, and what each says in Japanese; those that say most come first."""
    known = [pair for key, pair in texts().items() if key.startswith("sentences.")]
    known.sort(key=lambda pair: len(re.sub(r"\{.*?\}", "", pair["en"])), reverse=True)
    return [(re.compile(_pattern(pair["en"]), re.DOTALL), pair["ja"]) for pair in known]


def _pattern(english: str) -> str:
    parts = Formatter().parse(english)
    return "".join(
        re.escape(text) + (f"(?P<{name}>{_KINDS.get(name, '.+?')})" if name else "") for text, name, _, _ in parts
    )


def _sentence(text: str) -> str | None:
    """Return one sentence in Japanese; None when there is none for it."""
    for pattern, japanese in _sentences():
        found = pattern.fullmatch(text)
        if found:
            words = {name: _inner("ja", name, word) for name, word in found.groupdict().items()}
            if None not in words.values():
                return japanese.format(**words)
    return None


@lru_cache(4096)
def _translated(text: str) -> str | None:
    """Return one or several joined sentences in Japanese; None unless all of them are known."""
    whole = _plain("ja", text, _WARNINGS | _REASONS)
    if whole is not None:
        return whole
    parts = text.split("; ")
    for end in range(len(parts) - 1, 0, -1):
        first = _plain("ja", "; ".join(parts[:end]), _WARNINGS | _REASONS)
        rest = None if first is None else _translated("; ".join(parts[end:]))
        if rest is not None:
            return f"{first}；{rest}"
    return None
