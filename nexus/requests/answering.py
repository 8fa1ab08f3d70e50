"""Who asks by MQTT, and answers, on the topic and with the correlation data that a request names."""

import asyncio

from nexus import mqtt
from nexus.contract.command import ANSWERS
from nexus.process import log

ANSWER_SECONDS = 5.0  # an answer that the broker does not take for so long is not sent


def sender(message: mqtt.Message) -> str | None:
    """Who asks, by the message's user property `by`, which counts more than what the payload says."""
    return next((value for key, value in message.user_properties if key == "by"), None)


def is_misled(message: mqtt.Message) -> bool:
    """Whether it wants the answer where we would speak in our own name: we may publish in many places."""
    return message.response_topic is not None and not message.response_topic.startswith(ANSWERS)


async def send(connection: mqtt.Connection, message: mqtt.Message, payload: bytes) -> None:
    """Answers a message, if it wants that."""
    if (to := message.response_topic) is None:
        return
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            sent = connection.publish(to, payload, correlation=message.correlation_data)
            code = await (await sent)
        reason = mqtt.reason(code) if code >= mqtt.REFUSED else None
    except TimeoutError:
        reason = "the broker did not acknowledge it in time"
    except (mqtt.MqttError, ValueError) as error:  # ValueError: it is not a topic to publish on
        reason = str(error)
    if reason is not None:
        log.get("command").warning("the answer could not be sent", topic=to, reason=reason)
