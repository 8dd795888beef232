"""What surrounds every page: header, breadcrumbs, search, language and colours; and the choice of the page."""

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, no_update
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import Address, address_of, link
from model_aggregation.viewer.colours import BRAND
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.pages import PAGES
from model_aggregation.viewer.parts import guarded, note

SEARCH_RESULTS = 20
THEME = {
    "colors": {"brand": BRAND},
    "primaryColor": "brand",
    "primaryShade": {"light": 6, "dark": 4},
    "autoContrast": True,
    "fontFamily": "system-ui, 'Noto Sans CJK JP', 'Yu Gothic UI', Meiryo, sans-serif",
    "headings": {"fontWeight": "600"},
    "cursorType": "pointer",
    "focusRing": "auto",
}


def shell(context: Context) -> Component:
    """Return the frame of the application in the visitor's language and colours."""
    page = html.Div(id="page", tabIndex=-1)
    main = [dmc.Breadcrumbs([], id="breadcrumbs", mb="md", **{"aria-label": context.say("shell.breadcrumbs")}), page]
    content = [
        html.A(context.say("shell.skip"), href="#page", className="skip"),
        dcc.Location(id="address", refresh="callback-nav"),
        dcc.Store(id="page-title"),
        dmc.NotificationContainer(id="notifications", position="bottom-right"),
        dmc.AppShell(
            [
                dmc.AppShellHeader(_header(context)),
                dmc.AppShellMain(dmc.Container(main, size="xl", px={"base": 0, "sm": "md"})),
            ],
            header={"height": {"base": 100, "sm": 56}},
            padding="md",
        ),
    ]
    return dmc.MantineProvider(content, theme=THEME, forceColorScheme=context.scheme)


def _header(context: Context) -> Component:
    title = dmc.Anchor(
        [html.Span("magg", className="mark"), " ", context.say("shell.title")],
        href="/",
        underline="never",
        c="inherit",
        fw=600,
        className="title",
    )
    search = dmc.Select(
        id="search",
        placeholder=context.say("shell.search"),
        **{"aria-label": context.say("shell.search")},
        searchable=True,
        clearable=True,
        data=[],
        limit=SEARCH_RESULTS,
        nothingFoundMessage=context.say("shell.search_nothing"),
        className="search",
        size="sm",
    )
    languages = dmc.SegmentedControl(
        id="language",
        data=[{"value": "en", "label": "EN"}, {"value": "ja", "label": "日本語"}],
        value=context.language,
        size="xs",
        **{"aria-label": context.say("shell.language")},
    )
    dark = context.scheme == "dark"
    scheme_label = context.say("shell.to_light" if dark else "shell.to_dark")
    scheme = dmc.Tooltip(
        dmc.ActionIcon("☀" if dark else "☾", id="scheme", variant="default", size="md", **{"aria-label": scheme_label}),
        label=scheme_label,
    )
    return html.Div([title, search, html.Div([languages, scheme], className="switches")], className="header")


def register(app: Dash, context: Context) -> None:
    """Add the callbacks of the frame and of every page."""
    app.layout = lambda: shell(context)

    @app.callback(
        Output("page", "children"),
        Output("breadcrumbs", "children"),
        Output("page-title", "data"),
        Input("address", "pathname"),
        Input("address", "search"),
    )
    def show_page(pathname: str | None, search: str | None) -> tuple[Component, list[Component], str]:
        address = address_of(pathname, search)
        crumbs = crumbs_of(context, address)
        words = [text for text, _ in crumbs[::-1]] + [context.say("shell.title")]
        return page_of(context, address), _crumb_links(crumbs), " – ".join(words)

    @app.callback(Output("search", "data"), Input("search", "searchValue"))
    def find(text: str | None) -> list[dict[str, str]]:
        return found_by(context, text or "")

    @app.callback(
        Output("address", "href"), Output("search", "value"), Input("search", "value"), prevent_initial_call=True
    )
    def go(target: str | None) -> tuple[Any, Any]:
        return (target, None) if target else (no_update, no_update)

    own = {"namespace": "magg"}
    app.clientside_callback(ClientsideFunction(**own, function_name="title"), Input("page-title", "data"))
    app.clientside_callback(ClientsideFunction(**own, function_name="language"), Input("language", "value"))
    app.clientside_callback(
        ClientsideFunction(**own, function_name="scheme"), Input("scheme", "n_clicks"), prevent_initial_call=True
    )
    for module in PAGES.values():
        module.register(app, context)


def page_of(context: Context, address: Address | None) -> Component:
    """Return the page of an address, or a note that there is none."""
    if address is None or address.page not in PAGES:
        return note(context.say("shell.not_found_title"), context.say("shell.not_found"), kind="hint")
    return guarded(context, PAGES[address.page].layout, context, address)


def crumbs_of(context: Context, address: Address | None) -> list[tuple[str, str]]:
    """Return words and addresses from the home page to the view; the home page itself has none."""
    if address is None or not address.page:
        return []
    group = context.say("shell.single") if address.group == "single" else address.group
    crumbs = [(context.say("shell.home"), "/"), (group, link("group", address.group))]
    if address.run:
        crumbs.append((address.run, link("run", *address.names)))
    if address.page in ("images", "compare", "data"):
        crumbs.append((context.say(f"shell.crumb_{address.page}"), link(address.page, *address.names)))
    return crumbs


def _crumb_links(crumbs: list[tuple[str, str]]) -> list[Component]:
    if not crumbs:
        return []
    *before, last = crumbs
    here = dmc.Text(last[0], size="sm", c="dimmed", **{"aria-current": "page"}, className="crumb")
    return [dmc.Anchor(text, href=href, size="sm", className="crumb") for text, href in before] + [here]


def found_by(context: Context, text: str) -> list[dict[str, str]]:
    """Return the groups and single runs, then the runs of groups, whose name or model holds the text."""
    wanted = text.casefold()
    rows = context.reader.groups().rows
    found = [
        {"value": link("run", row.group, row.run) if row.run else link("group", row.group), "label": row.name}
        for row in rows
        if wanted in row.name.casefold()
    ]
    groups = [row.group for row in rows if row.run is None] if wanted else []
    for group in groups:
        if len(found) >= SEARCH_RESULTS:
            break
        names = context.reader.leaderboard(group).table["run_name"]
        found += [{"value": link("run", group, name), "label": name} for name in names if wanted in name.casefold()]
    return found[:SEARCH_RESULTS]
