"""Of a device that is taken over, what the broker retains counts if it is newer, and nothing forged does."""

import pytest
from msgspec.structs import replace

from gateway.alarms.judgement import judge
from nexus.alarms.machine import AHEAD_MS
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage, Record

NOW = 1_703_289_600_000
RAISED = Record("unacknowledged", NOW - 5000, NOW - 5000, NOW - 5000, active=True, acknowledged=False)
MESSAGE = AlarmMessage("plant/plc", "t", "high", RAISED, "raised")
KEYS = [("t", "high"), ("", "lost")]


def at(ts: int, state: alarm.State = "acknowledged") -> AlarmMessage:
    return replace(MESSAGE, record=replace(RAISED, ts=ts, state=state))


def retained(*messages: AlarmMessage) -> dict[str, bytes]:
    return {message.topic: alarm.encode(message) for message in messages}


def test_without_a_record_of_our_own_the_retained_message_counts() -> None:
    found = judge("plant/plc", KEYS, {}, retained(MESSAGE), now=NOW, own_wins=False)
    assert (found.messages, found.faults, found.stale) == ({("t", "high"): MESSAGE}, {}, [])


@pytest.mark.parametrize(("own", "theirs", "fault"), [(-2000, -1000, None), (-1000, -2000, "older"), (-1, -1, None)])
def test_the_newer_one_counts(own: int, theirs: int, fault: str | None) -> None:
    ours, other = at(NOW + own, "shelved"), at(NOW + theirs)
    found = judge("plant/plc", KEYS, {("t", "high"): ours}, retained(other), now=NOW, own_wins=False)
    assert found.messages == {("t", "high"): ours if fault else other}
    assert found.faults == ({MESSAGE.topic: fault} if fault else {})


@pytest.mark.parametrize("own", [{}, {("t", "high"): at(NOW - 2000)}])
def test_a_record_that_knows_all_wins_over_a_newer_message(own: dict[tuple[str, str], AlarmMessage]) -> None:
    found = judge("plant/plc", KEYS, own, retained(at(NOW - 1000, "shelved")), now=NOW, own_wins=True)
    assert found.messages == own
    assert found.faults == {MESSAGE.topic: "forged"}


def test_what_the_broker_has_from_us_is_no_forgery() -> None:
    own = {("t", "high"): MESSAGE}
    assert not judge("plant/plc", KEYS, own, retained(MESSAGE), now=NOW, own_wins=True).faults


@pytest.mark.parametrize(
    "payload",
    [
        b"no JSON",
        alarm.encode(replace(MESSAGE, device="plant/other")),
        alarm.encode(at(NOW + AHEAD_MS + 1)),
        alarm.encode(replace(MESSAGE, record=replace(RAISED, occurrence=NOW + AHEAD_MS + 1))),
    ],
)
def test_a_message_that_cannot_be_is_forged(payload: bytes) -> None:
    found = judge("plant/plc", KEYS, {}, {MESSAGE.topic: payload}, now=NOW, own_wins=False)
    assert (found.messages, found.faults) == ({}, {MESSAGE.topic: "forged"})


def test_an_alarm_that_left_the_files_is_stale_and_another_devices_is_not_ours_to_judge() -> None:
    gone = replace(MESSAGE, name="low")
    below = AlarmMessage("plant/plc/module", "t", "high", RAISED, "raised")
    about = {**retained(gone, below), "alarm/plant/plc/x/y": b"no JSON"}
    found = judge("plant/plc", KEYS, {}, about, now=NOW, own_wins=False)
    assert (found.stale, found.faults) == ([gone], {gone.topic: "unknown"})
