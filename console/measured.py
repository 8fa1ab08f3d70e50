"""How long each request took, by its route and the status of its answer."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import metrics


class Measured:
    """Observes every HTTP request; a WebSocket is counted by who serves it. `prefix` is that of the routes."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

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
            metrics.requests.labels(self._route(scope), status).observe(perf_counter() - began)

    def _route(self, scope: Scope) -> str:
        """The template of the path, as there are few; all that no route serves is one."""
        template = getattr(scope.get("route"), "path", None)
        if not isinstance(template, str):
            return "other"
        prefixed = scope["path"].startswith(f"{self._prefix}/") and not template.startswith(self._prefix)
        return f"{self._prefix}{template}" if prefixed else template
