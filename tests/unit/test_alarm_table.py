"""Alarms as operators read them at a terminal."""

from msgspec.structs import replace

from nexus.cli import alarm_table
from nexus.contract.alarm import AlarmMessage, Record

NOON = 1_703_246_400_000
RAISED = Record("unacknowledged", NOON, NOON, NOON, active=True, acknowledged=False, value=84.5, limit=80.0)
HIGH = AlarmMessage("line1/press", "force", "high", RAISED, "raised", "high", "Force too high", unit="kN")


def test_what_waits_for_a_person_comes_first_then_the_priority_then_the_newest() -> None:
    seen = replace(HIGH, name="seen", priority="critical", record=replace(RAISED, state="acknowledged"))
    low = replace(HIGH, name="low", priority="low")
    returned = replace(HIGH, name="returned", priority="critical", record=replace(RAISED, state="returned"))
    newer = replace(HIGH, name="newer", record=replace(RAISED, occurrence=NOON + 1))
    found = alarm_table.in_order([seen, low, HIGH, returned, newer])
    assert [message.name for message in found] == ["returned", "newer", "high", "low", "seen"]


def test_a_line_has_value_unit_and_limit_and_the_end_of_a_shelving() -> None:
    shelved = replace(HIGH, record=replace(RAISED, state="shelved", until=NOON + 3_600_000, value="jammed", limit=None))
    _, line, other, _, count = alarm_table.standing([HIGH, shelved])
    assert line.split("  ", 1)[1].split() == (
        ["high", "unacknowledged", "line1/press/force/high", "84.5", "kN", "(limit", "80)", "Force", "too", "high"]
    )
    assert "shelved until 2023-12-22" in other
    assert "jammed kN  " in other
    assert count == "2 alarms, 1 to be acknowledged"
    assert alarm_table.standing([]) == ["no alarms"]


def test_an_event_says_who_did_it_and_why() -> None:
    record = replace(RAISED, state="acknowledged", by="anna", reason="on my way")
    _, line = alarm_table.journal([replace(HIGH, tag="", event="acknowledged", record=record)])
    assert "line1/press/high" in line
    assert line.endswith("anna  on my way")
    assert alarm_table.event(HIGH).endswith("raised: line1/press/force/high (high), 84.5 kN (limit 80): Force too high")


def test_an_event_without_a_value_says_no_unit_and_no_limit() -> None:
    suppressed = replace(HIGH, event="suppressed", record=replace(RAISED, value=None))
    assert alarm_table.event(suppressed).endswith("suppressed: line1/press/force/high (high): Force too high")


def test_what_a_terminal_would_obey_is_shown_as_a_mark() -> None:
    hostile = replace(HIGH, text="\x1b[2Jgone", name="a\nb", record=replace(RAISED, by="\x07"))
    shown = [*alarm_table.standing([hostile]), *alarm_table.journal([hostile]), alarm_table.event(hostile)]
    assert all(line.isprintable() for line in shown)
