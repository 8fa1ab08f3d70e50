"""A connection to a PLC: reads blocks, writes values."""

import asyncio
import struct
from collections.abc import Sequence
from functools import partial

from snap7.async_client import AsyncClient
from snap7.datatypes import S7Area, S7WordLen
from snap7.error import S7Error

from gateway.drivers.blocks import AdaptivePlan, Block, Span, halves
from gateway.drivers.driver import Device, DeviceError, Read, Tag, WriteError
from gateway.drivers.s7 import address as s7_address
from gateway.drivers.s7.address import Address
from gateway.drivers.s7.plan import Job, Plan, blocks, planned
from gateway.drivers.s7.settings import Settings
from nexus.contract.reading import Reading, Value
from nexus.contract.status import TroubleKind
from nexus.process.clock import now_ms

_WRITE = 0x05
_WRITE_HEAD = 28  # bytes of a request before the data
_GOOD = 0xFF
_BY_BYTES = (0x03, 0x06, 0x07, 0x09)  # transport sizes whose lengths count bytes; the others count bits

_PUT_GET = (
    "the PLC does not permit PUT/GET: in TIA Portal, tick 'Permit access with PUT/GET communication from remote "
    "partner' in the CPU's properties under Protection & Security, Connection mechanisms, and download"
)
_OPTIMIZED = "one with optimized access: in TIA Portal, untick 'Optimized block access' in the block's properties"
_NOT_PERMITTED = 0x8104
_HEADER_ERRORS = {_NOT_PERMITTED: _PUT_GET, 0x8500: "the PLC says that the request is too large"}
_REFUSALS = {
    0x01: "hardware fault",
    0x03: f"access denied: {_PUT_GET}",
    0x05: f"beyond the end of the block, or {_OPTIMIZED}",
    0x06: "type not supported",
    0x07: "type inconsistent",
    0x0A: f"no such block, or {_OPTIMIZED}",
}
_KINDS: dict[int, TroubleKind] = {0x03: "put-get", 0x05: "block", 0x0A: "block"}


