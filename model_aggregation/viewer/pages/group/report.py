"""What the report of a comparison says: differences to the selected model, the methods text, its files."""

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from model_aggregation.results.tables import read_text
from model_aggregation.viewer.addresses import group_file_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.parts import metric_name, note
from model_aggregation.viewer.parts_models import differences_table, model_names
from model_aggregation.viewer.reading.comparing import STORED_NAME, Differences, stored_differences

ROWS_SHOWN = 30
METHODS_NAME = "report/methods.md"


def report(context: Context, group: str) -> Component:
    """Return differences, methods and files of a comparison."""
    files = context.reader.group_files(group)
    names = {file.name for file in files}
    parts: list[Component] = []
    found = stored_differences(context.reader, group)
    if found is not None:
        parts.append(_differences(context, group, found))
    elif STORED_NAME in names:
        parts.append(
            note(context.say("group.report_outdated_title"), context.say("group.report_outdated"), kind="hint")
        )
    inside = []
    if METHODS_NAME in names:
        inside.append(_item("methods", context.say("group.methods"), _methods(context, group)))
    if files:
        inside.append(_item("files", context.say("group.files", count=len(files)), _files(context, group)))
    if inside:
        parts.append(dmc.Accordion(inside, multiple=True, variant="contained", radius="md"))
    if not parts:
        parts.append(dmc.Text(context.say("group.no_report"), size="sm", c="dimmed"))
    return dmc.Stack(parts, gap="sm")


def _differences(context: Context, group: str, found: Differences) -> Component:
    primary = str(found.table["metric"].iloc[0])
    rows = found.table[found.table["metric"] == primary]
    names = model_names(context.reader.leaderboard(group, members=True))
    sentence = context.say(
        "group.differences",
        metric=metric_name(context, primary),
        reference=names.get(found.reference, found.reference),
        count=found.compared,
    )
    shown = Differences(rows.head(ROWS_SHOWN), found.reference, found.compared, stored=True)
    table = differences_table(context, group, shown, names)
    more = []
    if len(rows) > ROWS_SHOWN:
        more = [dmc.Text(context.say("group.shown_of", shown=ROWS_SHOWN, total=len(rows)), size="xs", c="dimmed")]
    return html.Div([dmc.Text(sentence, size="sm", mb="xs"), table, *more])


def _item(value: str, title: str, inside: Component) -> Component:
    return dmc.AccordionItem([dmc.AccordionControl(title), dmc.AccordionPanel(inside)], value=value)


def _methods(context: Context, group: str) -> Component:
    path = context.reader.allowed_file(group, None, METHODS_NAME)
    text = "" if path is None else read_text(path)
    copy = dcc.Clipboard(content=text, title=context.say("group.copy"), className="copy")
    return html.Div([copy, dmc.Text(text, size="sm", className="lines")])


def _files(context: Context, group: str) -> Component:
    titles = [context.say(f"group.{name}") for name in ("file", "size", "changed")]
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(title) for title in titles]))
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(html.A(file.name, href=group_file_link(group, file.name), target="_blank")),
                dmc.TableTd(f"{file.size_bytes / 1000:,.1f} kB", className="number"),
                dmc.TableTd(file.changed, className="number"),
            ]
        )
        for file in context.reader.group_files(group)
    ]
    return dmc.Table([head, dmc.TableTbody(rows)])
