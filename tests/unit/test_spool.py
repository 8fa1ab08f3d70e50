"""The spool on a real file."""

import asyncio
import errno
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from gateway import metrics
from gateway.cluster.instance_file import InstanceFile
from gateway.delivery import salvage
from gateway.delivery.batch import Batch
from gateway.delivery.spool import Spool, SpoolError
from gateway.delivery.spool_folder import abandoned, claimed, free
from gateway.delivery.spool_gauges import SpoolGauges
from nexus.process.errors import ConfigError

DAY = 86_400.0


def entry(number: int, size: int = 100) -> Batch:
    return Batch(f"dev/plc{number}", b"{" + b"x" * (size - 2) + b"}", 10, number * 10 + 1, kept=True)


def on(folder: Path, work: Callable[[Spool], Awaitable[None]], max_bytes: int = 10**9, max_age: float = DAY) -> None:
    async def scenario() -> None:
        async with claimed(folder, max_bytes, max_age) as spool:
            await spool.open()
            await work(spool)

    asyncio.run(scenario())


def dropped(reason: str) -> int:
    """Readings, so far."""
    return int(metrics.dropped.labels(reason)._value.get())


async def expired(spool: Spool) -> int:
    before = dropped("age")
    await spool.expire()
    return dropped("age") - before


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
        assert [found.first for found in await spool.between(5, 14, 10)] == [1, 11]
        await spool.write([], [(1, 19)])
        assert [found.first for found in await spool.between(0, 100, 10)] == [11, 21]
        assert (spool.contents.first, spool.contents.last, spool.contents.readings) == (11, 30, 20)

    on(tmp_path, look)


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("gateway.delivery.spool_file.time.time_ns", lambda: int(seconds * 1e9))


@pytest.mark.parametrize("clock", [0, 10**9 - 5, 10**18], ids=["never set", "stands", "far away"])
def test_numbers_are_never_used_twice_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    seen: list[int] = []
    at(monkeypatch, clock)

    async def start(spool: Spool) -> None:
        assert spool.owner is not None
        following = spool.owner.next
        assert all(following > number for number in seen)
        seen.append(following + 10**6 - 1)  # as far as a process may go without having stored anything
        await spool.write([Batch("dev/x", b"{}", 5, following + 999_999)])
        seen.append(following + 10**6 + 4)
        assert following < 2**52

    on(tmp_path, start)
    on(tmp_path, start)
    on(tmp_path, start)


