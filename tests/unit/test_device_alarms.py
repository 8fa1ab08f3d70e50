"""All alarms of one device."""

from math import nan
from random import Random

import pytest

from nexus.alarms.definition import (
    Above,
    AlarmDefinition,
    Bad,
    Below,
    Changed,
    Condition,
    Equals,
    Lost,
    Outside,
    Rate,
    Stale,
    Unchanged,
    When,
)
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.expression import parse
from nexus.alarms.look import NOWHERE
from nexus.alarms.machine import Change
from nexus.contract.ack import Request
from nexus.contract.alarm import Record, State
from nexus.contract.reading import Quality, Reading, Value

T = 1_703_289_600_000
LOST = AlarmDefinition("lost", "", Lost())
HIGH = AlarmDefinition("high", "t", Above(80), deadband=2)


def scan(at: int = 0, **values: Value) -> list[Reading]:
    return [Reading(name, T + at, value) for name, value in values.items()]


def state(alarms: DeviceAlarms, tag: str = "t", name: str = "high") -> State:
    return alarms.records[tag, name].state


def said(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.definition.name, change.event) for change in changes]


def test_each_tag_has_alarms_of_its_own() -> None:
    alarms = DeviceAlarms([HIGH, AlarmDefinition("high", "u", Above(10)), AlarmDefinition("very", "t", Above(90))])

    changes = alarms.read(scan(t=85.0, u=11, other=1e9), T)

    assert [(change.definition.tag, change.definition.name) for change in changes] == [("t", "high"), ("u", "high")]
    assert said(alarms.read(scan(1, t=95.0), T + 1)) == [("very", "raised")]


def test_each_value_of_a_batch_is_looked_at_in_order() -> None:
    alarms = DeviceAlarms([HIGH])
    batch = [Reading("t", T, value) for value in (50.0, 90.0, 60.0, 91.0)]

    assert said(alarms.read(batch, T)) == [("high", "raised"), ("high", "cleared"), ("high", "raised")]


def test_an_expression_sees_a_whole_scan() -> None:
    alarms = DeviceAlarms([AlarmDefinition("differs", "", When(parse("a != b")))])
    alarms.read(scan(a=1, b=1), T)

    assert not alarms.read(scan(1, a=2, b=2), T + 1)
    assert said(alarms.read(scan(2, a=3), T + 2)) == [("differs", "raised")]


def test_a_limit_and_its_value_come_from_one_scan() -> None:
    alarms = DeviceAlarms([AlarmDefinition("high", "t", Above("limit"))])
    alarms.read(scan(t=70.0, limit=80.0), T)

    assert not alarms.read(scan(1, t=90.0, limit=100.0), T + 1)
    assert said(alarms.read(scan(2, limit=85.0), T + 2)) == [("high", "raised")]


def test_a_limit_that_turned_bad_neither_raises_nor_clears() -> None:
    alarms = DeviceAlarms([AlarmDefinition("high", "t", Above("limit"))])
    alarms.read(scan(t=90.0, limit=80.0), T)
    alarms.read([Reading("limit", T + 1, None, Quality.BAD)], T + 1)

    assert not alarms.read(scan(2, t=0.0), T + 2)
    assert said(alarms.read(scan(3, limit=80.0), T + 3)) == [("high", "cleared")]


def test_what_cannot_be_evaluated_is_told_until_it_can() -> None:
    alarms = DeviceAlarms([AlarmDefinition("ratio", "", When(parse("a / b > 2")))])
    alarms.read(scan(a=1, b=0), T)

    assert "zero" in alarms.errors["", "ratio"]
    assert said(alarms.read(scan(1, b=0.1), T + 1)) == [("ratio", "raised")]
    assert not alarms.errors


def test_text_and_truth_raise_alarms() -> None:
    alarms = DeviceAlarms([AlarmDefinition("a", "mode", Equals("fault")), AlarmDefinition("b", "trip", Equals(True))])

    assert not alarms.read(scan(mode="ok", trip=False), T)
    assert said(alarms.read(scan(1, mode="fault", trip=True), T + 1)) == [("a", "raised"), ("b", "raised")]
    assert not alarms.read(scan(2, mode="fault", trip=True), T + 2)
    assert said(alarms.read(scan(3, mode="ok", trip=False), T + 3)) == [("a", "cleared"), ("b", "cleared")]


def test_a_bad_tag_is_an_alarm_of_its_own() -> None:
    alarms = DeviceAlarms([AlarmDefinition("bad", "t", Bad()), HIGH])
    alarms.read(scan(t=50.0), T)

    assert said(alarms.read([Reading("t", T + 1, None, Quality.BAD)], T + 1)) == [("bad", "raised")]
    assert said(alarms.read(scan(2, t=50.0), T + 2)) == [("bad", "cleared")]


