"""An MQTT connection as a stream of packets: reads, joins writes, keeps alive, pauses, and ends once."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from mqtt5 import DisconnectPacket, DisconnectReasonCode, Packet, PingReqPacket

from nexus.mqtt.errors import PacketError
from nexus.mqtt.reader import Acks, PacketReader, Unreadable
from nexus.process import supervisor

_FLUSH_SECONDS = 0.004  # how often a busy connection is written to; an idle one is at once
_FLUSH_BYTES = 65_536
_MOST_BYTES = 4 * 1024 * 1024  # bytes that wait for the network, and for the end of this turn of the event loop
_TICK_SECONDS = 1.0
_PING = PingReqPacket().write()
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only; has to be set after each read

Handler = Callable[[Acks | Packet | Unreadable], None]  # as the reader returns them


class PacketStream(asyncio.Protocol):
    """Hands each packet to `on_packet`, which may raise PacketError; `on_end` hears once why it is over."""

    def __init__(self, on_packet: Handler, on_end: Callable[[str], None], on_writable: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_packet = on_packet
        self._on_end = on_end
        self._on_writable = on_writable
        self._reader = PacketReader()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._going: list[bytes] = []
        self._size = 0
        self._flushing = False
        self._flushed = self._heard = self._pinged = 0.0
        self._keepalive = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._held_back = False  # the network is slower than we send
        self.ended: str | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def writable(self) -> bool:
        """Whether more may be written now; `on_writable` says when it may again."""
        return not self._held_back and self._size <= _MOST_BYTES

    def keep_alive(self, seconds: float) -> None:
        """From now on pings twice in `seconds`, and ends when nothing has come for half as long again."""
        self._keepalive = seconds
        self._heard = self._pinged = self._loop.time()
        if self._timer is None and self.ended is None:
            self._tick()

    def write(self, data: bytes) -> None:
        """Sends at the end of this turn of the event loop, or a moment after the last time, with all until then."""
        self._going.append(data)
        self._size += len(data)
        if not self._flushing and not self._held_back:
            self._flushing = True
            due = self._flushed + _FLUSH_SECONDS
            if self._size > _FLUSH_BYTES or due <= self._loop.time():
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_at(due, self._flush)

    def pause_reading(self) -> None:
        """Stops reading from the network until `resume_reading`. The connection is kept alive meanwhile."""
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads again."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def end(self, goodbye: DisconnectPacket, why: str) -> None:
        """Sends `goodbye` after what is pending, and ends. Does nothing if it has ended.

        The other side closes when it has read that, which `closed` waits for: if we closed first, our last bytes could
        be dropped, or overtaken by our next connection.
        """
        if self.ended is None:
            self.write(goodbye.write())
            self._over(why)
            if self._transport is not None:
                with suppress(OSError):  # the other side is already gone
                    if self._transport.can_write_eof():
                        self._transport.write_eof()
                self.resume_reading()

    def drop(self, why: str) -> None:
        """Ends without a DISCONNECT, after sending what was pending. Does nothing if it has ended."""
        if self.ended is None:
            self._over(why)
            if self._transport is not None:
                self._transport.close()

    async def closed(self, seconds: float) -> None:
        """Waits until the other side has closed, or for so long, and closes the socket."""
        if self._transport is not None:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await asyncio.shield(self._closed)
            finally:
                self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = transport.get_extra_info("socket") if _QUICKACK is not None else None

    def data_received(self, data: bytes) -> None:
        if self.ended is not None:
            return
        self._heard = self._loop.time()
        try:
            if self._socket is not None and _QUICKACK is not None:
                # A broker without TCP_NODELAY waits for it with its next PUBACK: 40 ms.
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            self._hand_out(data)
        except PacketError as error:
            supervisor.failed("peer", "the broker's packets", error)
            self.end(DisconnectPacket(reason_code=error.reason_code), f"the broker sent a forbidden packet: {error}")
        except Exception as error:
            supervisor.failed("peer", "the broker's packets", error)
            code = DisconnectReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
            self.end(DisconnectPacket(reason_code=code), "the broker sent a packet that we cannot handle")

    def _hand_out(self, data: bytes) -> None:
        for packet in self._reader.feed(data):
            self._on_packet(packet)
            if self.ended is not None:
                return

    def pause_writing(self) -> None:
        self._held_back = True

    def resume_writing(self) -> None:
        self._held_back = False
        self._flush()
        if not self._held_back:
            self._on_writable()

    def eof_received(self) -> None:
        self.drop("the broker closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(str(exc) if exc is not None else "the broker closed the connection")
        if not self._closed.done():
            self._closed.set_result(None)

    def _over(self, why: str) -> None:
        self.ended = why
        if self._timer is not None:
            self._timer.cancel()
        self._held_back = False  # the rest goes to the transport, which sends it before it closes
        self._flush()
        self._on_end(why)

    def _flush(self) -> None:
        self._flushing = False
        if self._going and not self._held_back and self._transport is not None:
            self._flushed = self._loop.time()
            going, was_full = self._going, self._size > _MOST_BYTES
            self._going, self._size = [], 0
            self._transport.write(b"".join(going))
            if was_full and not self._held_back:
                self._on_writable()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        now = self._loop.time()
        if self._reading and now - self._heard > 1.5 * self._keepalive:
            code = DisconnectReasonCode.KEEP_ALIVE_TIMEOUT
            self.end(DisconnectPacket(reason_code=code), f"the broker was silent for {now - self._heard:.0f} s")
        elif not self._held_back and (not self._reading or now - self._pinged >= self._keepalive / 2):
            self._pinged = now  # while we do not read, only writing detects that the other side is gone
            self.write(_PING)
