"""Which topics are left out, and for how long."""

from gateway.delivery.aside import AGAIN_SECONDS, FIRST_SECONDS, LONGEST_SECONDS, MOST_TOPICS, SUSPECT_SECONDS, Aside


def test_a_denied_topic_is_tried_again_after_a_growing_pause() -> None:
    aside, now, pauses = Aside(), 0.0, []
    assert aside.deny("dev/a", now)
    assert not aside.deny("dev/a", now), "what was under way is denied too: no news"
    for _ in range(10):
        assert aside.holds("dev/a")
        assert aside.trial(now) is None
        began = now
        while aside.trial(now) is None:
            now += 60
        pauses.append(now - began)
        aside.tried("dev/a", taken=False, now=now)
    assert pauses[0] == FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_SECONDS
    now += LONGEST_SECONDS
    assert aside.trial(now) == "dev/a"
    aside.tried("dev/a", taken=True, now=now)
    assert not aside.holds("dev/a")


def test_of_many_suspects_the_guilty_one_alone_is_denied() -> None:
    aside = Aside()
    assert aside.disconnected(["dev/a", "dev/b", "dev/c"], 0) is None
    assert all(aside.holds(topic) for topic in ("dev/a", "dev/b", "dev/c"))
    assert aside.trial(1) == "dev/a"
    aside.tried("dev/a", taken=True, now=1)
    assert aside.trial(2) == "dev/b"
    assert aside.disconnected(["dev/x", "dev/b"], 2) == "dev/b"
    assert not aside.holds("dev/x"), "it had nothing to do with it"
    assert aside.trial(3) == "dev/c"
    aside.tried("dev/c", taken=True, now=3)
    assert aside.topics == ["dev/b"]


def test_a_suspect_without_a_message_lets_the_others_go_first() -> None:
    aside = Aside()
    aside.disconnected(["dev/a", "dev/b"], 0)
    assert aside.trial(1) == "dev/a"
    aside.untried("dev/a", 1)
    assert aside.trial(1) == "dev/b"


def test_all_sets_are_bounded() -> None:
    aside = Aside()
    topics = [f"dev/{number}" for number in range(MOST_TOPICS + 5)]
    aside.disconnected(topics, 0)
    for topic in topics:
        aside.nobody(topic)
    assert len(aside.topics) == 2 * MOST_TOPICS
    aside.somebody()
    assert len(aside.topics) == MOST_TOPICS
    for topic in topics:
        aside.deny(topic, 0)
    assert len(aside.denied) == MOST_TOPICS


def test_a_denied_topic_of_which_nothing_waits_is_forgotten() -> None:
    aside = Aside()
    aside.deny("dev/a", 0)
    assert aside.trial(FIRST_SECONDS) == "dev/a"
    aside.untried("dev/a", FIRST_SECONDS)
    assert not aside.denied
    assert not aside.holds_any


def test_a_denied_topic_of_a_device_that_is_polled_no_more_is_tried_soon() -> None:
    aside = Aside()
    aside.deny("dev/a", 0)
    aside.released("dev/a", 40)
    aside.released("dev/other", 40)
    assert aside.trial(41) == "dev/a"
    aside.tried("dev/a", taken=False, now=41)
    assert list(aside.denied) == ["dev/a"], "the disk has some of it"


def test_a_suspect_of_which_nothing_comes_is_forgotten() -> None:
    aside = Aside()
    aside.disconnected(["dev/a"], 0)
    for now in (1, SUSPECT_SECONDS):
        assert aside.trial(now) == "dev/a"
        aside.untried("dev/a", now)
    assert not aside.has_suspects
    assert not aside.holds_any


def test_a_new_connection_tries_what_is_denied_unless_a_denial_may_have_cost_the_last_one() -> None:
    aside = Aside()
    for now in (0.0, 1000.0, 3000.0, 9000.0):
        aside.trial(now)
        aside.tried("dev/a", taken=False, now=now)
    aside.connected(9000 + AGAIN_SECONDS - 1)
    assert aside.trial(9000 + AGAIN_SECONDS) is None
    aside.connected(9000 + AGAIN_SECONDS)
    assert aside.trial(9000 + AGAIN_SECONDS) == "dev/a"
