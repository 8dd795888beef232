"""The methods section of a paper about an evaluation: what was done, with which parameters, by which papers.

Every sentence follows from the numbers (an interval is described when there is one) or from a fact that was given.
"""

from collections.abc import Mapping, Sequence

from model_aggregation.evaluation import Comparison, Evaluation
from model_aggregation.evaluation.bootstrap import OUTSIDE
from model_aggregation.reporting.comparison_text import comparison_sentences
from model_aggregation.reporting.cutoff_text import decision_sentences
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.interval_text import interval_sentences
from model_aggregation.reporting.measure_text import curve_sentences, measure_sentences
from model_aggregation.reporting.references import Citations
from model_aggregation.reporting.repeats_text import repeat_sentences
from model_aggregation.reporting.words import counted, listing, metric_name, metric_phrases, quoted

__all__ = ["ReportFacts", "methods_text"]


def methods_text(
    evaluations: Mapping[str, Evaluation],
    facts: ReportFacts | None = None,
    comparison: Comparison | None = None,
) -> str:
    """Return a methods section in Markdown, with its references and with what must be said beside the numbers.

    Parameters
    ----------
    evaluations
        By the name of the set of images; with a comparison by the name of the model, all on the same images.

    >>> import numpy as np
    >>> from model_aggregation.evaluation import Predictions, evaluate
    >>> table = Predictions(list("abcd"), [0, 0, 1, 1], [[.9, .1], [.6, .4], [.65, .35], [.2, .8]], ("ng", "ok"))
    >>> "Wilson 1927" in methods_text({"test": evaluate(table, positive="ok")})
    True
    """
    facts, cite = facts or ReportFacts(), Citations()
    values = list(evaluations.values())
    paragraphs = [
        [*_model_sentences(facts), *_data_sentences(evaluations, facts, comparison)],
        [*decision_sentences(values, cite), *measure_sentences(values, cite)],
        [*interval_sentences(evaluations, cite), *(curve_sentences(values, cite) if comparison is None else [])],
    ]
    paragraphs.append(repeat_sentences(list(evaluations.values()), facts, alone=comparison is None))
    if comparison is not None:
        paragraphs.append(comparison_sentences(comparison, facts, cite))
    paragraphs.append(_software_sentences(facts))
    body = "\n\n".join(" ".join(sentences) for sentences in paragraphs if sentences)
    sections = [f"# Statistical methods\n\n{body}", _remarks(evaluations, comparison), _reference_list(cite)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _model_sentences(facts: ReportFacts) -> list[str]:
    sentences = []
    if len(facts.models) == 1:
        sentences.append(f"The model was {facts.models[0]}.")
    elif facts.models:
        sentences.append(f"The {len(facts.models)} models were {listing(facts.models)}.")
    if facts.training:
        sentences.append(facts.training.strip())
    if facts.seeds:
        sentences.append(
            f"The seed{'s' if len(facts.seeds) > 1 else ''} of training: {listing(map(str, facts.seeds))}."
        )
    return sentences


def _data_sentences(
    evaluations: Mapping[str, Evaluation], facts: ReportFacts, comparison: Comparison | None
) -> list[str]:
    sentences = []
    if facts.images:
        sets = "; ".join(f"{name} {_counts(counts)}" for name, counts in facts.images.items())
        total = sum(sum(counts.values()) for counts in facts.images.values())
        sentences.append(f"The data held {counted(total, 'image')}: {sets}.")
    if facts.split_origin:
        sentences.append(f"The division into sets was {facts.split_origin.rstrip('.')}.")
    if facts.test_duplicates is not None:
        sentences.append(_duplicates(facts.test_duplicates))
    if comparison is None:
        sentences += [_evaluated(name, evaluation, facts) for name, evaluation in evaluations.items()]
    elif evaluations:
        first = next(iter(evaluations.values()))
        images = f"{counted(first.n, 'image')} {_counts(first.counts)}"
        sentences.append(
            f"{counted(len(evaluations), 'model')} were evaluated on the same {images}{_grouping(first, facts)}."
        )
        sentences += _unreadable(evaluations)
    if facts.selection:
        sentences.append(f"The model was selected by {facts.selection.rstrip('.')}.")
    if facts.primary_metric and comparison is None:
        sentences.append(f"The primary metric was {metric_name(facts.primary_metric)}.")
    for name, count in facts.test_evaluations.items():
        times = "once" if count == 1 else f"{count:,} times"
        images = "the test images" if name == "test" else f"the images of ‘{name}’"
        sentences.append(f"Counting this evaluation, {images} had been evaluated {times}.")
    return sentences


def _counts(counts: Mapping[str, int]) -> str:
    return f"({', '.join(f'{name} {count:,}' for name, count in counts.items())})"


def _duplicates(count: int) -> str:
    if count == 0:
        return "No test image had the same pixels as an image of another set."
    return f"{counted(count, 'test image')} had the same pixels as an image of another set and stayed in the test set."


def _evaluated(name: str, evaluation: Evaluation, facts: ReportFacts) -> str:
    images = f"{counted(evaluation.n, 'image')} {_counts(evaluation.counts)}"
    words = f"The set ‘{name}’ held {images}{_grouping(evaluation, facts)}"
    if name in facts.chosen_on:
        words += "; it was also used for choosing, so its numbers are optimistic"
    if evaluation.unreadable:
        count = counted(len(evaluation.unreadable), "further image")
        words += f"; {count} could not be read, and results are given without and with these counted as wrong"
    return f"{words}."


def _unreadable(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Give the accuracy of compared models both ways: unreadable images left out, and counted as wrong."""
    words = []
    for name, evaluation in evaluations.items():
        if evaluation.unreadable_metrics is not None:
            both = (evaluation.metrics["accuracy"].value, evaluation.unreadable_metrics["accuracy"].value)
            without, wrong = ("undefined" if value is None else f"{value:.3f}" for value in both)
            further = counted(len(evaluation.unreadable), "further image")
            words.append(f"‘{name}’ {without} and {wrong} ({further})")
    if not words:
        return []
    return [
        "Images that could not be read were left out, and counted as wrong beside it; accuracy without and with these: "
        f"{'; '.join(words)}."
    ]


def _grouping(evaluation: Evaluation, facts: ReportFacts) -> str:
    groups = evaluation.predictions.groups
    if groups is None:
        return ", taken as independent of each other since no groups were known"
    number = counted(len(set(groups)), facts.group_meaning or "group")
    return f" from {number}" + ("" if evaluation.unit == "group" else ", one image from each")


def _software_sentences(facts: ReportFacts) -> list[str]:
    if not facts.versions:
        return []
    return [f"Software: {listing(f'{name} {version}' for name, version in facts.versions.items())}."]


def _remarks(evaluations: Mapping[str, Evaluation], comparison: Comparison | None) -> str:
    """Return the warnings, and which values or intervals do not exist and why."""
    lines = list(comparison.warnings) if comparison is not None else []
    said: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for line in (*evaluation.warnings, *_missing(evaluation, compared=comparison is not None)):
            if line not in lines:
                said.setdefault(line, []).append(name)
    for line, names in said.items():
        everywhere = len(names) == len(evaluations) > 1
        lines.append(line if everywhere else f"{quoted(names)}: {line}")
    if not lines:
        return ""
    return "## To be read with the numbers\n\n" + "\n".join(f"- {line}" for line in lines)


def _missing(evaluation: Evaluation, *, compared: bool) -> list[str]:
    """Return what is undefined and, of a model alone, what has no sound interval, joined by reason."""
    values: dict[str, list[str]] = {}
    for name, estimate in evaluation.metrics.items():
        doubtful = estimate.low is None or estimate.reason == OUTSIDE
        if estimate.reason and (estimate.value is None or (doubtful and not compared)):
            what = "" if estimate.value is not None else "undefined: "
            values.setdefault(what + estimate.reason, []).append(name)
    by_class: dict[str, list[str]] = {}
    for name, metrics in evaluation.class_metrics.items() if evaluation.positive is None else ():
        for metric, estimate in metrics.items():
            if estimate.value is None:
                by_class.setdefault(f"undefined: {estimate.reason}", []).append(f"{metric_name(metric)} of ‘{name}’")
    lines = [f"{listing(metric_phrases(names).values())} – {reason}" for reason, names in values.items()]
    return lines + [f"{listing(names)} – {reason}" for reason, names in by_class.items()]


def _reference_list(cite: Citations) -> str:
    papers: Sequence[str] = cite.listed()
    return "## References\n\n" + "\n".join(f"- {paper}" for paper in papers) if papers else ""
