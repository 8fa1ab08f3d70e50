"""uvicorn's HTTP, that waits for nobody for ever: for a request's head, or for a reader of an answer.

An application's `send` hands over a whole body and is done. What the client does not take of it waits in the transport,
which neither uvicorn nor asyncio ever ends.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from console.access.origin import Networks, is_in

LOOK_SECONDS = 10.0
LEAST_TAKEN = 65_536  # bytes between two looks, or all that is left; of a reader who takes less …
MOST_LOOKS = 3  # … at so many of them the connection is ended
PROXY_IDLE_SECONDS = 120  # more than proxies keep one: they end it, and we never under a request of theirs
MOST_UNSENT = 96_000_000  # bytes of all answers together; beyond that whoever is behind for longest is cut


class PatientHttp(H11Protocol):
    """Closes a connection without a request for LOOK_SECONDS, and aborts one whose reader takes nothing.

    One of `proxies` may keep its connection for PROXY_IDLE_SECONDS after an answer, to use it again.
    """

    _behind: ClassVar[dict["PatientHttp", None]] = {}  # whose readers are, the longest first

    _watch: asyncio.TimerHandle | None = None
    _cycle_seen: object = None
    _unsent_seen = _looks = 0
    _has_caught_up = False
    _is_proxy = False

    def __init__(self, *arguments: Any, proxies: Networks = (), **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._proxies = proxies

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come."""
        super().connection_made(transport)
        if self._proxies and self.client is not None and is_in(self.client[0], self._proxies):
            self._is_proxy, self.timeout_keep_alive = True, PROXY_IDLE_SECONDS
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """It is another protocol's from here."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """Its reader is behind."""
        super().pause_writing()
        self._behind[self] = None
        while len(self._behind) > 1 and sum(one.unsent for one in self._behind) > MOST_UNSENT:
            longest = next(iter(self._behind))
            del self._behind[longest]
            longest.transport.abort()

    def resume_writing(self) -> None:
        """Its reader has caught up."""
        super().resume_writing()
        self._behind.pop(self, None)
        self._has_caught_up = True

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken."""
        return self.transport.get_write_buffer_size()

    def _look(self) -> None:
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        unsent = self.unsent
        has_taken = self._has_caught_up or unsent <= max(self._unsent_seen - LEAST_TAKEN, 0)
        self._looks = 0 if has_taken else self._looks + 1
        self._unsent_seen, self._has_caught_up = unsent, False
        is_kept = self._is_proxy and self.timeout_keep_alive_task is not None  # uvicorn ends it in time
        is_idle = not unsent and not is_kept and (self.cycle is None or self.cycle.response_complete)
        if self._looks >= MOST_LOOKS or (is_idle and self._cycle_seen is self.cycle):
            self.transport.abort()
        self._cycle_seen = self.cycle if is_idle else self

    def _leave(self) -> None:
        self._behind.pop(self, None)
        if self._watch is not None:
            self._watch.cancel()
