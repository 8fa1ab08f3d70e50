"""The states of an alarm, by ISA-18.2, one alarm at a time."""

from dataclasses import replace

import pytest

from nexus.alarms.definition import Above, AlarmDefinition, Bad, Lost, Stale, Unchanged
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.expression import parse
from nexus.alarms.machine import Change, RequestError
from nexus.contract.ack import LONGEST_SHELVING, Action, Request
from nexus.contract.alarm import AlarmMessage, Record, State, decode, encode
from nexus.contract.reading import Quality, Reading, Value

HIGH = AlarmDefinition("high", "t", Above(80), deadband=2)
T = 1_703_289_600_000


class Plant:
    """A tag with one alarm, and a clock that counts from T in ms."""

    def __init__(self, definition: AlarmDefinition = HIGH, record: Record | None = None) -> None:
        self.definition = definition
        self.restart(record)
        self.changes: list[Change] = []

    def restart(self, record: Record | None = None) -> None:
        self.alarms = DeviceAlarms([self.definition], {("t", "high"): record} if record else {})

    def read(self, at: int, value: Value, quality: int = Quality.GOOD, *, tag: str = "t") -> State:
        self.changes += self.alarms.read([Reading(tag, T + at, value, quality)], T + at)
        return self.record.state

    def tick(self, at: int) -> State:
        self.changes += self.alarms.tick(T + at)
        return self.record.state

    def ask(self, at: int, action: Action, *, by: str | None = "anna", **keys: object) -> State:
        request = Request(action, by=by, reason="why", seconds=60.0 if action == "shelve" else None)
        for key, value in keys.items():
            request = Request(**{**{name: getattr(request, name) for name in request.__struct_fields__}, key: value})
        self.changes.append(self.alarms.ask("t", "high", request, T + at))
        return self.record.state

    @property
    def record(self) -> Record:
        return self.alarms.records["t", "high"]

    @property
    def events(self) -> list[str]:
        return [change.event for change in self.changes]


def test_an_alarm_is_raised_acknowledged_and_cleared() -> None:
    plant = Plant()

    assert plant.read(0, 80) == "normal"
    assert plant.read(1000, 81.5) == "unacknowledged"
    assert plant.ask(2000, "acknowledge") == "acknowledged"
    assert plant.read(3000, 79) == "acknowledged"
    assert plant.read(4000, 77) == "normal"
    assert plant.events == ["raised", "acknowledged", "cleared"]
    assert {change.record.occurrence for change in plant.changes} == {T + 1000}
    assert [change.record.since for change in plant.changes] == [T + 1000, T + 2000, T + 4000]


def test_an_alarm_that_clears_by_itself_waits_to_be_acknowledged() -> None:
    plant = Plant()
    plant.read(1000, 81.5)

    assert plant.read(2000, 70) == "returned"
    assert plant.ask(3000, "acknowledge") == "normal"
    assert plant.record.occurrence == T + 1000


def test_an_alarm_that_comes_back_before_it_is_acknowledged_is_the_same_occurrence() -> None:
    plant = Plant()
    plant.read(1000, 81.5)
    plant.read(2000, 70)

    assert plant.read(3000, 90) == "unacknowledged"
    assert plant.record.occurrence == T + 1000
    assert plant.events == ["raised", "cleared", "raised"]


def test_the_next_occurrence_has_a_number_of_its_own() -> None:
    plant = Plant()
    for at, value in [(1000, 90), (2000, 70), (3000, 90)]:
        plant.read(at, value)
        if plant.record.state == "returned":
            plant.ask(at, "acknowledge")

    assert plant.record.occurrence == T + 3000


def test_what_is_said_carries_value_and_limit() -> None:
    plant = Plant()
    plant.read(1000, 81.5)

    assert (plant.changes[0].record.value, plant.changes[0].record.limit) == (81.5, 80)


def test_two_events_of_one_moment_have_different_times() -> None:
    plant = Plant()
    plant.read(1000, 90)
    plant.read(1000, 70)
    plant.read(1000, 90)

    assert [change.record.ts for change in plant.changes] == [T + 1000, T + 1001, T + 1002]


def test_a_delay_ends_without_a_new_reading() -> None:
    plant = Plant(replace(HIGH, on_delay=5))

    assert plant.read(1000, 90) == "normal"
    assert plant.alarms.due == T + 6000
    assert plant.tick(5999) == "normal"
    assert plant.tick(6000) == "unacknowledged"
    assert plant.alarms.due is None


