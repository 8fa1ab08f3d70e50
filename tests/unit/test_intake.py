"""What becomes of a device's readings, before they are published."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import create_model

from gateway.alarms.polled import PolledAlarms
from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, Tag
from gateway.polling.intake import Intake
from gateway.polling.tally import Tally
from nexus.alarms.definition import Above, AlarmDefinition, Bad, Lost
from nexus.alarms.expression import parse
from nexus.contract.reading import Quality, Reading
from nexus.readings.definition import DerivedTag
from nexus.readings.report import Report

DERIVED = (
    DerivedTag("double", "expression", parse("a * 2"), report=Report(max_silence=60.0)),
    DerivedTag("volume", "total", parse("a")),
    DerivedTag("half", "expression", parse("volume / 2")),
)
ALARMS = (
    AlarmDefinition("lost", "", Lost()),
    AlarmDefinition("high", "double", Above(10.0)),
    AlarmDefinition("bad", "volume", Bad()),
)


class Line:
    """An intake, what it publishes, and what its alarms say."""

    def __init__(self) -> None:
        tags: tuple[Tag, ...] = (Tag("a", None),)
        device = Device("plc", "plc", "test", 1.0, create_model("NoSettings")(), tags)
        driver = cast(Any, SimpleNamespace())
        options = PublishOptions("plc", "tag", {})
        one = ConfiguredDevice(device, driver, BreakerKeys(), options, DERIVED, ALARMS)
        self.published: list[Reading] = []
        self.said: list[tuple[str, str]] = []
        self.alarms = PolledAlarms(
            one, lambda change: self.said.append((change.definition.name, change.event)), lambda: True
        )
        self.alarms.begin({})
        self.tally = Tally()
        self.intake = Intake(
            one, lambda _, readings: self.published.extend(readings), tally=self.tally, alarms=self.alarms, totals=None
        )

    def news(self) -> Mapping[str, object]:
        news = {one.tag: one.value if one.quality == Quality.GOOD else Quality(one.quality) for one in self.published}
        self.published.clear()
        return news


@pytest.fixture
async def line() -> Line:
    return Line()


async def test_alarms_hear_of_derived_tags_before_it_is_decided_what_is_sent(line: Line) -> None:
    line.intake.take([Reading("a", 1, 6.0)], 0)
    assert line.said == [("high", "raised")]
    assert line.news() == {"a": 6.0, "double": 12.0, "volume": 0.0, "half": 0.0}
    line.intake.take([Reading("a", 2, 6.0)], 0)
    assert "double" not in line.news()


async def test_a_total_of_a_lost_device_is_no_sign_of_life(line: Line) -> None:
    line.intake.take([Reading("a", 1, 1.0)], 0)
    line.news()
    line.intake.lost("unplugged")
    line.intake.mark([Reading("a", 2, None, Quality.BAD)])
    assert line.said == [("lost", "raised")]
    assert line.news() == {
        "a": Quality.BAD, "double": Quality.BAD, "volume": Quality.UNCERTAIN, "half": Quality.UNCERTAIN,
    }  # fmt: skip
    line.intake.take([Reading("a", 3, 1.0)], 0)
    assert line.said == [("lost", "raised"), ("lost", "cleared")]


async def test_while_nothing_changes_totals_are_said_and_what_was_silent_for_too_long(line: Line) -> None:
    line.intake.take([Reading("a", 1, 1.0)], 0)
    line.news()
    line.intake.confirm(())
    assert line.news().keys() == {"volume", "half"}
    assert "double" in line.intake.silent(now=70_000)
    line.intake.confirm({"double"})
    assert line.news()["double"] == 2.0


async def test_what_is_not_read_is_missing_of_derived_tags_too(line: Line) -> None:
    for _ in range(3):
        line.intake.unread("away", 1, 1_000)
    line.intake.take([Reading("a", 1_000, 1.0)], 0)
    hours = line.tally.hours.values()
    assert sum(hour.read for hour in hours) == 1 + len(DERIVED)
    assert sum(hour.away for hour in hours) == 3 * (1 + len(DERIVED))
