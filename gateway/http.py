"""`/api/devices`: what is polled, how each device is doing, and its last values. Read only."""

import asyncio
from functools import partial
from time import time
from typing import Any

import msgspec
from aiohttp import web

from gateway.config.devices import ConfiguredDevice
from nexus.contract.reading import Reading
from nexus.contract.status import Status
from nexus.process.http import BODY_BYTES, Cached


class DeviceCache:
    """The last state and values of each device, for people without MQTT."""

    def __init__(self, configured: tuple[ConfiguredDevice, ...]) -> None:
        self._devices: dict[str, ConfiguredDevice] = {}
        self._statuses: dict[str, Status] = {}
        self._readings: dict[str, dict[str, Reading]] = {}
        self._last_good: dict[str, dict[str, Reading]] = {}  # last good readings of tags that have no value now
        self._all = Cached(self._listed)
        self._pages: dict[str, Cached] = {}
        self.reload(configured)

    def reload(self, configured: tuple[ConfiguredDevice, ...]) -> None:
        """Takes changed device files."""
        self._devices = {one.device.name: one for one in configured}
        self._readings = {name: self._readings.get(name, {}) for name in self._devices}
        self._last_good = {name: self._last_good.get(name, {}) for name in self._devices}
        self._pages = {
            name: Cached(partial(self._shown, one, self._readings[name], self._last_good[name]))
            for name, one in self._devices.items()
        }

    def forget(self, path: str) -> None:
        """Forgets a device that is not polled here any more."""
        self._statuses.pop(path, None)

    def scan(self, configured: ConfiguredDevice, readings: list[Reading]) -> None:
        """Takes the readings of a device's scan."""
        if (last := self._readings.get(configured.device.name)) is None:
            return
        for reading in readings:
            if reading.value is None and (before := last.get(reading.tag)) is not None and before.value is not None:
                self._last_good[configured.device.name][reading.tag] = before
            last[reading.tag] = reading

    def status(self, path: str, status: Status) -> None:
        """Takes a device's new state."""
        self._statuses[path] = status

    @property
    def has_statuses(self) -> bool:
        """Whether a device has answered, or it is known that it does not."""
        return bool(self._statuses)

    def problems(self) -> list[str]:
        """Devices polled here that do not answer: no reason to restart anything, but a person should look."""
        offline = [path for path, status in self._statuses.items() if status.state == "offline"]
        some = ", ".join(offline[:3]) + (", …" if len(offline) > 3 else "")
        return [f"{len(offline)} of {len(self._statuses)} devices are offline: {some}"] if offline else []

    def app(self) -> web.Application:
        """The HTTP application that shows all this."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes([web.get("/api/devices", self._list), web.get("/api/devices/{name}", self._show)])
        return app

    async def _list(self, _: web.Request) -> web.Response:
        return _json(await self._all.body())

    async def _show(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if (page := self._pages.get(name)) is None:
            return _json(msgspec.json.encode({"error": f"there is no device {name!r}"}), 404)
        return _json(await page.body())

    async def _listed(self) -> bytes:
        # Copied here, where nothing changes them meanwhile; the rest is done in another thread.
        devices, statuses = list(self._devices.values()), dict(self._statuses)
        return await asyncio.to_thread(lambda: _encoded([_summary(one, statuses) for one in devices]))

    async def _shown(self, one: ConfiguredDevice, last: dict[str, Reading], last_good: dict[str, Reading]) -> bytes:
        statuses, readings, good = dict(self._statuses), dict(last), dict(last_good)

        def made() -> bytes:
            tags = [_tag(one, name, readings.get(name), good.get(name)) for name in one.tag_names]
            return _encoded({**_summary(one, statuses), "values": tags})

        return await asyncio.to_thread(made)


def _summary(one: ConfiguredDevice, statuses: dict[str, Status]) -> dict[str, Any]:
    device, status = one.device, statuses.get(one.device.path)
    return {
        "name": device.name,
        "path": device.path,
        "protocol": device.protocol,
        "tags": len(device.tags) + len(one.derived),
        "state": status.state if status else "not polled here",
        "reason": status.reason if status else "",
        "since": status.ts if status else None,
    }


def _tag(one: ConfiguredDevice, tag: str, reading: Reading | None, good: Reading | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"tag": tag, "unit": one.publish_options.units.get(tag)}
    if reading is not None:
        age = round(time() - reading.time / 1000, 3)
        shown |= {"value": reading.value, "quality": reading.quality, "ts": reading.time, "age_seconds": age}
        if reading.value is None and good is not None:
            shown["last_good"] = {"value": good.value, "ts": good.time}
    return shown


def _encoded(content: object) -> bytes:
    return msgspec.json.encode(content)  # NaN becomes null; the standard library would write NaN


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
