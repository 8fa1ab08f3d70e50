"""An MQTT 5 client that is none of ours, for asking gateways and hearing what they say."""

import json
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.parts import until


def of(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


@dataclass
class Heard:
    topic: str
    payload: bytes
    retained: bool
    correlation: bytes | None
    at: float  # epoch seconds, by our clock

    @property
    def content(self) -> Any:
        return json.loads(self.payload)


class Asker:
    """Connects, and subscribes to `topics`; ends with its block."""

    def __init__(self, url: str, *topics: str) -> None:
        where = urlsplit(url)
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if where.username:
            self._client.username_pw_set(where.username, where.password)
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(where.hostname or "", where.port or 1883, properties=of(PacketTypes.CONNECT))
        self._number = 0

    def __enter__(self) -> "Asker":
        self._client.loop_start()
        assert self._subscribed.wait(10), "no subscription"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _c: object, _u: object, message: paho.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain, correlation, time.time()))

    def tell(
        self,
        topic: str,
        payload: bytes | str | dict[str, Any],
        *,
        qos: int = 1,
        retain: bool = False,
        answer_to: str | None = None,
        correlation: bytes | None = None,
        by: str | None = None,
        expiry: int | None = None,
    ) -> None:
        properties = of(PacketTypes.PUBLISH)
        if answer_to is not None:
            properties.ResponseTopic = answer_to
        if correlation is not None:
            properties.CorrelationData = correlation
        if by is not None:
            properties.UserProperty = ("by", by)
        if expiry is not None:
            properties.MessageExpiryInterval = expiry
        data = json.dumps(payload) if isinstance(payload, dict) else payload
        self._client.publish(topic, data, qos, retain, properties).wait_for_publish(10)

    def ask(self, topic: str, payload: bytes | str | dict[str, Any], **keys: Any) -> dict[str, Any]:
        """Asks, and waits for the answer."""
        self._number += 1
        number = b"%d" % self._number
        self.tell(topic, payload, answer_to="answer/asker", correlation=number, **keys)
        return until(lambda: self.answers(number), f"an answer to {payload!r}")[0]

    def answers(self, correlation: bytes) -> list[dict[str, Any]]:
        return [one.content for one in self.heard if one.correlation == correlation and one.topic.startswith("answer/")]

    def on(self, topic: str) -> list[Any]:
        """What was said on a topic."""
        return [one.content for one in self.heard if one.topic == topic]

    def values(self, topic: str) -> list[Any]:
        return [content["v"] for content in self.on(topic)]
