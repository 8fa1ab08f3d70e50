"""Scans as messages: a message a tag, or a message a scan; on the way to the disk always a message a scan."""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from gateway.delivery.entry import READINGS_A_MESSAGE, Entry
from nexus.contract import codec, topic
from nexus.contract.reading import Reading
from nexus.process.errors import InvariantError


class Outlet(msgspec.Struct, frozen=True):
    """How a device's readings leave: on its path, a message a tag or a message a scan, with the tags' units."""

    path: str
    publish: Literal["tag", "device"]
    units: Mapping[str, str]


class Record(msgspec.Struct, frozen=True):
    """A message that is no reading, such as an audit record: a JSON object, whole and ready."""

    topic: str
    payload: bytes


class Scan(msgspec.Struct, gc=False):
    """What one device said at one time, or a record; its `count` readings have the numbers from `first` on."""

    outlet: Outlet
    readings: list[Reading]
    first: int
    count: int
    record: Record | None = None
    kept: bool = False  # on its way to the disk, or there
    _entries: list[Entry] | None = None

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def number(self, first: int) -> None:
        """Gives its readings their numbers."""
        if self.first:
            raise InvariantError("readings would be numbered a second time")
        self.first, self._entries = first, None

    @property
    def topic(self) -> str:
        """Of its messages on the disk."""
        return self.record.topic if self.record is not None else topic.device(self.outlet.path)

    @property
    def entries(self) -> list[Entry]:
        """As device messages, made once; so on the disk in any case.

        An old value must not come after a new one on a tag's topic, and fewer messages drain faster.
        """
        if self._entries is None:
            self._entries = list(_entries(self))
        return self._entries


def live(scan: Scan, publisher: str | None) -> Iterator[tuple[str, bytes]]:
    """Topics and payloads, as the device's `publish` asks for; numbered for a `publisher` who wants receipts."""
    publisher = publisher if scan.first else None
    if scan.outlet.publish == "device":
        for entry in scan.entries:
            yield entry.topic, again(entry, publisher)
        return
    path, units = scan.outlet.path, scan.outlet.units
    for number, reading in enumerate(scan.readings, scan.first if publisher else 0):
        yield topic.tag(path, reading.tag), codec.encode_tag(reading, units.get(reading.tag), publisher, number)


def _entries(scan: Scan) -> Iterator[Entry]:
    if scan.record is not None:
        yield Entry(scan.record.topic, scan.record.payload, 1, scan.first)
        return
    path, units = scan.outlet.path, scan.outlet.units
    number = scan.first
    for part in _parts(scan.readings):
        yield Entry(topic.device(path), codec.encode_device(part, part[0].time, units), len(part), number)
        number += len(part)


def again(entry: Entry, publisher: str | None) -> bytes:
    """The payload that leaves for an entry."""
    return codec.numbered(entry.payload, publisher, entry.id, entry.readings) if publisher else entry.payload


def _parts(readings: list[Reading]) -> Iterator[list[Reading]]:
    """A tag stands once in a message: what was heard of it twice goes into two."""
    if len(readings) <= READINGS_A_MESSAGE and len({reading.tag for reading in readings}) == len(readings):
        yield readings
        return
    part: dict[str, Reading] = {}
    for reading in readings:
        if reading.tag in part or len(part) == READINGS_A_MESSAGE:
            yield list(part.values())
            part = {}
        part[reading.tag] = reading
    yield list(part.values())
