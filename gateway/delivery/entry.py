"""One message as the spool keeps it. Pure."""

from collections.abc import Iterator, Sequence

import msgspec

from nexus.contract.halves import halves
from nexus.contract.receipt import LARGEST_NUMBER

READINGS_A_MESSAGE = 2000  # about 100 KB; brokers refuse packets beyond a limit, by default 1 MB
ROW_BYTES = 40  # what a row costs beside its topic and payload, about


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message, with a number for each of its readings from `id` on."""

    topic: str
    payload: bytes
    readings: int
    id: int

    @property
    def last(self) -> int:
        return self.id + self.readings - 1

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + ROW_BYTES

    @property
    def length(self) -> int:
        """Bytes of topic and payload in a packet, without numbers."""
        return len(self.topic.encode()) + len(self.payload)

    def halved(self) -> "list[Entry]":
        """As two messages with the same numbers; none if it holds one reading, or cannot be divided."""
        parts, number = [], self.id
        for payload, readings in halves(self.payload, self.readings) or ():
            parts.append(Entry(self.topic, payload, readings, number))
            number += readings
        return parts


def is_message(topic: object, payload: object, readings: object, number: object) -> bool:
    """Whether these can be an entry's."""
    return (
        isinstance(topic, str)
        and 0 < len(topic) < 60_000
        and not {"+", "#", "\0"} & set(topic)
        and isinstance(payload, bytes)
        and payload[:1] == b"{"
        and payload[-1:] == b"}"
        and isinstance(readings, int)
        and isinstance(number, int)
        and 1 <= readings <= READINGS_A_MESSAGE
        and 1 <= number <= LARGEST_NUMBER - readings
    )


def chunks(entries: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """Entries of about so many bytes each."""
    chunk: list[Entry] = []
    filled = 0
    for entry in entries:
        chunk.append(entry)
        filled += entry.size
        if filled >= size:
            yield chunk
            chunk, filled = [], 0
    if chunk:
        yield chunk


def holes(first: int, last: int, entries: list[Entry]) -> list[tuple[int, int]]:
    """The numbers of the range that are in none of the entries: evicted, or never used."""
    holes = []
    for entry in entries:
        if entry.id > first:
            holes.append((first, entry.id - 1))
        first = entry.last + 1
    if first <= last:
        holes.append((first, last))
    return holes
