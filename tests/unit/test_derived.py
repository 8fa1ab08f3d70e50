"""Derived tags: values that follow from others, and totals that go on."""

import asyncio
from math import isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from mqtt5 import QoS

from gateway.delivery.control_topics import ControlTopics
from gateway.derived.kept_totals import KeptTotals
from gateway.derived.shared_totals import SharedTotals
from nexus.alarms.expression import parse
from nexus.contract import topic
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.totals import Kept, encode_totals
from nexus.mqtt import Message
from nexus.readings.calculation import Calculation
from nexus.readings.definition import DerivedTag, Kind

HOUR = 3_600_000


def derived(name: str, text: str, kind: Kind = "expression", per: float = 1.0, interval: float = 1.0) -> DerivedTag:
    return DerivedTag(name, kind, parse(text), per, interval=interval)


def good(**values: Value) -> list[Reading]:
    return [Reading(tag, 1_000, value) for tag, value in values.items()]


def bad(*tags: str) -> list[Reading]:
    return [Reading(tag, 1_000, None, Quality.BAD) for tag in tags]


def test_a_value_follows_from_its_inputs_with_the_worst_quality_and_the_newest_time() -> None:
    calculation = Calculation([derived("power", "voltage * current")], {})
    readings = [Reading("voltage", 2_000, 230.0), Reading("current", 1_000, 2.0, Quality.UNCERTAIN)]
    assert calculation.after(readings, 9_000) == [Reading("power", 2_000, 460.0, Quality.UNCERTAIN)]
    assert calculation.after([Reading("current", 3_000, 3.0)], 9_000) == [Reading("power", 3_000, 690.0)]
    assert calculation.after([Reading("other", 4_000, 3.0)], 9_000) == []


def test_a_new_value_has_a_time_of_its_own_also_if_an_older_input_changed() -> None:
    calculation = Calculation([derived("sum", "a + b")], {})
    steps = [
        [Reading("a", 5_000, 1), Reading("b", 4_000, 1)],
        [Reading("b", 4_500, 2)],
        [Reading("b", 4_600, 2)],
        [Reading("b", 4_700, 3)],
        [Reading("a", 6_000, 1)],
        [Reading("a", 1_000, 2), Reading("b", 1_000, 2)],  # the clock was set back
    ]
    made = [one for readings in steps for one in calculation.after(readings, 0)]
    assert [(one.value, one.time) for one in made] == [
        (2, 5_000), (3, 5_001), (3, 5_001), (4, 5_002), (4, 6_000), (4, 1_000),
    ]  # fmt: skip


def test_nothing_is_said_before_every_input_was_read() -> None:
    calculation = Calculation([derived("power", "voltage * current")], {})
    assert calculation.after(good(voltage=230.0), 0) == []


def test_a_bad_input_makes_it_bad_and_is_no_fault_of_the_expression() -> None:
    calculation = Calculation([derived("power", "voltage * current")], {})
    assert calculation.after(good(voltage=1.0) + bad("current"), 0) == [Reading("power", 1_000, None, Quality.BAD)]
    assert calculation.fault_count == 0


def test_what_has_no_result_is_bad_and_counted_until_it_has_one_again() -> None:
    calculation = Calculation([derived("share", "a / b")], {})
    for _ in range(2):
        assert calculation.after(good(a=1.0, b=0), 0) == [Reading("share", 1_000, None, Quality.BAD)]
    assert (calculation.fault_count, calculation.faults) == (2, {"share": "division by zero"})
    assert calculation.after(good(a=1.0, b=2), 0) == [Reading("share", 1_001, 0.5)]
    assert calculation.faults == {}


def test_tags_derived_from_derived_tags_follow_at_once() -> None:
    tags = [derived("double", "a * 2"), derived("hot", "double > 5"), derived("starts", "hot", "count")]
    calculation = Calculation(tags, {})
    assert [one.value for one in calculation.after(good(a=2), 0)] == [4, False, 0]
    assert [one.value for one in calculation.after(good(a=3), 0)] == [6, True, 1]


