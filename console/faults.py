"""What nobody foresaw costs its request alone: it is counted, logged once, and answered like any other problem."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import problems
from nexus.process import supervisor


class Faults:
    """Answers a request whose handling failed, unless its answer has begun: that one is cut, as it must be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if has_begun:
                raise
            supervisor.failed("request", f"{scope['method']} {scope['path'][:200]}", error)
            said = f"{type(error).__name__}; the console's log says more"
            await problems.answer(500, "Internal error", said)(scope, receive, send)
