"""Who is told what, when, and how many at once: decided without a clock or a network."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from console.notify.event import key_of, told_as, waits
from console.notify.flood import Digest, Load, Plan, plan
from console.notify.routes import Order, Route, Routes, Step, Wait, matches
from console.notify.summary import Tally
from console.notify.windows import Window, read_days, read_hours
from nexus.contract.alarm import AlarmMessage, Event, Priority, Record, State

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)  # a Thursday
MS = int(NOW.timestamp() * 1000)


def word(event: Event = "raised", state: State = "unacknowledged", **changes: Any) -> AlarmMessage:
    active = changes.pop("active", event != "cleared")
    record = Record(
        state, MS, MS, changes.pop("ts", MS), active=active, acknowledged=changes.pop("acknowledged", False)
    )
    made = AlarmMessage("plant/line1/press", "force", "high", record, event, "high", "Too hot")
    return replace(made, **changes)


def told(routes: Routes, one: AlarmMessage, now: datetime = NOW) -> list[str]:
    return [order.receiver for order in routes.orders(one, now, now)]


@pytest.mark.parametrize(
    ("event", "state", "meaning"),
    [
        ("raised", "unacknowledged", "raised"),
        ("realarmed", "unacknowledged", "raised"),
        ("unshelved", "unacknowledged", "raised"),
        ("unshelved", "normal", None),
        ("raised", "shelved", None),
        ("cleared", "suppressed", None),
        ("cleared", "returned", "cleared"),
        ("removed", "normal", "cleared"),
        ("acknowledged", "acknowledged", "acknowledged"),
        ("shelved", "shelved", None),
        ("reset", "normal", None),
    ],
)
def test_what_is_hidden_is_not_told(event: Event, state: State, meaning: str | None) -> None:
    assert told_as(word(event, state)) == meaning


@pytest.mark.parametrize(
    ("pattern", "path", "taken"),
    [
        ("plant/line1/press", "plant/line1/press", True),
        ("plant/+/press", "plant/line1/press", True),
        ("plant/#", "plant/line1/press", True),
        ("#", "plant", True),
        ("plant/line1", "plant/line1/press", False),
        ("plant/+", "plant/line1/press", False),
        ("plant/line1/press/#", "plant/line1/press", True),
        ("plant/line1/press/+", "plant/line1/press", False),
    ],
)
def test_devices_are_chosen_as_topics_are(pattern: str, path: str, taken: bool) -> None:
    assert matches(pattern, path) is taken


def test_every_route_counts_and_a_receiver_is_told_once() -> None:
    routes = Routes(
        (
            Route("urgent", ("shift", "boss"), priorities=frozenset[Priority]({"critical", "high"})),
            Route("press", ("shift", "press"), devices=("plant/+/press",), alarms=frozenset({"high"})),
            Route("low", ("nobody",), priorities=frozenset[Priority]({"low"})),
        ),
        BERLIN,
    )
    assert routes.orders(word(), NOW, NOW) == [
        Order("shift", "urgent", False),
        Order("boss", "urgent", False),
        Order("press", "press", False),
    ]
    assert told(routes, word("cleared", "returned")) == [], "only what is raised, unless a route says otherwise"
    assert [one.is_late for one in routes.orders(word(ts=MS - 700_000), NOW, NOW)] == [True] * 3
    later = NOW + timedelta(hours=3)
    assert not any(one.is_late for one in routes.orders(word(), later, NOW)), "it was stored in time, and waited for us"


def test_hours_after_midnight_belong_to_the_day_before() -> None:
    window = Window(read_days(["fri"]), *read_hours("22:00-06:00"))
    for day, hour, holds in (
        (27, 21, False),
        (27, 22, True),
        (28, 5, True),
        (28, 6, False),
        (28, 22, False),
        (27, 5, False),
    ):
        assert window.holds(datetime(2026, 11, day, hour, 30, tzinfo=BERLIN), BERLIN) is holds, (day, hour)
    assert window.holds(datetime(2026, 11, 27, 21, 30, tzinfo=UTC), BERLIN), "in the plant's time zone"
    assert Window(frozenset({3})).holds(NOW, BERLIN)
    assert read_days(["fri-mon", "wed"]) == {4, 5, 6, 0, 2}
    assert Window(read_days(["thu"]), *read_hours("18:00-24:00")).holds(NOW + timedelta(hours=8), BERLIN)


@pytest.mark.parametrize("text", ["6:00-14:00", "06:00", "06:00-25:00", "06:00-06:00", "12:00-24:30"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        read_hours(text)


def test_an_escalation_waits_from_the_event_on_and_only_where_the_route_holds() -> None:
    step = Step(timedelta(minutes=10), ("boss",))
    routes = Routes(
        (Route("a", ("x",), steps=(step,)), Route("b", ("x",), window=Window(frozenset({6})), steps=(step,))), BERLIN
    )
    expected = [Wait("a", 0, ("boss",), NOW + timedelta(minutes=10))]
    assert routes.waits(word(), NOW, NOW) == expected
    assert routes.waits(word(ts=MS - 3_600_000), NOW, NOW) == expected, "also of a clock that is an hour behind"
    assert routes.waits(word("acknowledged", "acknowledged"), NOW, NOW) == []
    assert waits(word("cleared", "returned")), "whoever was called has not come"
    assert not waits(word("acknowledged", "acknowledged", acknowledged=True))
    assert not waits(word("shelved", "shelved"))


def test_a_receiver_of_states_hears_the_end_of_what_is_shelved_or_over_at_any_hour() -> None:
    sunday = Window(frozenset({6}))
    routes = Routes((Route("a", ("am",)), Route("b", ("am2",), window=sunday)), BERLIN, frozenset({"am", "am2"}))
    assert told(routes, word()) == ["am"]
    assert told(routes, word("acknowledged", "acknowledged")) == [], "it is there still"
    assert told(routes, word("shelved", "shelved")) == told(routes, word("cleared", "normal")) == ["am", "am2"]
    standing = [word(), word("shelved", "shelved"), word("cleared", "returned")]
    assert routes.firing(standing, "am", NOW) == [word()]
    assert routes.firing(standing, "am2", NOW) == []


def test_a_flood_becomes_a_digest_a_window() -> None:
    rule = Digest(20, timedelta(minutes=5))
    assert plan(NOW, Load(20, 0, 0, None), rule) == Plan(single=20)
    assert plan(NOW, Load(21, 0, 0, None), rule) == Plan(is_digest=True)
    assert plan(NOW, Load(1, 0, 20, None), rule) == Plan(is_digest=True)
    minute = NOW - timedelta(minutes=1)
    assert plan(NOW, Load(1000, 0, 20, minute), rule) == Plan(until=NOW + timedelta(minutes=4))
    assert plan(NOW, Load(5, 0, 3, minute), rule) == Plan(single=5)
    assert plan(NOW, Load(2, 2, 0, None), rule) == Plan(is_digest=True), "late ones are told together"
    assert plan(NOW, Load(1, 1, 0, None), rule) == Plan(single=1)
    assert plan(NOW, Load(9_999, 9, 0, None), None) == Plan(single=9_999)
    assert plan(NOW, Load(0, 0, 50, None), rule) == Plan()


def test_a_thousand_alarms_at_a_steady_pace_are_few_messages() -> None:
    rule, now = Digest(20, timedelta(minutes=5)), NOW
    sent: list[datetime] = []
    digests: list[datetime] = []
    waiting = told_of = 0
    for _ in range(1_800):
        now += timedelta(seconds=1)
        waiting += 1
        recent = sum(at > now - rule.within for at in sent)
        planned = plan(now, Load(waiting, 0, recent, digests[-1] if digests else None), rule)
        if planned.is_digest:
            digests.append(now)
            told_of, waiting = told_of + waiting, 0
        sent += [now] * planned.single
        told_of, waiting = told_of + planned.single, waiting - planned.single
    assert told_of + waiting == 1_800
    for start in sent + digests:
        within = [at for at in sent + digests if start <= at < start + rule.within]
        assert len(within) <= rule.above + 1
    assert len(digests) <= 7


def test_a_digest_says_how_many_and_which_matter_most() -> None:
    words = [word(ts=MS + number) for number in range(30)]
    words += [
        replace(word("cleared", "returned", ts=MS + 50), name=f"n{number}", priority="low") for number in range(20)
    ]
    words.append(replace(word(ts=MS - 1), name="fire", priority="critical"))
    tally = Tally(MS)
    for number, one in enumerate(words):
        tally.add(one, late=number < 3)
    found = tally.summary()
    assert (found.count, found.late, found.alarms, found.first, found.last) == (51, 3, 22, MS - 1, MS + 50)
    assert found.by_priority == {"high": 30, "low": 20, "critical": 1}
    assert found.by_event == {"raised": 31, "cleared": 20}
    assert [one.topic.rpartition("/")[2] for one in found.top[:3]] == ["fire", "high", "n0"]
    assert (found.top[1].count, len(found.top)) == (30, 10)
    unreadable = Tally(MS)
    unreadable.add(None, late=True)
    assert (unreadable.summary().count, unreadable.summary().first) == (1, MS)


def test_the_key_is_of_the_alarm_occurrence_event_and_receiver() -> None:
    key = key_of(word(), "a")
    others = [key_of(word(), "b"), key_of(word(ts=MS + 1), "a"), key_of(replace(word(), name="low"), "a")]
    assert key == key_of(replace(word(), text="another text"), "a")
    assert len({key, *others}) == 4
