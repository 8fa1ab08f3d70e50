"""What is in flight on a connection."""

import pytest
from mqtt5 import PublishPacket, QoS

from nexus.mqtt.errors import PacketError
from nexus.mqtt.session import Receiving, Sending


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


def test_acknowledgements_in_a_row_of_what_was_sent_together_are_told_together() -> None:
    def one(code: int, messages: int) -> None: ...

    def other(code: int, messages: int) -> None: ...

    sending = Sending()
    first, second = sending.take(one, 3), sending.take(other, 2)
    assert sending.acknowledged([*first[:2], *second, first[2]]) == [(one, 2), (other, 2), (one, 1)]


def test_an_acknowledgement_of_what_was_not_sent_is_an_error() -> None:
    sending = Sending()
    [sent] = sending.take(lambda *_: None)
    assert sending.acknowledged([sent])
    with pytest.raises(PacketError, match=f"PUBACK for packet id {sent}, which we have not sent"):
        sending.acknowledged([sent])
