"""The pages, as they are built from `console/web`: files, and the first page for whatever address a page has."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from console.problems import Problem

BUILT = Path(__file__).parent / "web" / "dist"
_HASHED = "assets/"  # names with a hash of what is in them
_FOR_EVER = "public, max-age=31536000, immutable"


class Pages(StaticFiles):
    """Serves `directory` at every path that is not the API's."""

    def __init__(self, directory: Path = BUILT) -> None:
        super().__init__(directory=directory, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface; no page is a WebSocket."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def check_config(self) -> None:
        """Nothing: pages may be built while we run."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; the first page for a path that has none; 404 below the API and for hashed names of another build."""
        try:
            answer = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or f"{path}/".startswith(("api/", _HASHED)):
                raise
            answer = await self._first(scope)
        answer.headers["Cache-Control"] = _FOR_EVER if path.startswith(_HASHED) else "no-cache"
        return answer

    async def _first(self, scope: Scope) -> Response:
        try:
            return await super().get_response("index.html", scope)
        except HTTPException as error:
            detail = "this is a checkout whose pages are not built: run `make setup`"
            raise Problem(503, "No pages", detail) from error
