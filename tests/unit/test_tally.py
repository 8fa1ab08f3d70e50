"""What is counted of a device's readings, and that the sums come out."""

import random

import pytest

from gateway.polling import tally as tallies
from gateway.polling.tally import Tally, by_hour
from nexus.contract.codec import DecodeError, numbered
from nexus.contract.completeness import HOUR_MS, Completeness, Counts, decode_completeness, encode_completeness
from nexus.contract.reading import Reading

AT = 500_000 * HOUR_MS
RUN = "0123456789abcdef"


def scan(time: int, *tags: str) -> list[Reading]:
    return [Reading(tag, time, 1) for tag in tags]


def test_readings_count_in_the_hour_of_their_own_time() -> None:
    own = Tally()
    edge = [Reading("a", AT - 1, 1), Reading("b", AT, 1), Reading("c", AT + 5, 1)]
    assert by_hour(edge) == {AT // HOUR_MS - 1: 1, AT // HOUR_MS: 2}
    assert by_hour([]) == {}
    own.read(edge, AT + 5)
    own.sent(edge[:2], AT + 5)
    own.unread("away", 7, AT + 5)
    rows = {one.hour: one for one in own.rows(RUN, AT + 9)}
    assert rows[AT - HOUR_MS] == Counts(AT - HOUR_MS, f"{RUN}1", AT + 5, AT + 9, read=1, sent=1)
    assert rows[AT] == Counts(AT, f"{RUN}2", AT + 5, AT + 9, read=2, sent=1, away=7)


def test_a_device_that_says_nothing_was_watched_all_the_same() -> None:
    own = Tally()
    assert own.rows(RUN, AT) == []
    own.watched(AT)
    assert own.rows(RUN, AT) == [Counts(AT, f"{RUN}1", AT, AT)]
    own.watched(AT + 60_000)
    assert own.rows(RUN, AT + 60_000) == [Counts(AT, f"{RUN}1", AT, AT + 60_000)]


def test_the_same_tag_at_the_same_time_is_repeated() -> None:
    own = Tally()
    own.sent(scan(AT, "a", "b"), AT)
    own.sent([Reading("a", AT + 1, 1), Reading("b", AT + 2, 1)], AT)
    own.sent([Reading("a", AT + 1, 1), Reading("b", AT + 3, 1)], AT)  # the source's clock: a has not changed
    own.sent([Reading("a", AT + 1, 1), Reading("b", AT + 3, 1)], AT)
    own.sent(scan(AT + 9, "a", "b"), AT)
    [row] = own.rows(RUN, AT)
    assert (row.sent, row.repeated) == (10, 3)


def test_what_had_been_sent_is_receipted_but_for_what_was_dropped() -> None:
    own = Tally()
    own.sent(scan(AT, "a", "b", "c"), AT)
    hour, number = own.hours[AT // HOUR_MS], AT // HOUR_MS
    own.sent(scan(AT + 1, "a"), AT)
    own.dropped({number: 1}, AT)
    own.settled(number, hour, 3)
    [row] = own.rows(RUN, AT)
    assert (row.sent, row.receipted, row.dropped) == (4, 2, 1)
    assert [hour.is_settled] == [False]
    own.settled(number, hour, 4)
    assert (hour.is_settled, hour.missing) == (True, 1)


def test_an_hour_is_let_go_when_it_is_over_and_settled_and_counted_anew_if_more_comes() -> None:
    own = Tally()
    own.sent(scan(AT, "a"), AT)
    later = AT + 3 * HOUR_MS
    own.rows(RUN, later)
    assert AT // HOUR_MS in own.hours, "its receipt has not come"
    own.settled(AT // HOUR_MS, own.hours[AT // HOUR_MS], 1)
    own.rows(RUN, later)
    assert AT // HOUR_MS not in own.hours
    own.sent(scan(AT + 1, "a"), later)
    rows = [one for one in own.rows(RUN, later) if one.hour == AT]
    assert [(one.run, one.sent) for one in rows] == [(f"{RUN}2", 1)]


def test_what_was_missing_of_an_hour_is_known_for_two_days_after_it_is_let_go() -> None:
    own = Tally()
    own.unread("away", 3, AT)
    first = AT // HOUR_MS
    for hours in (0, 3, 40):
        own.rows(RUN, AT + hours * HOUR_MS)
        assert (own.missing(first), own.missing(first + 1)) == (3, 0)
    own.watched(AT + 60 * HOUR_MS)
    own.rows(RUN, AT + 60 * HOUR_MS)
    assert own.missing(first) == 0


def test_what_a_device_says_of_ever_so_many_hours_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_MOST_HOURS", 50)
    own = Tally()
    own.sent([Reading(f"t{n}", AT - n * HOUR_MS, 1) for n in range(1000)], AT)
    assert len(own.rows(RUN, AT)) == 200
    assert len(own.hours) <= 50
    assert len(own.rows(RUN, AT)) <= 50


def test_whatever_happens_the_sums_come_out() -> None:
    choose, own = random.Random(7), Tally()
    read = marked = sent = unread = 0
    largest: dict[tuple[int, str], Counts] = {}
    for step in range(3000):
        now = AT + step * 10_000
        readings = scan(now, *"abc"[: choose.randint(1, 3)])
        match choose.randint(0, 3):
            case 0:
                own.unread(choose.choice(("away", "resting", "overran")), 3, now)
                unread += 3
            case 1:
                own.marked(readings, now)
                own.sent(readings, now)
                marked, sent = marked + len(readings), sent + len(readings)
            case _:
                worth = readings[: choose.randint(0, 3)]
                own.read(readings, now)
                own.sent(worth, now)
                read, sent = read + len(readings), sent + len(worth)
        for number, hour in list(own.hours.items()):
            if choose.random() < 0.1:
                own.settled(number, hour, hour.sent)
        if choose.random() < 0.2:
            for row in own.rows(RUN, now):
                largest[row.hour, row.run] = row  # the last word has all of the ones before
    for row in own.rows(RUN, AT + 3000 * 10_000):
        largest[row.hour, row.run] = row
    rows = list(largest.values())
    assert sum(one.read for one in rows) == read
    assert sum(one.marked for one in rows) == marked
    assert sum(one.sent for one in rows) == sent
    assert sum(one.away + one.resting + one.overran for one in rows) == unread
    assert len(rows) == 9  # hours, each counted by one run


def test_counts_are_read_as_they_were_written_and_numbered() -> None:
    row = Counts(AT, f"{RUN}1", AT, AT + 5, read=3, sent=2)
    payload = encode_completeness("gateway/one", [row], ended=True)
    assert decode_completeness("completeness/a/b", payload) == Completeness("a/b", "gateway/one", [row], True)
    found = decode_completeness("completeness/a/b", numbered(payload, "ab" * 16, 17, 1))
    assert (found.publisher, found.numbers) == ("ab" * 16, (17, 17))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"gateway":"g","rows":[{"hour":1,"run":"0123456789abcdef1","since":1,"until":1}]}',
        b'{"gateway":"g","rows":[{"hour":3600000,"run":"x","since":1,"until":1}]}',
        b'{"gateway":"g","rows":[{"hour":3600000,"run":"0123456789abcdef1","since":1,"until":1,"read":-1}]}',
        b'{"gateway":"\\u0000","rows":[]}',
        b'{"gateway":"g","rows":[' + b",".join([b"{}"] * 300) + b"]}",
    ],
)
def test_counts_that_cannot_be_are_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_completeness("completeness/a", payload)
