"""What a broker's reason codes mean to a sender."""

from typing import Protocol

from mqtt5 import PubAckReasonCode

NO_MATCHING_SUBSCRIBERS = 0x10  # the broker took it, and had no subscriber to give it to
REFUSED = 0x80  # and above: reason codes of failure
PACKET_TOO_LARGE = 0x95  # of ours: the broker would end the connection
# Why brokers disconnect over what was sent, and not over who sent it.
_BLAMES = (
    "Not authorized",
    "Topic name invalid",
    "Packet too large",
    "Payload format invalid",
    "Retain not supported",
    "Implementation specific error",
)
# Unspecified, implementation specific, not authorized, quota exceeded: of the topic or the moment, not of the message.
_DENIED = frozenset({0x80, 0x83, 0x87, 0x97})


class ReasonCode(Protocol):
    """As `mqtt5` has them for each kind of packet: they say that they are integers, and are not."""

    @property
    def name(self) -> str: ...


def is_denied(code: int) -> bool:
    """Whether a PUBACK's reason code says that the broker takes this message later or never, whatever is in it."""
    return code in _DENIED


def blames_a_message(lost: str | None) -> bool:
    """Whether the broker ended a connection over something that was sent; `lost` is the connection's."""
    return lost is not None and any(name in lost for name in _BLAMES)


def title(code: ReasonCode) -> str:
    """The name of a packet's reason code, for people."""
    return code.name.replace("_", " ").capitalize()


# Of the reason codes that a PUBACK may have.
TITLES = {
    int(code): title(code)
    for code in (getattr(PubAckReasonCode, name) for name in dir(PubAckReasonCode) if name.isupper())
}


def reason(code: int) -> str:
    """The name of a PUBACK's reason code."""
    return "Packet too large" if code == PACKET_TOO_LARGE else TITLES[code]
