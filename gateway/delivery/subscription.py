"""Subscribes; a subscription that the broker refuses is logged and skipped."""

import asyncio

from gateway.delivery.control_topics import ControlTopics
from nexus import mqtt
from nexus.mqtt import SubscriptionError
from nexus.process import log


async def subscribe(control: ControlTopics, connection: mqtt.Connection, name: str, *, only_new: bool = False) -> bool:
    """Tells whether the broker grants the subscription. Raises MqttError when the connection is lost."""
    clock = asyncio.get_running_loop().time
    if control.is_excluded(name, clock()):
        return False
    try:
        await connection.subscribe(name, only_new=only_new)
    except SubscriptionError as error:
        if control.answered(name, clock(), taken=False):
            _say(name, error)
        return False
    except mqtt.MqttError as error:
        if mqtt.blames_a_message(connection.lost) and control.deny(name, clock()):
            _say(name, error)
        raise
    else:
        control.answered(name, clock(), taken=True)
        return True


def _say(name: str, error: mqtt.MqttError) -> None:
    """Logs a refusal, without the name in our receipt topic, which is a secret."""
    shown = f"{name.partition('/')[0]}/…" if name.startswith("receipt/") else name
    said = "the broker refuses a subscription, the rest works: check its ACL"
    log.get("gateway").error(said, filter=shown, reason=str(error).rpartition(": ")[2])
