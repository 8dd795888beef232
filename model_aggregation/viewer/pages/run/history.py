"""Learning curves: loss, accuracy and learning rate by epoch, with frozen epochs and the best one marked."""

from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.colours import SERIES
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import figure_card
from model_aggregation.viewer.reading import RunView

PANELS = {
    "loss": ("train_loss", "val_loss"),
    "accuracy": ("train_accuracy", "val_accuracy"),
    "learning_rate": ("learning_rate",),
}


def learning_curves(context: Context, view: RunView) -> Component:
    """Return a figure for each kind of number that the history holds."""
    history = view.history
    panels = {
        name: [column for column in columns if column in history and history[column].notna().any()]
        for name, columns in PANELS.items()
    }
    cards = [
        figure_card(
            context, f"run-history-{name}", _figure(context, view, columns), title=context.say(f"run.history_{name}"),
            height=260, file_name=f"{view.name}_{name}",
        )
        for name, columns in panels.items()
        if columns
    ]  # fmt: skip
    best = view.environment.get("best_epoch")
    lines = [context.say("run.history_best", epoch=best + 1)] if isinstance(best, int) else []
    if _frozen(view):
        lines.append(context.say("run.history_frozen"))
    title = dmc.Title(context.say("run.history"), order=2, size="h5", mb=4)
    under = dmc.Text(" ".join(lines), size="xs", c="dimmed", mb="xs")
    return html.Section([title, under, dmc.SimpleGrid(cards, cols={"base": 1, "sm": 2, "lg": 3}, spacing="sm")])


def _frozen(view: RunView) -> list[int]:
    history = view.history
    if "frozen" not in history:
        return []
    return [int(epoch) + 1 for epoch in history.loc[history["frozen"].eq(True), "epoch"]]


def _figure(context: Context, view: RunView, columns: list[str]) -> dict[str, Any]:
    history = view.history
    epochs = (history["epoch"] + 1).tolist() if "epoch" in history else list(range(1, len(history) + 1))
    colours = SERIES[context.scheme]
    traces = []
    for place, column in enumerate(columns):
        of_validation = column.startswith("val_")
        colour = colours[1 if of_validation else 0]
        traces.append(
            {
                "x": epochs, "y": history[column].astype(object).where(history[column].notna(), None).tolist(),
                "mode": "lines+markers",
                "name": context.say("run.of_validation" if of_validation else "run.of_training"),
                "line": {"color": colour, "width": 2, "dash": "dot" if of_validation else "solid"},
                "marker": {"size": 6, "symbol": "diamond" if of_validation else "circle"},
                "showlegend": len(columns) > 1 or place > 0,
            }
        )  # fmt: skip
    best = view.environment.get("best_epoch")
    shapes = [_band(epoch) for epoch in _frozen(view)]
    if isinstance(best, int):
        line = {"color": colours[2], "width": 2, "dash": "dash"}
        shapes.append({"type": "line", "x0": best + 1, "x1": best + 1, "y0": 0, "y1": 1, "yref": "paper", "line": line})
    layout = {
        "xaxis": {"title": {"text": context.say("run.epoch")}, "rangemode": "normal", "tickformat": "d"},
        "shapes": shapes,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "margin": {"l": 52, "r": 8, "t": 20, "b": 40},
        "hovermode": "x unified",
    }
    return {"data": traces, "layout": layout}


def _band(epoch: int) -> dict[str, Any]:
    edges = {"x0": epoch - 0.5, "x1": epoch + 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "rect", **edges, "fillcolor": "#868E96", "opacity": 0.2, "line": {"width": 0}, "layer": "below"}
