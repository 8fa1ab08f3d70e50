"""A test message to one receiver, as `nexus notify test` sends it."""

import secrets

from console.notify.channels import sending
from console.notify.channels.mqtt import Publish
from console.notify.channels.sending import Means
from console.notify.config import Config
from console.notify.message import Message
from nexus import mqtt


async def send_test(config: Config, receiver: str, address: str | None, environment: str) -> str:
    """What the receiver answers. Raises LaterError, RefusedError, and ConfigError for the broker's settings."""
    message = Message(secrets.token_hex(16), receiver, "", "test")
    means = Means(config.routes.zone, address, _publish(environment))
    return await sending.send(config.receivers[receiver].channel, message, means)


def _publish(environment: str) -> Publish:
    """By a connection of its own, made when it is needed."""

    async def publish(topic: str, payload: bytes) -> int:
        client = mqtt.Client(f"notify-test-{secrets.token_hex(6)}")
        broker = mqtt.settings.load(environment)
        async with mqtt.connect(broker, client, lambda _, __: None) as connection:
            return await (await connection.publish(topic, payload))

    return publish
