"""Sends a message by whatever channel its receiver has."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from console.notify.channels import alertmanager, email, mqtt, webhook
from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.email import Email
from console.notify.channels.mqtt import Mqtt, Publish
from console.notify.channels.webhook import Webhook
from console.notify.message import Message

Channel = Email | Webhook | Alertmanager | Mqtt
CHANNELS: dict[str, type[Channel]] = {
    "email": Email,
    "webhook": Webhook,
    "alertmanager": Alertmanager,
    "mqtt": Mqtt,
}


@dataclass(frozen=True)
class Means:
    """What channels need: the plant's time zone, the console's address as browsers know it, and the broker."""

    zone: ZoneInfo
    address: str | None
    publish: Publish


def name_of(channel: Channel) -> str:
    """Its key in the file."""
    return next(name for name, kind in CHANNELS.items() if isinstance(channel, kind))


def deadline(channel: Channel) -> float:
    """Seconds after which an attempt is cut, whatever it waits for."""
    return 15.0 if isinstance(channel, Mqtt) else channel.timeout + 5.0


async def send(channel: Channel, message: Message, means: Means) -> str:
    """What the receiver answers. Raises LaterError and RefusedError."""
    match channel:
        case Email():
            return await email.send(channel, message, means.zone, means.address)
        case Webhook():
            return await webhook.send(channel, message)
        case Alertmanager():
            return await alertmanager.send(channel, message, means.address)
        case Mqtt():
            return await mqtt.send(channel, message, means.publish)
