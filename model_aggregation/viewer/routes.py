"""Images and files of runs, and opening them with the programs of this machine: only what the reader allows."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel

from model_aggregation.data.decoding import IMAGE_SUFFIXES
from model_aggregation.data.dicom import holds_dicom
from model_aggregation.errors import ModelAggregationError
from model_aggregation.viewer.addresses import GROUP_FILES
from model_aggregation.viewer.context import Context
from model_aggregation.viewer.security import is_loopback
from model_aggregation.viewer.wording import in_words

SHOWN_TYPES = {".png": "image/png", ".txt": "text/plain", ".yaml": "text/plain", ".md": "text/plain"}
"""What a browser may show; everything else is downloaded, above all what could hold scripts (HTML, SVG)."""


class Opening(BaseModel):
    """An image to open on this machine: the file itself, or the folder it lies in."""

    group: str
    run: str
    set_name: str
    index: int
    what: Literal["image", "folder"]


def router(context: Context) -> APIRouter:
    """Return the routes over the reader of a context."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/image/{group}/{run}/{set_name}/{index}")
    def image(  # noqa: PLR0917  (the names of the address)
        request: Request, group: str, run: str, set_name: str, index: int,
        size: Annotated[int | None, Query(ge=32, le=2048)] = None,
    ) -> Response:  # fmt: skip
        reader = context.reader
        try:
            if size is not None and size <= 512:
                picture = reader.thumbnail(group, run, set_name, index, size=size)
            else:
                picture = reader.full_image(group, run, set_name, index, longest=size or 2048)
        except ModelAggregationError as error:
            raise HTTPException(404, in_words(context, str(error))) from error
        if not picture.data:
            raise HTTPException(404, in_words(context, picture.note or ""))
        headers = {"ETag": f'"{picture.tag}"', "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(picture.data, media_type=picture.media_type, headers=headers)

    @routes.get("/file/{group}/{run}/{name:path}")
    def file(group: str, run: str, name: str) -> Response:
        try:
            path = context.reader.allowed_file(group, None if run == GROUP_FILES else run, name)
        except ModelAggregationError as error:
            raise HTTPException(404, in_words(context, str(error))) from error
        if path is None:
            raise HTTPException(404, "There is no such file, or it may not be read here.")
        shown = SHOWN_TYPES.get(path.suffix.lower())
        kind = "inline" if shown else "attachment"
        media_type = shown or "application/octet-stream"
        return FileResponse(path, media_type=media_type, filename=path.name, content_disposition_type=kind)

    @routes.post("/open", status_code=204)
    def open_here(request: Request, opening: Opening) -> None:
        if not (context.opens_here and request.client and is_loopback(request.client.host)):
            raise HTTPException(403, in_words(context, "Images open only on the machine that the viewer runs on."))
        try:
            path = context.reader.image_path(opening.group, opening.run, opening.set_name, opening.index)
        except ModelAggregationError as error:
            raise HTTPException(404, in_words(context, str(error))) from error
        target = path if opening.what == "image" else path.parent
        if not target.exists():
            raise HTTPException(404, in_words(context, f"{target} is not there any more."))
        if opening.what == "image" and not _is_image(target):
            raise HTTPException(403, in_words(context, f"{target} is no image by its name; it is not opened."))
        open_with_own_program(target)

    return routes


def _is_image(path: Path) -> bool:
    """Return whether a path that came with results may be opened: a program, too, opens with a double click."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (not suffix and holds_dicom(str(path)))


def open_with_own_program(path: Path) -> None:
    """Open a file or folder as a double click does; no shell reads the path."""
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606
        return
    program = "open" if sys.platform == "darwin" else "xdg-open"
    shown = ["-R"] if sys.platform == "darwin" and path.is_dir() else []  # a folder may be an application there
    try:
        opened = subprocess.Popen(  # noqa: S603
            [program, *shown, str(path.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise HTTPException(501, f"This machine has no program '{program}' to open files with.") from error
    Thread(target=opened.wait, daemon=True).start()  # who has ended must be waited for, or stays as a zombie
