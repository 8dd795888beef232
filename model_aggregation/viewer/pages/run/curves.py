"""The figures of a set: ROC with room for its band, precision-recall with the prevalence, reliability.

``assets/run.js`` moves the last trace of the first two, the point of the cutoff, and fills in the band.
"""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import numpy as np
import pandas as pd
from dash.development.base_component import Component

from model_aggregation.viewer.colours import SERIES
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages.run.numbers import estimates
from model_aggregation.viewer.parts import figure_card, metric_name, note, number_text
from model_aggregation.viewer.reading import Curves, CutoffTable

ROC, PRECISION_RECALL, RELIABILITY = "run-roc", "run-precision-recall", "run-reliability"
GREY = "#868E96"

Values = Mapping[str, Any]
Trace = dict[str, Any]


def curve_cards(
    context: Context, curves: Curves, values: Values, table: CutoffTable | None, file_name: str
) -> list[Component]:
    """Return the cards of ROC and precision-recall curve; a note in place of what is undefined."""
    if curves.roc.empty:
        return [note(context.say("run.no_curves"), "\n".join(curves.notes) or context.say("run.one_class_only"))]
    drawn = (
        (ROC, "roc", roc_figure(context, curves, values, table)),
        (PRECISION_RECALL, "pr", precision_recall_figure(context, curves, values, table)),
    )
    cards: list[Component] = []
    for name, word, figure in drawn:
        title = context.say("run.of_class", what=context.say(f"run.{word}"), name=curves.class_name)
        cards.append(figure_card(context, name, figure, title=title, height=420, file_name=f"{file_name}_{word}"))
    return cards


def roc_figure(context: Context, curves: Curves, values: Values, table: CutoffTable | None) -> Trace:
    """Return the curve between two empty traces of its band and the points of the cutoff."""
    colour, mark = SERIES[context.scheme][:2]
    area = _estimate(values, curves.class_name, "auc")
    name = f"AUC {number_text(area.get('value'), area.get('low'), area.get('high'))}"
    edge: Trace = {
        "x": [], "y": [], "mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip",
        "showlegend": False,
    }  # fmt: skip
    band = context.say("run.band")
    traces: list[Trace] = [
        {**edge, "name": f"{band} –"},
        {**edge, "name": band, "fill": "tonexty", "fillcolor": _pale(colour)},
        _line(curves.roc["FPR"], curves.roc["TPR"], name, colour, customdata=curves.roc["CutOff"])
        | {"hovertemplate": context.say("run.roc_hover")},
        _guide([0, 1], [0, 1], context.say("run.chance")),
    ]
    if table is not None:
        traces += _points(context, table, mark, lambda tp, fp, p, n: (fp / n, tp / p) if p and n else None)
    return {"data": traces, "layout": _square(context.say("run.fpr"), context.say("run.tpr"))}


def precision_recall_figure(context: Context, curves: Curves, values: Values, table: CutoffTable | None) -> Trace:
    """Return the steps that average precision sums, with the prevalence as baseline."""
    colour, mark = SERIES[context.scheme][:2]
    falling = curves.precision_recall.iloc[::-1]
    recall, precision = falling["Recall"].to_numpy(), falling["Precision"].to_numpy()
    area = _estimate(values, curves.class_name, "average_precision")
    number = number_text(area.get("value"), area.get("low"), area.get("high"))
    name = f"{metric_name(context, 'average_precision')} {number}"
    share = _share(values, curves.class_name)
    x, y = np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])
    traces = [_line(x, y, name if area else context.say("run.pr"), colour, shape="vh")]
    traces[0]["hovertemplate"] = context.say("run.pr_hover")
    if share is not None:
        traces.append(_guide([0, 1], [share, share], f"{metric_name(context, 'prevalence')} {share:.3f}"))
    if table is not None:
        traces += _points(
            context, table, mark, lambda tp, fp, p, _: (tp / p, tp / (tp + fp)) if p and tp + fp else None
        )
    return {"data": traces, "layout": _square(context.say("run.recall"), context.say("run.precision"))}


def reliability_card(context: Context, curves: Curves, values: Values, file_name: str) -> Component | None:
    """Return observed over predicted shares above the number of images in each bin."""
    shown = curves.reliability[curves.reliability["n"] > 0] if len(curves.reliability) else curves.reliability
    if shown.empty:
        return None
    title = context.say("run.of_class", what=context.say("run.reliability"), name=curves.class_name)
    figure = reliability_figure(context, shown)
    card = figure_card(context, RELIABILITY, figure, title=title, height=400, file_name=f"{file_name}_reliability")
    found = estimates(values) if values.get("positive") == curves.class_name else {}
    names = [name for name in ("brier", "ece", "calibration_slope") if name in found]
    words = " · ".join(f"{metric_name(context, name)} {number_text(found[name].get('value'))}" for name in names)
    card.children.insert(1, dmc.Text(words, size="xs", c="dimmed"))
    return card


