"""What the garbage collector is told: connections that are over must not pile up."""

import asyncio
import gc
import socket

from nexus.process.run import GC_THRESHOLDS

CONNECTIONS = 5_000


async def test_connections_that_came_and_went_do_not_pile_up() -> None:
    loop, thresholds = asyncio.get_running_loop(), gc.get_threshold()
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        for _ in range(CONNECTIONS):
            ours, theirs = socket.socketpair()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            transport.close()
            theirs.close()
            await asyncio.sleep(0)
        left = sum(isinstance(one, asyncio.Transport) for one in gc.get_objects())
    finally:
        gc.set_threshold(*thresholds)
    assert left < CONNECTIONS / 2, "each refers to itself, so that only the collector frees it"
