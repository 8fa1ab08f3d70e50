"""The meaning of a broker's reason codes for a sender."""

from typing import Protocol

from mqtt5 import PubAckReasonCode

NO_MATCHING_SUBSCRIBERS = 0x10  # the broker accepted it, and had no subscriber for it
REFUSED = 0x80  # and above: reason codes of failure
PACKET_TOO_LARGE = 0x95  # our own code: the broker would end the connection
# Reasons for a disconnection that concern what was sent, and not who sent it.
_BLAMES = (
    "Not authorized",
    "Topic name invalid",
    "Packet too large",
    "Payload format invalid",
    "Retain not supported",
    "Implementation specific error",
)
# Unspecified, implementation specific, not authorized, quota exceeded: due to topic or time, not to the message itself.
_DENIED = frozenset({0x80, 0x83, 0x87, 0x97})


class ReasonCode(Protocol):
    """The reason codes of `mqtt5`, an enum per kind of packet: typed as integers, but not integers."""

    @property
    def name(self) -> str: ...


def is_denied(code: int) -> bool:
    """Whether a PUBACK's reason code refuses the topic, for now or for good, whatever the message."""
    return code in _DENIED


def blames_a_message(lost: str | None) -> bool:
    """Whether the broker ended a connection because of something that was sent; `lost` is the connection's."""
    return lost is not None and any(name in lost for name in _BLAMES)


def title(code: ReasonCode) -> str:
    """The name of a packet's reason code, for people."""
    return code.name.replace("_", " ").capitalize()


# By reason code of a PUBACK.
TITLES = {
    int(code): title(code)
    for code in (getattr(PubAckReasonCode, name) for name in dir(PubAckReasonCode) if name.isupper())
}


def reason(code: int) -> str:
    """The name of a PUBACK's reason code."""
    return "Packet too large" if code == PACKET_TOO_LARGE else TITLES[code]