class Plc:
    """Reads and writes of one connection; `tag_errors` says, by tag, why the PLC does not give it."""

    def __init__(self, client: AsyncClient, device: Device[Settings, Address]) -> None:
        self._client = client
        self._gap = device.settings.gap
        self._timeout = device.timeout
        self._pdu = client.pdu_length
        self._clock = asyncio.get_running_loop().time
        self._decoders = {tag.name: s7_address.decoder(tag.address) for tag in device.tags}
        self._is_lost = False
        self.tag_errors: dict[str, str] = {}
        self.tag_kinds: dict[str, TroubleKind] = {}
        if client.connection is not None:
            client.connection.timeout = 600  # we set the deadlines ourselves

    def compile(self, tags: Sequence[Tag[Address]]) -> Read:
        """Plans the requests, once, by the PDU that the PLC grants."""
        return partial(self._scan, AdaptivePlan(planned(blocks(tags, self._gap, self._pdu), self._pdu)))

    async def _scan(self, kept: AdaptivePlan[Plan]) -> list[Reading]:
        """One scan. Blocks that the PLC refuses are split until the refused tags stand alone."""
        plan = whole = kept.current(self._clock())
        readings: list[Reading] = []
        settled: list[Block[Tag[Address]]] = []
        while plan.blocks:
            answers: list[bytes | int] = [b""] * len(plan.blocks)
            try:
                for job in plan.jobs:
                    await self._fetch(job, answers)
            except DeviceError as error:
                readings += self._whole(plan, answers)
                raise DeviceError(str(error), readings=readings, kind=error.kind) from error
            now, smaller = now_ms(), []
            for block, answer in zip(plan.blocks, answers, strict=True):
                if isinstance(answer, int) and (parts := halves(block)):
                    smaller += parts
                    continue
                settled.append(block)
                readings += self._readings(block, answer, now)
            if not smaller:
                break
            plan = planned(smaller, self._pdu)
        if len(settled) != len(whole.blocks):
            kept.split(planned(settled, self._pdu), self._clock())
        return readings

    async def write(self, tag: Tag[Address], value: Value) -> Value:
        """Sets one tag's bytes, or its bit; of a text only its length and letters, as far as the PLC has room."""
        address = tag.address
        data, skipped = s7_address.encode(address, value), s7_address.capacity_bytes(address)
        if len(data) > self._pdu - _WRITE_HEAD:
            raise WriteError(f"{len(data)} bytes are more than the PLC takes at once, {self._pdu - _WRITE_HEAD}")
        if skipped:
            await self._check_capacity(tag, skipped, (len(data) - skipped) // skipped)
        is_bit = address.type == "BOOL"
        start, length = (address.start * 8 + address.bit, S7WordLen.BIT) if is_bit else (address.start, S7WordLen.BYTE)
        area, start = S7Area(address.area), start + skipped
        request = self._client.protocol.build_write_request(area, address.block, start, length, data)
        parameters, items = await self._exchange(request)
        if parameters[:1] != bytes([_WRITE]) or len(items) < 1:
            raise DeviceError("the PLC gave an answer that does not match the request")
        if items[0] != _GOOD:
            raise WriteError(f"the PLC refuses: {_refused(items[0])}")
        return value if is_bit or skipped else self._decoders[tag.name](data, 0)

    async def _check_capacity(self, tag: Tag[Address], width: int, characters: int) -> None:
        """Refuses a text longer than the PLC's declared capacity: it would overwrite what lies behind it."""
        address = tag.address
        span = Span((address.area, address.block), address.start, width, tag)
        plan = planned([Block(span.space, span.start, width, (span,))], self._pdu)
        answers: list[bytes | int] = [b""]
        for job in plan.jobs:
            await self._fetch(job, answers)
        [answer] = answers
        if isinstance(answer, int):
            raise WriteError(f"the PLC refuses: {_refused(answer)}")
        if characters > (capacity := int.from_bytes(answer, "big")):
            raise WriteError(f"the PLC's {address.type} holds {capacity} characters, and the text has {characters}")

    async def _fetch(self, job: Job, answers: list[bytes | int]) -> None:
        """One request; stores the blocks' bytes, or the error code, in `answers`. Raises DeviceError."""
        sequence = self._client.protocol._next_sequence()
        head = struct.pack(">BBHHHH", 0x32, 1, 0, sequence, len(job.parameters), 0)
        parameters, data = await self._exchange(head + job.parameters)
        if parameters != job.parameters[:2]:
            raise DeviceError("the PLC gave an answer that does not match the request")
        at = 0
        for number, count in job.items:
            if at + 4 > len(data):
                raise DeviceError("the PLC's answer is too short")
            code, kind, length = struct.unpack_from(">BBH", data, at)
            at += 4
            if code != _GOOD:
                answers[number] = code
                continue
            size = length if kind in _BY_BYTES else length // 8
            if size != count or at + size > len(data):
                raise DeviceError("the PLC gave an answer that does not match the request")
            before = answers[number]
            answers[number] = before if isinstance(before, int) else before + data[at : at + size]
            at += size + size % 2

    async def _exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """Sends a job; returns the answer's parameters and data. After a DeviceError the connection is unusable."""
        connection = self._client.connection
        if connection is None or self._is_lost:
            raise DeviceError("the connection was lost")
        self._is_lost = True  # until the answer is complete: otherwise a part of it may be left for the next read
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send_data(request)
                answer = await connection.receive_data()
        except TimeoutError:
            raise DeviceError(f"no answer from the PLC within {self._timeout:g} s", kind="timeout") from None
        except S7Error as error:
            raise DeviceError(str(error)) from error
        if len(answer) < 12 or answer[0] != 0x32 or answer[1] not in (2, 3) or answer[4:6] != request[4:6]:
            raise DeviceError("the PLC gave an answer that does not match the request")
        self._is_lost = False
        parameters, data, code = struct.unpack_from(">HHH", answer, 6)
        if code:
            kind: TroubleKind = "put-get" if code == _NOT_PERMITTED else ""
            raise DeviceError(_HEADER_ERRORS.get(code, f"the PLC refuses the request: error {code:#06x}"), kind=kind)
        return answer[12 : 12 + parameters], answer[12 + parameters : 12 + parameters + data]

    def _whole(self, plan: Plan, answers: list[bytes | int]) -> list[Reading]:
        """What was read before the connection was lost."""
        now = now_ms()
        found = zip(plan.blocks, answers, strict=True)
        whole = [(block, data) for block, data in found if isinstance(data, bytes) and len(data) == block.count]
        return [reading for block, data in whole for reading in self._readings(block, data, now)]

    def _readings(self, block: Block[Tag[Address]], answer: bytes | int, now: int) -> list[Reading]:
        if isinstance(answer, int):
            tag = block.spans[0].item
            self.tag_errors[tag.name] = _refused(answer)
            self.tag_kinds[tag.name] = _KINDS.get(answer, "")
            return [tag.bad(now)]
        return [self._reading(span, answer, block.start, now) for span in block.spans]

    def _reading(self, span: Span[Tag[Address]], data: bytes, start: int, now: int) -> Reading:
        tag = span.item
        try:
            return tag.reading(self._decoders[tag.name](data, span.start - start), now)
        except ValueError as error:
            self.tag_errors[tag.name] = str(error)
            return tag.bad(now)


def _refused(code: int) -> str:
    return _REFUSALS.get(code, f"code {code:#04x}")
