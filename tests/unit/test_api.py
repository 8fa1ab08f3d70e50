"""The gateway's pages, while device files change."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from pydantic import create_model

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, Tag
from gateway.http import DeviceCache
from nexus.alarms.expression import parse
from nexus.contract.reading import Quality, Reading
from nexus.readings.definition import DerivedTag

NO_SETTINGS = create_model("NoSettings")()


def configured(*tags: str) -> ConfiguredDevice:
    device: Device = Device("plc", "plc", "test", 1.0, NO_SETTINGS, tuple(Tag(name, None) for name in tags))
    return ConfiguredDevice(device, cast(Any, SimpleNamespace()), BreakerKeys(), PublishOptions("plc", "tag", {}))


async def test_a_tag_without_a_value_keeps_its_last_good_one() -> None:
    one = configured("a", "b")

    cache = DeviceCache((one,))
    cache.scan(one, [Reading("a", 1_000, 7), Reading("b", 1_000, 8)])
    for time in (2_000, 3_000):
        cache.scan(one, [Reading("a", time, None, Quality.BAD)])
    shown = {value["tag"]: value for value in json.loads(await cache._pages["plc"].body())["values"]}
    assert (shown["a"]["value"], shown["a"]["last_good"]) == (None, {"value": 7, "ts": 1_000})
    assert "last_good" not in shown["b"]


async def test_derived_tags_are_shown_like_others() -> None:
    derived = DerivedTag("double", "expression", parse("a * 2"))
    one = replace(configured("a"), derived=(derived,))
    cache = DeviceCache((one,))
    cache.scan(one, [Reading("a", 1_000, 7), Reading("double", 1_000, 14)])
    shown = json.loads(await cache._pages["plc"].body())
    assert [(value["tag"], value["value"]) for value in shown["values"]] == [("a", 7), ("double", 14)]
    assert shown["tags"] == 2


async def test_who_waits_for_the_page_of_a_device_that_goes_gets_it() -> None:
    one = configured()

    cache = DeviceCache((one,))
    waiting = asyncio.create_task(cache._pages["plc"].body())
    cache.reload(())
    assert json.loads(await waiting)["name"] == "plc"
