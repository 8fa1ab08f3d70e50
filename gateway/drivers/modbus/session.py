"""One Modbus unit behind a connection: reads blocks, writes values."""

import asyncio
from collections.abc import Sequence
from functools import partial

from gateway.commands.encoding import truth
from gateway.drivers.blocks import AdaptivePlan, halves
from gateway.drivers.driver import Device, DeviceError, Read, Tag, WriteError
from gateway.drivers.modbus import address as modbus_address
from gateway.drivers.modbus.address import Address, decoder
from gateway.drivers.modbus.line import Line, ModbusExceptionError, NoAnswerError, RequestTiming
from gateway.drivers.modbus.plan import Job, job, jobs
from gateway.drivers.modbus.settings import Settings
from nexus.contract.reading import Reading, Value
from nexus.contract.status import TroubleKind
from nexus.process.clock import now_ms

# Exceptions that mean "not this address": function, address, value. The others concern the device, not the tag.
_NO_SUCH_FUNCTION = 1
_NO_SUCH_ADDRESS = 2
_REFUSALS = {1: "function not supported", 2: "illegal address", 3: "illegal value"}
_TROUBLES = {
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "no answer from this `unit` behind the converter",
}

_REMEDY = "check its wiring and line speed, ask for fewer registers (`max_registers`), or give it a line of its own"


class Unit:
    """One unit's reads and writes; `tag_errors` says, by tag, why the device does not deliver it."""

    def __init__(self, line: Line, device: Device[Settings, Address]) -> None:
        settings = device.settings
        self._line = line
        self._settings = settings
        self._clock = asyncio.get_running_loop().time
        self._device = device.name
        self.timing = RequestTiming(device.timeout, settings.request_delay)
        line.turns.polled(settings.unit, min(tag.interval for tag in device.tags))
        self.tag_errors: dict[str, str] = {}
        self.tag_kinds: dict[str, TroubleKind] = {}

    def compile(self, tags: Sequence[Tag[Address]]) -> Read:
        """Plans the requests, once."""
        settings = self._settings
        planned = jobs(tuple(tags), settings.max_bits, settings.max_registers, settings.gap)
        kept: AdaptivePlan[Sequence[Job]] = AdaptivePlan(planned)
        return partial(self._scan, kept)

    def rest(self) -> float:
        """How long the next scan must wait, because this unit held up others on its line; usually 0."""
        unit = self._settings.unit
        if (rest := self._line.rest(unit)) and (takes := self._line.turns.slow_news(unit)):
            self._warn_of(takes)
        return rest

    def _warn_of(self, takes: float) -> None:
        from nexus.process import log  # noqa: PLC0415  `nexus check` loads drivers, and needs no log

        said, line = "a slow unit is read less often, to leave time to the others on its line", self._settings.where
        log.get("modbus").warning(
            said,
            device=self._device,
            unit=self._settings.unit,
            line=str(line),
            takes_seconds=round(takes, 2),
            remedy=_REMEDY,
        )

    async def _scan(self, kept: AdaptivePlan[Sequence[Job]]) -> list[Reading]:
        """One scan. Blocks that the device refuses are split until the refused tags stand alone.

        A block whose answer is lost costs its own tags, unless the next one is lost too.
        """
        plan = kept.current(self._clock())
        readings: list[Reading] = []
        settled: list[Job] = []
        waiting, lost = list(reversed(plan)), True
        while waiting:
            asked = waiting.pop()
            try:
                found, lost = await self._read_block(asked), False
            except NoAnswerError as error:
                if lost:
                    error.readings = readings
                    raise
                found, lost = self._bad(asked, str(error)), True
            except DeviceError as error:
                error.readings = readings
                raise
            if found is None and (parts := halves(asked.block)):
                waiting.extend(job(part) for part in reversed(parts))
                continue
            settled.append(asked)
            readings.extend(found if found is not None else self._bad(asked))
        if len(settled) != len(plan):
            kept.split(settled, self._clock())
        return readings

    def _bad(self, asked: Job, why: str | None = None) -> list[Reading]:
        now = now_ms()
        if why is not None:
            self.tag_errors.update(dict.fromkeys((tag.name for tag in asked.tags), why))
        return [tag.bad(now) for tag in asked.tags]

    async def write(self, tag: Tag[Address], value: Value) -> Value:
        """Sets one tag's register, coil or bit."""
        address = tag.address
        line, timing, unit = self._line, self.timing, self._settings.unit
        try:
            if address.table == "coil":
                await line.write_coil(unit, address.start, truth(value, "coil"), timing)
            elif address.table != "holding":
                raise WriteError(f"{address.table} registers and inputs can only be read")
            elif address.bit is not None:
                await self._write_bit(address, truth(value, "bit"))
            else:
                words = modbus_address.encode(address, value)
                await line.write_registers(unit, address.start, words, timing)
                return decoder([address], address.start)(words)[0]
        except ModbusExceptionError as refusal:
            raise WriteError(f"unit {unit} refuses: {_named(refusal.code)}") from None
        return value

    async def _write_bit(self, address: Address, value: bool) -> None:
        """By function 22, which changes it inside the device. Reading, changing and writing the register instead would
        take back what the PLC did to its other bits in between.
        """
        unit = self._settings.unit
        try:
            await self._line.write_bit(unit, address.start, modbus_address.mask(address), value, self.timing)
        except ModbusExceptionError as refusal:
            if refusal.code != _NO_SUCH_FUNCTION:
                raise
            raise WriteError(
                f"unit {unit} has no function 22 (mask write), so its other bits would be at risk: write the whole "
                "register as a uint16 tag, or use a coil"
            ) from None

    async def _read_block(self, asked: Job) -> list[Reading] | None:
        """The readings of one request, or None when the device refuses it. Raises DeviceError."""
        block, unit = asked.block, self._settings.unit
        try:
            words = await self._line.read(unit, asked.request, self.timing)
        except ModbusExceptionError as refusal:
            if refusal.code in _REFUSALS:
                if len(block.spans) == 1:
                    name = block.spans[0].item.name
                    self.tag_errors[name] = _named(refusal.code)
                    self.tag_kinds[name] = "address" if refusal.code == _NO_SUCH_ADDRESS else ""
                return None
            raise DeviceError(f"unit {unit}: {_named(refusal.code)}") from None
        return asked.readings(words, now_ms())


def _named(code: int) -> str:
    return f"{_REFUSALS.get(code) or _TROUBLES.get(code, 'exception')} (code {code})"
