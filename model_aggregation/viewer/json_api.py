"""The JSON API under ``/api``: groups, runs, metrics, predictions, images; read only.

Numbers are those of ``metrics.json`` and of the prediction tables, unrounded. ``/api`` lists the addresses,
``/api/openapi.json`` describes them for programs.
"""

import math
from collections.abc import Callable
from html import escape
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from model_aggregation.errors import ModelAggregationError
from model_aggregation.results.tables import plain_rows
from model_aggregation.viewer.addresses import image_link
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.reading import ImageQuery, LogReader

Answer = TypeVar("Answer")
Name = Annotated[str, Path(min_length=1, max_length=200)]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many images to leave out first.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many images to return at most.")]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Group(BaseModel):
    """A comparison, or a single run (``kind`` is ``single``, ``run`` its name)."""

    group: str
    run: str | None
    kind: str
    models: int
    states: dict[str, int]
    best_run: str | None
    best_model: str | None
    metric: str | None
    value: float | None
    low: float | None
    high: float | None
    changed: str | None
    reason: str | None


class Groups(BaseModel):
    """All groups and single runs; ``notes`` say what could not be read."""

    groups: list[Group]
    notes: list[str]


class Runs(BaseModel):
    """The leaderboard of a group: a row per run, best first.

    ``earlier_program_auc`` is what the earlier program called AUC, a sum of rectangles; ``auc`` never is.
    """

    group: str
    primary_metric: str
    basis: str
    runs: list[dict[str, Any]]
    warnings: list[str]
    notes: list[str]


class Run(BaseModel):
    """What a run is; its numbers are under ``metrics``.

    ``reported_by_earlier_program`` is its row of the earlier program's database: ``auc`` in it is a sum of rectangles
    over fixed cutoffs and no AUC.
    """

    group: str
    run: str
    model: str | None
    state: str
    reason: str | None
    classes: list[str]
    positive: str | None
    cutoff: float | None
    sets: list[str]
    settings: dict[str, Any]
    environment: dict[str, Any]
    reported_by_earlier_program: dict[str, Any] | None
    files: list[str]
    notes: list[str]


class Predictions(BaseModel):
    """Images with what was predicted; ``probabilities`` in the order of ``classes``."""

    total: int
    classes: list[str]
    images: list[dict[str, Any]]
    notes: list[str]


class Image(BaseModel):
    """An image of a set and the address of its picture."""

    index: int
    id: str
    path: str
    address: str


class Images(BaseModel):
    """Some images of a set."""

    total: int
    images: list[Image]
    notes: list[str]


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it: numbers that are none become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, str | int) else str(value)


