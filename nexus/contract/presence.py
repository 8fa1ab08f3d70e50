"""Messages between the gateways of a group, retained on `gateway/{group}/{member}` and below it.

A presence has the same size for ten devices as for a hundred thousand: it identifies them by a digest. Only gateways
whose digests differ also publish the list behind theirs, in chunks.
"""

import struct
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nexus.contract.codec import DecodeError

LONGEST_LEASE = 60.0  # seconds; a presence that claims more is refused
MOST_KEPT = 1000

Id = Annotated[str, Meta(max_length=64)]
Token = Annotated[str, Meta(max_length=128)]
Key = int  # of a device's path, see `key`
Mark = int  # of a device's definition, see `mark`


class Presence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One gateway. `id` is new at each start, and after it had to stop polling; `seq` rises with each message.

    `devices` is the digest of its device files, `polls` tells whether it polls anything. `view` holds the tokens of
    the others that it has made room for. `keeps` are the devices that it polls although another member defines them
    differently. A `lost` presence is the last will, published by the broker; a `left` one has released everything.
    """

    state: Literal["online", "lost", "left"]
    id: Id
    lease: Annotated[float, Meta(ge=0.5, le=LONGEST_LEASE)]
    seq: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    devices: Annotated[str, Meta(max_length=16)] = ""
    polls: bool = True
    view: Annotated[frozenset[Token], Meta(max_length=1000)] = frozenset()
    keeps: Annotated[frozenset[Annotated[int, Meta(ge=0, le=2**63 - 1)]], Meta(max_length=MOST_KEPT)] = frozenset()

    @property
    def token(self) -> str:
        """Its id and its devices: room is made for the two together."""
        return f"{self.id}:{self.devices}"


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Presence)


def encode_presence(presence: Presence) -> bytes:
    """Payload of a presence topic."""
    return _encoder.encode(presence)


def decode_presence(payload: bytes | str) -> Presence:
    """Reads a presence topic's payload. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(str(error)) from error


def key(path: str) -> Key:
    """A device path's hash, which identifies it among gateways: 63 bits."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "big") >> 1


def mark(definition: str) -> Mark:
    """The hash by which a device's definition is compared: 32 bits."""
    return int.from_bytes(blake2b(definition.encode(), digest_size=4).digest(), "big")


_ROW = struct.Struct(">QI")
_HEAD = struct.Struct(">8sHH")
_ROWS_A_CHUNK = 5000
MOST_CHUNKS = 200  # a million devices


def digest(devices: Mapping[Key, Mark]) -> str:
    """A digest of these devices and their definitions, 16 characters."""
    rows = b"".join(_ROW.pack(*row) for row in sorted(devices.items()))
    return blake2b(rows, digest_size=8).hexdigest()


def chunks(devices: Mapping[Key, Mark]) -> Iterator[bytes]:
    """The devices behind a digest, in payloads of at most 60 kB."""
    rows = sorted(devices.items())
    name = bytes.fromhex(digest(devices))
    count = max(1, -(-len(rows) // _ROWS_A_CHUNK))
    for number in range(count):
        part = rows[number * _ROWS_A_CHUNK : (number + 1) * _ROWS_A_CHUNK]
        yield _HEAD.pack(name, number, count) + b"".join(_ROW.pack(*row) for row in part)


class Chunk(msgspec.Struct, frozen=True):
    """One of `count` parts of the devices behind a digest."""

    digest: str
    number: int
    count: int
    devices: dict[Key, Mark]


def decode_chunk(payload: bytes) -> Chunk:
    """Reads a chunk. Raises DecodeError."""
    rows = payload[_HEAD.size :]
    if len(payload) < _HEAD.size or len(rows) % _ROW.size or len(rows) > _ROWS_A_CHUNK * _ROW.size:
        raise DecodeError("not a chunk of devices")
    name, number, count = _HEAD.unpack_from(payload)
    if not number < count <= MOST_CHUNKS:
        raise DecodeError(f"chunk {number} of {count}")
    return Chunk(name.hex(), number, count, dict(_ROW.iter_unpack(rows)))