def test_a_reading_that_comes_after_the_delay_does_not_undo_its_end() -> None:
    plant = Plant(replace(HIGH, on_delay=5))
    plant.read(1000, 90)

    assert plant.read(7000, 70) == "returned"
    assert plant.events == ["raised", "cleared"]


def test_an_alarm_that_does_not_last_for_its_delay_is_not_raised() -> None:
    plant = Plant(replace(HIGH, on_delay=5))
    plant.read(1000, 90)
    plant.read(2000, 79)

    assert plant.alarms.due is None
    assert plant.tick(60_000) == "normal"


def test_an_off_delay_holds_an_alarm() -> None:
    plant = Plant(replace(HIGH, off_delay=10))
    plant.read(1000, 90)
    plant.read(2000, 70)
    plant.read(5000, 79)  # within the deadband: not cleared

    assert plant.alarms.due is None
    assert plant.read(6000, 70) == "unacknowledged"
    assert plant.tick(16_000) == "returned"


def test_a_bad_value_neither_raises_nor_clears() -> None:
    plant = Plant(replace(HIGH, on_delay=5))
    plant.read(1000, 90)
    plant.read(2000, None, Quality.BAD)

    assert plant.alarms.due is None
    assert plant.tick(10_000) == "normal"
    assert plant.read(11_000, 90) == "unacknowledged"
    assert plant.read(12_000, None, Quality.BAD) == "unacknowledged"


def test_a_latched_alarm_stays_until_it_is_reset() -> None:
    plant = Plant(replace(HIGH, latched=True))
    plant.read(1000, 90)

    assert plant.read(2000, 70) == "latched"
    with pytest.raises(RequestError, match="acknowledged"):
        plant.ask(3000, "reset")
    assert plant.ask(3000, "acknowledge") == "latched"
    assert plant.ask(4000, "reset") == "normal"
    assert plant.record.occurrence == T + 1000


def test_a_latched_alarm_that_is_raised_again_calls_again() -> None:
    plant = Plant(replace(HIGH, latched=True))
    plant.read(1000, 90)
    plant.read(2000, 70)
    plant.ask(3000, "acknowledge")

    assert plant.read(4000, 90) == "unacknowledged"
    assert plant.record.occurrence == T + 1000


def test_an_alarm_that_stands_acknowledged_calls_again() -> None:
    plant = Plant(replace(HIGH, realarm=600))
    plant.read(0, 90)
    plant.ask(1000, "acknowledge")

    assert plant.alarms.due == T + 601_000
    assert plant.tick(601_000) == "unacknowledged"
    assert plant.events == ["raised", "acknowledged", "realarmed"]
    assert plant.record.occurrence == T


def test_shelving_ends_by_itself() -> None:
    plant = Plant()

    assert plant.ask(0, "shelve", seconds=60.0) == "shelved"
    assert plant.read(1000, 90) == "shelved"
    assert plant.alarms.due == T + 60_000
    assert plant.tick(60_000) == "unacknowledged"
    assert not plant.alarms.due
    assert plant.events == ["shelved", "raised", "unshelved"]


@pytest.mark.parametrize("seconds", [None, 0, -1, LONGEST_SHELVING + 1])
def test_nothing_is_shelved_without_an_end(seconds: float | None) -> None:
    with pytest.raises(RequestError, match="how long"):
        Plant().ask(0, "shelve", seconds=seconds)


@pytest.mark.parametrize(
    ("hide", "show", "hidden"),
    [
        ("shelve", "unshelve", "shelved"),
        ("suppress", "unsuppress", "suppressed"),
        ("out-of-service", "in-service", "out-of-service"),
    ],
)
def test_what_hides_an_alarm_forgets_nothing_below(hide: Action, show: Action, hidden: State) -> None:
    plant = Plant()
    plant.read(1000, 90)
    plant.ask(2000, "acknowledge")

    assert plant.ask(3000, hide) == hidden
    assert (plant.record.by, plant.record.reason) == ("anna", "why")
    assert plant.record.active
    assert plant.ask(4000, show) == "acknowledged"
    plant.ask(5000, hide)
    assert plant.read(6000, 70) == hidden
    assert (plant.record.by, plant.record.reason) == ("anna", "why")
    assert plant.ask(7000, show) == "normal"