def _known_parameters(request: Request) -> None:
    """Refuse parameters that would be ignored."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise HTTPException(
            422, f"Unknown parameters: {', '.join(unknown)}. Known here: {', '.join(sorted(known)) or 'none'}."
        )


def _asked(read: Callable[[], Answer]) -> Answer:
    """Return what the reader answers; a name that does not exist is 404."""
    try:
        return read()
    except ModelAggregationError as error:
        raise HTTPException(404, str(error)) from error


def router(context: Context) -> APIRouter:
    """Return the routes of the API over the reader of a context."""
    reader = context.reader
    routes = APIRouter(
        prefix="/api",
        responses={404: {"model": Problem}, 422: {"description": "Unknown parameters, or values out of range."}},
        dependencies=[Depends(_known_parameters)],
    )
    _add_lists(routes, reader)
    _add_images(routes, reader)
    _add_documentation(routes)
    return routes


def _add_lists(routes: APIRouter, reader: LogReader) -> None:
    @routes.get("/groups", summary="Groups and single runs")
    def groups() -> Groups:
        view = _asked(reader.groups)
        return Groups(
            groups=[Group.model_validate(row, from_attributes=True) for row in view.rows], notes=list(view.notes)
        )

    @routes.get("/groups/{group}/runs", summary="Runs of a group, best first")
    def runs(group: Name) -> Runs:
        view = _asked(lambda: reader.leaderboard(group))
        rows = [dict(zip(view.table.columns, row, strict=True)) for row in plain_rows(view.table)]
        return Runs(
            group=view.group, primary_metric=view.primary_metric, basis=view.basis, runs=_plain(rows),
            warnings=list(view.warnings), notes=list(view.notes),
        )  # fmt: skip

    @routes.get("/groups/{group}/runs/{run}", summary="A run")
    def one_run(group: Name, run: Name) -> Run:
        view = _asked(lambda: reader.run(group, run))
        return Run(
            group=view.group, run=view.name, model=view.model, state=view.state, reason=view.reason,
            classes=list(view.classes), positive=view.positive, cutoff=view.cutoff, sets=list(view.sets),
            settings=_plain(dict(view.settings)), environment=_plain(dict(view.environment)),
            reported_by_earlier_program=None if view.earlier is None else _plain(dict(view.earlier)),
            files=[file.name for file in view.files], notes=list(view.notes),
        )  # fmt: skip

    @routes.get("/groups/{group}/runs/{run}/metrics", summary="metrics.json of a run, by set")
    def metrics(group: Name, run: Name) -> dict[str, Any]:
        """Of a run of the earlier program: what its predictions give, in the same form."""
        return dict(_asked(lambda: reader.run(group, run)).metrics)


def _add_images(routes: APIRouter, reader: LogReader) -> None:
    @routes.get("/groups/{group}/runs/{run}/sets/{set_name}/predictions", summary="Predictions of a set")
    def predictions(group: Name, run: Name, set_name: Name, offset: Offset = 0, limit: Limit = 100) -> Predictions:
        table = _asked(lambda: reader.predictions(group, run, set_name))
        page = _asked(lambda: reader.image_page(group, run, set_name, ImageQuery(), offset=offset, limit=limit))
        titles = {column.key: column.title for column in page.columns if column.kind == "metadata"}
        return Predictions(
            total=page.total, classes=list(table.classes), notes=list(page.notes),
            images=[_plain(_with_probabilities(dict(row), len(table.classes), titles)) for row in page.rows],
        )  # fmt: skip

    @routes.get("/groups/{group}/runs/{run}/sets/{set_name}/images", summary="Images of a set")
    def images(group: Name, run: Name, set_name: Name, offset: Offset = 0, limit: Limit = 100) -> Images:
        page = _asked(lambda: reader.image_page(group, run, set_name, ImageQuery(), offset=offset, limit=limit))
        found = [
            Image(
                index=row["index"], id=row["id"], path=row["path"],
                address=image_link(group, run, set_name, row["index"]),
            )
            for row in page.rows
        ]  # fmt: skip
        return Images(total=page.total, images=found, notes=list(page.notes))


def _with_probabilities(row: dict[str, Any], classes: int, titles: dict[str, str]) -> dict[str, Any]:
    """Return a row with its probabilities as one list and its metadata by name."""
    probabilities = [row.pop(f"p{k}", None) for k in range(classes)]
    metadata = {title: row.pop(key, None) for key, title in titles.items()}
    return {**row, "probabilities": probabilities, "metadata": metadata}


def _add_documentation(routes: APIRouter) -> None:
    def schema(request: Request) -> dict[str, Any]:
        app = request.app
        return get_openapi(title=app.title, version="1", description=__doc__, routes=routes.routes)

    @routes.get("/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> dict[str, Any]:
        return schema(request)

    @routes.get("", include_in_schema=False)
    def documentation(request: Request) -> Response:
        content = schema(request)
        items = [
            f"<dt><code>GET {escape(path)}</code></dt><dd>{escape(operations['get']['summary'])}"
            f"{''.join(map(_parameter_text, operations['get'].get('parameters', [])))}</dd>"
            for path, operations in content["paths"].items()
        ]
        page = (
            '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>JSON API</title><style>{_STYLE}</style><h1>{escape(content['info']['title'])}: JSON API</h1>"
            f'<p>For programs: <a href="/api/openapi.json">openapi.json</a></p><dl>{"".join(items)}</dl></html>'
        )
        return Response(page, media_type="text/html")


def _parameter_text(parameter: dict[str, Any]) -> str:
    kind = parameter["schema"].get("type", "")
    return f"<br><code>{escape(parameter['name'])}</code> {escape(kind)} {escape(parameter.get('description', ''))}"


_STYLE = """:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
margin: 2rem auto; padding: 0 1rem } dt { margin-top: 1rem } code { overflow-wrap: anywhere }"""
