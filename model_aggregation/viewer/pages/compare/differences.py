"""The table of differences of the compared runs to their reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name
from model_aggregation.viewer.parts_models import differences_table, model_names
from model_aggregation.viewer.reading.comparing import Comparing, Differences


def differences(
    context: Context, comparing: Comparing, group: str, chosen: tuple[Sequence[str], str | None]
) -> Component:  # fmt: skip
    """Return the differences of the runs to their reference: the metrics of the leaderboard, the others folded away."""
    runs, reference = chosen
    if reference is None or reference not in runs or len(runs) < 2:
        return dmc.Text(context.say("compare.choose"), c="dimmed", size="sm")
    found = comparing.differences(group, runs, reference)
    board = context.reader.leaderboard(group, members=True)
    names = model_names(board)
    primary = str(found.table["metric"].iloc[0])
    metric = metric_name(context, primary)
    meaning = context.say("compare.stored" if found.stored else "compare.computed", metric=metric, count=found.compared)
    usual = [primary, *(name for name in board.metrics if name != primary)]
    blocks = [
        _block(context, group, found.of([run]), names, usual) for run in runs if run in set(found.table["run_name"])
    ]
    return dmc.Stack([dmc.Text(meaning, size="sm"), *blocks], gap="sm")


def _block(
    context: Context, group: str, found: Differences, names: Mapping[str, str], usual: Sequence[str]
) -> Component:  # fmt: skip
    """Return the differences of one run, those of the leaderboard's metrics in its order, the others folded away."""
    run = str(found.table["run_name"].iloc[0])
    title = f"{names.get(run, run)} − {names.get(found.reference, found.reference)}"
    first = found.table[found.table["metric"].isin(usual)]
    first = first.sort_values("metric", key=lambda metrics: metrics.map(list(usual).index), kind="stable")
    rest = found.table[~found.table["metric"].isin(usual)]
    parts: list[Component] = [
        dmc.Title(title, order=3, size="h6", className="name"),
        differences_table(context, group, replace(found, table=first), names, by_metric=True),
    ]
    if len(rest):
        folded = differences_table(context, group, replace(found, table=rest), names, by_metric=True)
        parts.append(html.Details([html.Summary(context.say("compare.more")), folded], className="more"))
    return dmc.Stack(parts, gap=6)
