"""What can go wrong on a connection, and how those who wait hear of it."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from mqtt5 import DisconnectReasonCode

T = TypeVar("T")


class MqttError(Exception):
    """The connection could not be made, or is lost. The text says why; connect again."""


class SubscriptionError(MqttError):
    """The broker does not allow it; the connection goes on."""


class PacketError(Exception):
    """What came is not MQTT, or not what a broker may send: nothing that follows on the connection can be believed."""

    def __init__(self, reason_code: DisconnectReasonCode, what: str) -> None:
        super().__init__(what)
        self.reason_code = reason_code


def fail(waiting: Iterable[asyncio.Future[T]], why: str) -> None:
    """Not cancelled: whoever waits for one would pass for cancelled himself, and end without a word."""
    for one in list(waiting):
        if not one.done():
            one.set_exception(MqttError(why))
            one.exception()  # whether or not anybody waits for it