def values(calculation: Calculation, *steps: tuple[int, Value]) -> list[Value]:
    """The total's value after each step: the time in seconds, and what is read of `x` then; None is a bad value."""
    found: list[Value] = []
    for seconds, value in steps:
        reading = bad("x")[0] if value is None else Reading("x", 1_000, value)
        found += [one.value for one in calculation.after([reading], seconds * 1_000)]
    return found


def test_a_total_adds_a_rate_up_over_time() -> None:
    calculation = Calculation([derived("volume", "x", "total", per=60.0)], {})
    assert values(calculation, (0, 60.0), (10, 60.0), (20, 0.0), (30, 0)) == [0.0, 10.0, 15.0, 15.0]


def test_a_runtime_counts_the_hours_for_which_it_was_true() -> None:
    calculation = Calculation([derived("hours", "x", "runtime", per=3600.0)], {})
    assert values(calculation, (0, False), (36, True), (72, True), (81, False), (90, False)) == [
        0.0, 0.0, 0.01, 0.0125, 0.0125,
    ]  # fmt: skip


def test_a_count_counts_how_often_it_became_true_and_not_that_it_was() -> None:
    calculation = Calculation([derived("starts", "x", "count")], {})
    assert values(calculation, (0, True), (1, False), (2, True), (3, True), (4, None), (5, True), (6, 0), (7, 3)) == [
        0, 0, 1, 1, 1, 1, 1, 2,
    ]  # fmt: skip


def test_each_of_several_changes_in_one_report_counts() -> None:
    calculation = Calculation([derived("starts", "x", "count")], {})
    readings = [Reading("x", 1_000 + number, number % 2 == 1) for number in range(6)]
    assert [one.value for one in calculation.after(readings, 0)] == [0, 1, 1, 2, 2, 3]


def test_a_total_keeps_its_value_uncertain_while_its_input_is_bad_and_does_not_guess() -> None:
    calculation = Calculation([derived("volume", "x", "total")], {})
    assert values(calculation, (0, 1.0), (10, 1.0), (20, None), (30, 1.0), (40, 1.0)) == [0.0, 10.0, 10.0, 10.0, 20.0]
    assert calculation.after(bad("x"), 0) == [Reading("volume", 0, 20.0, Quality.UNCERTAIN)]


@pytest.mark.parametrize(
    ("seconds", "interval", "counted"),
    [(60, 1.0, True), (61, 1.0, False), (3 * 3600, 3600.0, True), (3 * 3600 + 1, 3600.0, False), (-3600, 1.0, False)],
)
def test_a_gap_or_a_clock_that_jumps_is_not_counted(seconds: int, interval: float, counted: bool) -> None:
    calculation = Calculation([derived("volume", "x", "total", interval=interval)], {})
    begin = 100_000
    _, after, later = values(calculation, (begin, 1.0), (begin + seconds, 1.0), (begin + seconds + 5, 1.0))
    assert (after, later) == ((seconds, seconds + 5) if counted else (0, 5))


def test_a_total_of_a_text_is_a_fault_and_of_infinite_rates_stays() -> None:
    calculation = Calculation([derived("volume", "x", "total")], {})
    assert values(calculation, (0, "RUN"), (1, 1e308), (2, 1e308), (60, 1e308)) == [0.0, 0.0, 1e308, 1e308]
    assert calculation.fault_count == 1


def test_totals_go_on_while_a_device_that_tells_of_changes_is_silent() -> None:
    tags = [derived("volume", "x", "total"), derived("double", "x * 2"), derived("half", "volume / 2")]
    calculation = Calculation(tags, {})
    calculation.after([Reading("x", 1_000, 2.0)], 10_000)
    assert calculation.tick((), 11_000) == [Reading("volume", 11_000, 2.0), Reading("half", 11_000, 1.0)]
    assert Reading("double", 12_000, 4.0) in calculation.tick({"double"}, 12_000)


