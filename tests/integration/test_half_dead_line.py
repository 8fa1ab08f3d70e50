"""A shared line with silent or slow units: the others go on (`tests.benchmarks.half_dead` at its real size)."""

import asyncio
from typing import Any

import pytest
import structlog

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.modbus import turns
from gateway.polling.intake import Intake
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from nexus.contract.reading import Reading
from tests.benchmarks.half_dead import configured, share_of_readings
from tests.modbus_peer import peer, registers


@pytest.mark.alone
def test_the_living_get_their_readings() -> None:
    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(
                share_of_readings(8, 4.0, gives_up=gives_up, warm_up=4.0, interval=0.2, timeout=0.6)
                for gives_up in (0.0, 0.2)
            )
        )

    for found in asyncio.run(both()):
        assert found["living_share_least"] >= 0.9
        assert found["living_share_mean"] >= 0.95


async def test_a_slow_unit_is_slowed_down_and_can_be_written_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers after three intervals, so it costs the other unit two of three readings if nobody stops it."""
    monkeypatch.setattr(turns, "SLOW_CREDIT", 0.0)
    others: list[int] = []  # readings of the quick unit between those of the slow one
    written: list[bytes] = []

    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        if unit == 2:
            await asyncio.sleep(0.3)
        if pdu[0] == 6:
            written.append(pdu)
            return [pdu]
        return [registers(pdu)]

    def on_scan(one: ConfiguredDevice, _: list[Reading]) -> None:
        if one.device.name == "u2":
            others.append(0)
        elif others:
            others[-1] += 1

    with structlog.testing.capture_logs() as logs:
        async with peer(answer) as port, asyncio.timeout(60), asyncio.TaskGroup() as group:
            slots = Slots()
            pollers = [
                Poller(one, Intake(one, on_scan, tally=Tally()), lambda *_: None, lambda: True, slots)
                for one in (configured(port, unit, 0.1, 3.0) for unit in (1, 2))
            ]
            tasks = [group.create_task(poller.run()) for poller in pollers]
            while len(others) < 2:
                await asyncio.sleep(0.01)
            slow = pollers[1]
            await slow.write(slow.configured.device.tags[0], 0)
            while len(others) < 4:  # one of these was read back
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
    assert written
    assert max(others) >= 10
    said = [line for line in logs if line.get("part") == "modbus"]
    assert [(line["log_level"], line["device"], line["unit"]) for line in said] == [("warning", "u2", 2)]
    assert said[0]["takes_seconds"] >= 0.3