def test_what_runs_on_a_copy_of_a_spool_begins_beyond_the_numbers_of_its_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored snapshot, or a cloned machine."""
    first = []

    async def start(spool: Spool) -> None:
        assert spool.owner is not None
        first.append(spool.owner.next)
        await spool.write([Batch("dev/x", b"{}", 2000, spool.owner.next + n * 2000) for n in range(1000)])

    at(monkeypatch, 1_800_000_000)
    on(tmp_path / "one", start)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    at(monkeypatch, 1_800_000_010)
    on(tmp_path / "one", start)
    at(monkeypatch, 1_800_000_020)
    on(tmp_path / "copy", start)
    assert first == [1_800_000_000_000_000, 1_800_000_010_000_000, 1_800_000_020_000_000]


def test_a_spool_of_the_first_layout_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as old, old:
        old.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, time INT, readings INT, topic TEXT, payload BLOB)")
        old.execute("CREATE TABLE owner (id TEXT NOT NULL)")
        old.execute("INSERT INTO owner VALUES ('abc')")
        old.executemany("INSERT INTO message VALUES (?, 5, 10, ?, x'7b7d')", [(n, f"dev/{n}") for n in (3, 4, 9)])

    async def look(spool: Spool) -> None:
        found = await spool.between(0, 10**9, 10)
        assert [(one.topic, one.first, one.last) for one in found] == [
            ("dev/3", 1, 10),
            ("dev/4", 11, 20),
            ("dev/9", 21, 30),
        ]
        assert spool.owner is not None
        assert re.fullmatch("[0-9a-f]{32}", spool.owner.id), "the short one can be guessed"
        assert spool.owner.next > 30
        assert (spool.contents.messages, spool.contents.readings) == (3, 30)
        assert await expired(spool) == 0, "what an older version kept is new to us"

    on(tmp_path, look)


def test_beyond_its_bytes_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        before = dropped("bytes")
        for number in range(1000):
            await spool.write([entry(number, size=2000)])
        lost = dropped("bytes") - before
        assert spool.contents.size <= 1_000_000
        assert lost + spool.contents.readings == 10_000
        [oldest] = await spool.between(0, 10**9, 1)
        assert oldest.topic == f"dev/plc{lost // 10}"

    on(tmp_path, fill, max_bytes=1_000_000)


def test_what_is_dropped_is_known_by_topic_number_and_hour(tmp_path: Path) -> None:
    hour = 3_600_000
    last = b'{"ts":%d,"v":{"a":1,"b":2,"c":3},"t":{"b":%d}}' % (7 * hour, 7 * hour - 1)

    async def fill(spool: Spool) -> None:
        await spool.write([Batch("dev/a/b", last, 3, 1, kept=True), Batch("audit/a/b", b"{}", 1, 4, kept=True)])
        assert not spool.drops.take()
        for number in range(1000):
            await spool.write([entry(number + 10, size=2000)])
        [first, *others] = spool.drops.take()
        assert first == ("dev/a/b", 1, {7: 2, 6: 1})
        assert (others[0].topic, others[0].hours) == ("dev/plc10", {}), "nobody knows the times of what is damaged"
        assert not spool.drops.take()

    on(tmp_path, fill, max_bytes=1_000_000)


def test_what_is_too_old_goes_by_the_time_that_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: running)

    async def age(spool: Spool) -> None:
        nonlocal running
        await spool.write([entry(1)])
        running += 50
        await spool.write([entry(2)])
        monkeypatch.setattr(time, "time", lambda: 4e9)  # a clock that is far ahead lets nothing go
        assert await expired(spool) == 0
        running += 11
        assert await expired(spool) == 10
        assert [found.topic for found in await spool.between(0, 10**9, 10)] == ["dev/plc2"]
        assert await expired(spool) == 0

    async def after_a_restart(spool: Spool) -> None:
        nonlocal running
        running += 40
        assert await expired(spool) == 0
        running += 10
        assert await expired(spool) == 10

    on(tmp_path, age, max_age=60)
    running = 5.0  # the machine was off, for nobody knows how long
    on(tmp_path, after_a_restart, max_age=60)


def test_the_file_keeps_its_bound_and_a_full_one_takes_what_is_new(tmp_path: Path) -> None:
    bound = 4_000_000

    async def fill(spool: Spool) -> None:
        number, before = 0, dropped("bytes")
        for size in (100, 2000, 90_000, 300):
            for _ in range(60):
                entries = [entry(number + n, size) for n in range(1 + 200_000 // size)]
                number += len(entries)
                await spool.write(entries)
                assert (
                    sum(file.stat().st_size for file in tmp_path.glob("spool-0.db*") if "shm" not in file.name) <= bound
                )
        assert dropped("bytes") - before + spool.contents.readings == number * 10
        assert spool.contents.last == number * 10
        assert spool.contents.size > bound / 4

    on(tmp_path, fill, max_bytes=bound)


def test_totals_are_kept_and_not_counted_anew(tmp_path: Path) -> None:
    seen = []

    async def store(spool: Spool) -> None:
        await spool.write([entry(number) for number in range(50)])
        await spool.write([entry(3), entry(50)])  # one that is there already
        await spool.write([], [(1, 40)])
        seen.append(spool.contents)

    async def look(spool: Spool) -> None:
        assert spool.contents == seen[0]

    on(tmp_path, store)
    on(tmp_path, look)
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as file:
        counted = file.execute("SELECT count(*), sum(readings), max(id) FROM message").fetchone()
    assert counted == (seen[0].messages, seen[0].readings, 501) == (47, 470, 501)


def test_nobody_else_reads_the_spool(tmp_path: Path) -> None:
    async def look(spool: Spool) -> None:
        await spool.write([entry(1)])
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {0o600}

    old = os.umask(0o022)
    try:
        on(tmp_path / "new", look)
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "spool-0.db").mkdir()

    async with claimed(tmp_path, 10**9, DAY) as spool:
        with pytest.raises(SpoolError, match="unable to open"):
            await spool.open()
        assert spool.owner is None
        (tmp_path / "spool-0.db").rmdir()
        await spool.write([entry(1)])
        assert spool.owner is not None


HOSTILE = [
    "INSERT INTO message VALUES (1, 0, 10, 'dev/#', '{}')",
    "INSERT INTO message VALUES (1, 0, 10, x'ff', x'7b7d')",
    "INSERT INTO message VALUES (1, 0, 10, 'dev/a', 'text')",
    "INSERT INTO message VALUES (1, 0, 10, 'dev/a', x'00')",
    "INSERT INTO message VALUES (1, 0, 0, 'dev/a', x'7b7d')",
    "INSERT INTO message VALUES (1, 0, 'many', 'dev/a', x'7b7d')",
    "INSERT INTO message VALUES (-5, 'never', 1, 'dev/a', x'7b7d')",
    "INSERT INTO message VALUES (9223372036854775807, 0, 1, 'dev/a', x'7b7d')",
    "UPDATE total SET messages = -3",
    "UPDATE total SET size = 'big'",
    "DELETE FROM total",
    "UPDATE owner SET next = 9223372036854775807",
    "UPDATE owner SET next = 'x'",
    "UPDATE owner SET id = '+/#'",
    "DELETE FROM owner",
    "DROP TABLE message; CREATE TABLE message (x)",
    "DROP TABLE total; CREATE TABLE total (x)",
]


@pytest.mark.parametrize("change", HOSTILE)
def test_whatever_is_in_the_file_the_spool_works(tmp_path: Path, change: str) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(5)])

    async def go_on(spool: Spool) -> None:
        assert spool.owner is not None
        assert re.fullmatch("[0-9a-f]{32}", spool.owner.id)
        found = await spool.between(-(10**9), 2**62, 100)
        assert {one.topic for one in found} <= {"dev/plc5"}
        await spool.expire()
        number = spool.owner.next
        await spool.write([Batch("dev/new", b"{}", 1, number)])
        assert [one.topic for one in await spool.between(number, number, 10)] == ["dev/new"]
        assert spool.contents.messages == len(found) + 1

    on(tmp_path, store)
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as file, file:
        file.executescript(change)
    on(tmp_path, go_on)


def test_pages_that_are_damaged_under_way_are_put_aside(tmp_path: Path) -> None:
    async def damage(spool: Spool) -> None:
        assert spool.owner is not None
        name = spool.owner.id
        await spool.write([entry(number, 3000) for number in range(500)])
        assert spool._database is not None
        spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool._database.execute("PRAGMA cache_size = 0")
        with (tmp_path / "spool-0.db").open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(600_000))
        before = dropped("damaged")
        with pytest.raises(SpoolError, match="malformed"):
            await spool.between(0, 10**9, 500)
        await spool.write([entry(1000)])
        assert dropped("damaged") == before + 5000
        assert (spool.owner.id, spool.contents.messages) == (name, 1)
        assert list(tmp_path.glob("spool-0.db.damaged-*"))

    on(tmp_path, damage)


async def test_two_gateways_in_one_folder_have_a_spool_each_and_find_it_again(tmp_path: Path) -> None:
    async with claimed(tmp_path, 10**9, DAY) as one, claimed(tmp_path, 10**9, DAY) as two:
        await one.open()
        await two.open()
        assert one.owner
        assert two.owner
        assert one.owner.id != two.owner.id
        first = one.owner.id
    async with claimed(tmp_path, 10**9, DAY) as again:
        await again.open()
        assert again.owner
        assert (again.owner.id, again.number, two.number) == (first, 0, 1)


def unexpected(file: Path, error: OSError) -> None:
    raise AssertionError(f"{file}: {error}")


async def test_a_lock_that_cannot_be_used_costs_its_own_spool_alone(tmp_path: Path) -> None:
    for number in (1, 2, 5):
        spool = Spool(tmp_path / f"spool-{number}.db", 10**9, DAY)
        await spool.write([entry(number)])
        spool.close()
    (tmp_path / "spool-2.lock").mkdir()
    unusable = []
    found = free(tmp_path, lambda file, _: unusable.append(file.name))
    assert ([file.name for file in found], unusable) == (["spool-1.db", "spool-5.db"], ["spool-2.db"])
    async with claimed(tmp_path, 10**9, DAY) as own:
        assert own.number == 0
    left = abandoned(tmp_path / "spool-1.db", 10**9, DAY)
    assert left, "those that nobody has are free for everybody"
    left.close(remove=False)
    (tmp_path / "spool-0.lock").unlink()
    (tmp_path / "spool-0.lock").mkdir()
    async with claimed(tmp_path, 10**9, DAY) as own:
        assert own.number == 1, "a start takes the next one"


async def test_the_spool_of_a_gateway_that_is_no_more_is_found_and_removed_once_it_is_empty(tmp_path: Path) -> None:
    async with claimed(tmp_path, 10**9, DAY), claimed(tmp_path, 10**9, DAY) as two:
        await two.write([entry(1)])
        assert free(tmp_path, unexpected) == []
        assert abandoned(tmp_path / "spool-1.db", 10**9, DAY) is None
        name = two.owner and two.owner.id
    async with claimed(tmp_path, 10**9, DAY):
        [file] = free(tmp_path, unexpected)
        left = abandoned(file, 10**9, DAY)
        assert left
        assert [one.first for one in await left.spool.between(0, 100, 10)] == [11], "under its own numbers"
        assert left.spool.owner
        assert left.spool.owner.id == name
        left.close(remove=True)
    assert not list(tmp_path.glob("spool-1.db*"))


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(1)])
        assert spool.contents.messages == 1

    for number in range(3):
        (tmp_path / "spool-0.db").write_bytes(b"not a database at all" * (100 + number))
        before = dropped("damaged")
        on(tmp_path, store)
        assert dropped("damaged") == before + 1, "nobody can tell how many"
        [aside] = tmp_path.glob("spool-0.db.damaged-*")
        assert aside.stat().st_size == 21 * (100 + number), "the last one only: they may be large"
        aside.rename(tmp_path / "spool-0.db.damaged-7")
        for rest in tmp_path.glob("spool-0.db-*"):
            rest.unlink()


def test_a_file_of_which_all_can_be_read_loses_nothing(tmp_path: Path) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(number) for number in range(5)])

    async def look(spool: Spool) -> None:
        assert (spool.contents.messages, spool.contents.readings) == (5, 50)

    on(tmp_path, store)
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as file, file:
        file.execute("UPDATE owner SET next = 9007199254740991")
    before = dropped("damaged")
    on(tmp_path, look)
    assert dropped("damaged") == before
    assert list(tmp_path.glob("spool-0.db.damaged-*"))


def test_a_damaged_file_that_can_still_be_counted_is(tmp_path: Path) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(number) for number in range(5)])

    on(tmp_path, store)
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as file, file:
        file.execute("UPDATE owner SET next = 9007199254740991")
        file.execute("UPDATE message SET payload = 'no' WHERE id > 20")
    before = dropped("damaged")
    on(tmp_path, store)
    assert dropped("damaged") == before + 30


def test_what_had_to_go_counts_even_if_what_is_new_is_not_taken_then(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        number, before = 0, dropped("bytes")
        while dropped("bytes") == before:
            await spool.write([entry(number, size=2000)])
            number += 1
        kept, before = spool.contents.readings, dropped("bytes")
        assert spool._database is not None
        spool._database.execute("CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT raise(FAIL, 'full'); END")
        for _ in range(2):
            with pytest.raises(SpoolError, match="full"):
                await spool.write([entry(number + n, size=2000) for n in range(40)])
        assert spool.contents.readings < kept
        assert dropped("bytes") - before == kept - spool.contents.readings

    on(tmp_path, fill, max_bytes=1_000_000)


@pytest.mark.parametrize("pages", [(10,), (7, 8, 200), (2, 100, 300)])
def test_all_but_the_damaged_pages_is_saved(tmp_path: Path, pages: tuple[int, ...]) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(number, 500) for number in range(3000)])
        assert spool._database is not None
        spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def look(spool: Spool) -> None:
        assert spool.owner is not None
        saved = spool.contents.readings
        assert dropped("damaged") - before == 30_000 - saved
        assert 30_000 - 100 * len(pages) <= saved < 30_000, "seven messages a page"
        found = await spool.between(0, 10**9, 5000)
        assert sum(one.count for one in found) == saved
        assert all(one == entry(one.first // 10, 500) for one in found)
        assert found[-1].first == 29_991
        assert (spool.owner.id == names[0]) == (2 not in pages), "on one page there is the name"

    names: list[str] = []

    async def name(spool: Spool) -> None:
        assert spool.owner is not None
        names.append(spool.owner.id)
        await store(spool)

    on(tmp_path, name)
    with (tmp_path / "spool-0.db").open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    before = dropped("damaged")

    async def find(spool: Spool) -> None:
        with suppress(SpoolError):
            await spool.between(0, 10**9, 5000)  # if not at the opening, the damage is found under way
        await spool.open()
        await look(spool)

    on(tmp_path, find)


def damaged(folder: Path, messages: int = 3000) -> None:
    """A spool of `messages`, each of 10 readings, with one page in the middle overwritten."""

    async def store(spool: Spool) -> None:
        await spool.write([entry(number, 500) for number in range(messages)])

    on(folder, store)
    with (folder / "spool-0.db").open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xff" * 4096)


async def found_again(spool: Spool) -> None:
    """Readings that can be read, once the damage is found."""
    with suppress(SpoolError):
        await spool.between(0, 10**9, 5000)
    await spool.open()
    assert spool.contents.readings > 29_000
    assert sum(one.count for one in await spool.between(0, 10**9, 5000)) == spool.contents.readings


def test_a_process_that_ends_while_it_saves_a_damaged_spool_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    insert, calls = salvage._insert, []

    def dies(new: sqlite3.Connection, rows: list[Any]) -> None:
        calls.append(len(rows))
        if len(calls) == 2:
            raise KilledError
        insert(new, rows)

    async def is_killed(spool: Spool) -> None:
        with pytest.raises(SpoolError, match="malformed"):
            await spool.between(0, 10**9, 5000)
        with pytest.raises(KilledError):
            await spool.open()

    damaged(tmp_path)
    before = dropped("damaged")
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "_insert", dies)
        on(tmp_path, is_killed)
    on(tmp_path, found_again)
    assert 0 < dropped("damaged") - before <= 100
    assert not list(tmp_path.glob("*.unsaved-*"))


def test_a_copy_that_fills_the_disk_leaves_true_totals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, calls = salvage._insert, []

    def fills(new: sqlite3.Connection, rows: list[Any]) -> None:
        calls.append(len(rows))
        if len(calls) == 2:
            raise sqlite3.OperationalError("database or disk is full")
        insert(new, rows)

    async def waits(spool: Spool) -> None:
        with suppress(SpoolError):
            await spool.between(0, 10**9, 5000)
        await spool.write([entry(5000)])

    async def goes_on(spool: Spool) -> None:
        there = await spool.between(0, 10**9, 5000)
        assert len(there) == spool.contents.messages == 1001
        assert sum(one.count for one in there) == spool.contents.readings

    damaged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "_missing_bytes", lambda _: 1)
        on(tmp_path, waits)
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "_insert", fills)
        with pytest.raises(SpoolError, match="full"):
            on(tmp_path, waits)
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "_missing_bytes", lambda _: 1)
        on(tmp_path, goes_on)
    on(tmp_path, found_again)


def test_an_abandoned_spool_stays_while_a_damaged_file_of_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with claimed(tmp_path, 10**9, DAY):
            assert free(tmp_path, unexpected) == [tmp_path / "spool-1.db"], "though only the damaged file is there"
            with monkeypatch.context() as patch:
                patch.setattr(salvage, "_missing_bytes", lambda _: 1)
                left = abandoned(tmp_path / "spool-1.db", 10**9, DAY)
                assert left
                await left.spool.open()
                assert not left.spool.contents.messages
                left.close(remove=True)
            assert free(tmp_path, unexpected) == [tmp_path / "spool-1.db"], "to be tried again"
            left = abandoned(tmp_path / "spool-1.db", 10**9, DAY)
            assert left
            await found_again(left.spool)
            left.close(remove=True)
            assert free(tmp_path, unexpected) == []

    damaged(tmp_path)
    (tmp_path / "spool-0.db").rename(tmp_path / "spool-1.db.unsaved-7")
    asyncio.run(scenario())


def test_a_process_that_ends_between_a_damaged_file_and_its_log_finds_both(tmp_path: Path) -> None:
    async def store(spool: Spool) -> None:
        await spool.write([entry(number) for number in range(5)])
        for rest in ("", "-wal"):
            shutil.copy(tmp_path / f"spool-0.db{rest}", tmp_path / f"copy{rest}")

    async def look(spool: Spool) -> None:
        assert spool.contents.messages == 5

    on(tmp_path, store)
    (tmp_path / "spool-0.db").unlink()
    (tmp_path / "copy").rename(tmp_path / "spool-0.db.unsaved-7")
    (tmp_path / "copy-wal").rename(tmp_path / "spool-0.db-wal")
    on(tmp_path, look)


def test_a_damaged_spool_waits_for_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def goes_on(spool: Spool) -> None:
        with suppress(SpoolError):
            await spool.between(0, 10**9, 5000)
        await spool.write([entry(5000)])
        assert (spool.contents.messages, len(await spool.between(0, 10**9, 10))) == (1, 1)
        assert spool.owner is not None
        names.append(spool.owner.id)
        assert [file.name[:18] for file in spool.unsaved] == ["spool-0.db.unsaved"]

    async def look(spool: Spool) -> None:
        assert spool.owner is not None
        names.append(spool.owner.id)
        await found_again(spool)

    names: list[str] = []
    damaged(tmp_path)
    before = dropped("damaged")
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "_missing_bytes", lambda _: 1)
        on(tmp_path, goes_on)
        on(tmp_path, goes_on)
    assert dropped("damaged") == before
    on(tmp_path, look)
    assert len(set(names)) == 1
    assert 0 < dropped("damaged") - before <= 100


def put_in_the_way(path: Path, kind: str) -> None:
    if kind == "another user's":
        path.write_bytes(b"SQLite format 3\0" + bytes(9000))
        path.chmod(0)
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"dangling link": "nothing", "link to itself": path.name, "link": "spool-0.db"}[kind])


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """All but root have none; root reads every file, so it is somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.glob("spool-?.*")):
        if "unsaved" not in path.name:
            os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def holds_five(spool: Spool) -> None:
    assert [found.topic for found in await spool.between(0, 10**9, 10)] == [f"dev/plc{number}" for number in range(5)]


