"""A message as it is handed on."""

from typing import NamedTuple

from nexus.runtime import packets
from nexus.runtime.packets import PacketError


class Message(NamedTuple):
    """A message. Of QoS 1, the broker holds it until it is acknowledged; of QoS 0 `mid` is 0, and nobody holds it.

    `answer_to` and `correlation` are there if its sender wants an answer; `by` says who that is, and `expiry` for how
    many seconds from now the message is valid, if the sender said so.
    """

    topic: str
    payload: bytes
    mid: int
    retained: bool = False
    answer_to: str | None = None
    correlation: bytes | None = None
    by: str | None = None
    expiry: int | None = None


def message(came: packets.Publish) -> Message:
    """What a PUBLISH says. Raises PacketError."""
    try:
        topic = came.topic.decode()
    except UnicodeDecodeError:
        raise PacketError("a topic that is not UTF-8") from None
    if not came.properties:
        return Message(topic, came.payload, came.mid, came.retained)
    return Message(topic, came.payload, came.mid, came.retained, *packets.properties(came.properties))
