"""What the rules know of how far the broker is with what it has kept for them."""

from ingestion.rules.progress import FRESH_MS, MARK_SECONDS, SILENT_SECONDS, Progress

NOW = 1_700_000_000_000


def subscribed() -> Progress:
    made = Progress()
    made.subscribed(0.0)
    return made


def test_a_mark_that_comes_back_tells_that_all_before_it_has_come() -> None:
    one = subscribed()
    assert one.wants_mark(0.0)
    one.marked(b"mark", NOW, 0.0)
    assert not one.wants_mark(MARK_SECONDS)
    one.evaluated(NOW - 600_000, NOW, is_queued=True)
    one.returned(b"another", NOW)
    assert one.until(5.0, NOW + 5_000) == 0
    one.returned(b"mark", NOW)
    assert one.until(5.0, NOW + 5_000) == NOW + 5_000
    assert not one.wants_mark(5.0)


def test_what_comes_late_after_that_wants_another_mark_and_takes_nothing_back() -> None:
    one = subscribed()
    one.marked(b"mark", NOW, 0.0)
    one.returned(b"mark", NOW)
    one.evaluated(NOW - 600_000, NOW, is_queued=True)
    assert one.until(2.0, NOW + 2_000) == NOW
    assert one.wants_mark(MARK_SECONDS)


def test_a_fresh_input_of_the_queue_tells_so_as_well() -> None:
    one = subscribed()
    one.evaluated(NOW, NOW, is_queued=False)
    assert one.until(0.0, NOW) == 0, "at QoS 0 it overtakes the queue"
    one.evaluated(NOW + FRESH_MS + 1, NOW, is_queued=True)
    assert one.until(0.0, NOW) == 0, "of a clock that is ahead"
    one.evaluated(NOW - FRESH_MS, NOW, is_queued=True)
    assert one.until(0.0, NOW) == NOW


def test_a_long_silence_is_enough_where_no_mark_comes_back() -> None:
    one = subscribed()
    one.marked(b"mark", NOW, 0.0)
    one.heard(1.0)
    assert one.until(SILENT_SECONDS, NOW) == 0
    assert one.until(SILENT_SECONDS + 1, NOW) == NOW
    assert one.wants_mark(SILENT_SECONDS)


def test_without_a_broker_nothing_is_known() -> None:
    one = subscribed()
    one.evaluated(NOW, NOW, is_queued=True)
    one.away()
    assert one.until(100.0, NOW) == 0
    assert not one.wants_mark(100.0)
    one.subscribed(101.0)
    assert one.until(101.0, NOW) == 0


def test_inputs_that_keep_waiting_hold_up_nothing_that_was_due_before_they_came() -> None:
    one = subscribed()
    one.marked(b"mark", NOW - 10, 0.0)
    one.waiting_since = NOW - 5
    one.returned(b"mark", NOW)
    assert one.until(1.0, NOW + 1_000) == 0, "what was kept is not evaluated yet"
    one.waiting_since = NOW + 700
    assert one.until(1.0, NOW + 1_000) == NOW + 700
    assert one.behind(NOW + 1_000) == 0.3
    one.waiting_since = None
    assert one.until(1.0, NOW + 1_000) == NOW + 1_000
    assert one.behind(NOW + 1_000) == 0


def test_silence_tells_nothing_while_something_waits() -> None:
    one = subscribed()
    one.waiting_since = NOW
    assert one.until(SILENT_SECONDS, NOW + 40_000) == 0
    one.waiting_since = None
    assert one.until(SILENT_SECONDS, NOW + 40_000) == NOW + 40_000
