"""The home page: what runs now, comparisons, single runs."""

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import Address, link
from model_aggregation.viewer.colours import STATE_COLOURS
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.keeping import keep_in_address
from model_aggregation.viewer.parts import metric_name, note, notes_of, number_text, progress_words, state_badge
from model_aggregation.viewer.reading import GroupRow, GroupsView

ROWS_PER_PAGE = 50
REFRESH_MILLISECONDS = 3000
CARDS, LINES_PER_CARD = 6, 4


def layout(context: Context, address: Address) -> Component:
    """Return the page; the text searched for stands in its address."""
    view = context.reader.groups()
    text = address.query.get("text", "")
    search = dmc.TextInput(
        id="home-search",
        value=text,
        placeholder=context.say("home.search"),
        debounce=200,
        className="filter",
        **{"aria-label": context.say("home.search")},
    )
    heading = dmc.Group(
        [dmc.Title(context.say("home.heading"), order=1, size="h3"), search], justify="space-between", gap="sm", mb="md"
    )
    pages = dmc.Pagination(
        id="home-pages", total=_pages(view, text), value=1, mt="md", hideWithOnePage=True,
        **{"aria-label": context.say("home.pages")},
    )  # fmt: skip
    return html.Div(
        [
            heading,
            html.Div(content(context, view, text, 1), id="home-content"),
            pages,
            dcc.Interval(id="home-refresh", interval=REFRESH_MILLISECONDS, disabled=not _any_running(view)),
        ]
    )


def register(app: Dash, context: Context) -> None:
    """Add search, paging and the refresh while something runs."""

    @app.callback(
        Output("home-content", "children"),
        Output("home-pages", "total"),
        Output("home-refresh", "disabled"),
        Input("home-search", "value"),
        Input("home-pages", "value"),
        Input("home-refresh", "n_intervals"),
        prevent_initial_call=True,
    )
    def show(text: str | None, page: int, _: int | None) -> tuple[list[Component], int, bool]:
        view = context.reader.groups()
        return content(context, view, text or "", page), _pages(view, text or ""), not _any_running(view)

    keep_in_address(app, text=Input("home-search", "value"))


def content(context: Context, view: GroupsView, text: str, page: int) -> list[Component]:
    """Return what follows the heading, for the rows that hold the text."""
    rows = _matching(view, text)
    if not view.rows:
        return [
            *notes_of(context, view.notes),
            note(context.say("home.heading"), context.say("home.none_yet"), kind="hint"),
        ]
    if not rows:
        return [dmc.Text(context.say("home.no_match", text=text), c="dimmed")]
    first = min((page - 1) * ROWS_PER_PAGE, (len(rows) - 1) // ROWS_PER_PAGE * ROWS_PER_PAGE)
    shown = rows[first : first + ROWS_PER_PAGE]
    parts = notes_of(context, view.notes)
    running = [row for row in rows if row.running]
    if running:
        cards = [_running_card(context, row) for row in running[:CARDS]]
        parts.append(_section(context.say("home.running"), dmc.SimpleGrid(cards, cols={"base": 1, "md": 2})))
        if len(running) > CARDS:
            more = context.say("home.more_running", count=len(running) - CARDS)
            parts.append(dmc.Text(more, size="sm", c="dimmed", mt="xs"))
    for kind, title in (("group", context.say("home.groups")), ("single", context.say("home.singles"))):
        of_kind = [row for row in shown if row.kind == kind]
        if of_kind:
            parts.append(_section(title, _table(context, of_kind)))
    if any(row.best_model for row in shown):
        parts.append(dmc.Text(context.say("home.best_by_validation"), size="xs", c="dimmed", mt="xs"))
    return parts


def _section(title: str, inside: Component) -> Component:
    return html.Section([dmc.Title(title, order=2, size="h5", mb="xs", mt="lg"), inside])


def _matching(view: GroupsView, text: str) -> list[GroupRow]:
    wanted = text.casefold().strip()
    ordered = sorted(view.rows, key=lambda row: row.kind != "group")  # stable: keeps the reader's order inside
    return [row for row in ordered if wanted in f"{row.name}\n{row.best_model or ''}".casefold()]


def _pages(view: GroupsView, text: str) -> int:
    return max(1, -(-len(_matching(view, text)) // ROWS_PER_PAGE))


def _any_running(view: GroupsView) -> bool:
    return any(row.running for row in view.rows)


def _address(row: GroupRow) -> str:
    return link("group", row.group) if row.run is None else link("run", row.group, row.run)


def _running_card(context: Context, row: GroupRow) -> Component:
    """Return how far a comparison is, and where each run that works now stands."""
    done, failed, total = row.states.get("finished", 0), row.states.get("failed", 0), sum(row.states.values())
    bar = dmc.ProgressRoot(
        [
            dmc.ProgressSection(value=100 * done / total, color=STATE_COLOURS["finished"]),
            dmc.ProgressSection(value=100 * failed / total, color=STATE_COLOURS["failed"]),
            dmc.ProgressSection(value=100 * row.states["running"] / total, color="brand", animated=True, striped=True),
        ],
        size="lg",
    )
    words = [context.say("home.progress", done=done, total=total) if row.run is None else context.say("state.running")]
    words += [context.say("home.progress_failed", count=failed)] if failed else []
    lines = [
        dmc.Text([dmc.Text(progress.run, span=True, fw=500), " ", words_now], size="xs", c="dimmed", truncate=True)
        for progress in context.reader.leaderboard(row.group).progress.values()
        if row.run in (None, progress.run) and (words_now := progress_words(context, progress))
    ]
    top = dmc.Group(
        [dmc.Anchor(row.name, href=_address(row), fw=600, className="name"), dmc.Text(" · ".join(words), size="sm")],
        justify="space-between",
    )
    return dmc.Paper(dmc.Stack([top, bar, *lines[:LINES_PER_CARD]], gap="xs"), withBorder=True, p="md", radius="md")


def _table(context: Context, rows: Sequence[GroupRow]) -> Component:
    group = rows[0].kind == "group"
    titles = [context.say("home.name"), context.say("home.state")]
    titles += [context.say("home.models"), context.say("home.best")] if group else [context.say("home.model")]
    titles += [context.say("home.value"), context.say("home.changed")]
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(title) for title in titles]))
    body = dmc.TableTbody([dmc.TableTr(_cells(context, row, titles)) for row in rows])
    table = dmc.Table([head, body], highlightOnHover=True, verticalSpacing="sm", className="cards-on-phone")
    return dmc.Paper(table, withBorder=True, radius="md", className="table-card")


def _cells(context: Context, row: GroupRow, titles: Sequence[str]) -> list[Component]:
    count = row.kind == "group"
    states = [state_badge(context, state, number if count else None) for state, number in row.states.items() if number]
    value: Component | str = "–"
    if row.metric is not None and row.value is not None:
        value = html.Span(
            [dmc.Text(f"{metric_name(context, row.metric)} ", span=True, c="dimmed", size="sm"),
             number_text(row.value, row.low, row.high)], className="number",
        )  # fmt: skip
    inside = [dmc.Anchor(row.name, href=_address(row), fw=500, className="name"), dmc.Group(states, gap=4)]
    inside += [str(row.models)] if count else []
    inside += [row.best_model or "–", value, row.changed or "–"]
    return [dmc.TableTd(cell, **{"data-label": title}) for cell, title in zip(inside, titles, strict=True)]
