"""Exports: how many there are at once, and how slow a reader may be."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from console.database import Database
from console.historian import export
from console.historian.export import LEAST_RATE, PACE_SECONDS, BusyError, Exports, OwnExportError, Pace, Range
from console.turns import asker

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_a_reader_is_cut_who_takes_too_little_and_not_who_waits_for_the_database() -> None:
    pace = Pace()
    assert pace.keeps_up(1, PACE_SECONDS - 1), "it has its time"
    assert not pace.keeps_up(1, 2)
    pace = Pace()
    assert all(pace.keeps_up(LEAST_RATE, 1) for _ in range(1_000))
    assert not pace.keeps_up(0, 1_000)


async def test_so_many_exports_run_at_once_and_one_of_each_person(monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def copied(*_: Any) -> AsyncGenerator[bytes]:
        yield b"row"
        await over.wait()

    class Connection:
        async def __aenter__(self) -> "Connection":
            return self

        async def __aexit__(self, *_: object) -> None: ...

        def transaction(self) -> "Connection":
            return self

        async def execute(self, _: str) -> None: ...

    monkeypatch.setattr(export, "_copied", copied)
    monkeypatch.setattr(Database, "connection", lambda *_: Connection())
    exports = Exports(Database("postgresql://127.0.0.1:1/nowhere", 1, 1))

    async def first(person: str) -> AsyncGenerator[bytes]:
        asker.set(person)
        blocks = exports.rows(Range(["dev/a/t"], NOW, NOW))
        assert await anext(blocks) == b"row"
        return blocks

    async with aclosing(await first("vera")), aclosing(await first("otto")):
        with pytest.raises(OwnExportError):
            await first("vera")
        with pytest.raises(BusyError):
            await first("edda")
    async with aclosing(await first("vera")):
        pass
