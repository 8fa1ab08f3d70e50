"""What is sent to us has an end: a request's body is not larger than any that we ask for, and comes in time."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 4_194_304  # bytes: 10,000 readings, or a folder of device files
SECONDS = 30.0  # for its next part
WHOLE_SECONDS = 300.0  # for all of it
MOST_UNDER_WAY = 67_108_864  # bytes of all bodies that are being received or answered

_TOO_LARGE = f"the body may have {LARGEST:,} bytes: send it in several requests"
_TOO_SLOW = f"nothing came for {SECONDS:g} seconds: send it again"

_TOO_LONG = f"it took longer than {WHOLE_SECONDS:g} seconds: send it in several requests"
_TOO_MANY = "others send as much as we can take at once: try again in a minute"


class Bodies:
    """Refuses bodies that are too large, whatever their length is said to be, too slow, or too many."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        size, is_whole, until = 0, False, clock() + WHOLE_SECONDS

        async def bounded() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()  # which tells when the client has gone
            try:
                async with asyncio.timeout_at(min(clock() + SECONDS, until)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _TOO_SLOW if clock() < until else _TOO_LONG) from None
            more = len(message.get("body", b""))
            size += more
            self._under_way += more
            is_whole = not message.get("more_body", False)
            if size > LARGEST:
                raise HTTPException(413, _TOO_LARGE)
            if self._under_way > MOST_UNDER_WAY:
                raise HTTPException(503, _TOO_MANY, {"Retry-After": "60"})
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._under_way -= size
