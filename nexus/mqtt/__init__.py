"""Our MQTT 5 client, based on the codec `mqtt5`."""

from nexus.mqtt import settings
from nexus.mqtt.broker import Broker, Client, Tls, Will
from nexus.mqtt.client import connect
from nexus.mqtt.connection import Connection, Message, OnMessage
from nexus.mqtt.errors import MqttError, SubscriptionError
from nexus.mqtt.reasons import NO_MATCHING_SUBSCRIBERS, PACKET_TOO_LARGE, REFUSED, blames_a_message, is_denied, reason
from nexus.mqtt.reconnect import stay_connected
from nexus.mqtt.topics import is_filter, matches

__all__ = [
    "NO_MATCHING_SUBSCRIBERS",
    "PACKET_TOO_LARGE",
    "REFUSED",
    "Broker",
    "Client",
    "Connection",
    "Message",
    "MqttError",
    "OnMessage",
    "SubscriptionError",
    "Tls",
    "Will",
    "blames_a_message",
    "connect",
    "is_denied",
    "is_filter",
    "matches",
    "reason",
    "settings",
    "stay_connected",
]
