"""What is in flight on a connection."""

from mqtt5 import PublishPacket, QoS

from nexus.mqtt.session import Receiving


def message(*, duplicate: bool = False) -> PublishPacket:
    return PublishPacket("a", b"x", qos=QoS.AT_LEAST_ONCE, packet_id=5, duplicate=duplicate)


def test_a_broker_that_uses_a_packet_id_twice_gets_two_acknowledgements() -> None:
    """Mosquitto 2.0 does, when more messages wait than there are ids; ending the connection would bring it again."""
    receiving = Receiving()
    assert receiving.take(message(), 5)
    assert receiving.take(message(), 5)
    assert [receiving.release(5) for _ in range(3)] == [True, True, False]


def test_what_is_sent_again_while_we_hold_it_is_taken_once() -> None:
    receiving = Receiving()
    assert receiving.take(message(), 5)
    assert not receiving.take(message(duplicate=True), 5)
    assert [receiving.release(5) for _ in range(2)] == [True, False]
    assert receiving.take(message(duplicate=True), 5)