def test_an_occurrence_that_nobody_saw_needs_no_acknowledgement() -> None:
    plant = Plant()
    plant.ask(0, "suppress")
    plant.read(1000, 90)
    plant.read(2000, 70)

    assert plant.ask(3000, "unsuppress") == "normal"
    assert plant.events == ["suppressed", "raised", "cleared", "unsuppressed"]


def test_an_occurrence_that_was_seen_does() -> None:
    plant = Plant()
    plant.read(1000, 90)
    plant.ask(2000, "suppress")
    plant.read(3000, 70)

    assert plant.ask(4000, "unsuppress") == "returned"


def test_the_strongest_of_what_hides_an_alarm_is_shown() -> None:
    plant = Plant()

    assert plant.ask(0, "shelve") == "shelved"
    assert plant.ask(1, "suppress") == "suppressed"
    assert plant.ask(2, "out-of-service") == "out-of-service"
    assert plant.ask(3, "unshelve") == "out-of-service"
    assert plant.ask(4, "in-service") == "suppressed"
    assert plant.ask(5, "unsuppress") == "normal"


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("acknowledge", "nothing to acknowledge"),
        ("unshelve", "not shelved"),
        ("unsuppress", "nobody has suppressed"),
        ("in-service", "in service already"),
        ("reset", "latched"),
    ],
)
def test_what_is_asked_in_vain_is_refused(action: Action, text: str) -> None:
    with pytest.raises(RequestError, match=text):
        Plant().ask(0, action)


@pytest.mark.parametrize("action", ["suppress", "out-of-service"])
def test_what_is_done_already_is_refused(action: Action) -> None:
    plant = Plant()
    plant.ask(0, action)

    with pytest.raises(RequestError, match="already"):
        plant.ask(1, action)


@pytest.mark.parametrize("by", [None, ""])
def test_nobody_asks_without_a_name(by: str | None) -> None:
    with pytest.raises(RequestError, match="by"):
        Plant().ask(0, "shelve", by=by)


@pytest.mark.parametrize("action", ["shelve", "suppress", "out-of-service"])
def test_what_is_over_is_hidden_only_by_a_request_that_names_no_occurrence(action: Action) -> None:
    plant = Plant()
    plant.read(1000, 90)
    plant.ask(2000, "acknowledge")
    plant.read(3000, 70)

    with pytest.raises(RequestError, match="that occurrence is over"):
        plant.ask(4000, action, occurrence=T + 1000)
    assert plant.ask(5000, "comment", occurrence=T + 1000) == "normal"
    assert plant.ask(6000, action) == {"shelve": "shelved", "suppress": "suppressed"}.get(action, action)


def test_an_occurrence_that_is_over_cannot_be_acknowledged() -> None:
    plant = Plant()
    plant.read(1000, 90)

    with pytest.raises(RequestError, match="over"):
        plant.ask(2000, "acknowledge", occurrence=T)
    assert plant.ask(2000, "acknowledge", occurrence=T + 1000) == "acknowledged"


def test_a_comment_changes_nothing_but_itself() -> None:
    plant = Plant()
    plant.read(1000, 90)
    before = plant.record

    assert plant.ask(2000, "comment", reason="a fan is on its way") == "unacknowledged"
    assert plant.changes[-1].event == "comment"
    assert (plant.record.by, plant.record.reason, plant.record.since) == ("anna", "a fan is on its way", before.since)
    with pytest.raises(RequestError, match="empty"):
        plant.ask(3000, "comment", reason="")


def test_an_alarm_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RequestError, match="no such alarm"):
        Plant().alarms.ask("t", "low", Request("acknowledge", by="anna"), T)


