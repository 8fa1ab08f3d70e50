"""Siemens S7: data blocks, markers, inputs and outputs over ISO on TCP (S7-300, 400, 1200, 1500)."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from snap7.async_client import AsyncClient
from snap7.datatypes import S7Area, S7DataTypes, S7WordLen
from snap7.error import S7Error

from gateway.driver import Device, DeviceError, Link, Request, Tag, WriteError
from gateway.drivers import s7_address
from gateway.drivers.s7_address import Address
from gateway.plan import Block, Span, halves, plan
from nexus.contract.reading import Reading, Value

_CONNECTIONS = {"pg": 1, "op": 2, "basic": 3}
_LARGEST_PDU = 960  # asked for; the PLC grants what it has: 240 (S7-300, 1200), 480, 960 (1500)
_ASSUMED_PDU = 240  # for a plan made without the PLC
_ITEMS_A_REQUEST = 20  # more are answered in part, without a word
_REQUEST_HEAD, _REQUEST_ITEM = 14, 12  # bytes
_ANSWER_HEAD, _ANSWER_ITEM = 14, 4
_READ, _WRITE = 0x04, 0x05
_GOOD = 0xFF
_BY_BYTES = (0x03, 0x06, 0x07, 0x09)  # transport sizes whose lengths count bytes; the others count bits

_PUT_GET = (
    "the PLC does not permit PUT/GET: in TIA Portal, tick 'Permit access with PUT/GET communication from remote "
    "partner' in the CPU's properties under Protection & Security, Connection mechanisms, and download"
)
_OPTIMIZED = "one with optimized access: in TIA Portal, untick 'Optimized block access' in the block's properties"
_HEADER_ERRORS = {0x8104: _PUT_GET, 0x8500: "the PLC says that the request is too large"}
_REFUSALS = {
    0x01: "hardware fault",
    0x03: f"access denied: {_PUT_GET}",
    0x05: f"beyond the end of the block, or {_OPTIMIZED}",
    0x06: "type not supported",
    0x07: "type inconsistent",
    0x0A: f"no such block, or {_OPTIMIZED}",
}

# It logs what it also raises.
logging.getLogger("snap7").setLevel(logging.CRITICAL)


class Settings(BaseModel):
    """An S7 device's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    host: str = Field(min_length=1)
    port: int = Field(102, ge=1, le=65535)
    rack: int = Field(0, ge=0, le=7)
    slot: int = Field(1, ge=0, le=31)
    connection: Literal["pg", "op", "basic"] = "basic"
    gap: int = Field(16, ge=0, le=200)


SETTINGS: Mapping[str, type[BaseModel]] = {"s7": Settings}


def parse_address(text: str, _: Settings) -> Address:
    """Reads `DB1.DBD0:REAL` and its like. Raises ValueError that says what would be right."""
    return s7_address.parse(text)


@asynccontextmanager
async def connect(device: Device) -> AsyncIterator[Link]:
    """A link to one PLC, with the PDU size that it grants. Raises DeviceError."""
    settings: Settings = device.settings
    client = AsyncClient()
    client.connection_type = _CONNECTIONS[settings.connection]
    client.pdu_length = _LARGEST_PDU
    try:
        try:
            await client.connect(settings.host, settings.rack, settings.slot, settings.port)
        except S7Error as error:
            raise DeviceError(_unconnected(settings, error)) from error
        plc = _Plc(client, device)
        yield Link(plc.read, plc.write, refusals=plc.refusals)
    finally:
        with suppress(OSError, S7Error, TimeoutError):
            async with asyncio.timeout(1):
                await client.disconnect()


def requests(device: Device) -> list[Request]:
    """The read plan, in the PDUs of the smallest PLCs."""
    found = []
    for interval in sorted({tag.interval for tag in device.tags}):
        tags = [tag for tag in device.tags if tag.interval == interval]
        for packed in _packed(_blocks(tags, device.settings, _ASSUMED_PDU), _ASSUMED_PDU):
            blocks = {id(block): block for block, _, _ in packed}.values()
            text = ", ".join(f"{_address(block).space} {start}..{start + count - 1}" for block, start, count in packed)
            names = tuple(span.item.name for block in blocks for span in block.spans)
            used = {(block.space, at) for block in blocks for span in block.spans for at in _bytes(span)}
            size = sum(count for _, _, count in packed)
            found.append(Request(text, names, size, max(0, size - len(used)), "bytes", interval))
    return found


