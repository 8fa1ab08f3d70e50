"""Writes by MQTT: `cmd/{device path}/{tag}`, answered on the request's response topic."""

import asyncio
from collections.abc import Callable
from math import isnan
from typing import Any

import msgspec

from gateway import metrics
from gateway.driver import DeviceError, Tag, WriteError
from gateway.poller import Poller
from gateway.writing import Written
from nexus.contract.reading import Value
from nexus.runtime import guard, log, mqtt

ROOT = "cmd/"
WAITING = 16  # writes that may wait for one device


class _Request(msgspec.Struct):
    v: float | int | bool | str


class Answer(msgspec.Struct, omit_defaults=True):
    """What became of a write; `v` is what the device said when it was read back."""

    ok: bool
    error: str | None = None
    v: Value = None
    ts: int | None = None


_request_decoder = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()


class Commands:
    """Executes each request once, in the order in which they came for a device. Tasks belong to `group`."""

    def __init__(self, group: asyncio.TaskGroup, poller_of: Callable[[str], Poller | None]) -> None:
        self._group = group
        self._poller_of = poller_of
        self._waiting: dict[str, int] = {}
        self._log = log.get("command")

    def take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        """Takes a message if it is a request for a device that is ours."""
        path, _, name = message.topic.removeprefix(ROOT).rpartition("/")
        if not message.topic.startswith(ROOT) or (poller := self._poller_of(path)) is None:
            return
        if self._waiting.get(path, 0) >= WAITING:
            work = self._refuse("too many writes wait for this device: try again later")
        elif message.retained:
            # It would be executed again with every connection.
            work = self._refuse("a retained request is not executed: publish it without the retain flag")
        else:
            work = self._write(poller, path, name, message.payload)
        guard.start(self._group, "command", self._answered(connection, message, work), name=f"write {message.topic}")

    async def _answered(self, connection: mqtt.Connection, message: mqtt.Message, work: Any) -> None:
        answer: Answer = await work
        metrics.commands.labels("done" if answer.ok else "refused").inc()
        event = self._log.info if answer.ok else self._log.warning
        event("write", topic=message.topic, value=answer.v, error=answer.error)
        if message.answer_to:
            try:
                await connection.publish(message.answer_to, _encoder.encode(answer), correlation=message.correlation)
            except (mqtt.MqttError, ValueError) as error:  # paho says by ValueError that this is no topic
                self._log.warning("the answer could not be sent", topic=message.answer_to, reason=str(error))

    async def _refuse(self, reason: str) -> Answer:
        return Answer(ok=False, error=reason)

    async def _write(self, poller: Poller, path: str, name: str, payload: bytes) -> Answer:
        self._waiting[path] = self._waiting.get(path, 0) + 1
        try:
            value = _request_decoder.decode(payload).v
            written = await write(poller, name, value)
        except msgspec.MsgspecError as error:
            return Answer(ok=False, error=f'write the request like {{"v": 42}}: {error}')
        except (WriteError, DeviceError) as error:
            return Answer(ok=False, error=str(error))
        finally:
            self._waiting[path] -= 1
        return Answer(written.ok, written.error, written.now, written.time)


async def write(poller: Poller, name: str, value: Value) -> Written:
    """Writes one tag of a device, if that is allowed. Raises WriteError and DeviceError."""
    tags = {tag.name: tag for tag in poller.configured.device.tags}
    if (tag := tags.get(name)) is None:
        raise WriteError(f"the device has no tag {name!r}")
    check(tag, value)
    return await poller.write(tag, value)


def check(tag: Tag, value: Value) -> None:
    """Raises WriteError when the tag may not be written, or not with this value."""
    if not tag.writable:
        raise WriteError(f"tag {tag.name} is not marked `writable: true` in the device file")
    if tag.low is None and tag.high is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WriteError(f"{value!r} is not a number, and tag {tag.name} has limits")
    if isnan(value) or (tag.low is not None and value < tag.low) or (tag.high is not None and value > tag.high):
        low, high = ("any" if limit is None else f"{limit:g}" for limit in (tag.low, tag.high))
        raise WriteError(f"{value:g} is outside the limits of tag {tag.name}: {low} to {high}")
