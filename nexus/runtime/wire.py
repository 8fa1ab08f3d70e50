"""The bytes of an MQTT connection: PUBLISH and PUBACK are read and written here, all other packets are paho's.

paho makes objects for each of these two, reads them in three pieces, and sends each by itself; for a few tens of
thousand messages a second that is most of the work. It sees this instead of the socket.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_READ_BYTES = 262_144
_FLUSH_SECONDS = 0.004  # a busy connection is written to this often, and an idle one at once
_FLUSH_BYTES = 65_536
_PUBLISH, _PUBACK = 3, 4
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux; it has to be said after each read


class Publish(NamedTuple):
    """A message as it came; `mid` is 0 for QoS 0. `properties` are as they travel, without their length."""

    topic: bytes
    payload: bytes
    mid: int
    retained: bool
    properties: bytes


OnPublish = Callable[[Publish], None]
OnPuback = Callable[[int, int], None]


class Wire:
    """Buffers both ways between paho, the two packets of ours, and the socket. Lost bytes are paho's to report."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, on_publish: OnPublish, on_puback: OnPuback
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._on_publish = on_publish
        self._on_puback = on_puback
        self._coming = bytearray()  # not yet a whole packet
        self._theirs = bytearray()  # whole packets for paho
        self._going = bytearray()
        self._flushing = self._full = self._ended = False
        self._flushed = 0.0
        self.closed = False

    # What paho asks of a socket.

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv(self, size: int) -> bytes:
        if not self._theirs and not self._ended:
            raise BlockingIOError
        found = bytes(self._theirs[:size])
        del self._theirs[:size]
        return found

    def send(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def close(self) -> None:
        self.end()
        self._sock.close()

    # What the connection asks.

    @property
    def has_news(self) -> bool:
        """Whether there is something for paho to read: packets, or the end."""
        return bool(self._theirs) or self._ended

    def write(self, data: bytes) -> None:
        """Sends at the end of this turn of the event loop, or a moment after the last time, with all until then."""
        self._going += data
        if not self._flushing and not self._full:
            self._flushing = True
            due = self._flushed + _FLUSH_SECONDS
            if len(self._going) > _FLUSH_BYTES or due <= self._loop.time():
                self._loop.call_soon(self.flush)
            else:
                self._loop.call_at(due, self.flush)

    def publish(self, topic: bytes, payload: bytes, mid: int, *, retain: bool, properties: bytes) -> None:
        """A message of QoS 1; `properties` with their length before them."""
        size = 2 + len(topic) + 2 + len(properties) + len(payload)
        head = bytearray((0x33 if retain else 0x32,))
        while size > 127:
            head.append(size & 127 | 128)
            size >>= 7
        head.append(size)
        head += len(topic).to_bytes(2, "big")
        self.write(b"".join((head, topic, mid.to_bytes(2, "big"), properties, payload)))

    def acknowledge(self, mid: int) -> None:
        """The broker may forget the message."""
        self.write(b"\x40\x02" + mid.to_bytes(2, "big"))

    def ping(self) -> None:
        """We are alive."""
        self.write(b"\xc0\x00")

    def end(self) -> None:
        """Sends what the network takes now, a goodbye maybe, and then nothing more."""
        self.flush()
        self.closed = True
        if self._full:
            self._loop.remove_writer(self._sock)

    def flush(self) -> None:
        """Sends what the network takes now; the rest when it takes more."""
        self._flushing = False
        if self.closed or not self._going:
            return
        self._flushed = self._loop.time()
        try:
            sent = self._sock.send(self._going)
            del self._going[:sent]
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._ended = True  # the next read says why
            self._going.clear()
        if bool(self._going) != self._full:
            self._full = not self._full
            (self._loop.add_writer if self._full else self._loop.remove_writer)(
                self._sock, *((self.flush,) if self._full else ())
            )

    def read(self) -> bool:
        """Takes what has come; whether there may be more at once (TLS decrypts more than it tells the selector)."""
        try:
            data = self._sock.recv(_READ_BYTES)
            if _QUICKACK is not None:  # a broker without TCP_NODELAY waits for it with its next PUBACK: 40 ms
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            data = b""
        if not data:
            self._ended = True
            return False
        self._coming += data
        self._split()
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _split(self) -> None:
        """Hands out the whole packets."""
        coming, at, end = self._coming, 0, len(self._coming)
        while (head := _head(coming, at, end)) is not None:
            body, after = head
            if after > end:
                break
            kind = coming[at] >> 4
            if kind == _PUBACK:
                self._on_puback(coming[body] << 8 | coming[body + 1], coming[body + 2] if after > body + 2 else 0)
            elif kind == _PUBLISH:
                self._on_publish(_publish(coming, at, body, after))
            else:
                self._theirs += coming[at:after]
            at = after
        del coming[:at]


def _head(data: bytearray, at: int, end: int) -> tuple[int, int] | None:
    """Where a packet's body begins and where it ends; None while even that has not come."""
    size, shift, body = 0, 0, at + 1
    while body < end:
        byte = data[body]
        size |= (byte & 127) << shift
        body += 1
        if byte < 128:
            return body, body + size
        shift += 7
    return None


def _publish(data: bytearray, at: int, body: int, after: int) -> Publish:
    flags = data[at]
    start = body + 2
    middle = start + (data[body] << 8 | data[body + 1])
    topic = bytes(data[start:middle])
    mid = 0
    if flags & 6:
        mid = data[middle] << 8 | data[middle + 1]
        middle += 2
    size, shift = 0, 0
    while True:
        byte = data[middle]
        size |= (byte & 127) << shift
        middle += 1
        if byte < 128:
            break
        shift += 7
    return Publish(topic, bytes(data[middle + size : after]), mid, bool(flags & 1), bytes(data[middle : middle + size]))


def answer_properties(packed: bytes) -> tuple[str | None, bytes | None]:
    """Response topic and correlation data of a message that came."""
    if not packed:
        return None, None
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    found.unpack(_length(len(packed)) + packed)  # type: ignore[no-untyped-call]
    return getattr(found, "ResponseTopic", None), getattr(found, "CorrelationData", None)


def correlation(data: bytes | None) -> bytes:
    """The properties of a message that goes, with their length: none, or its correlation data."""
    if data is None:
        return b"\0"
    packed = b"\x09" + len(data).to_bytes(2, "big") + data
    return _length(len(packed)) + packed


def _length(size: int) -> bytes:
    found = bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size])
