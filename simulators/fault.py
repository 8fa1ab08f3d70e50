"""Faults of simulated devices, switched while they run."""

import asyncio
import os
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from nexus.process.duration import Seconds
from nexus.process.wording import words

Kind = Literal["refuse", "drop", "hang", "slow", "garbage", "half", "exception", "bad"]


class Fault(BaseModel):
    """One fault of one device.

    `refuse` closes connections as they come; `drop` closes instead of answering; `hang` never answers; `slow` answers
    after `delay`; `garbage` answers nonsense of the right length; `half` answers half and closes; `exception` answers
    the protocol's own error `code`; `bad` gives values of bad status (OPC UA).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    delay: Seconds = 1.0
    code: int = Field(4, ge=1, le=0xFFFF)


class Faults:
    """The faults of all simulated devices, by name."""

    def __init__(self, devices: set[str]) -> None:
        self._devices = devices
        self._faults: dict[str, Fault] = {}

    def of(self, device: str) -> Fault | None:
        return self._faults.get(device)

    def refuses(self, devices: set[str]) -> bool:
        """Whether one of these refuses connections."""
        return any(fault.kind == "refuse" for device in devices if (fault := self._faults.get(device)))

    def set(self, device: str, fault: Fault | None) -> None:
        """Sets or clears a device's fault. Raises KeyError when there is no such device."""
        if device not in self._devices:
            raise KeyError(device)
        if fault is None:
            self._faults.pop(device, None)
        else:
            self._faults[device] = fault

    def routes(self) -> list[web.RouteDef]:
        """`GET /faults`, and `PUT` and `DELETE` on `/faults/{device}`."""
        return [
            web.get("/faults", self._list),
            web.put("/faults/{device}", self._put),
            web.delete("/faults/{device}", self._delete),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({device: fault.model_dump() for device, fault in self._faults.items()})

    async def _put(self, request: web.Request) -> web.Response:
        try:
            return self._switched(request, Fault.model_validate_json(await request.read()))
        except ValidationError as error:
            return web.json_response({"error": "; ".join(map(_worded, error.errors()))}, status=400)

    async def _delete(self, request: web.Request) -> web.Response:
        return self._switched(request, None)

    def _switched(self, request: web.Request, fault: Fault | None) -> web.Response:
        device = request.match_info["device"]
        try:
            self.set(device, fault)
        except KeyError:
            return web.json_response({"error": f"there is no device {device!r}"}, status=404)
        return web.json_response({"device": device, "fault": fault.model_dump() if fault else None})


def _worded(error: ErrorDetails) -> str:
    key = ".".join(map(str, error["loc"])) or "the body"
    return f"{key}: {words(error, None)}"


async def send(writer: asyncio.StreamWriter, answer: bytes, fault: Fault | None) -> None:
    """Sends an answer, as far as the fault allows. Raises ConnectionError when the fault closes the connection."""
    if fault is None or fault.kind in ("exception", "bad"):
        writer.write(answer)
    elif fault.kind == "slow":
        await asyncio.sleep(fault.delay)
        writer.write(answer)
    elif fault.kind == "garbage":
        writer.write(os.urandom(len(answer)))
    elif fault.kind == "half":
        writer.write(answer[: len(answer) // 2])
        await writer.drain()
        raise ConnectionResetError("half an answer was to be")
    elif fault.kind in ("drop", "refuse"):
        raise ConnectionResetError("the connection was to be closed")
    await writer.drain()
