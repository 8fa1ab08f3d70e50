"""What paho is told of a subscription, and of a goodbye."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions


def subscription(*, only_new: bool) -> SubscribeOptions:
    """QoS 1; with `only_new` without what was retained before, and what is retained from now on says so."""
    handling = SubscribeOptions.RETAIN_DO_NOT_SEND if only_new else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
    return SubscribeOptions(qos=1, retainAsPublished=only_new, retainHandling=handling)


def goodbye(*, with_will: bool, ends_session: bool) -> tuple[ReasonCode, Properties]:
    """Reason and properties of a DISCONNECT."""
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
    if ends_session:
        properties.SessionExpiryInterval = 0
    name = "Disconnect with will message" if with_will else "Normal disconnection"
    return ReasonCode(PacketTypes.DISCONNECT, name), properties
