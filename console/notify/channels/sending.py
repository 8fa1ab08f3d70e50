"""Sends a message by whatever channel its receiver has."""

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from console.notify.channels import alertmanager, email, mqtt, webhook
from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.email import Email
from console.notify.channels.mqtt import Mqtt, Publish
from console.notify.channels.names import Names
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
    """What the channel of one receiver needs: the plant's time zone, the console's address as browsers know it, the
    broker, and where its names are looked up."""

    zone: ZoneInfo
    address: str | None
    publish: Publish
    names: Names = field(default_factory=Names)


def name_of(channel: Channel) -> str:
    """Its key in the file."""
    return next(name for name, kind in CHANNELS.items() if isinstance(channel, kind))


def deadline(channel: Channel) -> float:
    """Seconds after which an attempt is cut, whatever it waits for."""
    if isinstance(channel, Email):
        return email.patience(channel) + email.QUIT_SECONDS + 1.0
    return 15.0 if isinstance(channel, Mqtt) else channel.timeout + 5.0


async def send(channel: Channel, message: Message, means: Means) -> str:
    """What the receiver answers. Raises LaterError, RefusedError and, of a mail, PartlyError."""
    match channel:
        case Email():
            return await email.send(channel, message, means.zone, means.address, means.names)
        case Webhook():
            return await webhook.send(channel, message, means.names)
        case Alertmanager():
            return await alertmanager.send(channel, message, means.address, means.names)
        case Mqtt():
            return await mqtt.send(channel, message, means.publish)
