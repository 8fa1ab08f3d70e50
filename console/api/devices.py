"""`GET /devices`: the plant's state, from the broker and the database; what is away is named, the rest is answered."""

from datetime import datetime

import msgspec
import psycopg
from fastapi import APIRouter
from psycopg_pool import PoolTimeout
from starlette.responses import Response

from console.access.door import Viewer
from console.api.plant_model import Plant
from console.historian import times
from console.live import epoch
from console.live.stored import Stored
from console.parts import Parts, PartsDep

router = APIRouter(tags=["plant"])


@router.get("/devices", response_model=Plant)
async def devices(_: Viewer, parts: PartsDep) -> Response:
    """Devices, gateways, ingestion, broker and database; `missing` names what does not answer."""
    plant, missing = parts.plant, list[str]()
    found = plant.rows.all()
    stored = await _stored(parts, [path for path, _ in found])
    last = {} if stored is None else stored.last
    if plant.away is not None:
        missing.append("broker")
    if stored is None:
        missing.append("database")
    if plant.is_full:
        missing.append("devices beyond what the console keeps")
    whole = {
        "items": [_item(row, last.get(path)) for path, row in found],
        "gateways": plant.gateways(),
        "ingestion": {
            "consumers": [] if stored is None else stored.consumers,
            "lag_seconds": None if stored is None else stored.lag_seconds,
        },
        "broker": {"connected": plant.away is None, "reason": plant.away, "since": _text(plant.away_since)},
        "database": {
            "connected": stored is not None,
            "reason": parts.database.reason,
            "since": _text(parts.database.away_since),
            "tier": None if stored is None else stored.tier,
        },
        "missing": missing,
    }
    return Response(msgspec.json.encode(whole), media_type="application/json")


async def _stored(parts: Parts, paths: list[str]) -> Stored | None:
    if parts.database.reason is not None:
        return None  # nobody waits for what was away when it was looked at last
    try:
        return await parts.stored.get(paths)
    except (psycopg.Error, PoolTimeout, TimeoutError):
        return None


def _text(ms: int | None) -> str | None:
    return None if ms is None else epoch.text(ms)


def _item(row: bytes, last: datetime | None) -> msgspec.Raw:
    """The device as WebSockets show it, made once a change, and when it was stored last."""
    time = b"null" if last is None else b'"%b"' % times.text(last).encode()
    return msgspec.Raw(b'%b,"last_reading":%b}' % (row[:-1], time))
