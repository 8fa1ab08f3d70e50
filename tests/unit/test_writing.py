"""A write is ok only if the device was seen to hold what was asked for."""

import asyncio
from collections.abc import Callable
from struct import pack, unpack

import pytest
from msgspec import UNSET, UnsetType

from gateway.commands.writing import Written, confirmed
from gateway.drivers.driver import DeviceError, Tag, WriteError
from nexus.contract.reading import Reading, Value
from nexus.readings.report import Report

FLOAT: Tag = Tag("t", None)


class Plc:
    """One float32 that obeys as `apply` says; what it holds is `now`."""

    def __init__(self, apply: Callable[[Value], Value | None], reads: list[Exception | None] | None = None) -> None:
        self.tag = FLOAT
        self.now: Value = 1.0
        self.written: list[Value] = []
        self._apply = apply
        self._reads = reads or []

    async def read(self) -> list[Reading]:
        if self._reads and (error := self._reads.pop(0)) is not None:
            raise error
        return [self.tag.reading(self.now, 7) if self.now is not None else self.tag.bad(7)]

    async def write(self, _: Tag, value: Value) -> Value:
        self.written.append(value)
        self.now = self._apply(value)
        return rounded(value)


def rounded(value: Value) -> Value:
    return float(unpack(">f", pack(">f", value))[0])


def write(plc: Plc, value: Value, tag: Tag = FLOAT, expected: Value | UnsetType = UNSET) -> Written:
    plc.tag = tag
    return asyncio.run(confirmed(plc.read, plc.write, tag, value, 0.2, expected=expected))


@pytest.mark.parametrize(("expected", "holds"), [(5, 1.0), (None, 1.0), (1.0, None), ("1", 2**60)])
def test_where_what_is_expected_is_not_there_nothing_is_written(expected: Value, holds: Value) -> None:
    plc = Plc(rounded)
    plc.now = holds
    written = write(plc, 2.0, expected=expected)
    assert (written.ok, written.changed, written.was, written.now, plc.written) == (False, True, holds, holds, [])


@pytest.mark.parametrize(("expected", "holds"), [(1, 1.0), (1, True), (None, None), (str(2**60), 2**60)])
def test_where_it_is_there_however_it_is_said_it_is_written(expected: Value, holds: Value) -> None:
    plc = Plc(rounded)
    plc.now = holds
    assert write(plc, 2.0, expected=expected).ok


@pytest.mark.parametrize(
    ("report", "ok"), [(Report(0.5), True), (Report(0.05, relative=True), False), (Report(), False)]
)
def test_a_change_that_is_not_reported_is_none(report: Report, ok: bool) -> None:
    assert write(Plc(rounded), 2.0, Tag("t", None, report=report), expected=0.9).ok is ok


def test_what_the_device_holds_is_ok_although_its_type_rounds() -> None:
    written = write(Plc(rounded), 0.1)
    assert written == Written(True, 1.0, rounded(0.1), 7, reading=Reading("t", 7, rounded(0.1)))


def test_scaled_values_are_compared_as_the_device_holds_them() -> None:
    assert write(Plc(rounded), 82.3, Tag("t", None, scale=0.1, offset=1e6)).ok


def test_a_scaled_value_that_is_refused_is_named_as_it_was_asked_for() -> None:
    def refuse(_: Value) -> Value:
        raise WriteError("225.7 does not fit: int16 takes whole numbers")

    with pytest.raises(WriteError, match=r"whole numbers \(22.57 by scale 0.1 is 225.7 in the device\)"):
        write(Plc(refuse), 22.57, Tag("t", None, scale=0.1))


def test_a_write_that_the_device_ignores_is_not_ok() -> None:
    written = write(Plc(lambda _: 1.0), 2.0)
    assert (written.ok, written.was, written.now) == (False, 1.0, 1.0)
    assert written.error == "the device accepted 2.0, but holds 1.0"


def test_a_device_that_takes_its_time_is_asked_again() -> None:
    plc = Plc(rounded)
    answers = iter([1.0, 1.0, 1.0, 2.0])

    async def read() -> list[Reading]:
        return [FLOAT.reading(next(answers), 7)]

    assert asyncio.run(confirmed(read, plc.write, FLOAT, 2.0, 5.0)).ok


def test_what_is_written_but_cannot_be_read_back_is_not_ok() -> None:
    lost = write(Plc(rounded, [None, DeviceError("hung up")]), 2.0)
    assert (lost.ok, lost.was, lost.now) == (False, 1.0, None)
    assert lost.error == "written, but it cannot be read back: hung up"
    bad = write(Plc(lambda _: None), 2.0)
    assert (bad.ok, bad.now, bad.error) == (False, None, "written, but the value cannot be read back")


def test_a_write_without_an_answer_may_have_been_done() -> None:
    def silent(_: Value) -> Value:
        raise DeviceError("no answer")

    written = write(Plc(silent), 2.0)
    assert not written.ok
    assert written.error == "no answer: it is not known whether the value was written"


def test_nothing_is_sent_for_what_cannot_be_written() -> None:
    plc = Plc(rounded)
    with pytest.raises(WriteError):
        write(plc, float("inf"), Tag("t", None, scale=0.1))
    with pytest.raises(DeviceError):
        write(Plc(rounded, [DeviceError("gone")]), 2.0)
    assert plc.written == []
