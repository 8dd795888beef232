"""Tables that are sorted and filtered in the browser: AG Grid in the visitor's language and colours."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash.development.base_component import Component

from model_aggregation.viewer.context import Context

NAMES_OF_AG_GRID = {
    "noRowsToShow": "no_rows", "loadingOoo": "loading", "contains": "contains", "notContains": "not_contains",
    "startsWith": "starts_with", "endsWith": "ends_with", "equals": "equals", "notEqual": "not_equal",
    "blank": "blank", "notBlank": "not_blank", "greaterThan": "greater_than", "lessThan": "less_than",
    "greaterThanOrEqual": "at_least", "lessThanOrEqual": "at_most", "inRange": "in_range", "filterOoo": "filter",
    "andCondition": "and", "orCondition": "or", "inRangeStart": "from", "inRangeEnd": "to",
    "ariaFilterInput": "filter", "ariaFilterMenuOpen": "filter_menu", "ariaSortableColumn": "sortable",
    "ariaRowToggleSelection": "toggle_row", "ariaRowSelectAll": "select_all",
    "ariaToggleCellValue": "toggle_row", "ariaFilterValue": "filter", "ariaFilterFromValue": "from",
    "ariaFilterToValue": "to", "ariaFilteringOperator": "filter", "ariaInputEditor": "filter",
}  # fmt: skip
"""AG Grid's own words, by their keys in ``texts/grid.yaml``."""


def grid(
    context: Context,
    name: str,
    columns: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    *,
    options: Mapping[str, Any],
    **properties: Any,
) -> Component:
    """Return a table whose rows all lie in the browser; only those in sight are drawn.

    Parameters
    ----------
    name
        The id of the table.
    options
        Grid options beside language and row height.
    properties
        Other properties of ``dash_ag_grid.AgGrid``.
    """
    words = {key: context.say(f"grid.{text}") for key, text in NAMES_OF_AG_GRID.items()}
    table = dag.AgGrid(
        id=name,
        columnDefs=list(columns),
        rowData=list(rows),
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "filter": True,
            "wrapHeaderText": True,
            "autoHeaderHeight": True,
        },
        dashGridOptions={
            "localeText": words,
            "rowHeight": 36,
            "headerHeight": 40,
            "animateRows": False,
            "tooltipShowDelay": 300,
            **options,
        },
        **properties,
    )
    return dmc.Box(table, className="grid", **{"data-ag-theme-mode": context.scheme})