def bus(_: Settings) -> None:
    """PLCs share no line."""


def _bytes(span: Span[Tag]) -> range:
    return range(span.start, span.start + span.count)


def _unconnected(settings: Settings, error: S7Error) -> str:
    where = f"no connection to {settings.host}:{settings.port}"
    if "closed by peer" in str(error):
        return (
            f"{where}: the PLC hung up: are rack {settings.rack} and slot {settings.slot} right (S7-300: slot 2, "
            "S7-1200 and 1500: slot 1 or 0), and has it a connection left?"
        )
    return f"{where}: {error}"


def _blocks(tags: Sequence[Tag], settings: Settings, pdu: int) -> list[Block[Tag]]:
    spans = []
    for tag in tags:
        address: Address = tag.address
        spans.append(Span((address.area, address.block), address.start, address.count, tag))
    return plan(spans, limit=pdu - _ANSWER_HEAD - _ANSWER_ITEM, gap=settings.gap)


# A part of a block, as one item of a request: its start, and how many bytes.
Piece = tuple[Block[Tag], int, int]


def _packed(blocks: Sequence[Block[Tag]], pdu: int) -> Iterator[list[Piece]]:
    """Pieces of blocks in as few requests as request and answer allow."""
    packed: list[Piece] = []
    asked, answered = _REQUEST_HEAD, _ANSWER_HEAD
    for piece in _pieces(blocks, pdu - _ANSWER_HEAD - _ANSWER_ITEM):
        size = _ANSWER_ITEM + piece[2] + piece[2] % 2
        full = asked + _REQUEST_ITEM > pdu or answered + size > pdu or len(packed) == _ITEMS_A_REQUEST
        if packed and full:
            yield packed
            packed, asked, answered = [], _REQUEST_HEAD, _ANSWER_HEAD
        packed.append(piece)
        asked += _REQUEST_ITEM
        answered += size
    if packed:
        yield packed


def _pieces(blocks: Sequence[Block[Tag]], limit: int) -> Iterator[Piece]:
    """Only a single long text makes a block that is larger than an answer."""
    for block in blocks:
        for start in range(block.start, block.start + block.count, limit):
            yield block, start, min(limit, block.start + block.count - start)


def _address(block: Block[Tag]) -> Address:
    address: Address = block.spans[0].item.address
    return address


@dataclass(frozen=True, slots=True)
class _Job:
    """One request: its parameters as they travel, and for each item the index of its block, and how many bytes."""

    parameters: bytes
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    blocks: tuple[Block[Tag], ...]
    jobs: tuple[_Job, ...]


def _planned(blocks: Sequence[Block[Tag]], pdu: int) -> _Plan:
    numbers = {id(block): number for number, block in enumerate(blocks)}
    jobs = []
    for packed in _packed(blocks, pdu):
        specifications = [
            S7DataTypes.encode_address(
                S7Area(_address(block).area), _address(block).block, start, S7WordLen.BYTE, count
            )
            for block, start, count in packed
        ]
        items = tuple((numbers[id(block)], count) for block, _, count in packed)
        jobs.append(_Job(bytes((_READ, len(packed))) + b"".join(specifications), items))
    return _Plan(tuple(blocks), tuple(jobs))