def test_totals_go_on_after_a_restart_and_a_count_knows_what_was() -> None:
    tags = [derived("starts", "x", "count"), derived("hours", "x", "runtime", per=3600.0)]
    kept: dict[str, Kept] = {}
    values(Calculation(tags, kept), (0, False), (1, True), (37, False))
    assert values(Calculation(tags, kept), (1_000, True), (1_036, True)) == [2, 0.01, 2, 0.02]


def test_another_kind_of_total_begins_at_0() -> None:
    kept = {"x1": Kept("runtime", 12.5)}
    assert values(Calculation([derived("x1", "x", "count")], kept), (0, True)) == [0]


async def test_totals_are_kept_on_disk_and_read_again(tmp_path: Path) -> None:
    totals = KeptTotals(tmp_path, 0)
    totals.of("plant/plc")["volume"] = Kept("total", 12.5, None, 1_000)
    totals.of("empty")
    await totals.flush()
    assert KeptTotals(tmp_path, 0).of("plant/plc") == {"volume": Kept("total", 12.5, None, 1_000)}
    assert [file.name for file in tmp_path.iterdir()] == ["totals-0.json"]


async def test_of_gateways_that_share_a_folder_the_newest_total_counts(tmp_path: Path) -> None:
    for number, (value, time) in enumerate([(1.0, 10), (3.0, 30), (2.0, 20)]):
        totals = KeptTotals(tmp_path / str(number), number)
        totals.of("plc")["volume"] = Kept("total", value, None, time)
        (tmp_path / str(number)).mkdir()
        await totals.flush()
        (tmp_path / str(number) / f"totals-{number}.json").rename(tmp_path / f"totals-{number}.json")
    assert KeptTotals(tmp_path, 0).of("plc")["volume"].value == 3.0


async def test_a_device_that_is_taken_over_within_a_folder_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.derived.kept_totals.LOOK_SECONDS", 0)
    one, two = KeptTotals(tmp_path, 0), KeptTotals(tmp_path, 1)
    two.of("plc")["volume"] = Kept("total", 1.0, None, 10)
    one.of("plc")["volume"] = Kept("total", 5.0, None, 20)
    await one.flush()
    assert two.of("plc")["volume"].value == 5.0
    two.of("plc")["volume"].time = 30
    two.of("plc")["volume"].value = 7.0
    await two.flush()
    assert two.of("plc")["volume"].value == one.of("plc")["volume"].value == 7.0


async def test_totals_that_another_gateway_has_said_are_gone_on_from(tmp_path: Path) -> None:
    shared = SharedTotals("g", "one", KeptTotals(tmp_path, 0), ControlTopics())
    own = shared.of("line/plc")
    own["volume"] = Kept("total", 1.0, None, 10)

    def heard(payload: bytes, path: str = "line/plc") -> bool:
        name = topic.totals("g", "two", path)
        return shared.handle(Message(name, payload=payload, qos=QoS.AT_LEAST_ONCE, packet_id=1))

    assert heard(encode_totals({"volume": Kept("total", 9.0, None, 20)}))
    assert shared.of("line/plc")["volume"].value == 1.0, "while it is ours, ours counts"
    shared.release("line/plc")
    assert heard(encode_totals({"volume": Kept("total", 5.0, None, 20), "hours": Kept("runtime", 2.0, None, 5)}))
    assert heard(encode_totals({"volume": Kept("total", 4.0, None, 15)}))
    assert {tag: kept.value for tag, kept in shared.of("line/plc").items()} == {"volume": 5.0, "hours": 2.0}
    for nonsense in (b"", b"{", b"[]", b"\xff", b'{"volume": {"kind": "total", "value": 1e999}}', b"[" * 100_000):
        assert heard(nonsense, "other")
    assert shared.of("other") == {}


