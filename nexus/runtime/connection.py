"""One established MQTT 5 connection on the event loop, on paho."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from nexus.runtime import guard, options, packets
from nexus.runtime.errors import InvariantError
from nexus.runtime.message import Message, message
from nexus.runtime.packets import PacketError
from nexus.runtime.wire import Wire

WINDOW = 1000  # messages that are not acknowledged; what is lost with the connection is sent again
RESERVED = 8  # of the window, for `publish(…, urgent=True)`: a full window must not silence what keeps us alive
_MOST_NAMES = 65_536
GOODBYE_SECONDS = 1.0
_FIRST_MID = 1000  # below are paho's, for subscriptions


Done = Callable[[int], None]
OnMessage = Callable[["Connection", Message], None]


class MqttError(Exception):
    """The connection could not be made, or is lost. The text says why; connect again."""


class SubscriptionError(MqttError):
    """The broker does not allow it; the connection goes on."""


class Connection:
    """One established connection. When it is lost, whatever runs in `connect`'s block gets MqttError."""

    def __init__(self, client: paho.Client, on_message: OnMessage | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._on_message = on_message
        self.connected: asyncio.Future[Properties | None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._pending: dict[int, Done] = {}
        self._futures: set[asyncio.Future[int]] = set()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._most = WINDOW
        self._reserved = 0
        self._freed = asyncio.Event()
        self._misc: asyncio.TimerHandle | None = None
        self._wire: Wire | None = None
        self._fd = -1
        self._paused = False
        self._mid = _FIRST_MID
        self._names: dict[str, bytes] = {}
        self.session_present = False
        self.ends_session = False  # set it, and the broker drops our session when the block is left
        self.maximum_packet_size = 268_435_455
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_subscribe = client.on_unsubscribe = self._answered

    @property
    def room(self) -> int:
        """Messages that may be sent now without waiting."""
        return 0 if self._lost.done() else self._most - len(self._pending)

    @property
    def lost(self) -> str | None:
        """Why the connection is lost; None while it is not."""
        return self._lost.result() if self._lost.done() else None

    @property
    def window(self) -> int:
        """Messages that may be unacknowledged at once."""
        return self._most

    async def has_room(self, messages: int = 1) -> None:
        """Waits for room, or for the end of the connection: then sending says so."""
        while self.room < messages and not self._lost.done():
            self._freed.clear()
            await self._freed.wait()

    def send(
        self,
        topic: str,
        payload: bytes,
        done: Done,
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        expiry: int = 0,
    ) -> None:
        """Sends with QoS 1, for which there must be room; `done` gets the PUBACK's reason code, if it ever comes.

        After `expiry` seconds the broker forgets it; 0 is never.

        Raises MqttError; ValueError for what is no topic.
        """
        name = self._names.get(topic) or self._name(topic)
        if self._wire is None:
            raise MqttError(self._lost.result() if self._lost.done() else "closed")
        pending, mid = self._pending, self._mid
        while mid in pending:
            mid = mid + 1 if mid < 65535 else _FIRST_MID
        self._mid = mid + 1 if mid < 65535 else _FIRST_MID
        pending[mid] = done
        properties = b"\0" if correlation is None and not expiry else packets.outgoing(correlation, expiry)
        self._wire.publish(name, payload, mid, retain=retain, properties=properties)

    def _name(self, topic: str) -> bytes:
        """A topic as it travels; looked at once, because the same ones come again and again."""
        name = topic.encode()
        if not name or len(name) > 65535 or b"+" in name or b"#" in name or b"\0" in name:
            raise ValueError(f"{topic!r} is no topic to publish on")
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names[topic] = name
        return name

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        expiry: int = 0,
        urgent: bool = False,
    ) -> asyncio.Future[int]:
        """Sends with QoS 1, when there is room; gives the PUBACK's reason code when it comes. `urgent` ones have some
        room that nothing else takes.

        The future raises MqttError if the connection is lost first. So does this; ValueError for what is no topic.
        """
        await self.has_room(1 - self._reserved if urgent else 1)
        acknowledged: asyncio.Future[int] = self._loop.create_future()
        self._futures.add(acknowledged)
        acknowledged.add_done_callback(self._futures.discard)

        def done(code: int) -> None:
            if not acknowledged.done():
                acknowledged.set_result(code)

        self.send(topic, payload, done, retain=retain, correlation=correlation, expiry=expiry)
        return acknowledged

    async def subscribe(self, topic_filter: str, *, only_new: bool = False) -> None:
        """Subscribes with QoS 1, as options.py says. Raises SubscriptionError when it is refused, with its reason."""
        result, mid = self._client.subscribe(topic_filter, options=options.subscription(only_new=only_new))
        for code in await self._answer(result, mid):
            if code.is_failure:
                raise SubscriptionError(f"the broker refused the subscription to {topic_filter}: {code}")

    async def unsubscribe(self, topic_filter: str) -> None:
        """Ends a subscription; the broker sends nothing more for it."""
        result, mid = self._client.unsubscribe(topic_filter)
        await self._answer(result, mid)

    def pause(self) -> None:
        """Reads nothing more until `resume`: the network and the broker hold the rest. We stay alive meanwhile."""
        if self._wire is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Reads again."""
        if self._wire is not None and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._read)

    def acknowledge(self, mid: int) -> None:
        """Tells the broker that it may forget the message; nothing for QoS 0, or once the connection is lost."""
        if mid and self._wire is not None and not self._lost.done():
            self._wire.acknowledge(mid)

    async def _answer(self, result: MQTTErrorCode, mid: int | None) -> list[ReasonCode]:
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise MqttError(paho.error_string(result))
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        return await answer

    # What `connect` does with it.

    def attach(self) -> None:
        """Takes over the socket that paho has opened."""
        sock = self._client.socket()
        if sock is None:
            self._lose("the connection closed at once")
            return
        self._wire = Wire(sock, self._loop, self._received, self._puback, self._client.loop_read)  # type: ignore[arg-type]
        self._client._sock = self._wire  # type: ignore[assignment]
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self._read)
        self._client.on_socket_register_write = self._write
        self._client.on_socket_close = self._detach
        self._tick()
        self._client.loop_write()
        self._read()

    def _detach(self, *_: object) -> None:
        if self._wire is not None:
            self._loop.remove_reader(self._fd)
            self._wire.end()
            self._wire = None
        if self._misc is not None:
            self._misc.cancel()

    def _write(self, *_: object) -> None:
        self._loop.call_soon(self._client.loop_write)

    def _read(self) -> None:
        if (wire := self._wire) is None or self._paused:
            return
        try:
            more = wire.read()
            if self._wire is not None and wire.ended:
                self._client.loop_read()
        except InvariantError:
            raise
        except Exception as error:  # ours say PacketError; paho's own parsing fails with whatever it stumbles over
            self._refuse(wire, error)
            return
        if more:
            self._loop.call_soon(self._read)

    def _refuse(self, wire: Wire, error: Exception) -> None:
        """What came is no MQTT: whatever follows could be anything, so the connection ends here."""
        guard.failed("peer", "the broker's packets", error)
        wire.refuse()
        said = str(error) if isinstance(error, PacketError) else "one that cannot be read"
        self._lose(f"the broker sent a malformed packet: {said}")

    def _tick(self) -> None:
        self._misc = self._loop.call_later(1.0, self._tick)
        if self._paused and self._wire is not None:
            self._wire.ping()  # paho would wait for the answer, which we do not read
            if self._wire.ended:
                self._client.loop_read()
        else:
            self._client.loop_misc()

    def _connack(
        self, _c: object, _u: object, flags: paho.ConnectFlags, code: ReasonCode, props: Properties | None
    ) -> None:
        if self.connected.done():
            return
        if code.is_failure:
            self.connected.set_exception(MqttError(f"the broker refused us: {code}"))
            return
        self.session_present = flags.session_present
        window = int(getattr(props, "ReceiveMaximum", 65535))
        self.maximum_packet_size = int(getattr(props, "MaximumPacketSize", self.maximum_packet_size))
        if not window or not self.maximum_packet_size:
            raise PacketError("a CONNACK that allows us to send nothing")
        window = min(WINDOW, window)
        self._reserved = min(RESERVED, window // 2)
        self._most = window - self._reserved
        self.connected.set_result(props)

    def _puback(self, mid: int, code: int) -> None:
        if (done := self._pending.pop(mid, None)) is not None:
            self._freed.set()
            try:
                done(code)
            except InvariantError:
                raise
            except Exception as error:
                guard.failed("message", "an acknowledged message", error)

    def _answered(self, _c: object, _u: object, mid: int, codes: list[ReasonCode], _p: object) -> None:
        if (answer := self._answers.pop(mid, None)) is not None and not answer.done():
            answer.set_result(codes)

    def _received(self, came: packets.Publish) -> None:
        """A message costs itself at most: the packets behind it are handed out whatever becomes of it."""
        if self._on_message is None:
            return
        try:
            self._on_message(self, message(came))
        except PacketError as error:
            # Its frame is whole, so that what follows can be read, and ending the connection would bring it again.
            guard.failed("message", "a message's topic or properties", error)
            self.acknowledge(came.mid)
        except InvariantError:
            raise
        except Exception as error:
            guard.failed("message", "taking a message", error)

    def _disconnected(self, _c: object, _u: object, _flags: object, code: ReasonCode, _p: object) -> None:
        self._lose(f"disconnected: {code}")

    def _lose(self, reason: str) -> None:
        self._detach()
        if not self._lost.done():
            self._lost.set_result(reason)
        self._freed.set()  # whoever waits to publish must hear of it
        # Not cancelled: whoever waits for one would pass for cancelled himself, and end without a word.
        unanswered: list[asyncio.Future[Any]] = [self.connected, *self._futures, *self._answers.values()]
        for waiting in unanswered:
            if not waiting.done():
                waiting.set_exception(MqttError(reason))
                waiting.exception()  # whether or not anybody waits for it
        self._pending.clear()
        self._answers.clear()

    async def watch(self) -> None:
        """Raises MqttError when the connection is lost."""
        raise MqttError(await asyncio.shield(self._lost))

    async def close(self, *, with_will: bool) -> None:
        """Says goodbye if there still is a connection, and lets go of the socket in any case."""
        if not self._lost.done() and self._wire is not None:
            reason, properties = options.goodbye(with_will=with_will, ends_session=self.ends_session)
            # paho closes at once, and the system may drop what the broker has not read: we hold it until it has.
            held = socket.fromfd(self._fd, socket.AF_INET, socket.SOCK_STREAM)
            held.setblocking(False)
            with suppress(TimeoutError, OSError), held:  # a goodbye that nobody takes is not worth waiting for
                self._client.disconnect(reasoncode=reason, properties=properties)
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await asyncio.shield(self._lost)
                    held.shutdown(socket.SHUT_WR)
                    while await self._loop.sock_recv(held, 65_536):
                        pass
        self._lose("closed")
        self._client.on_socket_close = None
        if (sock := self._client.socket()) is not None:
            with suppress(OSError):
                sock.close()