class _Plc:
    """Reads and writes of one connection. Plans are made once for each set of tags, and keep what was refused."""

    def __init__(self, client: AsyncClient, device: Device) -> None:
        self._client = client
        self._settings: Settings = device.settings
        self._timeout = device.timeout
        self._pdu = client.pdu_length
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._decoders = {tag.name: s7_address.decoder(tag.address) for tag in device.tags}
        self.refusals: dict[str, str] = {}
        if client.connection is not None:
            client.connection.timeout = 600  # the deadlines are ours

    async def read(self, tags: Sequence[Tag]) -> list[Reading]:
        """One scan. Blocks that the PLC refuses are split until the refused tags stand alone."""
        key = tuple(tag.name for tag in tags)
        if (plan := self._plans.get(key)) is None:
            plan = self._plans[key] = _planned(_blocks(tags, self._settings, self._pdu), self._pdu)
        readings: list[Reading] = []
        settled: list[Block[Tag]] = []
        while plan.blocks:
            answers: list[bytes | int] = [b""] * len(plan.blocks)
            for job in plan.jobs:
                await self._fetch(job, answers)
            now, smaller = int(time() * 1000), []
            for block, answer in zip(plan.blocks, answers, strict=True):
                if isinstance(answer, int) and (parts := halves(block)):
                    smaller += parts
                    continue
                settled.append(block)
                readings += self._readings(block, answer, now)
            if not smaller:
                break
            plan = _planned(smaller, self._pdu)
        if len(settled) != len(self._plans[key].blocks):
            self._plans[key] = _planned(settled, self._pdu)
        return readings

    async def write(self, tag: Tag, value: Value) -> None:
        """Sets one tag's bytes, or its bit."""
        address: Address = tag.address
        data = s7_address.encode(address, value)
        is_bit = address.type == "BOOL"
        start, length = (address.start * 8 + address.bit, S7WordLen.BIT) if is_bit else (address.start, S7WordLen.BYTE)
        request = self._client.protocol.build_write_request(S7Area(address.area), address.block, start, length, data)
        parameters, items = await self._exchange(request)
        if parameters[:1] != bytes([_WRITE]) or len(items) < 1:
            raise DeviceError("the PLC answered something else than was asked")
        if items[0] != _GOOD:
            raise WriteError(f"the PLC refuses: {_REFUSALS.get(items[0], f'code {items[0]:#04x}')}")

    async def _fetch(self, job: _Job, answers: list[bytes | int]) -> None:
        """One request; adds to its blocks' bytes, or puts the code of their refusal there. Raises DeviceError."""
        sequence = self._client.protocol._next_sequence()
        head = struct.pack(">BBHHHH", 0x32, 1, 0, sequence, len(job.parameters), 0)
        parameters, data = await self._exchange(head + job.parameters)
        if parameters != job.parameters[:2]:
            raise DeviceError("the PLC answered something else than was asked")
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
                raise DeviceError("the PLC answered something else than was asked")
            before = answers[number]
            answers[number] = before if isinstance(before, int) else before + data[at : at + size]
            at += size + size % 2

    async def _exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """Sends a job; gives the answer's parameters and data. Raises DeviceError: the connection is of no use then."""
        connection = self._client.connection
        if connection is None:
            raise DeviceError("the connection was lost")
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send_data(request)
                answer = await connection.receive_data()
        except TimeoutError:
            raise DeviceError(f"no answer from the PLC within {self._timeout:g} s") from None
        except S7Error as error:
            raise DeviceError(str(error)) from error
        if len(answer) < 12 or answer[0] != 0x32 or answer[1] not in (2, 3) or answer[4:6] != request[4:6]:
            raise DeviceError("the PLC answered something else than was asked")
        parameters, data, code = struct.unpack_from(">HHH", answer, 6)
        if code:
            raise DeviceError(_HEADER_ERRORS.get(code, f"the PLC refuses the request: error {code:#06x}"))
        return answer[12 : 12 + parameters], answer[12 + parameters : 12 + parameters + data]

    def _readings(self, block: Block[Tag], answer: bytes | int, now: int) -> list[Reading]:
        if isinstance(answer, int):
            tag = block.spans[0].item
            self.refusals[tag.name] = _REFUSALS.get(answer, f"code {answer:#04x}")
            return [tag.bad(now)]
        return [self._reading(span, answer, block.start, now) for span in block.spans]

    def _reading(self, span: Span[Tag], data: bytes, start: int, now: int) -> Reading:
        tag = span.item
        try:
            return tag.reading(self._decoders[tag.name](data, span.start - start), now)
        except ValueError as error:
            self.refusals[tag.name] = str(error)
            return tag.bad(now)
