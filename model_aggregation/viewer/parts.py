"""Parts that pages are made of: notes, states, numbers with intervals, figures with downloads, guarded sections."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import dcc
from dash.development.base_component import Component

from model_aggregation.errors import ModelAggregationError
from model_aggregation.viewer.colours import STATE_COLOURS, template
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.reading import Progress
from model_aggregation.viewer.texts import texts
from model_aggregation.viewer.wording import in_words

STATE_SIGNS = {
    "finished": "✓",
    "running": "▶",
    "failed": "✕",
    "interrupted": "‖",
    "stopped": "‖",
    "planned": "○",
    "earlier": "◷",
    "folder": "?",
}
log = logging.getLogger(__name__)


def note(title: str, text: str, *, kind: str = "problem") -> Component:
    """Return a note on the page; ``kind`` is ``problem`` or ``hint``. Line ends of the text are kept."""
    colour = "orange" if kind == "problem" else "blue"
    return dmc.Alert(
        dmc.Text(text, size="sm", className="lines"),
        title=title,
        color=colour,
        variant="light",
        className=f"note-{kind}",
    )


def notes_of(context: Context, notes: Sequence[str]) -> list[Component]:
    """Return what a reader's answer says could not be read, as one note, or nothing."""
    lines = [in_words(context, text) for text in notes]
    return [note(context.say("shell.notes_title"), "\n".join(lines))] if notes else []


def problem(context: Context, error: ModelAggregationError) -> Component:
    """Return an error that the visitor can act on as a note."""
    return note(context.say("shell.problem_title"), in_words(context, str(error)))


def guarded(context: Context, make: Callable[..., Component], *values: Any) -> Component:
    """Return ``make(*values)``, or a note when it raises: one broken part must not take the page with it."""
    try:
        return make(*values)
    except ModelAggregationError as error:
        return problem(context, error)
    except Exception:
        log.exception("A part of a page cannot be shown.")
        return note(context.say("shell.unexpected_title"), context.say("shell.unexpected"))


def progress_words(context: Context, progress: Progress) -> str:
    """Return where a running run stands: its epoch with loss, speed and time left, else its last line; may be empty."""
    live = progress.live
    if live is None or live.epoch is None:
        return progress.lines[-1] if progress.lines else ""
    words = [context.say("home.live_epoch", epoch=live.epoch, epochs=live.epochs)]
    if live.loss is not None:
        words.append(context.say("home.live_loss", loss=f"{live.loss:.4f}"))
    if live.images_per_second is not None:
        words.append(context.say("home.live_speed", speed=f"{live.images_per_second:.0f}"))
    if live.seconds_left is not None:
        words.append(context.say("home.live_left", time=timedelta(seconds=round(live.seconds_left))))
    return " · ".join(words)


def state_badge(context: Context, state: str, count: int | None = None) -> Component:
    """Return a state as sign, word and colour, with how many runs are in it."""
    words = f"{STATE_SIGNS[state]} {context.say(f'state.{state}')}" + ("" if count is None else f" {count}")
    return dmc.Badge(words, variant="dot", color=STATE_COLOURS[state], tt="none", className="state")


def metric_name(context: Context, metric: str) -> str:
    """Return the word for a metric of ``metrics.json``; one without a text keeps its own name."""
    return context.say(f"metric.{metric}") if f"metric.{metric}" in texts() else metric.replace("_", " ")


def number_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a number with three decimals and its interval.

    >>> number_text(0.91234, 0.85, 0.95)
    '0.912 (0.850–0.950)'
    >>> number_text(-1.4384, -2.45, -0.426)
    '−1.438 (−2.450 – −0.426)'
    """
    if value is None:
        return "–"
    between = "–" if (low or 0) >= 0 and (high or 0) >= 0 else " – "
    limits = "" if low is None or high is None else f" ({low:.3f}{between}{high:.3f})"
    return f"{value:.3f}{limits}".replace("-", "−")


def figure_card(
    context: Context, name: str, figure: Mapping[str, Any] | Any, *, title: str, height: int = 360, file_name: str = ""
) -> Component:
    """Return a figure with its title and buttons for PNG, SVG and its numbers as CSV.

    Parameters
    ----------
    name
        Unique on the page; the graph's id is ``figure_id(name)``, to be used in callbacks.
    figure
        A plotly figure or its dict; the template of the visitor's colours is put in by this function.
    height
        In pixels.
    file_name
        Of downloads, without ending; default ``name``.
    """
    figure = themed(context, figure)
    buttons = [
        dmc.Button(
            form.upper(),
            id={"part": "figure-download", "figure": name, "form": form},
            variant="subtle",
            size="compact-xs",
            **{"aria-label": label, "data-file": file_name or name},
        )
        for form, label in (
            ("png", context.say("shell.download_png")),
            ("svg", context.say("shell.download_svg")),
            ("csv", context.say("shell.download_csv")),
        )
    ]
    heading = dmc.Group(
        [dmc.Title(title, order=3, size="h5"), dmc.Group(buttons, gap=2)], justify="space-between", gap="xs"
    )
    graph = dcc.Graph(id=figure_id(name), figure=figure, config=GRAPH_CONFIG, style={"height": f"{height}px"})
    return dmc.Paper([heading, graph], withBorder=True, p="sm", radius="md", className="figure-card")


GRAPH_CONFIG: Any = {"displaylogo": False, "displayModeBar": False, "responsive": True, "showTips": False}
"""No plotly mode bar: the card has its own buttons, reachable by keyboard."""


def figure_id(name: str) -> dict[str, str]:
    """Return the id of the graph in :func:`figure_card`."""
    return {"part": "figure", "figure": name}


def themed(context: Context, figure: Mapping[str, Any] | Any) -> dict[str, Any]:
    """Return a figure's dict in the visitor's colours; callbacks that replace a figure use it too."""
    content: dict[str, Any] = dict(figure) if isinstance(figure, Mapping) else figure.to_plotly_json()
    return {**content, "layout": {**content.get("layout", {}), "template": template(context.scheme)}}
