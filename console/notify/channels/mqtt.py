"""A topic below `notify/`, through the console's own connection to the broker."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from console.notify.channels.outcome import LaterError, RefusedError
from console.notify.channels.parts import STRICT
from console.notify.message import Message, body
from nexus import mqtt
from nexus.contract import topic as topics

ROOT = "notify/"

_NOT_AUTHORIZED = 0x87
_NEVER = (0x90, 0x99)  # topic name invalid, payload format invalid

# Publishes with QoS 1, and gives the broker's reason code. Raises mqtt.MqttError while the broker is away.
Publish = Callable[[str, bytes], Awaitable[int]]


def _topic(text: str) -> str:
    if not text.startswith(ROOT) or topics.name_fault(text, path=True) is not None:
        raise ValueError("must be a topic below notify/, like notify/andon, without + and #")
    return text


class Mqtt(BaseModel):
    """`mqtt:` of a receiver."""

    model_config = STRICT
    topic: Annotated[str, AfterValidator(_topic)]


async def send(settings: Mqtt, message: Message, publish: Publish) -> str:
    """What the broker says. Raises LaterError and RefusedError."""
    try:
        code = await publish(settings.topic, body(message))
    except mqtt.MqttError as error:
        raise LaterError(f"the broker is away: {error}") from None
    if code == mqtt.NO_MATCHING_SUBSCRIBERS:
        raise LaterError(f"nobody subscribes to {settings.topic}")
    if code == _NOT_AUTHORIZED:  # its rules are mended one day, like a password
        raise LaterError(f"{mqtt.reason(code)}: the broker refuses our credentials: check its ACL for the user console")
    if code in _NEVER:
        raise RefusedError(f"{mqtt.reason(code)}: the broker refuses it")
    if code >= mqtt.REFUSED:  # a quota, say: it passes
        raise LaterError(f"{mqtt.reason(code)}: the broker does not take it now")
    return "taken by the broker"
