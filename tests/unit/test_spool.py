"""The spool on a real file."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.spool import Entry, Spool, SpoolError
from gateway.spool_folder import claimed
from nexus.runtime.errors import ConfigError

DAY = 86_400.0


def entry(number: int, size: int = 100, age: float = 0.0) -> Entry:
    return Entry(f"dev/plc{number}", b"x" * size, 10, int((time.time() - age) * 1000), number * 10 + 1)


def on(folder: Path, work: Callable[[Spool], Awaitable[None]], max_bytes: int = 10**9, max_age: float = DAY) -> None:
    async def scenario() -> None:
        async with claimed(folder, max_bytes, max_age) as spool:
            await work(spool)

    asyncio.run(scenario())


def test_what_is_stored_is_there_again_in_its_order(tmp_path: Path) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(number) for number in range(5)])
        await spool.write([], [(1, 20)])

    async def look(spool: Spool) -> None:
        assert [found.topic for found in await spool.between(0, 10**9, 10)] == ["dev/plc2", "dev/plc3", "dev/plc4"]
        assert (spool.contents.messages, spool.contents.readings) == (3, 30)
        [first, *_] = await spool.between(0, 10**9, 1)
        assert [found.topic for found in await spool.between(first.last + 1, 10**9, 10)] == ["dev/plc3", "dev/plc4"]

    on(tmp_path, store)
    on(tmp_path, look)


def test_an_entry_is_found_by_each_of_its_numbers_and_goes_when_all_are_finished(tmp_path: Path) -> None:
    async def look(spool: Spool) -> None:
        await spool.write([entry(0), entry(1), entry(2)])
        assert [found.id for found in await spool.between(5, 14, 10)] == [1, 11]
        await spool.write([], [(1, 19)])
        assert [found.id for found in await spool.between(0, 100, 10)] == [11, 21]
        assert (spool.contents.first, spool.contents.last, spool.contents.readings) == (11, 30, 20)

    on(tmp_path, look)


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    seen: list[int] = []

    async def start(spool: Spool) -> None:
        assert all(spool.next > number for number in seen)
        seen.append(spool.next + 10**9 - 1)  # as far as a process may go without having stored anything
        await spool.write([Entry("dev/x", b"", 5, 0, spool.next + 999_999_999)])
        seen.append(spool.next + 10**9 + 4)

    on(tmp_path, start)
    on(tmp_path, start)
    on(tmp_path, start)


def test_a_spool_of_the_first_layout_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as old, old:
        old.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, time INT, readings INT, topic TEXT, payload BLOB)")
        old.execute("CREATE TABLE owner (id TEXT NOT NULL)")
        old.execute("INSERT INTO owner VALUES ('abc')")
        old.executemany("INSERT INTO message VALUES (?, 5, 10, ?, x'00')", [(n, f"dev/{n}") for n in (3, 4, 9)])

    async def look(spool: Spool) -> None:
        found = await spool.between(0, 10**9, 10)
        assert [(one.topic, one.id, one.last) for one in found] == [
            ("dev/3", 1, 10),
            ("dev/4", 11, 20),
            ("dev/9", 21, 30),
        ]
        assert re.fullmatch("[0-9a-f]{32}", spool.id), "the short one can be guessed"
        assert spool.next > 30

    on(tmp_path, look)


def test_beyond_its_bytes_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        lost = 0
        for number in range(1000):
            lost += await spool.write([entry(number, size=2000)])
        assert spool.contents.size <= 1_000_000
        assert lost + spool.contents.readings == 10_000
        [oldest] = await spool.between(0, 10**9, 1)
        assert oldest.topic == f"dev/plc{lost // 10}"

    on(tmp_path, fill, max_bytes=1_000_000)


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    async def age(spool: Spool) -> None:
        await spool.write([entry(1, age=100), entry(2, age=10)])
        assert await spool.expire() == 10
        assert [found.topic for found in await spool.between(0, 10**9, 10)] == ["dev/plc2"]
        assert await spool.expire() == 0

    on(tmp_path, age, max_age=60)


def test_two_gateways_in_one_folder_have_a_spool_each_and_find_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with claimed(tmp_path, 10**9, DAY) as one, claimed(tmp_path, 10**9, DAY) as two:
            assert one.id != two.id
            first = one.id
        async with claimed(tmp_path, 10**9, DAY) as again:
            assert (again.id, again.number, two.number) == (first, 0, 1)

    asyncio.run(scenario())


def test_what_a_gateway_that_is_no_more_left_is_taken_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with claimed(tmp_path, 10**9, DAY), claimed(tmp_path, 10**9, DAY) as two:
            await two.write([entry(number) for number in range(2500)])
        async with claimed(tmp_path, 10**9, DAY) as one:
            assert one.contents.messages == 2500
        assert sorted(file.name for file in tmp_path.glob("*.db")) == ["spool-0.db"]

    asyncio.run(scenario())


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "spool-0.db").write_bytes(b"not a database at all" * 100)

    async def store(spool: Spool) -> None:
        await spool.write([entry(1)])
        assert spool.contents.messages == 1

    on(tmp_path, store)
    assert list(tmp_path.glob("spool-0.db.damaged-*"))


def test_a_disk_that_takes_nothing_is_an_error_and_leaves_what_is_there(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        await spool.write([entry(1)])
        pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
        spool._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(SpoolError, match="full"):
            await spool.write([entry(number, size=10_000) for number in range(100)])
        assert spool.contents.messages == 1
        spool._database.execute("PRAGMA max_page_count = 1000000")
        await spool.write([entry(2)])
        assert spool.contents.messages == 2

    on(tmp_path, fill)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def nothing(_: Spool) -> None:
        pass

    with pytest.raises(ConfigError, match="NEXUS_SPOOL_DIR"):
        on(tmp_path / "file" / "spool", nothing)


def test_entries_survive_a_process_that_dies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with claimed(tmp_path, 10**9, DAY) as spool:
            await spool.write([entry(1)])
            # Another connection sees what is committed, as the next process would.
            other = sqlite3.connect(tmp_path / "spool-0.db")
            assert other.execute("SELECT count(*) FROM message").fetchone() == (1,)
            other.close()

    asyncio.run(scenario())