async def test_totals_do_not_wait_for_each_others_acknowledgements(tmp_path: Path) -> None:
    """A broker that answers nothing yet."""
    sent: list[str] = []

    async def publish(name: str, _: bytes, **__: object) -> "asyncio.Future[int]":
        sent.append(name)
        return asyncio.get_running_loop().create_future()

    shared = SharedTotals("g", "one", KeptTotals(tmp_path, 0), ControlTopics())
    for path in ("a", "b", "c"):
        shared.of(path)["volume"] = Kept("total", 1.0, None, 10)
    running = asyncio.create_task(shared.run(cast(Any, SimpleNamespace(publish=publish))))
    async with asyncio.timeout(10):
        while len(sent) < 3:
            await asyncio.sleep(0)
    running.cancel()


def test_topics_of_totals_are_no_presences() -> None:
    name = topic.totals("g", "user/one", "line/plc/state")
    assert topic.totals_of("g", name) == ("user/one", "line/plc/state")
    assert topic.member_of("g", name) is None
    assert topic.totals_of("g", topic.presence("g", "one")) is None
    assert topic.totals_of("h", name) is None


async def test_totals_of_devices_that_are_not_polled_now_stay_in_the_file(tmp_path: Path) -> None:
    for path in ("a", "b"):
        totals = KeptTotals(tmp_path, 0)
        totals.of(path)["volume"] = Kept("total", 1.0)
        await totals.flush()
    assert {path: bool(KeptTotals(tmp_path, 0).of(path)) for path in "abc"} == {"a": True, "b": True, "c": False}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"plc": {"volume": 3}}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "totals-0.json").write_bytes(content)
    assert KeptTotals(tmp_path, 0).of("plc") == {}
    assert [file.name for file in tmp_path.iterdir()] == ["totals-0.damaged"]


async def test_a_disk_that_takes_nothing_is_said_once_and_tried_again(tmp_path: Path) -> None:
    totals = KeptTotals(tmp_path / "missing", 0)
    totals.of("plc")["volume"] = Kept("total", 1.0)
    with structlog.testing.capture_logs() as said:
        for _ in range(2):
            await totals.flush()
        (tmp_path / "missing").mkdir()
        await totals.flush()
    assert [one["event"] for one in said] == ["totals cannot be kept", "totals are kept again"]
    assert (tmp_path / "missing/totals-0.json").exists()


async def test_writes_that_overlap_leave_the_later_one(tmp_path: Path) -> None:
    totals = KeptTotals(tmp_path, 0)
    kept = totals.of("plc")["volume"] = Kept("total", 1.0)
    cut_short = asyncio.create_task(totals.flush())
    await asyncio.sleep(0)
    cut_short.cancel()
    kept.value = 2.0
    await totals.flush()
    assert KeptTotals(tmp_path, 0).of("plc")["volume"].value == 2.0


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400)
STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 10**13),
        ANY,
        st.sampled_from([Quality.BAD, Quality.UNCERTAIN, Quality.GOOD, 255]),
        st.integers(-(10**13), 10**13),
    ),
    max_size=20,
)


@given(STEPS)
@example([("a", 1, 1e308, 192, 0), ("a", 1, 1e308, 192, 60_000), ("a", 1, 1e308, 192, 120_000)])
def test_whatever_a_device_gives_derived_tags_have_values_that_can_be_said(
    steps: list[tuple[str, int, Value, int, int]],
) -> None:
    tags = [
        derived("sum", "a + b * 2"),
        derived("same", "a == b"),
        derived("volume", "a", "total", interval=1e12),
        derived("hours", "a > b", "runtime", per=3600.0, interval=1e12),
        derived("starts", "same", "count"),
        derived("share", "volume / (hours + starts)"),
    ]
    calculation = Calculation(tags, {})
    for tag, time, value, quality, now in steps:
        made = calculation.after([Reading(tag, time, value, quality)], now) + calculation.tick({"sum"}, now)
        for reading in made:
            assert reading.value is not None or reading.quality < Quality.UNCERTAIN
            assert not isinstance(reading.value, float) or isfinite(reading.value)
            assert not isinstance(reading.value, int) or abs(reading.value) < 2**64