async def holds_nothing(spool: Spool) -> None:
    assert not spool.contents.messages


async def store_five(spool: Spool) -> None:
    await spool.write([entry(number) for number in range(5)])


KINDS = ["another user's", "directory", "pipe", "dangling link", "link to itself", "link"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_has_the_name_of_a_damaged_spool_or_cannot_be_read_costs_itself(kind: str) -> None:
    async def look(spool: Spool) -> None:
        await holds_five(spool)
        assert spool.unsaved == ([aside] if kind == "another user's" else [])

    with TemporaryDirectory() as name:  # others have no access to `tmp_path`
        aside = Path(name, "spool-0.db.unsaved-5")
        on(Path(name), store_five)
        put_in_the_way(aside, kind)
        with without_privileges(Path(name)):
            on(Path(name), look)
            on(Path(name), look)
        assert os.path.lexists(aside)


def test_a_damaged_spool_that_cannot_be_read_is_said_once_and_saved_after_a_start_that_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with TemporaryDirectory() as name:
        folder, aside = Path(name), Path(name, "spool-0.db.unsaved-5")
        on(folder, store_five)
        (folder / "spool-0.db").rename(aside)
        aside.chmod(0)
        with without_privileges(folder):
            on(folder, holds_nothing)
            on(folder, holds_nothing)
        assert "".join(capsys.readouterr()).count(str(aside)) == 1
        aside.chmod(0o600)
        monkeypatch.setattr(salvage, "_failed", set())  # another process
        on(folder, holds_five)


def test_a_damaged_spool_of_an_abandoned_one_that_cannot_be_read_costs_itself() -> None:
    async def scenario(folder: Path) -> None:
        left = abandoned(folder / "spool-0.db", 10**9, DAY)
        assert left
        await holds_five(left.spool)
        left.close(remove=True)

    with TemporaryDirectory() as name:
        on(Path(name), store_five)
        put_in_the_way(Path(name, "spool-0.db.unsaved-5"), "another user's")
        with without_privileges(Path(name)):
            asyncio.run(scenario(Path(name)))
        assert Path(name, "spool-0.db.unsaved-5").exists()


@pytest.mark.parametrize("number", [1, 5])
def test_a_directory_with_the_name_of_a_saved_spool_is_no_hindrance_and_nothing_is_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    copy, copied = salvage._copy, []

    def noted(damaged: Path, new: sqlite3.Connection, largest: int) -> int:
        copied.append(damaged)
        return copy(damaged, new, largest)

    monkeypatch.setattr(salvage, "_copy", noted)
    on(tmp_path, store_five)
    (tmp_path / "spool-0.db").rename(tmp_path / "spool-0.db.unsaved-5")
    (tmp_path / f"spool-0.db.damaged-{number}").mkdir()
    on(tmp_path, holds_five)
    on(tmp_path, holds_five)
    assert len(copied) == 1


def test_numbers_of_a_clock_that_was_ahead_end_with_the_last_message(tmp_path: Path) -> None:
    async def look(spool: Spool) -> None:
        assert spool.owner is not None
        owners.append((spool.owner.id, spool.owner.next))

    async def empty(spool: Spool) -> None:
        await spool.write([], [(0, 10**17)])

    async def store(spool: Spool) -> None:
        assert spool.owner is not None
        await spool.write([Batch("dev/a", b"{}", 1, spool.owner.next)])

    owners: list[tuple[str, int]] = []
    on(tmp_path, store)
    wrong = time.time_ns() // 1000 + 50 * 365 * 86_400_000_000
    with closing(sqlite3.connect(tmp_path / "spool-0.db")) as file, file:
        file.execute("UPDATE owner SET next = ?", (wrong,))
    on(tmp_path, look)
    on(tmp_path, empty)
    on(tmp_path, look)
    [(name, following), (new_name, new_following)] = owners
    assert following >= wrong, "what is in the spool is still to be told from what comes"
    assert new_name != name
    assert abs(new_following - time.time_ns() // 1000) < 60_000_000


def test_a_closed_spool_says_so(tmp_path: Path) -> None:
    async def close(spool: Spool) -> None:
        spool.close()
        with pytest.raises(SpoolError, match="closed"):
            await spool.between(0, 10, 10)

    on(tmp_path, close)


def test_a_disk_that_takes_nothing_is_an_error_and_leaves_what_is_there(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        await spool.write([entry(1)])
        assert spool._database is not None
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


async def test_entries_survive_a_process_that_dies(tmp_path: Path) -> None:
    async with claimed(tmp_path, 10**9, DAY) as spool:
        await spool.write([entry(1)])
        # Another connection sees what is committed, as the next process would.
        other = sqlite3.connect(tmp_path / "spool-0.db")
        assert other.execute("SELECT count(*) FROM message").fetchone() == (1,)
        other.close()


async def test_a_file_system_without_locks_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(ConfigError, match=r"NEXUS_SPOOL_DIR: .* cannot be used: No locks available"):
        async with claimed(tmp_path, 10**9, DAY):
            pass


def test_an_entry_in_parts_keeps_its_numbers_its_time_and_the_totals(tmp_path: Path) -> None:
    payload = b'{"ts":5,"v":{"a":1.50,"b":"x","c":null},"q":{"c":"bad"},"u":{"a":"bar"},"t":{"b":4}}'
    whole = Batch("dev/x", payload, 3, 7, kept=True)

    async def look(spool: Spool) -> None:
        await spool.write([whole])
        oldest = spool.contents.oldest
        parts = whole.halved()
        assert [(part.first, part.count, part.payload) for part in parts] == [
            (7, 1, b'{"ts":5,"v":{"a":1.50},"u":{"a":"bar"}}'),
            (8, 2, b'{"ts":5,"v":{"b":"x","c":null},"q":{"c":"bad"},"t":{"b":4}}'),
        ]
        await spool.divide(whole, parts)
        await spool.divide(whole, parts)  # it is gone already
        assert await spool.between(1, 100, 10) == parts
        assert (spool.contents.messages, spool.contents.readings, spool.contents.oldest) == (2, 3, oldest)
        assert spool.contents.size == sum(part.size for part in parts)
        largest = parts[0].length - 1
        assert await spool.between(1, 100, 10, (), largest) == parts[1:], "of one that is too large alone, not a word"
        await spool.write([], [(7, 9)])
        assert (spool.contents.messages, spool.contents.size) == (0, 0)

    on(tmp_path, look)


@pytest.mark.parametrize("payload", [b'{"ts":1,"v":{"a":1}}', b'{"id":"1"}', b"{}", b"[]", b"\xff", b'{"ts":1,"v":3}'])
def test_what_is_no_message_of_several_readings_is_not_divided(payload: bytes) -> None:
    assert Batch("dev/x", payload, 2, 7).halved() == []


def gauge(name: str) -> float:
    return metrics.registry.get_sample_value(f"nexus_gateway_spool_{name}") or 0.0


def test_the_time_until_a_loss_agrees_with_what_waits(tmp_path: Path) -> None:
    async def work(spool: Spool) -> None:
        gauges = SpoolGauges(spool)
        gauges.show()
        assert (gauge("readings"), gauge("loss_seconds")) == (0, inf)
        await spool.write([entry(1)])
        await gauges.show_growth(10, failing=False)
        await spool.write([], finished=[(1, entry(1).last)])
        assert (gauge("readings"), gauge("loss_seconds")) == (0, inf)
        await spool.write([entry(2)])
        assert gauge("readings") == entry(2).count
        assert DAY - 60 < gauge("loss_seconds") <= DAY

    on(tmp_path, work)


def test_the_id_kept_beside_the_spool_is_for_our_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "member-0"
    file.touch(0o644)
    InstanceFile(file).keep("a", "1")
    assert (file.stat().st_mode & 0o777, InstanceFile(file).recall("a")) == (0o600, "1")
