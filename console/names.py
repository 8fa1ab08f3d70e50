"""Refuses who calls us by a name that is not ours: a page of another site, whose name was made to lead here."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from console import problems
from nexus.process.host_names import HostNames


class Names:
    """Lets requests and WebSockets pass whose Host is an address, this machine's name, or one of `hosts`."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = HostNames(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if self._names.is_ours(host):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            detail = f"{host[:100]!r} is none of our names: see NEXUS_HTTP_HOSTS"
            await problems.answer(421, "Misdirected request", detail)(scope, receive, send)
