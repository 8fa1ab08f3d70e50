"""Of a device that is taken over, what the broker retains counts if it is newer, and nothing forged does."""

import pytest
from msgspec.structs import replace

from gateway.alarms.judgement import judge
from nexus.alarms.machine import AHEAD_MS
from nexus.contract import alarm
from nexus.contract.alarm import Record, Word

NOW = 1_703_289_600_000
RAISED = Record("unacknowledged", NOW - 5000, NOW - 5000, NOW - 5000, active=True, acknowledged=False)
WORD = Word("plant/plc", "t", "high", RAISED, "raised")
KEYS = [("t", "high"), ("", "lost")]


def at(ts: int, state: alarm.State = "acknowledged") -> Word:
    return replace(WORD, record=replace(RAISED, ts=ts, state=state))


def retained(*words: Word) -> dict[str, bytes]:
    return {word.topic: alarm.encode(word) for word in words}


def test_without_a_record_of_our_own_the_retained_word_counts() -> None:
    found = judge("plant/plc", KEYS, {}, retained(WORD), now=NOW, own_wins=False)
    assert (found.words, found.faults, found.stale) == ({("t", "high"): WORD}, {}, [])


@pytest.mark.parametrize(("own", "theirs", "fault"), [(-2000, -1000, None), (-1000, -2000, "older"), (-1, -1, None)])
def test_the_newer_one_counts(own: int, theirs: int, fault: str | None) -> None:
    ours, other = at(NOW + own, "shelved"), at(NOW + theirs)
    found = judge("plant/plc", KEYS, {("t", "high"): ours}, retained(other), now=NOW, own_wins=False)
    assert found.words == {("t", "high"): ours if fault else other}
    assert found.faults == ({WORD.topic: fault} if fault else {})


@pytest.mark.parametrize("own", [{}, {("t", "high"): at(NOW - 2000)}])
def test_a_record_that_knows_all_wins_over_a_newer_word(own: dict[tuple[str, str], Word]) -> None:
    found = judge("plant/plc", KEYS, own, retained(at(NOW - 1000, "shelved")), now=NOW, own_wins=True)
    assert found.words == own
    assert found.faults == {WORD.topic: "forged"}


def test_what_the_broker_has_from_us_is_no_forgery() -> None:
    own = {("t", "high"): WORD}
    assert not judge("plant/plc", KEYS, own, retained(WORD), now=NOW, own_wins=True).faults


@pytest.mark.parametrize(
    "payload",
    [
        b"no JSON",
        alarm.encode(replace(WORD, device="plant/other")),
        alarm.encode(at(NOW + AHEAD_MS + 1)),
        alarm.encode(replace(WORD, record=replace(RAISED, occurrence=NOW + AHEAD_MS + 1))),
    ],
)
def test_a_word_that_cannot_be_is_forged(payload: bytes) -> None:
    found = judge("plant/plc", KEYS, {}, {WORD.topic: payload}, now=NOW, own_wins=False)
    assert (found.words, found.faults) == ({}, {WORD.topic: "forged"})


def test_an_alarm_that_left_the_files_is_stale_and_another_devices_is_not_ours_to_judge() -> None:
    gone = replace(WORD, name="low")
    below = Word("plant/plc/module", "t", "high", RAISED, "raised")
    about = {**retained(gone, below), "alarm/plant/plc/x/y": b"no JSON"}
    found = judge("plant/plc", KEYS, {}, about, now=NOW, own_wins=False)
    assert (found.stale, found.faults) == ([gone], {gone.topic: "unknown"})
