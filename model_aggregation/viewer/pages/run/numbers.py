"""The numbers of a set of images as ``metrics.json`` holds them: headline, all metrics with methods, classes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name, number_text
from model_aggregation.viewer.wording import method_words, reason_words

DECISION = (
    "sensitivity", "specificity", "accuracy", "balanced_accuracy", "precision", "npv", "f1", "mcc", "kappa",
    "lr_positive", "lr_negative", "balanced_accuracy_present", "macro_f1", "macro_f1_present", "weighted_f1",
    "quadratic_kappa",
)  # fmt: skip
PROBABILITY = ("brier", "log_loss", "ece", "calibration_slope", "calibration_intercept")
ABOUT = ("prevalence", "majority_baseline")
HEADLINE = {
    True: ("auc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"),
    False: ("balanced_accuracy", "accuracy", "macro_auc", "macro_f1"),
}
"""What stands first, of two classes and of more."""

OF_CLASS = ("sensitivity", "specificity", "precision", "f1", "auc")

Values = Mapping[str, Any]


def estimates(values: Values) -> dict[str, Values]:
    """Return the metrics of a set, or of a class, by name."""
    return {
        name: entry
        for name, entry in values.items()
        if isinstance(entry, Mapping) and "value" in entry and name != "cutoff"
    }


def confidence_of(values: Values) -> float:
    """Return the level of the intervals."""
    options = values.get("options")
    level = options.get("confidence") if isinstance(options, Mapping) else None
    return float(level) if isinstance(level, int | float) else 0.95


def number_of(entry: Values) -> str:
    """Return value and interval of a metric."""
    return number_text(entry.get("value"), entry.get("low"), entry.get("high"))


def headline(context: Context, values: Values) -> Component:
    """Return the main numbers in large type."""
    found = estimates(values)
    two = bool(values.get("positive")) or len(values.get("class_names") or ()) == 2
    names = [name for name in HEADLINE[two] if name in found]
    return dmc.SimpleGrid(
        [_tile(context, name, found[name], confidence_of(values)) for name in names],
        cols={"base": 2, "sm": 3, "lg": max(1, len(names))},
        spacing="xs",
        className="run-headline",
    )


def _tile(context: Context, metric: str, entry: Values, confidence: float) -> Component:
    value, low, high = entry.get("value"), entry.get("low"), entry.get("high")
    around = reason_words(context, str(entry.get("reason") or ""))
    if low is not None and high is not None:
        around = context.say("run.interval", percent=f"{100 * confidence:g}", low=f"{low:.3f}", high=f"{high:.3f}")
    lines = [
        dmc.Text(metric_name(context, metric), size="sm", c="dimmed"),
        dmc.Text(number_text(value), className="run-large number"),
        dmc.Text(around, size="xs", c="dimmed"),
    ]
    return dmc.Paper(lines, withBorder=True, radius="md", p="xs", **{"data-metric": metric})


def all_numbers(context: Context, values: Values) -> Component:
    """Return every metric with interval and method; those of a decision also at a cutoff of 0.5."""
    found = estimates(values)
    at_half = values.get("at_0.5")
    halves = estimates(at_half) if isinstance(at_half, Mapping) else {}
    rest = [name for name in found if name not in (*DECISION, *PROBABILITY, *ABOUT)]
    blocks = {"decision": DECISION, "ranking": rest, "probability": PROBABILITY, "about": ABOUT}
    titles = [context.say(f"run.{name}") for name in ("metric", "value", "half", "images", "method")]
    if not halves:
        del titles[2]
    confidence = confidence_of(values)
    body: list[Component] = []
    for block, names in blocks.items():
        rows = [name for name in names if name in found]
        if not rows:
            continue
        body.append(_block_row(context.say(f"run.block_{block}"), len(titles)))
        for name in rows:
            half = [number_of(halves[name]) if name in halves else ""] if halves else []
            cells = [metric_name(context, name), number_of(found[name]), *half, _count(found[name].get("n"))]
            body.append(_row(titles, [*cells, how(context, found[name], confidence)], name))
    return _table(titles, body)


def how(context: Context, entry: Values, confidence: float) -> Component:
    """Return the method of an interval, and what is undefined and why, in plain words."""
    method, reason = str(entry.get("method") or ""), str(entry.get("reason") or "")
    lines: list[Component] = []
    if method:
        lines.append(dmc.Text(method_words(context, method, confidence), size="xs", c="dimmed"))
    if reason:
        words = reason_words(context, reason)
        undefined = context.say("run.undefined", why=words) if entry.get("value") is None else words
        lines.append(dmc.Text(undefined, size="xs", className="run-reason"))
    return html.Div(lines)


def class_numbers(context: Context, values: Values) -> Component:
    """Return a row per class: images, its metrics, and its AUC against the rest."""
    classes: Mapping[str, Any] = values.get("classes") or {}
    names = [name for name in OF_CLASS if any(name in entry for entry in classes.values())]
    titles = [context.say("run.class"), context.say("run.images")]
    titles += [context.say("run.auc_rest") if name == "auc" else metric_name(context, name) for name in names]
    body = []
    for label, entry in classes.items():
        cells: list[Component | str] = [html.Span(label, className="name"), _count(entry.get("n"))]
        cells += [_class_cell(context, entry.get(name) or {}) for name in names]
        body.append(_row(titles, cells, label))
    return _table(titles, body)


def _class_cell(context: Context, entry: Values) -> Component:
    reason = entry.get("reason")
    words = reason_words(context, str(reason)) if reason else None
    line: list[Component] = [html.Span(number_of(entry), className="number")]
    if words and entry.get("value") is None:
        line.append(dmc.Text(words, size="xs", className="run-reason"))
    return html.Div(line, title=words)


def _count(n: Any) -> str:
    return f"{n:,}" if isinstance(n, int) else "–"


def _block_row(title: str, columns: int) -> Component:
    return html.Tr(html.Th(title, colSpan=columns, scope="colgroup"), className="run-block")


def _row(titles: Sequence[str], cells: Iterable[Component | str], name: str) -> Component:
    row = [
        dmc.TableTd(cell, className="number" if isinstance(cell, str) and place else None, **{"data-label": title})
        for place, (title, cell) in enumerate(zip(titles, cells, strict=True))
    ]
    return dmc.TableTr(row, **{"data-metric": name})


def _table(titles: Sequence[str], body: Sequence[Component]) -> Component:
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(title) for title in titles]))
    table = dmc.Table([head, dmc.TableTbody(list(body))], verticalSpacing=4, className="cards-on-phone run-numbers")
    return dmc.Paper(table, withBorder=True, radius="md", className="table-card")
