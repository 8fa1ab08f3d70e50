"""Listens for as long as a block runs, and then closes all connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, host: str, port: int, connections: set[asyncio.StreamWriter]) -> AsyncIterator[int]:
    """Serves `handle` on a port, which it gives; `connections` are those to cut off. Raises OSError if it is taken."""
    listener = await asyncio.start_server(handle, host, port)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in list(connections):
            writer.transport.abort()
