"""One established MQTT 5 connection on the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Unpack

from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    Packet,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
)

from nexus.mqtt import topics
from nexus.mqtt.errors import MqttError, PacketError, SubscriptionError, fail
from nexus.mqtt.reader import Acks, Unreadable
from nexus.mqtt.reasons import PACKET_TOO_LARGE, REFUSED, title
from nexus.mqtt.requests import Requests
from nexus.mqtt.session import Done, Receiving, Sending, kind_of
from nexus.mqtt.stream import PacketStream
from nexus.mqtt.writer import Options, Writer, pubacks
from nexus.process import supervisor

GOODBYE_SECONDS = 1.0  # for the broker to take our DISCONNECT
_CODES = DisconnectReasonCode

Message = PublishPacket  # of QoS 1, the broker holds it until it is acknowledged; of QoS 0 it has no packet id
Messages = Sequence[tuple[str, bytes]]  # topics and payloads
OnMessage = Callable[["Connection", Message], None]


class Connection:
    """One established connection. When it is lost, whatever runs in `connect`'s block gets MqttError."""

    def __init__(self, on_message: OnMessage | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._freed = asyncio.Event()
        self._waiting = 0
        self.stream = PacketStream(self._received, self._ended, self._freed.set)
        self._sending = Sending()
        self._requests = Requests(self.stream, self._sending)
        self._receiving = Receiving()
        self._writer = Writer()
        self._open = False
        self._connack: asyncio.Future[ConnAckPacket] = self._loop.create_future()
        self._end: asyncio.Future[str] = self._loop.create_future()
        self._acks: set[asyncio.Future[int]] = set()
        self.session_present = False
        self._ends_session = False
        self.maximum_packet_size = 268_435_460  # the protocol's limit, until the broker names its own

    @property
    def send_quota(self) -> int:
        """Messages that may be sent now without waiting."""
        return 0 if self._end.done() or not self.stream.writable else self._sending.window - len(self._sending.messages)

    @property
    def window(self) -> int:
        """Messages that may be unacknowledged at once."""
        return self._sending.window

    @property
    def lost(self) -> str | None:
        """Why the connection is lost; None while it is not."""
        return self.stream.ended

    async def has_quota(self, messages: int = 1) -> None:
        """Waits for send quota, or for the end of the connection: sending then raises."""
        self._waiting += 1
        try:
            while self.send_quota < messages and not self._end.done():
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._waiting -= 1

    def send(self, topic: str, payload: bytes, done: Callable[[int], None], **options: Unpack[Options]) -> None:
        """Sends one message, as `send_many` does."""
        self.send_many([(topic, payload)], lambda code, _: done(code), **options)

    def send_many(self, messages: Messages, done: Done, **options: Unpack[Options]) -> None:
        """Sends with QoS 1, for which there must be room; `done` gets the PUBACKs' reason codes, if they ever come, and
        of how many messages each is.

        What is larger than the broker takes is not sent, and `done` gets PACKET_TOO_LARGE. Raises MqttError; ValueError
        for what is not a topic, and then sends none.
        """
        if self.stream.ended is not None:
            raise MqttError(self.stream.ended)
        packet_ids, largest = self._sending.take(done, len(messages)), self.maximum_packet_size
        try:
            packets, too_large = self._writer.publish(messages, packet_ids, largest, **options)
        except ValueError:
            self._sending.forget(packet_ids)
            raise
        if too_large:
            self._loop.call_soon(self._too_large, too_large)
        self.stream.write(packets)

    async def publish(
        self, topic: str, payload: bytes, *, urgent: bool = False, **options: Unpack[Options]
    ) -> asyncio.Future[int]:
        """Sends with QoS 1, when there is room (some is for `urgent` ones only); gives the PUBACK's reason code when it
        comes, or MqttError if the connection is lost first. Raises MqttError; ValueError for what is not a topic.
        """
        await self.has_quota(1 - self._sending.reserved if urgent else 1)
        acknowledged: asyncio.Future[int] = self._loop.create_future()

        def done(code: int, _: int) -> None:
            if not acknowledged.done():
                acknowledged.set_result(code)

        self.send_many([(topic, payload)], done, **options)
        self._acks.add(acknowledged)
        acknowledged.add_done_callback(self._acks.discard)
        return acknowledged

    async def subscribe(
        self, topic_filter: str, *, only_new: bool = False, as_published: bool = False, at_most_once: bool = False
    ) -> None:
        """Subscribes with QoS 1, or 0 for `at_most_once`. Raises SubscriptionError when it is refused, with its reason.

        What is published from now on says whether it is retained if `as_published`. With `only_new` it does, too, and
        what was retained before does not come.
        """
        handling = RetainHandling.SEND_NEVER if only_new else RetainHandling.SEND_ALWAYS
        qos = QoS.AT_MOST_ONCE if at_most_once else QoS.AT_LEAST_ONCE
        wanted = TopicFilter(
            topic_filter, max_qos=qos, retain_as_published=only_new or as_published, retain_handling=handling
        )
        answer = await self._requests.ask(SubAckPacket, 1, lambda packet_id: SubscribePacket(packet_id, [wanted]))
        [code] = answer.reason_codes
        if int(code) >= REFUSED:
            raise SubscriptionError(_refusal(topic_filter, title(code)))

    async def subscribe_all(self, topic_filters: Iterable[str], *, at_most_once: bool = False) -> list[str]:
        """Subscribes to many at once, as `subscribe` does; says what was refused."""
        refused = []
        qos = QoS.AT_MOST_ONCE if at_most_once else QoS.AT_LEAST_ONCE
        for some in topics.packed(topic_filters, self.maximum_packet_size):
            wanted = [TopicFilter(one, max_qos=qos) for one in some]
            answer = await self._requests.ask(SubAckPacket, len(some), partial(SubscribePacket, topic_filters=wanted))
            codes = zip(some, answer.reason_codes, strict=True)
            refused += [_refusal(one, title(code)) for one, code in codes if int(code) >= REFUSED]
        return refused

    async def unsubscribe(self, *topic_filters: str) -> None:
        """Ends subscriptions; the broker sends nothing more for them."""
        for one in topic_filters:
            if not topics.is_filter(one):
                raise ValueError(f"{one!r} is not a topic filter")
        for some in topics.packed(topic_filters, self.maximum_packet_size):
            await self._requests.ask(UnsubAckPacket, len(some), partial(UnsubscribePacket, patterns=some))

    def pause(self) -> None:
        """Stops reading until `resume`: network and broker hold the rest. The connection is kept alive meanwhile."""
        self.stream.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        self.stream.resume_reading()

    def acknowledge(self, *packet_ids: int | None) -> None:
        """Tells the broker, in this order, that it may forget the messages.

        Nothing for QoS 0, for what is acknowledged already, or once the connection is lost.
        """
        release = self._receiving.release
        held = [packet_id for packet_id in packet_ids if packet_id is not None and release(packet_id)]
        if held and self.stream.ended is None:
            self.stream.write(pubacks(held))

    async def open(self, packet: ConnectPacket) -> None:
        """Sends CONNECT on an open stream, and waits for CONNACK. Raises MqttError."""
        self.stream.write(packet.write())
        answer = await self._connack
        if int(answer.reason_code) >= REFUSED:
            who = f" as {packet.username}" if packet.username else ""
            raise MqttError(f"the broker refused us{who}: {title(answer.reason_code)}")
        self.stream.keep_alive(min(packet.keep_alive, answer.server_keep_alive or packet.keep_alive))

    def end_session(self) -> None:
        """Has the broker drop our session when the block is left."""
        self._ends_session = True

    async def watch(self) -> None:
        """Raises MqttError when the connection is lost."""
        raise MqttError(await asyncio.shield(self._end))

    async def close(self, *, with_will: bool) -> None:
        """Sends DISCONNECT if there still is a connection, and closes it in any case."""
        code = _CODES.DISCONNECT_WITH_WILL_MESSAGE if with_will else _CODES.NORMAL_DISCONNECTION
        expiry = 0 if self._ends_session else None
        self.stream.end(DisconnectPacket(reason_code=code, session_expiry_interval=expiry), "closed")
        await self.stream.closed(GOODBYE_SECONDS)

    # Called by the stream.

    def _received(self, packet: Acks | Packet | Unreadable) -> None:
        match packet:
            case Acks():
                self._acknowledged(packet.packet_ids, packet.code)
            case PublishPacket() if self._open:
                self._take(packet)
            case PubAckPacket():
                self._acknowledged([packet.packet_id], int(packet.reason_code))
            case SubAckPacket() | UnsubAckPacket():
                self._sending.answered(packet)(packet)
            case PingRespPacket() if self._open:
                pass
            case DisconnectPacket() if self._open:
                self.stream.drop(f"disconnected: {title(packet.reason_code)}")
            case Unreadable() if self._open:
                self._refuse(packet.packet_id, packet.reason)
            case ConnAckPacket() if not self._connack.done():
                self._accepted(packet)
            case _:
                raise PacketError(_CODES.PROTOCOL_ERROR, f"a {kind_of(packet)} at this moment")

    def _acknowledged(self, packet_ids: Iterable[int], code: int) -> None:
        for done, messages in self._sending.acknowledged(packet_ids):
            try:
                done(code, messages)
            except Exception as error:
                supervisor.failed("message", "an acknowledged message", error)
        if self._waiting:
            self._freed.set()

    def _too_large(self, packet_ids: list[int]) -> None:
        if self.stream.ended is None:
            self._acknowledged(packet_ids, PACKET_TOO_LARGE)

    def _accepted(self, packet: ConnAckPacket) -> None:
        self._open = int(packet.reason_code) < REFUSED
        self.session_present = packet.session_present
        self._sending.limit(packet.receive_max)
        if packet.max_packet_size is not None:
            self.maximum_packet_size = packet.max_packet_size
        self._connack.set_result(packet)

    def _take(self, packet: PublishPacket) -> None:
        """Handles a message; if that fails, the packets behind it are handled all the same."""
        packet_id = packet.packet_id
        if packet.topic_alias is not None:
            raise PacketError(_CODES.TOPIC_ALIAS_INVALID, "a topic alias, and we allow none")
        if packet_id is not None and not self._receiving.take(packet, packet_id):
            return
        topic = packet.topic
        if "+" in topic or "#" in topic or "\0" in topic:
            self._receiving.release(packet_id or 0)
            self._refuse(packet_id, f"a message on {topic[:100]!r}, which is not a topic")
        elif self._on_message is not None:
            try:
                self._on_message(self, packet)
            except Exception as error:
                supervisor.failed("message", "taking a message", error)

    def _refuse(self, packet_id: int | None, reason: str) -> None:
        """Rejects a bad message that a lenient broker passes on: after a reconnect it would only come again."""
        supervisor.failed("message", "a message's text", ValueError(reason))
        if packet_id is not None:
            self.stream.write(PubAckPacket(packet_id, reason_code=PubAckReasonCode.TOPIC_NAME_INVALID).write())

    def _ended(self, why: str) -> None:
        self._freed.set()  # wakes whoever waits to publish
        self._end.set_result(why)
        fail([self._connack], why)
        fail(self._acks, why)
        self._requests.fail(why)


def _refusal(topic_filter: str, why: str) -> str:
    return f"the broker refused the subscription to {topic_filter}: {why}"
