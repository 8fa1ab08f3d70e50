"""What is said beside the readings, and left out when the broker hangs up over it."""

from gateway.delivery.aside import MOST_TOPICS
from gateway.delivery.words import FIRST_PAUSE, FIRST_SECONDS, PATIENCE, STRIKES, Words

PRESENCE = "gateway/g/a"


def test_what_is_refused_is_left_out_for_a_growing_while() -> None:
    words = Words()
    words.out("status/a")
    words.out("status/b")
    assert words.answered("status/a", 0, taken=False)
    assert list(words.denied) == ["status/a"]
    assert words.is_left_out("status/a", FIRST_SECONDS - 1)
    words.lost(1)
    assert not words.may_say(1, others_suspected=False), "the broker may have hung up over it, without a word"
    words.out("status/b")
    assert words.hung_up(10, excused=False) == [], "it was the other one"
    assert not words.answered("status/a", FIRST_SECONDS, taken=False), "no news"
    assert words.is_left_out("status/a", 2 * FIRST_SECONDS)
    words.answered("status/a", 3 * FIRST_SECONDS, taken=True)
    assert not words.denied


def test_who_was_out_when_the_broker_hung_up_is_said_alone_and_left_out_the_second_time() -> None:
    words, now = Words(), 0.0
    for name in ("status/a", "status/b", "status/c", "status/d"):
        words.out(name)
    assert words.hung_up(now, excused=False) == []
    assert words.careful
    assert not words.may_say(now, others_suspected=False)
    now += FIRST_PAUSE
    assert words.may_say(now, others_suspected=False)
    assert not words.may_say(now, others_suspected=True)
    assert words.may_say(now + PATIENCE, others_suspected=True)
    words.out("status/a")
    words.answered("status/a", now, taken=True)
    words.out("status/b")
    assert words.hung_up(now, excused=False) == ["status/b"]
    assert words.is_left_out("status/b", now + 1)
    assert not words.is_left_out("status/c", now + 1)
    words.out("status/b")
    assert words.hung_up(now + 1000, excused=False) == [], "no news"
    assert words.is_left_out("status/b", now + 1000 + 1.5 * FIRST_SECONDS), "for longer"


def test_nobody_is_struck_for_what_others_did() -> None:
    words = Words()
    for _ in range(STRIKES + 1):
        words.out("status/a")
        assert words.hung_up(0, excused=True) == []
        words.out("status/a")
        words.lost(0)
    assert not words.careful


def test_presence_is_cleared_before_anything_else_is_tried() -> None:
    words = Words()
    words.urgent = PRESENCE
    words.out(PRESENCE)
    words.hung_up(0, excused=False)
    assert words.is_presence_in_doubt(1)
    assert not words.is_presence_in_doubt(1000), "not for ever"
    words.out(PRESENCE)
    words.answered(PRESENCE, 2, taken=True)
    assert not words.is_presence_in_doubt(2)


def test_what_is_refused_is_bounded_and_forgotten_with_its_device() -> None:
    words = Words()
    for number in range(MOST_TOPICS + 5):
        words.answered(f"status/{number}", 0, taken=False)
    assert len(words.denied) == MOST_TOPICS
    assert words.is_left_out(f"status/{MOST_TOPICS + 4}", 1)
    assert not words.is_left_out("status/0", 1), "the oldest is tried again"
    words.forget("status/7")
    assert not words.is_left_out("status/7", 1)
