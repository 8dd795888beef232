"""How models were compared and ranked, in words."""

from model_aggregation.evaluation import Comparison
from model_aggregation.evaluation.ranking import DRAWS
from model_aggregation.reporting.facts import ReportFacts
from model_aggregation.reporting.references import Citations
from model_aggregation.reporting.words import counted, listing, metric_name, metric_phrases

_CLUSTERED = ("delong", "obuchowski", "cameron")
# the beginning of a comparison's method, the words for it, and its papers; the longer beginning first
_METHODS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("paired DeLong, clustered", "DeLong's paired test in its form for clustered data, with Student's t", _CLUSTERED),
    ("paired DeLong", "DeLong's paired test", ("delong",)),
    ("McNemar", "McNemar's mid-p test with Newcombe's paired interval", ("fagerland", "newcombe_paired")),
    ("paired percentile bootstrap", "the paired bootstrap with {}", ("efron", "davison")),
)


def comparison_sentences(comparison: Comparison, facts: ReportFacts, cite: Citations) -> list[str]:
    """Describe the tests, their adjustment, the rank sets and the corrected best, those that exist."""
    sentences = [f"The primary metric was {metric_name(comparison.primary)}."]
    sentences += _tests(comparison, facts, cite) + _ranks(comparison, facts, cite) + _best(comparison, cite)
    return sentences


def _tests(comparison: Comparison, facts: ReportFacts, cite: Citations) -> list[str]:
    table = comparison.comparisons
    tested = table[table["p"].notna()]
    if comparison.selected is None:
        return ["No model had been selected on validation images, so no model was tested against another."]
    if tested.empty:
        return [f"No other model could be tested against ‘{comparison.selected}’, the one selected beforehand."]
    parts: list[str] = []
    for beginning, words, papers in _METHODS:
        longer = [other for other, *_ in _METHODS if other != beginning and other.startswith(beginning)]
        used = tested[tested["method"].str.startswith(beginning)]
        used = used[~used["method"].str.startswith(tuple(longer))] if longer else used
        if len(used):
            drawn = str(used["method"].iloc[0]).partition("bootstrap, ")[2]
            metrics = listing(metric_phrases(used["metric"]).values())
            if "bootstrap" in beginning and parts and set(tested["metric"]) == set(table["metric"]):
                metrics = "the other measures"
            parts.append(f"{metrics} by {words.format(drawn)} {cite(*papers)}")
    others = counted(len(set(table["model"])), "other model")
    sentences = [
        f"The model selected on the validation images, ‘{comparison.selected}’, was compared with {others} on the same "
        f"images: {'; '.join(parts)}."
    ]
    if facts.comparison_options is not None:
        options = facts.comparison_options
        sentences.append(
            f"Intervals of differences have a level of {100 * options.confidence:g}%; seed {options.seed}."
        )
    return sentences + _adjusted(comparison, cite)


def _adjusted(comparison: Comparison, cite: Citations) -> list[str]:
    table = comparison.comparisons
    primary = table[table["metric"] == comparison.primary]
    name = metric_name(comparison.primary)
    explored = "all other comparisons are exploratory and unadjusted"
    if primary["p_holm"].notna().any() and len(primary) > 1:
        return [f"The {len(primary)} p values of {name} were adjusted by Holm's method {cite('holm')}; {explored}."]
    if primary["p"].notna().any():
        return [f"The single p value of {name} needed no adjustment; {explored}."]
    return []


def _ranks(comparison: Comparison, facts: ReportFacts, cite: Citations) -> list[str]:
    if not comparison.ranking["rank_low"].notna().all() or len(comparison.ranking) < 2:
        return []
    if comparison.primary == "auc":
        spread = "DeLong's covariance" + (" for clustered data" if comparison.unit == "group" else "")
        spread += f" {cite('delong', 'obuchowski') if comparison.unit == 'group' else cite('delong')}"
    else:
        spread = "the covariance of the paired bootstrap"
    multivariate = " of a multivariate t" if comparison.unit == "group" else ""
    level = "" if facts.comparison_options is None else f"{100 * facts.comparison_options.confidence:g}% "
    return [
        f"Simultaneous {level}confidence sets of the ranks {cite('mogstad')} come from comparisons of all pairs with "
        f"{spread} and {DRAWS:,} draws{multivariate}: {comparison.sentence}.",
        "The order by test score itself is exploratory.",
    ]


def _best(comparison: Comparison, cite: Citations) -> list[str]:
    best = comparison.best
    if best is None:
        return []
    if best.value is None:
        return [
            f"The best score on these images, {best.apparent:.3f} of ‘{best.model}’, could not be corrected for having "
            f"been chosen by that score: {best.reason}."
        ]
    interval = f" ({best.reason})" if best.low is None else f" ({best.low:.3f}–{best.high:.3f})"
    return [
        f"The best score on these images, {best.apparent:.3f} of ‘{best.model}’, was corrected for having been chosen "
        f"by that score with {best.method} {cite('tsamardinos')}: {best.value:.3f}{interval}."
    ]
