"""Late rows are told from those on time, and an outage does not change which they are."""

import asyncio

import pytest

from ingestion.decode.rows import Encoder, Rows
from ingestion.store import lateness
from ingestion.store.database import ClocksApartError, DatabaseAwayError
from ingestion.store.lateness import Lateness, LatenessMonitor
from nexus.contract.codec import Message

NOW = 1_700_000_000_000


def test_a_row_from_before_the_border_is_late_and_one_from_before_what_is_kept_is_refused() -> None:
    rows, late = Rows(), Rows()
    window = Lateness(NOW - 1000, NOW - 5000).window(NOW)
    for age in (0, 1000, 1001, 5000):
        assert Encoder().encode(Message("dev/a", NOW - age, {"t": 1.0}), window, rows, late) == []
    assert (rows.count, late.count) == (2, 2)
    [(tag, reason)] = Encoder().encode(Message("dev/a", NOW - 5001, {"t": 1.0}), window, rows, late)
    assert (tag, reason) == ("t", f"ts {NOW - 5001} is older than what is kept")


def test_settings_may_keep_less_than_the_database() -> None:
    assert Lateness(0, NOW - 5000).window(NOW, NOW - 2000).earliest == NOW - 2000
    assert Lateness(0, NOW - 5000).window(NOW, NOW - 9000).earliest == NOW - 5000


def test_an_outage_leaves_lateness_as_it_was_and_clocks_apart_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Lateness | DatabaseAwayError] = []

    async def ask(_: str) -> Lateness:
        answer = answers.pop(0)
        if isinstance(answer, DatabaseAwayError):
            raise answer
        return answer

    monkeypatch.setattr(lateness, "ask", ask)
    monitor = LatenessMonitor("")
    first, second = Lateness(1, 0), Lateness(2, 0)
    steps: list[tuple[Lateness | DatabaseAwayError, Lateness | None, str | None]] = [
        (DatabaseAwayError("gone"), None, "gone"),
        (first, first, None),
        (DatabaseAwayError("gone"), first, None),
        (ClocksApartError("far"), None, "far"),
        (DatabaseAwayError("gone"), None, "gone"),
        (second, second, None),
    ]
    for answer, latest, fault in steps:
        answers.append(answer)
        asyncio.run(monitor._refresh())
        assert (monitor.latest, monitor.fault) == (latest, fault)
