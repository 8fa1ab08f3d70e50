"""Scans as messages: a message a tag, or a message a scan; on the way to the disk always a message a scan."""

from collections.abc import Iterator

import msgspec

from gateway.config import Configured
from gateway.spool import Entry
from nexus.contract import codec, topic
from nexus.contract.reading import Reading

READINGS_A_MESSAGE = 2000  # about 100 KB; brokers refuse packets beyond a limit, by default 1 MB


class Scan(msgspec.Struct, frozen=True, gc=False):
    """What one device said at one time."""

    configured: Configured
    readings: list[Reading]


def live(scan: Scan) -> Iterator[tuple[str, bytes]]:
    """Topics and payloads, as the device's `publish` asks for."""
    configured = scan.configured
    path, units = configured.device.path, configured.units
    if configured.publish == "tag":
        for reading in scan.readings:
            yield topic.tag(path, reading.tag), codec.encode_tag(reading, units.get(reading.tag))
    else:
        for part in _parts(scan.readings):
            yield topic.device(path), codec.encode_device(part, part[0].time, units)


def as_entries(scan: Scan) -> Iterator[Entry]:
    """For the disk: an old value must not come after a new one on a tag's topic, and fewer messages drain faster."""
    path, units = scan.configured.device.path, scan.configured.units
    for part in _parts(scan.readings):
        time = part[0].time
        yield Entry(topic.device(path), codec.encode_device(part, time, units), len(part), time)


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
