"""A driver for instruments that speak lines of text over TCP: `? level` is answered by `12.5`, `! level 3` by `ok`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, Field

from gateway.drivers.driver import Device, DeviceError, DeviceSession, Driver, Read, Tag, WriteError
from nexus.contract.reading import Reading, Value
from nexus.process.clock import now_ms


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str
    port: int = Field(7000, ge=1, le=65535)


def parse_address(text: str, _: Settings, writable: bool = False) -> str:  # noqa: ARG001  every channel can be set
    if not text.isidentifier():
        raise ValueError("write the name of a channel, like level")
    return text


class Instrument:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> None:
        self._reader, self._writer, self._timeout = reader, writer, timeout
        self.tag_errors: dict[str, str] = {}

    def compile(self, tags: Sequence[Tag[str]]) -> Read:
        async def read() -> list[Reading]:
            return [self._reading(tag, await self._ask(f"? {tag.address}")) for tag in tags]

        return read

    async def write(self, tag: Tag[str], value: Value) -> Value:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WriteError("a channel takes numbers")
        if (answer := await self._ask(f"! {tag.address} {float(value)}")) != "ok":
            raise WriteError(f"the instrument refuses: {answer}")
        return float(value)

    def _reading(self, tag: Tag[str], answer: str) -> Reading:
        try:
            return tag.reading(float(answer), now_ms())
        except ValueError:
            self.tag_errors[tag.name] = answer
            return tag.bad(now_ms())

    async def _ask(self, line: str) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                self._writer.write(f"{line}\n".encode())
                answer = await self._reader.readline()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise DeviceError(f"no answer: {error or f'within {self._timeout:g} s'}") from error
        if not answer.endswith(b"\n"):
            raise DeviceError("the instrument closed the connection")
        return answer.decode("ascii", "replace").strip()


@asynccontextmanager
async def connect(device: Device[Settings, str]) -> AsyncIterator[DeviceSession[str]]:
    try:
        reader, writer = await asyncio.open_connection(device.settings.host, device.settings.port)
    except OSError as error:
        raise DeviceError(f"no connection to {device.settings.host}:{device.settings.port}: {error}") from error
    try:
        instrument = Instrument(reader, writer, device.timeout)
        yield DeviceSession(instrument.compile, instrument.write, tag_errors=instrument.tag_errors)
    finally:
        writer.transport.abort()


DRIVER: Driver[Settings, str] = Driver(
    settings={"lines": Settings}, parse_address=parse_address, connect=connect, address_examples=("level",)
)
