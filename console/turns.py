"""How much of the database one person has at a time: who asks for more waits for what they asked before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from psycopg_pool import PoolTimeout

asker: ContextVar[str] = ContextVar("asker", default="")  # whose request this is; "" for what the console itself does


class TurnError(PoolTimeout):
    """This person's other queries have taken too long for this one to begin."""


class Turns:
    """At most `most` at a time for each person; another waits for `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._of: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}  # and one item for each that has or wants one

    def __len__(self) -> int:
        return len(self._of)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A turn of whoever asks. Raises TurnError."""
        if not (person := asker.get()):
            yield
            return
        semaphore, users = self._of.setdefault(person, (asyncio.Semaphore(self._most), []))
        users.append(None)
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await semaphore.acquire()
            except TimeoutError:
                raise TurnError("too many queries of one person") from None
            try:
                yield
            finally:
                semaphore.release()
        finally:
            users.pop()
            if not users:
                del self._of[person]