def test_a_tag_that_falls_silent_is_stale() -> None:
    alarms = DeviceAlarms([AlarmDefinition("stale", "t", Stale(30)), HIGH])
    for second in range(0, 60):
        assert not alarms.read(scan(second * 1000, t=50.0 + second % 7), T + second * 1000)

    assert alarms.due is not None
    assert alarms.due <= T + 89_000
    assert not alarms.tick(T + 88_999)
    assert said(alarms.tick(T + 89_000)) == [("stale", "raised")]
    assert said(alarms.read(scan(90_000, t=53.0), T + 90_000)) == [("stale", "cleared")]


def test_a_value_that_stands_still_is_found_without_one_that_differs() -> None:
    alarms = DeviceAlarms([AlarmDefinition("stuck", "t", Unchanged(60), deadband=0.5)])
    for second in range(60):
        assert not alarms.read(scan(second * 1000, t=50 + second % 2 / 4), T + second * 1000)

    assert said(alarms.read(scan(60_000, t=50.25), T + 60_000)) == [("stuck", "raised")]
    assert said(alarms.read(scan(61_000, t=51.0), T + 61_000)) == [("stuck", "cleared")]


def test_a_lost_device_suppresses_its_other_alarms() -> None:
    alarms = DeviceAlarms([LOST, HIGH, AlarmDefinition("low", "u", Above(10))])
    alarms.read(scan(t=90.0, u=1.0), T)

    assert said(alarms.lost(T + 1000, "timed out")) == [("lost", "raised"), ("high", "suppressed")]
    assert alarms.records["", "lost"].reason == "timed out"
    assert state(alarms) == "suppressed"
    assert state(alarms, "u", "low") == "normal"
    assert said(alarms.found(T + 2000)) == [("lost", "cleared"), ("high", "unsuppressed")]
    assert state(alarms) == "unacknowledged"


def test_a_short_loss_is_no_news() -> None:
    alarms = DeviceAlarms([AlarmDefinition("lost", "", Lost(), on_delay=10), HIGH])
    alarms.read(scan(t=90.0), T)

    assert not alarms.lost(T + 1000, "timed out")
    assert alarms.due == T + 11_000
    assert not alarms.found(T + 5000)
    assert alarms.due is None


def test_a_loss_outlasts_its_delay() -> None:
    alarms = DeviceAlarms([AlarmDefinition("lost", "", Lost(), on_delay=10), HIGH])
    alarms.read(scan(t=90.0), T)
    alarms.lost(T + 1000, "timed out")

    assert said(alarms.tick(T + 11_000)) == [("lost", "raised"), ("high", "suppressed")]
    assert alarms.records["", "lost"].reason == "timed out"


def test_nothing_is_raised_while_the_device_is_lost() -> None:
    definitions = [LOST, AlarmDefinition("stale", "t", Stale(30)), AlarmDefinition("high", "t", Above(80), on_delay=5)]
    alarms = DeviceAlarms(definitions)
    alarms.read(scan(t=90.0), T)
    alarms.lost(T + 1000, "timed out")
    marks = [Reading("t", T + 1000, None, Quality.BAD)]

    assert not alarms.read(marks, T + 1000)
    assert alarms.due is None
    assert not alarms.tick(T + 3_600_000)
    assert said(alarms.found(T + 3_600_000)) == [("lost", "cleared")]
    assert alarms.due == T + 3_630_000


def test_a_reading_tells_that_the_device_is_found() -> None:
    alarms = DeviceAlarms([LOST, HIGH])
    alarms.lost(T, "timed out")

    assert said(alarms.read(scan(1000, t=90.0), T + 1000)) == [("lost", "cleared"), ("high", "raised")]


def test_a_device_that_is_lost_before_a_restart_still_is() -> None:
    before = DeviceAlarms([LOST, HIGH])
    before.read(scan(t=90.0), T)
    before.lost(T + 1000, "timed out")
    alarms = DeviceAlarms([LOST, HIGH], before.records)

    assert not alarms.lost(T + 2000, "timed out")
    assert said(alarms.found(T + 3000)) == [("lost", "cleared"), ("high", "unsuppressed")]
    assert not alarms.read(scan(4000, t=90.0), T + 4000)


def test_what_a_loss_suppressed_is_shown_when_the_files_know_no_loss_any_more() -> None:
    before = DeviceAlarms([LOST, HIGH])
    before.read(scan(t=90.0), T)
    before.lost(T + 1000, "timed out")
    alarms = DeviceAlarms([HIGH], before.records)

    assert said(alarms.read(scan(2000, t=90.0), T + 2000)) == [("high", "unsuppressed")]


def test_a_device_without_such_an_alarm_hides_nothing() -> None:
    alarms = DeviceAlarms([HIGH])
    alarms.read(scan(t=90.0), T)

    assert not alarms.lost(T + 1000, "timed out")
    assert state(alarms) == "unacknowledged"


def test_acknowledging_while_the_device_is_lost_counts() -> None:
    alarms = DeviceAlarms([LOST, HIGH])
    alarms.read(scan(t=90.0), T)
    alarms.lost(T + 1000, "timed out")
    alarms.ask("t", "high", Request("acknowledge", by="anna"), T + 2000)
    alarms.found(T + 3000)

    assert state(alarms) == "acknowledged"