def reliability_figure(context: Context, shown: pd.DataFrame) -> Trace:
    """Return the figure of bins that hold images."""
    colour = SERIES[context.scheme][0]
    observed = {
        **_line(shown["predicted"], shown["observed"], context.say("run.observed"), colour),
        "mode": "lines+markers",
        "marker": {"size": 7},
        "customdata": shown["n"].tolist(),
        "hovertemplate": context.say("run.reliability_hover"),
    }
    if shown["low"].notna().all():
        above, below = shown["high"] - shown["observed"], shown["observed"] - shown["low"]
        bars = {"type": "data", "array": above.tolist(), "arrayminus": below.tolist(), "thickness": 1, "width": 3}
        observed["error_y"] = {**bars, "visible": True, "symmetric": False, "color": colour}
    counts = {
        "type": "bar", "x": ((shown["from"] + shown["to"]) / 2).tolist(), "y": shown["n"].tolist(), "yaxis": "y2",
        "width": (shown["to"] - shown["from"]).tolist(), "name": context.say("run.images"), "showlegend": False,
        "marker": {"color": GREY},
    }  # fmt: skip
    layout = _square(context.say("run.predicted_probability"), context.say("run.observed"))
    layout["yaxis"] = {**layout["yaxis"], "domain": [0.26, 1]}
    layout["xaxis"] = {**layout["xaxis"], "anchor": "y2"}
    layout["yaxis2"] = {"domain": [0, 0.16], "title": {"text": context.say("run.images")}, "rangemode": "tozero"}
    return {"data": [_guide([0, 1], [0, 1], context.say("run.ideal")), observed, counts], "layout": layout}


def _estimate(values: Values, class_name: str, metric: str) -> Values:
    """Return the metric of the class drawn: of the whole set for the positive of two, else of the class."""
    if values.get("positive") == class_name:
        return estimates(values).get(metric, {})
    own = (values.get("classes") or {}).get(class_name)
    return estimates(own).get(metric, {}) if isinstance(own, Mapping) else {}


def _share(values: Values, class_name: str) -> float | None:
    counts = values.get("counts") or {}
    total = sum(counts.values())
    return counts[class_name] / total if total and class_name in counts else None


def _line(x: Any, y: Any, name: str, colour: str, *, shape: str = "linear", customdata: Any = None) -> Trace:
    trace: Trace = {
        "x": list(x), "y": list(y), "mode": "lines", "name": name,
        "line": {"color": colour, "width": 2.5, "shape": shape},
    }  # fmt: skip
    if customdata is not None:
        trace["customdata"] = [None if np.isinf(value) else value for value in customdata]
    return trace


def _guide(x: list[float], y: list[float], name: str) -> Trace:
    line = {"color": GREY, "width": 1, "dash": "dash"}
    return {"x": x, "y": y, "mode": "lines", "name": name, "line": line, "hoverinfo": "skip"}


def _points(context: Context, table: CutoffTable, colour: str, place: Any) -> list[Trace]:
    """Return the fixed mark of the stored cutoff and, last, the point that the slider moves (by ``run.js``)."""
    marks: list[Trace] = []
    if table.stored_at is not None:
        at = table.stored_at
        tp, fp = int(table.true_positive[at]), int(table.false_positive[at])
        found = place(tp, fp, tp + int(table.false_negative[at]), fp + int(table.true_negative[at]))
        if found is not None:
            name = context.say("run.stored_cutoff", value=f"{table.cutoffs[at]:.3f}")
            marker = {"size": 15, "symbol": "circle-open", "color": colour, "line": {"width": 2}}
            marks.append({"x": [found[0]], "y": [found[1]], "mode": "markers", "name": name, "marker": marker})
    moving = {"size": 9, "color": colour}
    name = context.say("run.chosen_cutoff")
    return [*marks, {"x": [], "y": [], "mode": "markers", "name": name, "marker": moving}]


def _square(x: str, y: str) -> Trace:
    axis = {"range": [-0.02, 1.02], "dtick": 0.2, "constrain": "domain"}
    return {
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "legend": {
            "orientation": "h",
            "y": -0.2,
            "yanchor": "top",
            "x": 0,
            "font": {"size": 11},
            "traceorder": "normal",
        },
        "margin": {"l": 56, "r": 12, "t": 10, "b": 48},
        "hovermode": "closest",
    }


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def class_choice(context: Context, classes: tuple[str, ...], chosen: str) -> Component:
    """Return the choice of the class whose curves are drawn against the rest."""
    return dmc.Select(
        id="run-class", data=list(classes), value=chosen, label=context.say("run.class_of_curves"), allowDeselect=False,
        searchable=len(classes) > 10, size="sm", className="filter",
    )  # fmt: skip
