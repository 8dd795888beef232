"""What surrounds the numbers of a run: methods to copy, settings, environment, files, status, error."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from model_aggregation.viewer.addresses import file_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.reading import FileEntry, RunView
from model_aggregation.viewer.routes import SHOWN_TYPES
from model_aggregation.viewer.wording import in_words

ENVIRONMENT = (
    "started", "finished", "device_name", "device", "precision", "threads", "image_size", "parameters", "weights",
    "seed", "fold", "folds", "epochs_trained", "split", "data_fingerprint", "platform", "command", "git",
)  # fmt: skip
METHODS, SETTINGS, STATUS, ERROR = "run-methods", "run-settings", "run-status", "run-error"


def facts(context: Context, view: RunView) -> Component:
    """Return the sections that can be opened, each only when there is something in it."""
    sections = {
        "methods": _text(context, METHODS, view.methods, words=True) if view.methods else None,
        "settings": _text(context, SETTINGS, view.settings_text) if view.settings_text else None,
        "environment": _environment(context, view.environment) if view.environment else None,
        "files": _files(context, view) if view.files else None,
        "status": _text(context, STATUS, "\n".join(view.status)) if view.status else None,
        "error": _text(context, ERROR, view.error) if view.error else None,
    }
    items = [
        dmc.AccordionItem(
            [dmc.AccordionControl(context.say(f"run.{name}")), dmc.AccordionPanel(content)],
            value=name,
            id=f"run-facts-{name}",
        )
        for name, content in sections.items()
        if content is not None
    ]
    explained = view.error and not view.error_is_traceback
    opened = ["status"] if view.state == "running" else ["error"] if explained else ["methods"]
    return dmc.Accordion(items, multiple=True, value=opened, variant="separated", radius="md", chevronPosition="left")


def _text(context: Context, name: str, text: str, *, words: bool = False) -> Component:
    """Return a text as it is written, with a button that copies it."""
    told: dict[str, Any] = {"data-copies": name, "data-done": context.say("run.copied")}
    copy = html.Button(context.say("run.copy"), type="button", className="run-copy", **told)
    return html.Div([copy, html.Pre(text, id=name, className="run-words" if words else "run-code", tabIndex=0)])


def _environment(context: Context, environment: Mapping[str, Any]) -> Component:
    rows = [
        (context.say(f"run.env_{name}"), _plain(environment[name]))
        for name in ENVIRONMENT
        if environment.get(name) is not None
    ]
    rows += [(context.say(f"run.{name}"), f"{value:,}") for name, value in _timing(environment)]
    versions = environment.get("versions")
    if isinstance(versions, Mapping):
        text = context.say("run.list_comma").join(f"{name} {value}" for name, value in versions.items())
        rows.append((context.say("run.env_versions"), text))
    findings = environment.get("findings")
    if isinstance(findings, list) and findings:
        rows.append((context.say("run.env_findings"), "\n".join(in_words(context, str(found)) for found in findings)))
    return _pairs(rows)


def _timing(environment: Mapping[str, Any]) -> list[tuple[str, float]]:
    timing = environment.get("timing")
    names = (
        "train_seconds", "train_images_per_second", "data_wait_share", "train_flop_share", "test_seconds",
        "test_images_per_second", "test_flop_share", "images_decoded",
    )  # fmt: skip
    given = timing if isinstance(timing, Mapping) else {}
    return [(name, given[name]) for name in names if isinstance(given.get(name), int | float)]


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _pairs(rows: Sequence[tuple[str, str]]) -> Component:
    return html.Dl([part for name, value in rows for part in (html.Dt(name), html.Dd(value))], className="run-pairs")


def _files(context: Context, view: RunView) -> Component:
    """Return the files: what a browser can show opens, everything else is downloaded; figures as small pictures."""
    pictures = [entry for entry in view.files if entry.name.lower().endswith(".png")]
    shown = [
        html.Li(
            html.A(
                [html.Img(src=href, alt=""), html.Span(entry.name)],
                href=href, target="_blank",
            )
        )
        for entry in pictures
        for href in [file_link(view.group, view.name, entry.name)]
    ]  # fmt: skip
    parts = [html.Ul(shown, className="run-pictures")] if shown else []
    rows = [_file_row(context, view, entry) for entry in view.files]
    table = dmc.Table(dmc.TableTbody(rows), verticalSpacing=2, className="run-files")
    place = dmc.Text(view.path, size="xs", c="dimmed", className="name", mb="xs")
    return html.Div([place, *parts, table])


def _file_row(context: Context, view: RunView, entry: FileEntry) -> Component:
    href = file_link(view.group, view.name, entry.name)
    opens = any(entry.name.lower().endswith(ending) for ending in SHOWN_TYPES)
    given: dict[str, Any] = {"target": "_blank"} if opens else {"download": entry.name.rpartition("/")[2]}
    words = context.say("run.open") if opens else context.say("run.download")
    given["aria-label"] = f"{words}: {entry.name}"
    act = html.A(words, href=href, **given)
    cells = [html.Span(entry.name, className="name"), size_text(entry.size_bytes), act]
    return dmc.TableTr([dmc.TableTd(cell) for cell in cells])


def size_text(size_bytes: int) -> str:
    """Return a size in the unit that reads best.

    >>> size_text(812), size_text(45_000), size_text(94_000_000)
    ('812 B', '44 KiB', '90 MiB')
    """
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.0f} {unit}"
    return f"{size_bytes} B"
