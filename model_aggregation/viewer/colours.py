"""The viewer's colours and figure templates, light and dark.

Okabe and Ito's palette (https://jfly.uni-koeln.de/color/) is told apart by people with any colour vision. Its
yellow is too pale for white paper, its black unseen on dark: each scheme has its own order.
"""

from typing import Any

from model_aggregation.viewer.visitor import Scheme

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

SERIES: dict[Scheme, list[str]] = {
    "light": [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#444444"],
    "dark": [SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILLION, "#DDDDDD"],
}
"""Line and marker colours in order of use; from the eighth series on, vary the dash too."""

SEQUENTIAL: dict[Scheme, list[list[Any]]] = {
    "light": [[0, "#FFFFFF"], [0.5, "#7FB8D8"], [1, BLUE]],
    "dark": [[0, "#1E2226"], [0.5, "#2B6A92"], [1, SKY]],
}
"""One hue from the background to full: counts of a confusion matrix."""

BRAND = [
    "#E8F4FA", "#D0E6F2", "#A3CDE5", "#73B3D7", "#4C9DCB", "#338FC4", "#0072B2", "#00639C", "#005282", "#003F66",
]  # fmt: skip
"""Ten shades around the palette's blue, as Mantine wants them."""

STATE_COLOURS = {
    "finished": GREEN,
    "running": BLUE,
    "failed": VERMILLION,
    "interrupted": ORANGE,
    "stopped": ORANGE,
    "planned": "#868E96",
    "earlier": PURPLE,
    "folder": "#868E96",
}


def template(scheme: Scheme) -> dict[str, Any]:
    """Return the plotly template of a scheme, for ``figure.update_layout(template=template(context.scheme))``."""
    ink, quiet, line = ("#212529", "#495057", "#DEE2E6") if scheme == "light" else ("#E9ECEF", "#ADB5BD", "#3A4048")
    axis = {
        "gridcolor": line,
        "linecolor": quiet,
        "zerolinecolor": line,
        "tickcolor": quiet,
        "ticks": "outside",
        "automargin": True,
        "title": {"font": {"color": quiet}},
    }
    return {
        "layout": {
            "colorway": SERIES[scheme],
            "font": {"color": ink, "family": "system-ui, 'Noto Sans CJK JP', 'Yu Gothic UI', Meiryo, sans-serif"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
            "hoverlabel": {"bgcolor": "#FFFFFF" if scheme == "light" else "#25292E", "font": {"color": ink}},
            "legend": {"bgcolor": "rgba(0,0,0,0)"},
            "colorscale": {"sequential": SEQUENTIAL[scheme]},
        }
    }
