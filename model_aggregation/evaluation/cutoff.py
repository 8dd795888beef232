"""The score above which an image counts as positive: chosen once, on validation predictions, then frozen."""

import math
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from model_aggregation.errors import SettingsError
from model_aggregation.evaluation.bootstrap import Resamples, percentile_interval
from model_aggregation.evaluation.earlier_cutoff import earlier_cutoff
from model_aggregation.evaluation.predictions import Predictions

KINDS = ("balanced_accuracy", "fixed", "youden", "min_sensitivity", "min_specificity", "cost", "earlier")
LIMITED_KINDS = ("balanced_accuracy", "earlier")
"""Rules that seek the cutoff between limits."""

DEFAULT_CUTOFF = 0.5
FEWEST_IMAGES = 20
TIE = 1e-12


@dataclass(frozen=True)
class CutoffRule:
    """How a cutoff is chosen.

    ``balanced_accuracy`` takes the largest balanced accuracy within [lower, upper]; ``youden`` the same within
    [0, 1] (Youden 1950, Cancer 3:32); ``min_sensitivity`` and ``min_specificity`` keep that rate at ``target``
    or above and take the largest other rate, within [0, 1]; ``cost`` the smallest cost_false_positive · FP +
    cost_false_negative · FN at the prevalence of the choosing set, within [0, 1]; ``fixed`` takes ``value``;
    ``earlier`` is the rule of the earlier program, within [lower, upper] (``earlier_cutoff``).

    >>> CutoffRule("min_sensitivity")
    Traceback (most recent call last):
    ...
    model_aggregation.errors.SettingsError: The cutoff rule 'min_sensitivity' cannot be used:
      - target must lie between 0 and 1, got None
    """

    kind: str = "balanced_accuracy"
    lower: float = 0.4
    upper: float = 0.6
    value: float | None = None
    target: float | None = None
    cost_false_positive: float = 1.0
    cost_false_negative: float = 1.0

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in KINDS:
            problems.append(f"kind must be one of {', '.join(KINDS)}")
        if not 0 <= self.lower <= self.upper <= 1:
            problems.append(f"the limits must fulfil 0 <= lower <= upper <= 1, got {self.lower} and {self.upper}")
        if self.kind == "fixed" and (self.value is None or not math.isfinite(self.value)):
            problems.append(f"value must be a finite number, got {self.value}")
        if self.kind.startswith("min_") and (self.target is None or not 0 <= self.target <= 1):
            problems.append(f"target must lie between 0 and 1, got {self.target}")
        if not (self.cost_false_positive > 0 and self.cost_false_negative > 0):
            problems.append("both costs must be above 0")
        if problems:
            raise SettingsError(f"The cutoff rule {self.kind!r} cannot be used:", problems)

    @property
    def limits(self) -> tuple[float, float]:
        """The range the cutoff is sought in."""
        return (self.lower, self.upper) if self.kind in LIMITED_KINDS else (0.0, 1.0)


@dataclass(frozen=True)
class Cutoff:
    """A frozen cutoff: an image is positive when its score is strictly above ``value``.

    ``source`` is ``validation``, ``test`` (then everything it touches is ``exploratory``), ``fixed`` or
    ``default``. ``balanced_accuracy``, ``plateau`` (the range of cutoffs that do equally well) and the
    bootstrap ``interval`` belong to the set it was chosen on.
    """

    value: float
    source: str
    rule: CutoffRule = CutoffRule()
    reason: str | None = None
    balanced_accuracy: float | None = None
    plateau: tuple[float, float] | None = None
    interval: tuple[float, float] | None = None
    interval_reason: str | None = None
    limit_active: bool = False
    exploratory: bool = False
    positive: str | None = None

    def of_images(self, predictions: Predictions) -> float:  # noqa: ARG002
        """Return the cutoff of each image: the same for all."""
        return self.value

    def to_dict(self) -> dict[str, object]:
        """Return plain Python values, ready for JSON.

        >>> default_cutoff("no validation images").to_dict()["value"]
        0.5
        """
        plain = asdict(self)
        for name in ("plateau", "interval"):
            plain[name] = None if plain[name] is None else {"low": plain[name][0], "high": plain[name][1]}
        return plain


def default_cutoff(reason: str) -> Cutoff:
    """Return 0.5 with the reason why none was chosen.

    >>> default_cutoff("no validation images").source
    'default'
    """
    return Cutoff(DEFAULT_CUTOFF, "default", reason=reason)