def test_a_jump_of_the_clock_makes_nothing_stale() -> None:
    alarms = DeviceAlarms([AlarmDefinition("stale", "t", Stale(30))])
    alarms.read(scan(t=1.0), T)
    alarms.clock_moved(3_600_000)

    assert alarms.due == T + 3_630_000
    assert not alarms.read(scan(3_601_000, t=1.0), T + 3_601_000)


def test_a_thousand_alarms_are_told_apart() -> None:
    definitions = [AlarmDefinition(f"a{n}", f"t{n % 500}", Above(n), suppressed_by=parse("off")) for n in range(1000)]
    alarms = DeviceAlarms(definitions)

    assert len(alarms.read([Reading(f"t{n}", T, 1e6) for n in range(500)], T)) == 1000
    assert len(alarms.read(scan(1, off=True), T + 1)) == 1000


def test_a_tag_that_was_stale_before_a_restart_still_is() -> None:
    definitions = [AlarmDefinition("stale", "t", Stale(30))]
    before = DeviceAlarms(definitions)
    before.tick(T)
    assert said(before.tick(T + 30_000)) == [("stale", "raised")]
    alarms = DeviceAlarms(definitions, before.records)

    assert not alarms.read([Reading("t", T + 40_000, None, Quality.BAD)], T + 40_000)
    assert said(alarms.read(scan(41_000, t=1.0), T + 41_000)) == [("stale", "cleared")]


NUMBERS = [8.0, 10.5, 50.0, 77.5, 79.5, 80.5, 83.0]
VALUES: list[Value] = [*NUMBERS, *NUMBERS, 50, 80, 81, True, False, "a", None, nan]
LIMITS: list[Condition] = [
    Above(80),
    Below(10),
    Outside(10, 80),
    Equals(50),
    Equals(True),
    Equals("a"),
    When(parse("t > 80")),
]
CONDITIONS: list[Condition] = [*LIMITS, Changed(), Rate(5, 3), Unchanged(3), Stale(3), Bad()]


NAMES = ("t", "u", "v")
ACROSS: list[Condition] = [
    Above("u"),
    Outside("u", "v"),
    *map(When, map(parse, ["t > u", "u / (t - 50) > 1", "v or u < 10", "t == u", "t + u"])),
]
SUPPRESSED_BY = [None, None, parse("u > 50"), parse("not v")]


def some_alarms(random: Random, condition: Condition) -> list[AlarmDefinition]:
    """One to four, the first of them with this condition."""
    others = [random.choice(CONDITIONS + ACROSS) for _ in range(random.randint(0, 3))]
    found = [
        AlarmDefinition(
            f"a{number}",
            random.choice(NAMES),
            one,
            deadband=random.choice([0, 2]),
            on_delay=random.choice([0, 0, 2]),
            off_delay=random.choice([0, 0, 2]),
            suppressed_by=random.choice(SUPPRESSED_BY),
        )
        for number, one in enumerate([condition, *others])
    ]
    return [*found, LOST] if random.random() < 0.3 else found


def look_at_all(alarms: DeviceAlarms) -> None:
    """As if no value had been found to change nothing."""
    for tag in alarms._tags.values():
        tag.low, tag.high = NOWHERE
    for alarm in alarms._alarms.values():
        alarm.wake()


@pytest.mark.parametrize("condition", CONDITIONS + ACROSS, ids=repr)
def test_no_value_is_left_out_that_would_change_something(condition: Condition) -> None:
    """Beside the same alarms, which look at everything: readings of another quality each time are never the same."""
    random = Random(repr(condition))
    for _ in range(25):
        definitions = some_alarms(random, condition)
        quick, thorough = DeviceAlarms(definitions), DeviceAlarms(definitions)
        now = T
        for number in range(40):
            now += random.choice([0, 1, 500, 1000, 3500])
            names = random.sample(NAMES, random.randint(1, 3))
            scanned = [(name, random.choice(VALUES)) for name in names if random.random() < 0.9]
            if len(names) == 1:
                scanned *= random.randint(1, 2)
                scanned += [(name, random.choice(VALUES)) for name, _ in scanned]
            lost = random.random() < 0.05
            found: list[dict[tuple[str, str], list[tuple[str, Record]]]] = []
            for alarms, quality in ((quick, 0), (thorough, number % 2)):
                changes: list[Change] = []
                while alarms.due is not None and alarms.due < now:
                    look_at_all(thorough)
                    changes += alarms.tick(alarms.due)
                look_at_all(thorough)
                changes += alarms.lost(now, "timed out") if lost else alarms.found(now)
                look_at_all(thorough)
                changes += alarms.read([reading(name, now, value, quality) for name, value in scanned], now)
                found.append({})
                for change in changes:
                    key = change.definition.tag, change.definition.name
                    found[-1].setdefault(key, []).append((change.event, change.record))
            assert found[0] == found[1]
            assert quick.records == thorough.records
            assert quick.errors == thorough.errors


def reading(name: str, now: int, value: Value, more: int) -> Reading:
    """Bad, or good."""
    return Reading(name, now, value, (Quality.BAD if value is None else Quality.GOOD) + more)
