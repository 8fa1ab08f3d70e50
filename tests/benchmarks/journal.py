"""What the journal of alarms and the queue of notifications cost, and how fast what stands is found. Prints JSON.

NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.journal [--events N] [--alarms N]
"""

import argparse
import asyncio
import json
import time
from typing import Any

import psycopg

from ingestion.store.records import insert_records
from nexus.contract.alarm import AlarmMessage, Event, Record
from tests.benchmarks.database import database

BATCH = 1_000
_OFF = "ALTER TABLE alarm_events DISABLE TRIGGER keep_alarm_states"
_WANTED = "INSERT INTO notification_sender VALUES (true, now() + interval '1 day', 'x', now())"
_FOUND_ANEW = """
SELECT count(*) FROM (SELECT DISTINCT ON (topic) * FROM alarm_events ORDER BY topic, time DESC) AS last
WHERE state <> 'normal'
"""


def events(count: int, alarms: int, start: int) -> list[AlarmMessage]:
    """Each raised and cleared again, in turn; every hundredth alarm stands at the end."""
    found = []
    for number in range(count):
        alarm, at, is_raised = number % alarms, start + number, number // alarms % 2 == 0 or number % alarms % 100 == 0
        record = Record(
            "unacknowledged" if is_raised else "normal", at, at, at, active=is_raised, value=84.5, limit=80.0
        )
        event: Event = "raised" if is_raised else "cleared"
        found.append(
            AlarmMessage(f"plant/line{alarm % 50}/plc", f"t{alarm}", "high", record, event, "high", "Bearing hot")
        )
    return found


async def stored(url: str, messages: list[AlarmMessage]) -> float:
    """Events a second, in transactions of BATCH."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        for start in range(0, len(messages), BATCH):
            async with connection.transaction():
                await insert_records(connection, messages[start : start + BATCH])
        return len(messages) / (time.perf_counter() - began)


def asked(url: str, query: str) -> float:
    """Milliseconds, the best of three."""
    with psycopg.connect(url, autocommit=True) as connection:
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            connection.execute(query.encode()).fetchall()
            best = min(best, (time.perf_counter() - began) * 1000)
        return best


def measured(count: int, alarms: int) -> dict[str, Any]:
    """Storing and asking, each beside the same without the last events that are kept."""
    start = int(time.time() * 1000) - 2 * count
    messages = events(count, alarms, start)
    with database() as url:
        rate = asyncio.run(stored(url, messages))
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(_WANTED)
            wanted = events(min(count, 100_000), alarms, start + 3 * count)
            queued = asyncio.run(stored(url, wanted))
            owner.execute("TRUNCATE notification_sender")
            owner.execute(_OFF)
            later = events(min(count, 100_000), alarms, start + count)
            floor = asyncio.run(stored(url, later))
            owner.execute("VACUUM ANALYZE alarm_events, alarm_states")
        return {
            "events": count,
            "alarms": alarms,
            "events_per_second": round(rate),
            "events_per_second_without_last_events": round(floor),
            "events_per_second_queued_for_notifications": round(queued),
            "alarms_now_ms": round(asked(url, "SELECT * FROM alarms_now"), 1),
            "found_anew_ms": round(asked(url, _FOUND_ANEW), 1),
            "statistics_of_a_day_ms": round(
                asked(url, "SELECT * FROM alarm_statistics(now() - interval '1 day', now())"), 1
            ),
        }


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--alarms", type=int, default=20_000)
    own = parser.parse_args()
    print(json.dumps(measured(own.events, own.alarms), indent=2))


if __name__ == "__main__":
    main()
