"""What is retained of a device's alarms is read for a moment: not longer, and not more than a device can have."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.alarms import take_over
from gateway.alarms.take_over import TakeOver
from nexus.mqtt import MqttError, SubscriptionError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_over, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(take_over, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(take_over, "LONGEST_SECONDS", 0.2)


class Broker:
    """Retains these topics; or fails, once it is asked."""

    def __init__(self, reader: TakeOver, *topics: str, error: Exception | None = None) -> None:
        self._reader, self._topics, self._error = reader, topics, error
        self.subscribed: list[str] = []

    async def subscribe(self, name: str) -> None:
        self.subscribed.append(name)
        if self._error is not None:
            raise self._error
        for topic in self._topics:
            self.say(topic)

    async def unsubscribe(self, name: str) -> None:
        self.subscribed.remove(name)

    def say(self, topic: str, *, retain: bool = True) -> None:
        assert self._reader.handle(cast(Any, SimpleNamespace(topic=topic, payload=b"{}", retain=retain)))


def connected(*topics: str, error: Exception | None = None) -> tuple[TakeOver, Broker]:
    reader = TakeOver()
    broker = Broker(reader, *topics, error=error)
    reader.connected(cast(Any, broker))
    return reader, broker


async def test_it_hears_all_below_the_device_and_leaves_no_subscription() -> None:
    reader, broker = connected("alarm/a/b/t/high", "alarm/a/b/lost", "alarm/a/b/c/t/high", "alarm/a/bb/t/high")
    found = await reader.retained("a/b")
    assert set(found) == {"alarm/a/b/t/high", "alarm/a/b/lost", "alarm/a/b/c/t/high"}
    assert not broker.subscribed


async def test_a_device_that_is_asked_for_twice_at_once_is_heard_twice() -> None:
    reader, broker = connected("alarm/a/t/high")
    first = asyncio.create_task(reader.retained("a"))
    await asyncio.sleep(0.01)
    assert set(await reader.retained("a")) == set(await first) == {"alarm/a/t/high"}
    assert not broker.subscribed


async def test_several_devices_at_once_hear_their_own() -> None:
    reader, _ = connected("alarm/a/t/high", "alarm/b/t/high")
    first, second = await asyncio.gather(reader.retained("a"), reader.retained("b"))
    assert (set(first), set(second)) == ({"alarm/a/t/high"}, {"alarm/b/t/high"})


async def test_what_is_said_live_is_no_retained_message() -> None:
    reader, broker = connected()
    asking = asyncio.create_task(reader.retained("a"))
    await asyncio.sleep(0.01)
    broker.say("alarm/a/t/high", retain=False)
    assert await asking == {}
    assert not reader.handle(cast(Any, SimpleNamespace(topic="cmd/a/t")))


async def test_a_flood_ends_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_over, "MOST_MESSAGES", 5)
    reader, broker = connected()

    async def flood() -> None:
        for number in range(10_000):
            broker.say(f"alarm/a/t/{number}")
            await asyncio.sleep(0.001)

    flooding = asyncio.create_task(flood())
    async with asyncio.timeout(5):
        assert len(await reader.retained("a")) == 5
    flooding.cancel()


@pytest.mark.parametrize("error", [SubscriptionError("Not authorized"), MqttError("connection lost")])
async def test_a_broker_that_refuses_or_goes_gives_nothing(error: Exception) -> None:
    reader, _ = connected("alarm/a/t/high", error=error)
    assert await reader.retained("a") == {}


async def test_without_a_broker_it_waits_at_the_start_only() -> None:
    reader = TakeOver()
    async with asyncio.timeout(5):
        assert await reader.retained("a") == {}
    assert await reader.retained("b") == {}
