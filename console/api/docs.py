"""The API's description, and a page that shows it."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import FileResponse

from console.access.door import Viewer

router = APIRouter(tags=["about"])
_FOLDER = Path(__file__).parent / "reference"


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, _: Viewer) -> dict[str, Any]:
    """The description, OpenAPI 3.1."""
    described: dict[str, Any] = request.app.openapi()
    return described


@router.get("/docs", include_in_schema=False)
async def docs(_: Viewer) -> FileResponse:
    """The page."""
    return FileResponse(_FOLDER / "page.html")


@router.get("/docs/{name}", include_in_schema=False)
async def part(name: Literal["page.css", "page.js"], _: Viewer) -> FileResponse:
    """What the page is made of."""
    return FileResponse(_FOLDER / name)
