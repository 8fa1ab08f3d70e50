"""The bytes of an MQTT connection: PUBLISH and PUBACK are read and written here, all other packets are paho's.

paho makes objects for each of these two, reads them in three pieces, and sends each by itself; for a few tens of
thousand messages a second that is most of the work. It sees this instead of the socket.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

from nexus.runtime import packets
from nexus.runtime.packets import PacketError, Publish

_READ_BYTES = 262_144
_FLUSH_SECONDS = 0.004  # a busy connection is written to this often, and an idle one at once
_FLUSH_BYTES = 65_536
_MALFORMED = b"\xe0\x01\x81"  # DISCONNECT, with its reason
_SHORT, _MEDIUM = struct.Struct(">BBH"), struct.Struct(">BBBH")  # first byte, one or two of length, topic's length
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux; it has to be said after each read


OnPublish = Callable[[Publish], None]
OnPuback = Callable[[int, int], None]


class Wire:
    """Buffers both ways between paho, the two packets of ours, and the socket. Lost bytes are paho's to report."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_publish: OnPublish,
        on_puback: OnPuback,
        on_other: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._on_publish = on_publish
        self._on_puback = on_puback
        self._on_other = on_other  # there is a packet for paho
        self._coming = bytearray()  # not yet a whole packet
        self._theirs = bytearray()  # a whole packet for paho
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
    def ended(self) -> bool:
        """Whether nothing comes any more, which paho has to be told."""
        return self._ended

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
        size = 4 + len(topic) + len(properties) + len(payload)
        first = 0x33 if retain else 0x32
        if size < 128:
            head = _SHORT.pack(first, size, len(topic))
        elif size < 16_384:
            head = _MEDIUM.pack(first, size & 127 | 128, size >> 7, len(topic))
        else:
            head = bytes([first, *packets.pack_length(size)]) + len(topic).to_bytes(2, "big")
        self.write(b"".join((head, topic, mid.to_bytes(2, "big"), properties, payload)))

    def acknowledge(self, mid: int) -> None:
        """The broker may forget the message."""
        self.write(b"\x40\x02" + mid.to_bytes(2, "big"))

    def ping(self) -> None:
        """We are alive."""
        self.write(b"\xc0\x00")

    def refuse(self) -> None:
        """Tells the broker that it sent what is no MQTT."""
        self.write(_MALFORMED)

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
        """Takes what has come; whether there may be more at once (TLS decrypts more than it tells the selector).

        Raises PacketError, and is of no use after it.
        """
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
        """Hands out the whole packets, each once, whatever comes of it. Raises PacketError."""
        coming, at, end = self._coming, 0, len(self._coming)
        try:
            while (head := packets.head(coming, at, end)) is not None:
                body, after = head
                if after > end:
                    break
                first, start, at = coming[at], at, after
                kind = first >> 4
                if kind == packets.PUBACK:
                    self._on_puback(*packets.puback(coming, first, body, after))
                elif kind == packets.PUBLISH:
                    self._on_publish(packets.publish(coming, first, body, after))
                elif kind in packets.FOR_PAHO and not first & 15:
                    self._theirs += coming[start:after]
                    self._on_other()  # in its turn: what it says may be the end
                else:
                    raise PacketError(f"a packet that begins with {first:#04x}")
                if self.closed:
                    break
        finally:
            del coming[:at]
