"""Alarms in the console: which message counts, what is shown first, and what is sent to whom."""

import json
from typing import Any

import pytest

from console.live import alarm_item, alarms
from console.live.alarms import Alarms
from console.live.client import MOST_ALARMS, Client
from console.live.device_rows import DeviceRows
from console.live.retained import Retained
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage, Priority, Record, State
from nexus.contract.codec import DecodeError
from tests.unit.test_console_live import Wire

NOW = 1_767_225_600_000
HOUR = 3_600_000


def message(
    state: State = "unacknowledged", ts: int = NOW, name: str = "high", priority: Priority = "high"
) -> AlarmMessage:
    is_normal = state == "normal"
    record = Record(state, NOW, ts, ts, active=not is_normal, acknowledged=is_normal or state == "acknowledged")
    return AlarmMessage("plant/plc", "t", name, record, "cleared" if is_normal else "raised", priority)


def take(known: Alarms, one: AlarmMessage, now: int = NOW, *, is_retained: bool = False) -> None:
    known.take(one.topic, alarm.encode(one), now, is_retained=is_retained)


def states(known: Alarms) -> dict[str, str]:
    return {one.name: one.record.state for one in known.in_order()}


def test_of_two_messages_the_later_counts_in_whatever_order_they_come() -> None:
    known = Alarms()
    take(known, message("acknowledged", NOW + 2))
    take(known, message("unacknowledged", NOW + 1))
    assert states(known) == {"high": "acknowledged"}
    take(known, message("normal", NOW + 3))
    take(known, message("unacknowledged", NOW + 1))
    assert states(known) == {}


def test_what_is_retained_is_the_present_message_whatever_clocks_say() -> None:
    known = Alarms()
    take(known, message("normal", NOW))
    take(known, message("unacknowledged", NOW - 2 * HOUR), is_retained=True)
    assert states(known) == {"high": "unacknowledged"}, "the gateway's clock was set back"
    take(known, message("normal", NOW - 3 * HOUR))
    assert states(known) == {"high": "unacknowledged"}, "that came late from a spool"


def test_a_message_from_far_in_the_future_does_not_hold_against_a_later_one() -> None:
    known = Alarms()
    take(known, message("unacknowledged", NOW + HOUR + 1))
    take(known, message("acknowledged", NOW))
    assert states(known) == {"high": "acknowledged"}
    take(known, message("unacknowledged", NOW + HOUR))
    take(known, message("acknowledged", NOW + 1))
    assert states(known) == {"high": "unacknowledged"}, "an hour is within what clocks differ by"


def test_what_is_no_alarm_changes_nothing() -> None:
    known = Alarms()
    take(known, message())
    for payload in (b"{}", b"\xff", b"[" * 5000):
        with pytest.raises(DecodeError):
            known.take("alarm/plant/plc/t/high", payload, NOW, is_retained=False)
    assert (states(known), known.last_change) == ({"high": "unacknowledged"}, 1)


def test_the_same_again_is_no_change() -> None:
    known = Alarms()
    take(known, message())
    take(known, message())
    assert known.last_change == 1


def test_what_the_broker_has_no_more_is_gone_after_a_new_connection() -> None:
    known = Alarms()
    take(known, message(name="stays"))
    take(known, message(name="gone"))
    known.begin()
    take(known, message(name="stays"))
    assert states(known) == {"stays": "unacknowledged", "gone": "unacknowledged"}
    known.sweep()
    assert states(known) == {"stays": "unacknowledged"}
    known.take("alarm/plant/plc/t/stays", b"", NOW, is_retained=True)
    assert states(known) == {}


def test_those_that_wait_for_a_person_come_first_by_priority_and_the_newest() -> None:
    known = Alarms()
    take(known, message("acknowledged", name="seen", priority="critical"))
    take(known, message(name="low", priority="low"))
    take(known, message(name="critical", priority="critical"))
    assert list(states(known)) == ["critical", "low", "seen"]


def test_memory_has_a_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "MOST", 2)
    known = Alarms()
    for name in ("a", "b", "c"):
        take(known, message(name=name))
    assert (len(known.in_order()), known.is_full) == (2, True)
    for name in ("a", "b", "c"):
        take(known, message("normal", NOW + 1, name=name))
    assert [one.message.name for one in known.changed(0, 0)] == ["c", "b"]


def test_a_client_is_sent_what_stands_and_then_each_change() -> None:
    known, wire = Alarms(), Wire()
    client = Client(wire, 1)

    def sent() -> list[tuple[str, str]]:
        client.send(0, DeviceRows(Retained(), lambda _: b""), known, NOW)
        frames: list[Any] = [frame["alarms"] for frame in wire.taken()]
        return [(one["name"], one["state"]) for frame in frames for one in frame]

    take(known, message("normal", name="over"))
    take(known, message(name="stands"))
    assert sent() == [], "it has not asked for alarms"
    client.watch_alarms(known.last_change)
    assert sent() == [("stands", "unacknowledged")]
    assert sent() == []
    take(known, message("normal", NOW + 1, name="stands"))
    assert sent() == [("stands", "normal")]


def test_a_flood_comes_in_frames_of_a_size() -> None:
    known, wire = Alarms(), Wire()
    client = Client(wire, 1)
    client.watch_alarms(0)
    for number in range(MOST_ALARMS + 1):
        take(known, message(name=str(number)))
    rows = DeviceRows(Retained(), lambda _: b"")
    sizes = []
    for _ in range(3):
        client.send(0, rows, known, NOW)
        sizes += [[one["name"] for one in frame["alarms"]] for frame in wire.taken()]
    assert [len(one) for one in sizes] == [MOST_ALARMS, 1]
    assert sizes[0][0] == "0", "the oldest first"


def test_an_id_names_an_occurrence() -> None:
    for topic in ("alarm/plant/plc/t/high", "alarm/a@b/Öl/ß"):
        assert alarm_item.identified(alarm_item.identity(topic, NOW)) == (topic, NOW)


@pytest.mark.parametrize("topic", ["dev/plant/plc/t", "alarm/plant/#", "alarm/a\0"])
def test_what_names_no_alarm_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        alarm_item.identified(alarm_item.identity(topic, NOW))


@pytest.mark.parametrize("identity", ["", "a", "%", "ä", json.dumps({})])
def test_what_is_no_id_is_refused(identity: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        alarm_item.identified(identity)
