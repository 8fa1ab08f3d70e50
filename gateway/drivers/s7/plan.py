"""S7 read plans: blocks of neighbours, packed into as few requests as the PLC's PDU allows. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snap7.datatypes import S7Area, S7DataTypes, S7WordLen

from gateway.drivers.blocks import Block, Span, plan
from gateway.drivers.driver import Request, Tag
from gateway.drivers.s7.address import Address

READ = 0x04
_ASSUMED_PDU = 240  # assumed for a plan without the PLC
_ITEMS_A_REQUEST = 20  # of more, the PLC silently answers only a part
_REQUEST_HEAD, _REQUEST_ITEM = 14, 12  # bytes
_ANSWER_HEAD, _ANSWER_ITEM = 14, 4


def blocks(tags: Sequence[Tag[Address]], gap: int, pdu: int) -> list[Block[Tag[Address]]]:
    """Neighbouring tags merged into blocks that each fit into an answer."""
    spans = []
    for tag in tags:
        address = tag.address
        spans.append(Span((address.area, address.block), address.start, address.count, tag))
    return plan(spans, limit=pdu - _ANSWER_HEAD - _ANSWER_ITEM, gap=gap)


# A part of a block, as one item of a request: its start, and its length in bytes.
Piece = tuple[Block[Tag[Address]], int, int]


def _packed(blocks: Sequence[Block[Tag[Address]]], pdu: int) -> Iterator[list[Piece]]:
    """Packs pieces of blocks into as few requests as the sizes of request and answer allow."""
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


def _pieces(blocks: Sequence[Block[Tag[Address]]], limit: int) -> Iterator[Piece]:
    """Only a single long text makes a block that is larger than an answer."""
    for block in blocks:
        for start in range(block.start, block.start + block.count, limit):
            yield block, start, min(limit, block.start + block.count - start)


def _address(block: Block[Tag[Address]]) -> Address:
    return block.spans[0].item.address


@dataclass(frozen=True, slots=True)
class Job:
    """One request: its parameters as they travel, and for each item the index of its block, and how many bytes."""

    parameters: bytes
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Blocks, and the requests that read them."""

    blocks: tuple[Block[Tag[Address]], ...]
    jobs: tuple[Job, ...]


def planned(blocks: Sequence[Block[Tag[Address]]], pdu: int) -> Plan:
    """The requests that read all these blocks."""
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
        jobs.append(Job(bytes((READ, len(packed))) + b"".join(specifications), items))
    return Plan(tuple(blocks), tuple(jobs))


def described(all_tags: Sequence[Tag[Address]], gap: int) -> list[Request]:
    """The plan for people, in the PDUs of the smallest PLCs."""
    found = []
    for interval in sorted({tag.interval for tag in all_tags}):
        tags = [tag for tag in all_tags if tag.interval == interval]
        for packed in _packed(blocks(tags, gap, _ASSUMED_PDU), _ASSUMED_PDU):
            found_blocks = {id(block): block for block, _, _ in packed}.values()
            text = ", ".join(f"{_address(block).space} {start}..{start + count - 1}" for block, start, count in packed)
            names = tuple(span.item.name for block in found_blocks for span in block.spans)
            used = {(block.space, at) for block in found_blocks for span in block.spans for at in _bytes(span)}
            size = sum(count for _, _, count in packed)
            found.append(Request(text, names, size, max(0, size - len(used)), "bytes", interval))
    return found


def _bytes(span: Span[Tag[Address]]) -> range:
    return range(span.start, span.start + span.count)
