"""What is sent to us has an end: a request's body is not larger than any that we ask for, and comes in time."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 4_194_304  # bytes: 10,000 readings, or a folder of device files
SECONDS = 30.0  # for its next part

_TOO_LARGE = f"the body may have {LARGEST:,} bytes: send it in several requests"
_TOO_SLOW = f"nothing came for {SECONDS:g} seconds: send it again"


class Bodies:
    """Refuses bodies that are too large, whatever their length is said to be, or too slow."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, is_whole = 0, False

        async def bounded() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()  # which tells when the client has gone
            try:
                async with asyncio.timeout(SECONDS):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _TOO_SLOW) from None
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > LARGEST:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, bounded, send)
