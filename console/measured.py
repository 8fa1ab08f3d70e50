"""How long each request took, by its route and the status of its answer."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import metrics


class Measured:
    """Observes every HTTP request; a WebSocket is counted by who serves it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, noted)
        finally:
            metrics.requests.labels(_route(scope), status).observe(perf_counter() - began)


def _route(scope: Scope) -> str:
    """The template of the path, as there are few; all that no route serves is one."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else "other"
