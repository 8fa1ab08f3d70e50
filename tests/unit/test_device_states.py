"""What the broker retains of a device that another gateway should have."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.device_states import EXPIRY_SECONDS, HANDOVER_SECONDS, DeviceStates
from gateway.delivery.renewal import Renewal
from nexus import mqtt
from nexus.contract.status import Status


class Broker:
    """Notes for how long it is to keep what."""

    def __init__(self, quota: int) -> None:
        self.send_quota = quota
        self.kept: list[tuple[str, int]] = []

    async def has_quota(self) -> None: ...

    async def publish(self, name: str, _: bytes, *, retain: bool, expiry: int) -> asyncio.Future[int]:
        assert retain
        self.kept.append((name, expiry))
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(0)
        return answer

    def send(self, name: str, _: bytes, done: Callable[[int], None], *, retain: bool, expiry: int) -> None:
        assert retain
        self.kept.append((name, expiry))
        done(0)


@pytest.mark.parametrize("quota", [10, 0])
async def test_the_state_of_a_device_that_was_given_away_ends_soon(quota: int) -> None:
    broker = Broker(quota)
    states = DeviceStates(ControlTopics(), BlockedTopics(), lambda _: True)
    states.say("plant/a", Status("online", "", 1))
    running = asyncio.create_task(states.run(cast("mqtt.Connection", broker)))
    while not broker.kept:
        await asyncio.sleep(0)
    states.hand_over("plant/a")
    running.cancel()
    await asyncio.wait([running])
    states.hand_over("plant/a")
    given = [("status/plant/a", HANDOVER_SECONDS)] if quota else []
    assert broker.kept == [("status/plant/a", EXPIRY_SECONDS), *given]


def test_all_are_said_again_within_the_time_and_none_twice() -> None:
    names, said, renewal = [f"d{number}" for number in range(7)], [], Renewal(100.0, now=0.0)
    for now in range(105):
        said += renewal.due(names, float(now))
    assert sorted(said) == names
    assert renewal.due([], 200.0) == []
