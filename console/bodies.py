"""What is sent to us has an end: a request's body is not larger than any that we ask for, and comes in time."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 4_194_304  # bytes: 10,000 readings, or a folder of device files
LARGEST_OF_STRANGERS = 65_536  # who only log in
SECONDS = 30.0  # for its next part
WHOLE_SECONDS = 300.0  # for all of it
MOST_UNDER_WAY = 67_108_864  # bytes of all bodies that are being received or answered

_TOO_LARGE = f"the body may have {LARGEST:,} bytes: send it in several requests"
_STRANGER = f"log in first: without that a body may have {LARGEST_OF_STRANGERS:,} bytes"
_TOO_SLOW = f"nothing came for {SECONDS:g} seconds: send it again"

_TOO_LONG = f"it took longer than {WHOLE_SECONDS:g} seconds: send it in several requests"
_TOO_MANY = "others send as much as we can take at once: try again in a minute"


class Bodies:
    """Refuses bodies that are too large, whatever their length is said to be, too slow, or too many.

    `is_known` tells whether a request carries a login that holds: nobody else may send as much.
    """

    def __init__(self, app: ASGIApp, is_known: Callable[[HTTPConnection], Awaitable[bool]]) -> None:
        self._app, self._is_known = app, is_known
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        size, is_whole, is_known, until = 0, False, False, clock() + WHOLE_SECONDS

        async def bounded() -> Message:
            nonlocal size, is_whole, is_known
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
            if size > LARGEST_OF_STRANGERS and not is_known:
                if not await self._is_known(HTTPConnection(scope)):
                    raise HTTPException(413, _STRANGER)
                is_known = True
            if self._under_way > MOST_UNDER_WAY:
                raise HTTPException(503, _TOO_MANY, {"Retry-After": "60"})
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._under_way -= size
