"""`/live`: values, device states and alarms as they change, over a WebSocket."""

import asyncio
from collections.abc import MutableMapping
from typing import Annotated, Any

import msgspec
import psycopg
from fastapi import APIRouter
from msgspec import Meta
from psycopg_pool import PoolTimeout
from starlette.websockets import WebSocket

from console.access import door
from console.access.door import Viewer
from console.access.person import Person
from console.live import frames
from console.live.client import Client
from console.live.hub import HIGHEST_RATE, Hub
from console.live.shares import MOST_SOCKETS
from console.live.socket import transport_of
from console.parts import Parts, PartsDep
from console.problems import Problem

CHECK_SECONDS = 10.0  # a socket could outlive its login: that is looked at again and again
LOGGED_OUT = 4401
MESSAGES_A_SECOND = 20  # of one client; what comes faster waits in its own connection
_WRONG = 'write it like {"subscribe": ["dev/plant/line1/plc001/temperature", "device:plant/line1"], "rate": 2}'

router = APIRouter()


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may ask for."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []
    alarms: bool | None = None
    rate: Annotated[int, Meta(ge=1, le=HIGHEST_RATE)] | None = None


_decoder = msgspec.json.Decoder(_Wish)


@router.websocket("/live")
async def live(websocket: WebSocket, person: Viewer, parts: PartsDep) -> None:
    """Serves one client until it leaves."""
    hub = parts.plant.hub
    if hub.is_full:
        raise Problem(503, "Too many look", "this console has all the sockets it can serve: use another replica")
    owner = None if parts.settings.console_insecure else f"{person.via} {person.name}"
    if hub.has_enough(owner):
        raise Problem(429, "Too many sockets", f"one person can have {MOST_SOCKETS}: close pages, or use one for more")
    await websocket.accept()
    clock = asyncio.get_running_loop().time
    checked = clock()
    with hub.client(transport_of(websocket), owner) as client:
        if (gap := parts.plant.gap()) is not None:
            client.say(gap)
        while (message := await _next(websocket)) is None or message["type"] == "websocket.receive":
            if message is not None:
                names, faults = _heed(hub, client, message.get("text") or "")
                for fault in faults:
                    client.say(frames.error(fault))
                hub.send(client)
                await asyncio.sleep(max(1 / MESSAGES_A_SECOND, client.share.pause(names, clock())))
            if clock() - checked >= CHECK_SECONDS:
                checked = clock()
                if not await _is_welcome(websocket, parts, person):
                    await websocket.close(LOGGED_OUT, "the login has ended")
                    return


async def _is_welcome(websocket: WebSocket, parts: Parts, person: Person) -> bool:
    """Whether the login still holds; while the database is away nobody knows, and live values go on."""
    try:
        return await door.still(websocket, parts, person)
    except (psycopg.Error, PoolTimeout):
        return True


async def _next(websocket: WebSocket) -> MutableMapping[str, Any] | None:
    """The next message; None if none comes in CHECK_SECONDS."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await websocket.receive()
    except TimeoutError:
        return None


def _heed(hub: Hub, client: Client, text: str) -> tuple[int, list[str]]:
    """Does what a message asks for; gives how many names it has, and what cannot be done."""
    try:
        wish = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return 0, [f"{_WRONG}: {error}"]
    if wish.rate is not None:
        client.rate = wish.rate
    if wish.alarms is not None:
        hub.watch_alarms(client, wanted=wish.alarms)
    for name in wish.unsubscribe:
        hub.unsubscribe(client, name)
    faults = [fault for name in wish.subscribe if (fault := hub.subscribe(client, name)) is not None]
    return len(wish.subscribe) + len(wish.unsubscribe), list(dict.fromkeys(faults))[:10]
