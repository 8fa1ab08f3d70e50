"""Batches: published as one device message, or live as one message per tag, and kept in the spool. Pure."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from gateway.delivery.publish_options import PublishOptions
from nexus.contract import codec
from nexus.contract.halves import halves
from nexus.contract.reading import Reading
from nexus.contract.receipt import LARGEST_NUMBER

READINGS_A_MESSAGE = 2000  # about 100 KB; brokers refuse packets beyond a limit, by default 1 MB
ROW_BYTES = 40  # roughly what a row takes beside its topic and payload
_tag = attrgetter("tag")


class Batch(msgspec.Struct, gc=False):
    """Readings of one device, or a record. Its `count` readings have the numbers from `first` on; 0: not numbered yet.

    `topic` and `payload` are those of its device message, which is also the form on disk: a replayed value must not
    follow a newer one on a tag's topic, and fewer messages drain faster.
    """

    topic: str
    _payload: bytes  # empty until somebody needs it
    count: int
    first: int = 0
    publish_options: PublishOptions | None = None  # while it is live
    readings: Sequence[Reading] = ()
    kept: bool = False  # on its way to the disk, or there
    in_flight: bool = False  # sent, or about to be, and not acknowledged
    retain: bool = False  # retained if it is sent live; not when sent again, as the broker may have a newer one by then

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    @property
    def payload(self) -> bytes:
        return self._payload or self.encode()

    @property
    def size(self) -> int:
        """Approximate bytes on disk."""
        return len(self.topic) + len(self.payload) + ROW_BYTES

    @property
    def length(self) -> int:
        """Bytes of topic and payload in a packet, without numbers."""
        return len(self.topic.encode()) + len(self.payload)

    def encode(self) -> bytes:
        """Encodes the payload, once."""
        if not self._payload and self.publish_options is not None:
            self._payload = codec.encode_device(self.readings, self.readings[0].time, self.publish_options.units)
        return self._payload

    def whole(self, publisher: str | None) -> list[tuple[str, bytes]]:
        """Topic and payload of its device message, numbered for a `publisher` who wants receipts."""
        payload = self._payload or self.encode()
        if publisher and self.first:
            payload = codec.numbered(payload, publisher, self.first, self.count)
        return [(self.topic, payload)]

    def live(self, publisher: str | None) -> list[tuple[str, bytes]]:
        """Topics and payloads as the device's `publish` asks for."""
        publish_options = self.publish_options
        if publish_options is None or publish_options.publish == "device":
            return self.whole(publisher)
        publisher, units, topics = publisher if self.first else None, publish_options.units, publish_options.topics
        return [
            (
                topics.get(reading.tag) or publish_options.tag(reading.tag),
                codec.encode_tag(reading, units.get(reading.tag), publisher, number),
            )
            for number, reading in enumerate(self.readings, self.first if publisher else 0)
        ]

    def halved(self) -> "list[Batch]":
        """Two batches with the numbers of this one; none if it holds one reading, or cannot be divided."""
        parts, number = [], self.first
        for payload, count in halves(self.payload, self.count) or ():
            parts.append(Batch(self.topic, payload, count, number, kept=self.kept))
            number += count
        return parts


def of_scan(publish_options: PublishOptions, readings: Sequence[Reading]) -> list[Batch]:
    """The batches of one scan. A tag is in a batch only once: a second reading of it starts another batch."""
    if len(readings) <= READINGS_A_MESSAGE and len(set(map(_tag, readings))) == len(readings):
        return [Batch(publish_options.topic, b"", len(readings), 0, publish_options, readings)]
    parts: list[dict[str, Reading]] = [{}]
    for reading in readings:
        if reading.tag in parts[-1] or len(parts[-1]) == READINGS_A_MESSAGE:
            parts.append({})
        parts[-1][reading.tag] = reading
    return [Batch(publish_options.topic, b"", len(part), 0, publish_options, list(part.values())) for part in parts]


def is_message(topic: object, payload: object, readings: object, number: object) -> bool:
    """Whether these columns can be a batch's."""
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


def chunks(batches: Sequence[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches of about so many bytes each."""
    chunk: list[Batch] = []
    filled = 0
    for batch in batches:
        chunk.append(batch)
        filled += batch.size
        if filled >= size:
            yield chunk
            chunk, filled = [], 0
    if chunk:
        yield chunk


def holes(first: int, last: int, batches: list[Batch]) -> list[tuple[int, int]]:
    """The numbers of the range that are in no batch: evicted, or never used."""
    holes = []
    for batch in batches:
        if batch.first > first:
            holes.append((first, batch.first - 1))
        first = batch.last + 1
    if first <= last:
        holes.append((first, last))
    return holes