def choose_cutoff(
    predictions: Predictions,
    positive: str,
    rule: CutoffRule | None = None,
    *,
    source: str = "validation",
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Cutoff:
    """Choose the cutoff on these predictions, which must not be those it is applied to.

    Candidates are the two limits, 0.5 if inside, and the midpoints between neighbouring distinct scores that
    lie inside the limits. Ties within 1e-12 go to the candidate closest to 0.5, then to the smaller. Fewer than
    20 images of either class, or a target out of reach: 0.5 with the reason. Chosen on the test set
    (``source="test"``) the cutoff is exploratory: it makes the balanced accuracy there too high by about .036
    with 40 images, .026 with 100 and .015 with 300. The rule ``earlier`` has candidates and ties of its own.

    Raises
    ------
    SettingsError
        ``source`` is neither validation nor test, or a single score of any range asks for a rule but ``fixed``.

    >>> scores = np.linspace(0.2, 0.8, 60)
    >>> table = Predictions([f"{i:02}" for i in range(60)], scores > 0.55, np.stack([1 - scores, scores], 1),
    ...                     ("ng", "ok"))
    >>> chosen = choose_cutoff(table, "ok", resamples=100)
    >>> round(chosen.value, 3), chosen.source, chosen.balanced_accuracy
    (0.551, 'validation', 1.0)
    """
    rule = rule or CutoffRule()
    _check_choice(predictions, rule, source)
    predictions = predictions.sorted_by_id()
    choice = _Choice.of(predictions, positive, rule)
    if rule.kind == "fixed":
        given = float(rule.value or 0.0)
        return Cutoff(given, "fixed", rule, balanced_accuracy=choice.balanced_accuracy_at(given), positive=positive)
    if rule.kind == "earlier":
        return _earlier(predictions, positive, choice, source)
    reason = _too_few(predictions, positive, source)
    value = math.nan if reason else float(choice.best(np.ones((len(predictions), 1)))[0])
    if math.isnan(value):
        reason = reason or f"no cutoff reaches the target {rule.target} on the {source} images"
        return _not_chosen(choice, positive, reason)
    plan = Resamples.of(predictions, count=resamples, seed=seed)
    interval, interval_reason = _interval(choice, plan, confidence)
    return Cutoff(
        value,
        source,
        rule,
        balanced_accuracy=choice.balanced_accuracy_at(value),
        plateau=choice.plateau(value),
        interval=interval,
        interval_reason=interval_reason,
        limit_active=value in rule.limits,
        exploratory=source == "test",
        positive=positive,
    )


def _check_choice(predictions: Predictions, rule: CutoffRule, source: str) -> None:
    if source not in ("validation", "test"):
        raise SettingsError(f"A cutoff is chosen on 'validation' or 'test', not on {source!r}.")
    if rule.kind != "fixed" and not predictions.has_probabilities:
        raise SettingsError("For a single score of any range the cutoff must be given: use the rule 'fixed'.")


def _not_chosen(choice: "_Choice", positive: str, reason: str) -> Cutoff:
    half = choice.balanced_accuracy_at(DEFAULT_CUTOFF)
    return Cutoff(DEFAULT_CUTOFF, "default", choice.rule, reason, half, positive=positive)


def _earlier(predictions: Predictions, positive: str, choice: "_Choice", source: str) -> Cutoff:
    rule = choice.rule
    labels = predictions.labels == predictions.class_index(positive)
    value = earlier_cutoff(predictions.score_of(positive), labels, *rule.limits)
    if value is None:
        return _not_chosen(choice, positive, f"the rule of the earlier program finds no cutoff on the {source} images")
    return Cutoff(
        value,
        source,
        rule,
        balanced_accuracy=choice.balanced_accuracy_at(value),
        interval_reason="the rule of the earlier program has no interval",
        limit_active=value in rule.limits,
        exploratory=source == "test",
        positive=positive,
    )


def _interval(choice: "_Choice", plan: Resamples, confidence: float) -> tuple[tuple[float, float] | None, str | None]:
    """Choose the cutoff anew in every resample; return its percentiles, and what is to be said of them."""
    objection = plan.objection()
    if objection:
        return None, objection
    drawn = plan.apply(lambda weights: {"cutoff": choice.best(weights)})["cutoff"]
    found = percentile_interval(drawn, confidence)
    return (None, found) if isinstance(found, str) else (found[:2], found[2] or None)


def _too_few(predictions: Predictions, positive: str, source: str) -> str | None:
    index = predictions.class_index(positive)
    counts = {name: int(count) for name, count in zip(predictions.classes, predictions.counts, strict=True)}
    negatives = len(predictions) - counts[predictions.classes[index]]
    fewest = min(counts[positive], negatives)
    if fewest >= FEWEST_IMAGES:
        return None
    side = f"class {positive!r}" if counts[positive] == fewest else f"the classes other than {positive!r}"
    return f"only {fewest} {source} images of {side}, {FEWEST_IMAGES} are needed to choose a cutoff"


@dataclass(frozen=True, eq=False)
class _Choice:
    """The scores of the choosing set, and how good every cutoff is there."""

    rule: CutoffRule
    order: np.ndarray  # (N,) ascending
    ends: np.ndarray  # (D,) last position of each run of equal scores
    distinct: np.ndarray  # (D,) ascending
    positive: np.ndarray  # (N,) in this order

    @classmethod
    def of(cls, predictions: Predictions, positive: str, rule: CutoffRule) -> "_Choice":
        score = predictions.score_of(positive)
        order = np.argsort(score, kind="stable")
        ranked = score[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], np.ones(min(1, len(ranked)), dtype=bool)))
        labels = predictions.labels[order] == predictions.class_index(positive)
        return cls(rule, order, ends, ranked[ends], labels)

    def below(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (D + 1, b) counts of positives and negatives at or below none, the first, … all scores."""
        drawn = weights[self.order]
        everyone = np.cumsum(drawn, axis=0)[self.ends]
        drawn[~self.positive] = 0
        positives = np.cumsum(drawn, axis=0)[self.ends]
        start = np.zeros((1, weights.shape[1]))
        return np.concatenate([start, positives]), np.concatenate([start, everyone - positives])

    def worth(self, missed: np.ndarray, rejected: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Return how good cutoffs are by the rule, from the counts at or below them; larger is better."""
        rule, sensitivity, specificity = self.rule, 1 - missed / p, rejected / n
        if rule.kind == "min_sensitivity":
            return np.where(sensitivity >= (rule.target or 0.0) - TIE, specificity, -np.inf)
        if rule.kind == "min_specificity":
            return np.where(specificity >= (rule.target or 0.0) - TIE, sensitivity, -np.inf)
        if rule.kind == "cost":
            return -(rule.cost_false_positive * (n - rejected) + rule.cost_false_negative * missed) / (p + n)
        return (sensitivity + specificity) / 2

    def best(self, weights: np.ndarray) -> np.ndarray:
        """Return the (b,) chosen cutoffs for each column of the (N, b) weights; NaN when out of reach."""
        missed, rejected = self.below(weights)
        worth = partial(self.worth, p=missed[-1], n=rejected[-1])
        lower, upper = self.rule.limits
        fixed = np.array(sorted({lower, upper} | ({0.5} if lower <= 0.5 <= upper else set())))
        at = np.searchsorted(self.distinct, fixed, side="right")
        middle, inside = self._midpoints(np.diff(missed + rejected, axis=0) > 0)
        values = np.concatenate([np.broadcast_to(fixed[:, None], (len(fixed), weights.shape[1])), middle])
        goodness = np.concatenate(
            [worth(missed[at], rejected[at]), np.where(inside, worth(missed[1:], rejected[1:]), -np.inf)]
        )
        return _first_of_the_best(values, goodness)

    def _midpoints(self, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the midpoint to the next score that is present, (D, b), and whether it is a candidate."""
        d, b = present.shape
        index = np.where(present, np.arange(d)[:, None], d)
        following = np.minimum.accumulate(index[::-1], axis=0)[::-1]
        following = np.concatenate([following[1:], np.full((1, b), d)])
        here = self.distinct[:, None]
        after = np.append(self.distinct, np.inf)[following]
        middle = here + (np.where(np.isinf(after), here, after) - here) / 2
        middle = np.where(middle >= after, here, middle)  # neighbours that no float lies between
        lower, upper = self.rule.limits
        return middle, present & (following < d) & (middle >= lower) & (middle <= upper)

    def balanced_accuracy_at(self, value: float) -> float | None:
        """Return (Se + Sp)/2 at a cutoff, None when a class is missing."""
        missed, rejected = self.below(np.ones((len(self.order), 1)))
        p, n = missed[-1, 0], rejected[-1, 0]
        if p == 0 or n == 0:
            return None
        at = np.searchsorted(self.distinct, value, side="right")
        return float(((1 - missed[at, 0] / p) + rejected[at, 0] / n) / 2)

    def plateau(self, value: float) -> tuple[float, float]:
        """Return the range of neighbouring cutoffs, within the limits, that do as well as this one."""
        missed, rejected = self.below(np.ones((len(self.order), 1)))
        worth = self.worth(missed, rejected, missed[-1], rejected[-1])[:, 0]
        first = last = int(np.searchsorted(self.distinct, value, side="right"))
        while first > 0 and abs(worth[first - 1] - worth[last]) <= TIE:
            first -= 1
        while last < len(self.distinct) and abs(worth[last + 1] - worth[first]) <= TIE:
            last += 1
        lower, upper = self.rule.limits
        low = lower if first == 0 else max(lower, float(self.distinct[first - 1]))
        high = upper if last == len(self.distinct) else min(upper, float(self.distinct[last]))
        return low, high


def _first_of_the_best(values: np.ndarray, goodness: np.ndarray) -> np.ndarray:
    """Return per column the value of the largest goodness; ties: closest to 0.5, then the smaller value."""
    best = goodness.max(axis=0)
    reachable = np.isfinite(best)
    tied = goodness >= np.where(reachable, best, 0.0) - TIE
    distance = np.where(tied, np.abs(values - DEFAULT_CUTOFF), np.inf)
    nearest = distance <= distance.min(axis=0) + TIE
    return np.where(reachable, np.where(nearest, values, np.inf).min(axis=0), np.nan)
