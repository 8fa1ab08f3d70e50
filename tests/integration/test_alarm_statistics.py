"""Figures of EEMUA 191, out of a journal that is known."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from msgspec.structs import replace

from ingestion.consume.batch import Batch
from nexus.contract.alarm import AlarmMessage, Record
from tests.conftest import TIERS
from tests.integration.test_writer import write_batch
from tests.parts import as_role

MINUTE = 60_000
NOON = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000) - 12 * 60 * MINUTE
START, STOP = (datetime.fromtimestamp(at / 1000, UTC) for at in (NOON, NOON + 60 * MINUTE))
tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)


def raised(name: str, minutes: float, priority: str = "low") -> AlarmMessage:
    at = NOON + round(minutes * MINUTE)
    record = Record("unacknowledged", at, at, at, active=True, acknowledged=False)
    return AlarmMessage("press", "force", name, record, "raised", priority, f"about {name}")  # type: ignore[arg-type]


def after(message: AlarmMessage, minutes: float, event: str, **changes: object) -> AlarmMessage:
    at = message.record.ts + round(minutes * MINUTE)
    return replace(message, event=event, record=replace(message.record, ts=at, since=at, **changes))


def acknowledged(message: AlarmMessage, minutes: float) -> AlarmMessage:
    return after(message, minutes, "acknowledged", state="acknowledged", acknowledged=True, by="anna")


def cleared(message: AlarmMessage, minutes: float) -> AlarmMessage:
    return after(message, minutes, "cleared", state="normal", active=False, acknowledged=True)


@tiers
def test_a_journal_gives_the_figures_of_eemua_191(database: str) -> None:
    flood = [raised(f"flood{number}", 30 + number / 100, "high") for number in range(11)]
    fast = [raised("fast", 5 + number / 5) for number in range(4)]
    slow = [raised("slow", number * 20 + 1) for number in range(2)]
    hidden = replace(raised("hidden", 40), record=replace(raised("hidden", 40).record, state="shelved"))
    shown = after(hidden, 1, "unshelved", state="unacknowledged")
    over = cleared(shown, 1)
    again = after(flood[0], 20, "realarmed")
    messages = [
        *(message for one in (*fast, *slow) for message in (one, cleared(one, 0.1))),
        *flood,
        *(acknowledged(one, number) for number, one in enumerate(flood[:5], 1)),
        *(hidden, shown, over, again, raised("before", -1), cleared(raised("before", -1), 0.5)),
    ]
    write_batch(database, Batch(records=list(messages)))
    with psycopg.connect(as_role(database, "nexus_console")) as console:

        def ask(what: str) -> list[tuple[object, ...]]:
            return console.execute(what.encode(), (START, STOP)).fetchall()

        rate = ask("SELECT raised FROM alarm_rate(%s, %s)")
        assert [one for (one,) in rate] == [5, 0, 1, 11, 1, 1], "each 10 minutes, quiet ones too"
        top = ask("SELECT topic, priority, text, raised, share FROM alarm_top(%s, %s, 2)")
        assert top == [
            ("alarm/press/force/fast", "low", "about fast", 4, pytest.approx(4 / 19)),
            ("alarm/press/force/flood0", "high", "about flood0", 2, pytest.approx(2 / 19)),
        ]
        assert ask("SELECT * FROM alarm_chattering(%s, %s)") == [("alarm/press/force/fast", "about fast", 2, 4)]
        minutes = timedelta(minutes=1)
        assert ask("SELECT * FROM alarm_response(%s, %s)") == [
            ("high", 11, 5, 3 * minutes, 4.8 * minutes, 5 * minutes),
            ("low", 7, 0, None, None, None),
        ]
        [whole] = ask(
            "SELECT raised, peak_10_minutes, chattering, standing, median_response FROM alarm_statistics(%s, %s)"
        )
        assert whole == (19, 11, 1, 11, 3 * minutes)
        [shares] = ask("SELECT per_10_minutes, flood_share, shelved, unacknowledged FROM alarm_statistics(%s, %s)")
        assert shares == (pytest.approx(19 / 6), pytest.approx(1 / 6), 0, 7)


@tiers
def test_without_alarms_the_figures_are_zeros(database: str) -> None:
    with psycopg.connect(as_role(database, "nexus_reader")) as reader:
        found = reader.execute("SELECT * FROM alarm_statistics(%s, %s)", (START, STOP)).fetchall()
        assert found == [(0, 0.0, 0, 0.0, None, 0, 0, 0, 0, 0, None)]


@tiers
def test_what_stands_for_a_day_is_stale(database: str) -> None:
    new = replace(raised("new", 0), record=replace(raised("new", 0).record, occurrence=_ago(23), ts=_ago(23)))
    old = replace(raised("old", 0), record=replace(raised("old", 0).record, occurrence=_ago(25), ts=_ago(1)))
    write_batch(database, Batch(records=[new, old]))
    with psycopg.connect(as_role(database, "nexus_reader")) as reader:
        found = reader.execute("SELECT name, stale FROM alarms_standing ORDER BY name").fetchall()
        assert found == [("new", False), ("old", True)]


def _ago(hours: int) -> int:
    return int(datetime.now(UTC).timestamp() * 1000) - hours * 60 * MINUTE
