"""Which topics are left out, and for how long."""

from gateway.delivery.blocked_topics import (
    AGAIN_SECONDS,
    FIRST_SECONDS,
    LONGEST_SECONDS,
    MOST_TOPICS,
    SUSPECT_SECONDS,
    BlockedTopics,
)


def test_a_denied_topic_is_tried_again_after_a_growing_pause() -> None:
    blocked, now, pauses = BlockedTopics(), 0.0, []
    assert blocked.deny("dev/a", now)
    assert not blocked.deny("dev/a", now), "what was under way is denied too: no news"
    for _ in range(10):
        assert blocked.blocks("dev/a")
        assert blocked.trial(now) is None
        began = now
        while blocked.trial(now) is None:
            now += 60
        pauses.append(now - began)
        blocked.finish_trial("dev/a", taken=False, now=now)
    assert pauses[0] == FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_SECONDS
    now += LONGEST_SECONDS
    assert blocked.trial(now) == "dev/a"
    blocked.finish_trial("dev/a", taken=True, now=now)
    assert not blocked.blocks("dev/a")


def test_of_many_suspects_the_guilty_one_alone_is_denied() -> None:
    blocked = BlockedTopics()
    assert blocked.suspect(["dev/a", "dev/b", "dev/c"], 0) is None
    assert all(blocked.blocks(topic) for topic in ("dev/a", "dev/b", "dev/c"))
    assert blocked.trial(1) == "dev/a"
    blocked.finish_trial("dev/a", taken=True, now=1)
    assert blocked.trial(2) == "dev/b"
    assert blocked.suspect(["dev/x", "dev/b"], 2) == "dev/b"
    assert not blocked.blocks("dev/x"), "it had nothing to do with it"
    assert blocked.trial(3) == "dev/c"
    blocked.finish_trial("dev/c", taken=True, now=3)
    assert blocked.topics == ["dev/b"]


def test_a_suspect_without_a_message_lets_the_others_go_first() -> None:
    blocked = BlockedTopics()
    blocked.suspect(["dev/a", "dev/b"], 0)
    assert blocked.trial(1) == "dev/a"
    blocked.skip_trial("dev/a", 1)
    assert blocked.trial(1) == "dev/b"


def test_all_sets_are_bounded() -> None:
    blocked = BlockedTopics()
    topics = [f"dev/{number}" for number in range(MOST_TOPICS + 5)]
    blocked.suspect(topics, 0)
    for topic in topics:
        blocked.no_subscribers(topic)
    assert len(blocked.topics) == 2 * MOST_TOPICS
    blocked.may_have_subscribers()
    assert len(blocked.topics) == MOST_TOPICS
    for topic in topics:
        blocked.deny(topic, 0)
    assert len(blocked.denied) == MOST_TOPICS


def test_a_denied_topic_of_which_nothing_waits_is_forgotten() -> None:
    blocked = BlockedTopics()
    blocked.deny("dev/a", 0)
    assert blocked.trial(FIRST_SECONDS) == "dev/a"
    blocked.skip_trial("dev/a", FIRST_SECONDS)
    assert not blocked.denied
    assert not blocked.blocks_any


def test_a_denied_topic_of_a_device_that_is_polled_no_more_is_tried_soon() -> None:
    blocked = BlockedTopics()
    blocked.deny("dev/a", 0)
    blocked.release("dev/a", 40)
    blocked.release("dev/other", 40)
    assert blocked.trial(41) == "dev/a"
    blocked.finish_trial("dev/a", taken=False, now=41)
    assert list(blocked.denied) == ["dev/a"], "the disk has some of it"


def test_a_suspect_of_which_nothing_comes_is_forgotten() -> None:
    blocked = BlockedTopics()
    blocked.suspect(["dev/a"], 0)
    for now in (1, SUSPECT_SECONDS):
        assert blocked.trial(now) == "dev/a"
        blocked.skip_trial("dev/a", now)
    assert not blocked.has_suspects
    assert not blocked.blocks_any


def test_a_new_connection_tries_what_is_denied_unless_a_denial_may_have_cost_the_last_one() -> None:
    blocked = BlockedTopics()
    for now in (0.0, 1000.0, 3000.0, 9000.0):
        blocked.trial(now)
        blocked.finish_trial("dev/a", taken=False, now=now)
    blocked.connected(9000 + AGAIN_SECONDS - 1)
    assert blocked.trial(9000 + AGAIN_SECONDS) is None
    blocked.connected(9000 + AGAIN_SECONDS)
    assert blocked.trial(9000 + AGAIN_SECONDS) == "dev/a"
