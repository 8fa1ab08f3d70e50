"""Messages in flight on one connection, both ways, and their limits. Pure."""

from collections.abc import Callable, Iterable
from itertools import groupby

from mqtt5 import DisconnectReasonCode, PublishPacket, SubAckPacket, UnsubAckPacket

from nexus.mqtt.errors import PacketError

WINDOW = 1000  # unacknowledged messages; those lost with the connection are sent again
RESERVED = 8  # of the window, for `publish(…, urgent=True)`: a full window must not silence what keeps us alive
_LAST_MESSAGE, _LAST_ID = 65_000, 65_535  # packet ids: the rest is for SUBSCRIBE and UNSUBSCRIBE

Done = Callable[[int, int], None]  # a reason code, and for how many messages
Answer = SubAckPacket | UnsubAckPacket


class Sending:
    """Our packet ids, and the callbacks for their answers: as many messages as the broker's receive maximum allows."""

    def __init__(self) -> None:
        self.window = WINDOW
        self.reserved = 0
        self.messages: dict[int, Done] = {}
        self._requests: dict[int, tuple[type[Answer], int, Callable[[Answer], None]]] = {}
        self._next = 1

    def limit(self, receive_max: int) -> None:
        """Applies the broker's receive maximum."""
        window = min(WINDOW, receive_max)
        self.reserved = min(RESERVED, window // 2)
        self.window = window - self.reserved

    def take(self, done: Done, count: int = 1) -> list[int]:
        """The packet ids of `count` messages that are about to be sent."""
        messages, packet_id, taken = self.messages, self._next, []
        for _ in range(count):
            while packet_id in messages:
                packet_id = packet_id + 1 if packet_id < _LAST_MESSAGE else 1
            messages[packet_id] = done
            taken.append(packet_id)
            packet_id = packet_id + 1 if packet_id < _LAST_MESSAGE else 1
        self._next = packet_id
        return taken

    def forget(self, packet_ids: list[int]) -> None:
        """The messages are not sent after all."""
        for packet_id in packet_ids:
            del self.messages[packet_id]

    def acknowledged(self, packet_ids: Iterable[int]) -> list[tuple[Done, int]]:
        """Who waits for these PUBACKs, and for how many of them in a row. Raises PacketError."""
        try:
            return [(done, len(list(same))) for done, same in groupby(map(self.messages.pop, packet_ids))]
        except KeyError as error:
            raise unexpected("PUBACK", error.args[0]) from None

    def ask(self, kind: type[Answer], filters: int, answered: Callable[[Answer], None]) -> int:
        """The packet id of a SUBSCRIBE or UNSUBSCRIBE of so many filters that is about to be sent."""
        free = (packet_id for packet_id in range(_LAST_MESSAGE + 1, _LAST_ID + 1) if packet_id not in self._requests)
        packet_id = next(free)
        self._requests[packet_id] = (kind, filters, answered)
        return packet_id

    def answered(self, packet: Answer) -> Callable[[Answer], None]:
        """Who waits for a SUBACK or UNSUBACK. Raises PacketError."""
        kind, filters, answered = self._requests.get(packet.packet_id, (None, 0, None))
        if answered is None or kind is not type(packet):
            raise unexpected(kind_of(packet), packet.packet_id)
        if (codes := len(packet.reason_codes)) != filters:
            wanted = "one filter" if filters == 1 else f"{filters} filters"
            raise _violation(f"a {kind_of(packet)} with {codes} reason codes for {wanted}")
        del self._requests[packet.packet_id]
        return answered


class Receiving:
    """Messages that we have not acknowledged yet; each is handed on once, and acknowledged once.

    More of them than our receive maximum do not end the connection: Mosquitto 2.0 sends its whole queue after the first
    PUBACK, and would never get rid of it. With more than 65,535 it uses packet ids twice at a time, so each is counted.
    The receiver stops reading when it holds enough.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}  # how often each is held, by packet id

    def take(self, packet: PublishPacket, packet_id: int) -> bool:
        """Whether to hand the message on: not if we hold it already. Raises PacketError."""
        if packet.duplicate and packet_id in self._held:  # EMQX's `retry_interval`
            return False
        if not packet_id:
            raise _violation("a PUBLISH with packet id 0")
        self._held[packet_id] = self._held.get(packet_id, 0) + 1
        return True

    def release(self, packet_id: int) -> bool:
        """Releases a message; tells whether the broker waits for its acknowledgement."""
        held = self._held.get(packet_id, 0)
        if held > 1:
            self._held[packet_id] = held - 1
        elif held:
            del self._held[packet_id]
        return held > 0


def kind_of(packet: object) -> str:
    """The kind of a packet, as the specification names it."""
    return title_of(type(packet))


def title_of(kind: type[object]) -> str:
    """The name of this kind of packet in the specification."""
    return kind.__name__.removesuffix("Packet").upper()


def unexpected(kind: str, packet_id: int) -> PacketError:
    """The error for an answer to something that we have not sent."""
    return _violation(f"a {kind} for packet id {packet_id}, which we have not sent")


def _violation(text: str) -> PacketError:
    return PacketError(DisconnectReasonCode.PROTOCOL_ERROR, text)
