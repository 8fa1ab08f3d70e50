"""Errors of a connection, and how they reach those who wait."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from mqtt5 import DisconnectReasonCode

T = TypeVar("T")


class MqttError(Exception):
    """The connection could not be opened, or is lost. The text says why; connect again."""


class SubscriptionError(MqttError):
    """The broker refuses the subscription; the connection stays."""


class PacketError(Exception):
    """The broker sent what is not MQTT, or not allowed: nothing that follows on the connection can be trusted."""

    def __init__(self, reason_code: DisconnectReasonCode, what: str) -> None:
        super().__init__(what)
        self.reason_code = reason_code


def fail(waiting: Iterable[asyncio.Future[T]], why: str) -> None:
    """Fails futures; cancelling them would look like a cancellation of the tasks that wait for them."""
    for one in list(waiting):
        if not one.done():
            one.set_exception(MqttError(why))
            one.exception()  # marks the exception as retrieved, whether or not anybody waits
