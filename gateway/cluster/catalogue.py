"""The device lists of members, assembled from chunks, by digest; and our own devices by key."""

from collections.abc import Iterable, Mapping

from gateway.config.devices import ConfiguredDevice
from nexus.contract.presence import Chunk, Key, Mark, decode_chunk, key, mark
from nexus.contract.presence import digest as digest_of

MOST_CHUNKS_KEPT = 1000  # of 60 kB at most


class Catalogue:
    """Keeps chunks as they came, until somebody asks for the whole."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[str, int], bytes] = {}
        self._counts: dict[str, int] = {}
        self._wrong: set[str] = set()  # digests whose chunks so far do not add up

    def take(self, payload: bytes) -> None:
        """Keeps a chunk. Raises DecodeError."""
        chunk = decode_chunk(payload)
        self._chunks.pop((chunk.digest, chunk.number), None)
        self._chunks[chunk.digest, chunk.number] = payload
        self._counts[chunk.digest] = chunk.count
        self._wrong.discard(chunk.digest)
        if len(self._chunks) > MOST_CHUNKS_KEPT:
            oldest = next(iter(self._chunks))
            del self._chunks[oldest]
            self._counts.pop(oldest[0], None)
            self._wrong.discard(oldest[0])

    def find(self, digest: str) -> Mapping[Key, Mark] | None:
        """The list behind a digest; None while a chunk is missing."""
        numbers = range(self._counts.get(digest, 0))
        if not numbers or digest in self._wrong or any((digest, number) not in self._chunks for number in numbers):
            return None
        parts: list[Chunk] = [decode_chunk(self._chunks[digest, number]) for number in numbers]
        found = {device: definition for part in parts for device, definition in part.devices.items()}
        if digest_of(found) != digest:
            self._wrong.add(digest)  # tried again when another chunk comes
            return None
        return found


class DevicesByKey:
    """Devices by key, with the marks of their definitions, each made once."""

    def __init__(self) -> None:
        self.by_key: dict[Key, ConfiguredDevice] = {}
        self.marks: dict[Key, Mark] = {}

    def reload(self, configured: Iterable[ConfiguredDevice]) -> None:
        """Takes changed device files. Unchanged devices stay the same objects."""
        before, marks = self.by_key, self.marks
        self.by_key, self.marks = {}, {}
        for one in configured:
            device = key(one.device.path)
            old = before.get(device)
            if old is not None and old == one:
                self.by_key[device], self.marks[device] = old, marks[device]
            else:
                self.by_key[device], self.marks[device] = one, mark(definition(one))


def definition(one: ConfiguredDevice) -> str:
    """The definition of a device in one line: two gateways with the same one may poll it for each other."""
    device = one.device
    asked = (device.protocol, device.timeout, device.settings, device.tags, one.breaker, one.publish_options)
    # Without them the line equals that of older gateways, which share the device during an upgrade.
    return repr((*asked, *(more for more in (one.derived, one.alarms) if more)))
