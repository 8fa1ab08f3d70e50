"""`/api/devices`: what is polled, how each device is doing, and its last values. Read only."""

from time import time
from typing import Any

import msgspec
from aiohttp import web

from gateway.config import Configured
from nexus.contract.codec import Status
from nexus.contract.reading import Reading


class Board:
    """The last state and values of each device, for people who ask without MQTT."""

    def __init__(self, configured: tuple[Configured, ...]) -> None:
        self._devices: dict[str, Configured] = {}
        self._statuses: dict[str, Status] = {}
        self._readings: dict[str, dict[str, Reading]] = {}
        self.reload(configured)

    def reload(self, configured: tuple[Configured, ...]) -> None:
        """Takes changed device files."""
        self._devices = {one.device.name: one for one in configured}
        self._readings = {name: self._readings.get(name, {}) for name in self._devices}

    def forget(self, path: str) -> None:
        """A device that is not polled here any more."""
        self._statuses.pop(path, None)

    def scan(self, configured: Configured, readings: list[Reading]) -> None:
        """Takes a device's scan."""
        if (last := self._readings.get(configured.device.name)) is not None:
            last.update({reading.tag: reading for reading in readings})

    def status(self, path: str, status: Status) -> None:
        """Takes a device's new state."""
        self._statuses[path] = status

    def app(self) -> web.Application:
        """The HTTP application that shows all this."""
        app = web.Application()
        app.add_routes([web.get("/api/devices", self._list), web.get("/api/devices/{name}", self._show)])
        return app

    async def _list(self, _: web.Request) -> web.Response:
        return _json([self._summary(one) for one in self._devices.values()])

    async def _show(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if (one := self._devices.get(name)) is None:
            return _json({"error": f"there is no device {name!r}"}, 404)
        tags = [self._tag(one, tag.name) for tag in one.device.tags]
        return _json({**self._summary(one), "values": tags})

    def _summary(self, one: Configured) -> dict[str, Any]:
        device, status = one.device, self._statuses.get(one.device.path)
        return {
            "name": device.name,
            "path": device.path,
            "protocol": device.protocol,
            "tags": len(device.tags),
            "state": status.state if status else "not polled here",
            "reason": status.reason if status else "",
            "since": status.ts if status else None,
        }

    def _tag(self, one: Configured, tag: str) -> dict[str, Any]:
        reading = self._readings[one.device.name].get(tag)
        shown: dict[str, Any] = {"tag": tag, "unit": one.outlet.units.get(tag)}
        if reading is not None:
            age = round(time() - reading.time / 1000, 3)
            shown |= {"value": reading.value, "quality": reading.quality, "ts": reading.time, "age_seconds": age}
        return shown


def _json(content: object, status: int = 200) -> web.Response:
    # msgspec writes NaN as null, which the standard library does not.
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
