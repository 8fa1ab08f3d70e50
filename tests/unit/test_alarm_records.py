"""What is known of the alarms is on disk, and a disk that refuses stops none of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import metrics
from gateway.alarms.record_file import Update
from gateway.alarms.records import Records
from gateway.delivery.batch import Batch


class Outbox:
    """Has on its disk what it is told to have."""

    def __init__(self) -> None:
        self.safe: list[Batch] = []

    def is_safe(self, batch: Batch) -> bool:
        return batch in self.safe


def records(folder: Path, outbox: Outbox | None = None) -> Records:
    return Records(folder / "alarms-0.db", cast(Any, outbox or Outbox()))


async def test_what_was_written_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    before = records(tmp_path)
    await before.open()
    first = before.keep("alarm/a/t/high", b"{1}")
    second = before.keep("alarm/a/t/high", b"{2}")
    before.keep("alarm/a/t/low", b"{3}", is_event=False)
    before.device("a", is_ours=True)
    await before.store()
    before.keep("alarm/a/t/high", b"{4}")  # not written yet

    found = await records(tmp_path).open()
    assert found.messages == {"alarm/a/t/high": b"{2}", "alarm/a/t/low": b"{3}"}
    assert found.events == [(first, "alarm/a/t/high", b"{1}"), (second, "alarm/a/t/high", b"{2}")]
    assert found.devices == {"a"}


async def test_a_gateway_without_alarms_has_no_file(tmp_path: Path) -> None:
    unused = records(tmp_path)
    await unused.open()
    await unused.store()
    unused.close()
    assert not list(tmp_path.iterdir())


async def test_an_event_stays_until_the_spool_has_it(tmp_path: Path) -> None:
    outbox = Outbox()
    written = records(tmp_path, outbox)
    await written.open()
    batch = Batch("alarm/a/t/high", b"{}", 1)
    written.handed(written.keep("alarm/a/t/high", b"{}"), batch)
    await written.store()
    assert len((await records(tmp_path).open()).events) == 1
    outbox.safe.append(batch)
    await written.store()
    found = await records(tmp_path).open()
    assert (found.messages, found.events) == ({"alarm/a/t/high": b"{}"}, [])


async def test_what_left_the_files_leaves_the_record(tmp_path: Path) -> None:
    written = records(tmp_path)
    await written.open()
    written.keep("alarm/a/t/high", b"{}", is_event=False)
    written.device("a", is_ours=True)
    await written.store()
    written.forget("alarm/a/t/high")
    written.device("a", is_ours=False)
    written.close()
    found = await records(tmp_path).open()
    assert (found.messages, found.devices) == ({}, set())


async def test_a_disk_that_refuses_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = SimpleNamespace(error=lambda text, **_: said.append(text), info=said.append)
    monkeypatch.setattr("gateway.alarms.records.log.get", lambda _: log)
    (tmp_path / "alarms-0.db").mkdir()  # nobody can open that, not even root
    failures = metrics.registry.get_sample_value("nexus_gateway_alarm_record_failures_total") or 0
    written = records(tmp_path)
    assert not (await written.open()).messages
    written.keep("alarm/a/t/high", b"{1}")
    await written.store()
    written.keep("alarm/a/t/low", b"{2}")
    await written.store()
    assert (written.failing or "").startswith("unable to open")
    (tmp_path / "alarms-0.db").rmdir()
    await written.store()
    assert not written.failing
    assert (await records(tmp_path).open()).messages == {"alarm/a/t/high": b"{1}", "alarm/a/t/low": b"{2}"}
    assert metrics.registry.get_sample_value("nexus_gateway_alarm_record_failures_total") == failures + 3
    assert said == [
        "the alarms' record cannot be written: alarms go on in memory",
        "the alarms' record is written again",
    ]


def test_what_is_done_before_it_was_written_is_not_written() -> None:
    update = Update()
    for number in range(1000):
        update.add(Update(events=[(number, "alarm/a", b"{}")]), 100)
        update.add(Update(done=[number]), 100)
    assert not update
    update.add(Update(done=list(range(500))), 100)  # of what the disk has
    assert update.done == list(range(400, 500)), "what stays on disk is published once more, and is harmless"


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "alarms-0.db").write_bytes(content)
    written = records(tmp_path)
    assert not (await written.open()).messages
    written.keep("alarm/a/t/high", b"{}")
    await written.store()
    assert written.failing is None
    [aside] = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes() == content
