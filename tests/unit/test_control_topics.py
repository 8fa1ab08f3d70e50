"""What is said beside the readings, and left out when the broker hangs up over it."""

from gateway.delivery.blocked_topics import MOST_TOPICS
from gateway.delivery.control_topics import FIRST_PAUSE, FIRST_SECONDS, PATIENCE, STRIKES, ControlTopics

PRESENCE = "gateway/g/a"


def test_what_is_refused_is_left_out_for_a_growing_while() -> None:
    control = ControlTopics()
    control.sent("status/a")
    control.sent("status/b")
    assert control.answered("status/a", 0, taken=False)
    assert list(control.denied) == ["status/a"]
    assert control.is_excluded("status/a", FIRST_SECONDS - 1)
    control.connection_lost(1)
    assert not control.may_send(1, others_suspected=False), "the broker may have hung up over it, without a word"
    control.sent("status/b")
    assert control.disconnected(10, excused=False) == [], "it was the other one"
    assert not control.answered("status/a", FIRST_SECONDS, taken=False), "no news"
    assert control.is_excluded("status/a", 2 * FIRST_SECONDS)
    control.answered("status/a", 3 * FIRST_SECONDS, taken=True)
    assert not control.denied


def test_who_was_out_when_the_broker_hung_up_is_said_alone_and_left_out_the_second_time() -> None:
    control, now = ControlTopics(), 0.0
    for name in ("status/a", "status/b", "status/c", "status/d"):
        control.sent(name)
    assert control.disconnected(now, excused=False) == []
    assert control.careful
    assert not control.may_send(now, others_suspected=False)
    now += FIRST_PAUSE
    assert control.may_send(now, others_suspected=False)
    assert not control.may_send(now, others_suspected=True)
    assert control.may_send(now + PATIENCE, others_suspected=True)
    control.sent("status/a")
    control.answered("status/a", now, taken=True)
    control.sent("status/b")
    assert control.disconnected(now, excused=False) == ["status/b"]
    assert control.is_excluded("status/b", now + 1)
    assert not control.is_excluded("status/c", now + 1)
    control.sent("status/b")
    assert control.disconnected(now + 1000, excused=False) == [], "no news"
    assert control.is_excluded("status/b", now + 1000 + 1.5 * FIRST_SECONDS), "for longer"


def test_nobody_is_struck_for_what_others_did() -> None:
    control = ControlTopics()
    for _ in range(STRIKES + 1):
        control.sent("status/a")
        assert control.disconnected(0, excused=True) == []
        control.sent("status/a")
        control.connection_lost(0)
    assert not control.careful


def test_presence_is_cleared_before_anything_else_is_tried() -> None:
    control = ControlTopics()
    control.urgent = PRESENCE
    control.sent(PRESENCE)
    control.disconnected(0, excused=False)
    assert control.is_presence_in_doubt(1)
    assert not control.is_presence_in_doubt(1000), "not for ever"
    control.sent(PRESENCE)
    control.answered(PRESENCE, 2, taken=True)
    assert not control.is_presence_in_doubt(2)


def test_what_is_refused_is_bounded_and_forgotten_with_its_device() -> None:
    control = ControlTopics()
    for number in range(MOST_TOPICS + 5):
        control.answered(f"status/{number}", 0, taken=False)
    assert len(control.denied) == MOST_TOPICS
    assert control.is_excluded(f"status/{MOST_TOPICS + 4}", 1)
    assert not control.is_excluded("status/0", 1), "the oldest is tried again"
    control.forget("status/7")
    assert not control.is_excluded("status/7", 1)
