"""Modbus read plans: tags as blocks of registers and bits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from struct import Struct

from gateway.drivers.blocks import Block, Span, plan
from gateway.drivers.driver import Device, Request, Tag
from gateway.drivers.modbus import wire
from gateway.drivers.modbus.address import BITS, READS, Address, Decode, decoder, in_place
from gateway.drivers.modbus.settings import RtuSettings, Settings
from nexus.contract.reading import Reading

_PLANS = 256  # remembered plans: about as many as there are templates


def requests(device: Device[Settings, Address]) -> list[Request]:
    """The read plan: registers or bits of each request, and its time on a serial line."""
    settings = device.settings
    found = []
    for interval in sorted({tag.interval for tag in device.tags}):
        tags = [tag for tag in device.tags if tag.interval == interval]
        for block in blocks(tags, settings.max_bits, settings.max_registers, settings.gap):
            unit = "bits" if block.space in BITS else "registers"
            used = {at for span in block.spans for at in range(span.start, span.start + span.count)}
            text = f"unit {settings.unit} {block.space} {block.start}..{block.start + block.count - 1}"
            names = tuple(span.item.name for span in block.spans)
            waste = block.count - len(used)
            seconds = _bus_seconds(settings, block)
            found.append(Request(text, names, block.count, waste, unit, interval, seconds))
    return found


def _bus_seconds(settings: Settings, block: Block[Tag[Address]]) -> float | None:
    """Request, answer and the silences around them; elsewhere only the pause that was asked for is known."""
    if not isinstance(settings, RtuSettings):
        return settings.request_delay or None
    data = (block.count + 7) // 8 if block.space in BITS else block.count * 2
    bits = 1 + settings.data_bits + (settings.parity != "none") + settings.stop_bits
    character, silence = bits / settings.baudrate, settings.silence
    return (8 + 5 + data) * character + 2 * silence + settings.request_delay


def blocks(tags: Sequence[Tag[Address]], max_bits: int, max_registers: int, gap: int) -> list[Block[Tag[Address]]]:
    """Neighbours as one request each, of which devices with smaller buffers than most take less."""
    found: list[Block[Tag[Address]]] = []
    for tables, limit in ((BITS, max_bits), (("input", "holding"), max_registers)):
        spans = [
            Span(tag.address.table, tag.address.start, tag.address.count, tag)
            for tag in tags
            if tag.address.table in tables
        ]
        found += plan(spans, limit=limit, gap=gap)
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """One request, and how its answer is read."""

    request: wire.Request
    block: Block[Tag[Address]]
    tags: tuple[Tag[Address], ...]
    decode: Decode
    unscaled: tuple[str, ...] | None  # the tags' names, if their values are used as they are read

    def readings(self, words: Sequence[int], time: int) -> list[Reading]:
        """The readings of an answer that came at `time` (epoch ms)."""
        values = self.decode(words)
        if self.unscaled is not None:
            return list(map(Reading, self.unscaled, repeat(time), values))
        return [tag.reading(value, time) for tag, value in zip(self.tags, values, strict=True)]


def job(block: Block[Tag[Address]]) -> Job:
    """The request for a block."""
    tags = tuple(span.item for span in block.spans)
    request = wire.reading(READS[tags[0].address.table], block.start, block.count)
    addresses = [tag.address for tag in tags]
    decode = decoder(addresses, block.start)
    if (codes := in_place(addresses, block.start, block.count)) is not None:
        request, decode = replace(request, words=Struct(f">xx{codes}").unpack), tuple
    unscaled = None if any(tag.is_scaled for tag in tags) else tuple(tag.name for tag in tags)
    return Job(request, block, tags, decode, unscaled)


@lru_cache(maxsize=_PLANS)
def jobs(tags: tuple[Tag[Address], ...], max_bits: int, max_registers: int, gap: int) -> tuple[Job, ...]:
    """The requests for tags, which devices of one template share."""
    return tuple(job(block) for block in blocks(tags, max_bits, max_registers, gap))