def chatter(plant: Plant, times: int, apart: int = 10_000) -> None:
    for n in range(times):
        plant.read(n * apart, 90)
        plant.read(n * apart + apart // 2, 70)


def test_chattering_is_counted() -> None:
    plant = Plant()
    chatter(plant, 3)

    assert plant.alarms.chattering == {("t", "high"): 1}
    assert plant.record.state == "returned"


def test_an_alarm_that_comes_seldom_does_not_chatter() -> None:
    plant = Plant()
    chatter(plant, 10, apart=31_000)

    assert not plant.alarms.chattering


def test_an_alarm_that_chatters_is_shelved_if_told_so() -> None:
    plant = Plant(replace(HIGH, auto_shelve=600))
    chatter(plant, 3)

    assert plant.record.state == "shelved"
    assert (plant.record.by, plant.record.reason) == (None, "it chatters")
    assert plant.record.until == T + 20_000 + 600_000
    assert plant.tick(620_000) == "returned"


@pytest.mark.parametrize("value", [90, 70])
@pytest.mark.parametrize("asked", [(), ("acknowledge",), ("shelve",), ("acknowledge", "suppress"), ("out-of-service",)])
def test_a_restart_neither_raises_again_nor_forgets(asked: tuple[Action, ...], value: float) -> None:
    plant, restarted = Plant(), Plant()
    for one in (plant, restarted):
        one.read(1000, 90)
        for action in asked:
            one.ask(2000, action)
    restarted.restart(restarted.record)

    assert restarted.record == plant.record
    assert restarted.read(3000, value) == plant.read(3000, value)
    assert restarted.record == plant.record
    assert restarted.events == plant.events


def test_a_record_that_contradicts_itself_goes_by_what_lies_below() -> None:
    plant = Plant(record=Record("normal", T, T, T, active=True, acknowledged=False))

    assert plant.record.state == "unacknowledged"
    assert plant.read(1000, 50) == "returned"


def test_shelving_that_ended_while_we_were_away_ends_at_once() -> None:
    plant = Plant()
    plant.ask(0, "shelve", seconds=60.0)
    plant.restart(plant.record)

    assert plant.read(61_000, 50) == "normal"


def test_a_delay_keeps_its_length_when_the_clock_jumps() -> None:
    for by in (-3_600_000, 3_600_000):
        plant = Plant(replace(HIGH, on_delay=5))
        plant.read(1000, 90)
        plant.alarms.clock_moved(by)

        assert plant.tick(by + 5999) == "normal"
        assert plant.tick(by + 6000) == "unacknowledged"


def test_a_clock_that_is_set_back_is_found_out() -> None:
    plant = Plant(replace(HIGH, on_delay=5))
    plant.read(3_600_000, 90)

    assert plant.read(0, 90) == "normal"
    assert plant.alarms.due == T + 5000


def test_a_clock_that_jumps_does_not_shelve_for_ever() -> None:
    plant = Plant()
    plant.ask(86_400_000_000, "shelve", seconds=60.0)
    plant.tick(86_400_000_000)

    assert plant.tick(0) == "shelved"
    assert plant.record.until == T + 60_000


def test_a_record_of_a_clock_that_was_ahead_does_not_shelve_for_ever() -> None:
    plant = Plant()
    plant.ask(86_400_000_000, "shelve", seconds=60.0)
    plant.restart(plant.record)
    plant.read(0, 50)

    assert plant.record.until == T + int(LONGEST_SHELVING * 1000)


def test_a_boot_without_a_clock_does_not_prolong_a_shelving() -> None:
    plant = Plant()
    plant.ask(0, "shelve", seconds=3600.0)
    plant.restart(plant.record)
    plant.read(60_000 - T, 50)  # a machine without a battery thinks that it is 1970
    plant.changes += plant.alarms.clock_moved(T)

    assert plant.record.until == T + 3_600_000
    assert plant.tick(3_600_000) == "normal"


def test_what_a_clock_far_ahead_said_does_not_number_what_comes_after() -> None:
    plant = Plant()
    plant.read(86_400_000_000, 90)
    plant.read(86_400_000_000, 70)
    plant.ask(86_400_000_001, "acknowledge")
    plant.read(1000, 90)

    assert (plant.record.occurrence, plant.record.ts) == (T + 1000, T + 1000)


def test_suppression_by_an_expression_comes_before_the_alarm_of_the_same_scan() -> None:
    plant = Plant(replace(HIGH, suppressed_by=parse("stopped")))
    scan = [Reading("t", T, 90.0), Reading("stopped", T, True)]
    plant.changes += plant.alarms.read(scan, T)

    assert plant.events == ["suppressed", "raised"]
    assert (plant.record.state, plant.record.reason) == ("suppressed", "stopped")
    assert plant.read(1000, False, tag="stopped") == "unacknowledged"


def test_what_suppresses_is_asked_anew_after_a_restart() -> None:
    plant = Plant(replace(HIGH, suppressed_by=parse("stopped")))
    plant.read(0, True, tag="stopped")
    plant.restart(plant.record)

    assert plant.read(1000, 90) == "suppressed"
    assert plant.read(2000, False, tag="stopped") == "unacknowledged"


def test_what_the_loss_of_the_device_suppressed_is_shown_again_after_a_restart_though_its_expression_is_unknown() -> (
    None
):
    definitions = [replace(HIGH, suppressed_by=parse("stopped")), AlarmDefinition("lost", "", Lost())]
    alarms = DeviceAlarms(definitions)
    alarms.read([Reading("t", T, 90.0), Reading("stopped", T, False)], T)
    alarms.lost(T + 1000, "no answer")
    assert alarms.record("t", "high").state == "suppressed"

    restarted = DeviceAlarms(definitions, alarms.records)
    restarted.read([Reading("t", T, 90.0), Reading("stopped", T, None, Quality.BAD)], T + 2000)

    assert restarted.record("t", "high").state == "unacknowledged"


def test_after_a_clock_was_set_back_events_go_on_in_their_order() -> None:
    hour = 3_600_000
    for back in (2 * hour, 20 * hour):
        plant = Plant()
        plant.read(0, 90)
        plant.read(1000, 70)
        plant.ask(2000, "acknowledge")
        last = plant.record.ts
        plant.restart(plant.record)
        plant.read(-back, 90)
        assert (plant.record.state, plant.record.ts, plant.record.occurrence) == ("unacknowledged", last + 1, last + 1)


def test_a_clock_that_is_not_set_yet_numbers_nothing() -> None:
    plant = Plant(record=Record("normal", T, T, T))
    plant.read(-T, 90)

    assert (plant.record.ts, plant.record.occurrence) == (T + 1, T + 1)


def test_without_an_alarm_for_the_loss_of_the_device_its_tags_alarms_tell() -> None:
    alarms = DeviceAlarms([AlarmDefinition("bad", "t", Bad()), AlarmDefinition("stale", "t", Stale(3))])
    alarms.read([Reading("t", T, 1.0)], T)
    changes = alarms.lost(T + 1000, "no answer")
    changes += alarms.read([Reading("t", T + 1000, None, Quality.BAD)], T + 1000)
    changes += alarms.tick(T + 3000)
    assert [(change.definition.name, change.event) for change in changes] == [("bad", "raised"), ("stale", "raised")]

    changes = alarms.found(T + 5000) + alarms.read([Reading("t", T + 5000, 1.0)], T + 5000)
    assert [(change.definition.name, change.event) for change in changes] == [("bad", "cleared"), ("stale", "cleared")]


def test_an_alarm_that_is_acknowledged_while_its_device_is_lost_is_shown_again_after_a_restart() -> None:
    definitions = [replace(HIGH, suppressed_by=parse("stopped")), AlarmDefinition("lost", "", Lost())]
    alarms = DeviceAlarms(definitions)
    alarms.read([Reading("t", T, 90.0), Reading("stopped", T, False)], T)
    alarms.lost(T + 1000, "no answer")
    alarms.ask("t", "high", Request("acknowledge", by="anna", reason="seen"), T + 1500)

    restarted = DeviceAlarms(definitions, alarms.records)
    restarted.read([Reading("t", T, 90.0), Reading("stopped", T, None, Quality.BAD)], T + 2000)

    assert restarted.record("t", "high").state == "acknowledged"


def test_what_was_seen_before_it_was_shelved_waits_though_the_clock_was_set_back_and_we_began_anew() -> None:
    plant = Plant()
    plant.read(0, 90)
    plant.ask(1000, "shelve", seconds=60.0)
    plant.changes += plant.alarms.clock_moved(-3000)
    plant.restart(plant.record)
    plant.read(0, 70)

    assert (plant.record.active, plant.record.acknowledged) == (False, False)


@pytest.mark.parametrize(("first", "raised", "now"), [(100, 109, 95), ("x" * 600, "x" * 600, "x" * 600), (5, 5, 5)])
def test_a_value_that_stands_still_is_not_news_after_a_restart(first: Value, raised: Value, now: Value) -> None:
    definition = AlarmDefinition("stuck", "t", Unchanged(5), deadband=10)
    alarms = DeviceAlarms([definition])
    alarms.read([Reading("t", T, first)], T)
    [change] = alarms.read([Reading("t", T + 6000, raised)], T + 6000)
    message = AlarmMessage("plc", "t", "stuck", change.record, change.event)
    kept = decode(message.topic, encode(message)).record

    restarted = DeviceAlarms([definition], {("t", "stuck"): kept})
    assert restarted.read([Reading("t", T + 8000, now)], T + 8000) == []
    assert restarted.read([Reading("t", T + 9000, 1000.0)], T + 9000)[0].event == "cleared"
