"""A converter with many units, half of which are silent: what the living get of their readings, and how
soon a silent one is noticed that answers again. Prints JSON.

    python -m tests.benchmarks.half_dead [--units N …] [--seconds S] [--warm-up S] [--interval S] [--timeout S]
                                         [--gives-up S] [--returns N]

The converter does as serial ones do: one request at a time, 5 ms for each answer, and nothing else while it waits for a
unit that does not answer, up to `--gives-up`.
"""

import argparse
import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import process_time
from typing import Any

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, Tag
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.modbus.settings import TcpSettings
from gateway.polling.intake import Intake
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from nexus.contract.reading import Quality, Reading
from tests.modbus_peer import peer

ANSWER_SECONDS = 0.005


@asynccontextmanager
async def converter(silent: set[int], gives_up: float) -> AsyncIterator[int]:
    """Its port; units in `silent` do not answer, as long as they are in it."""
    bus = asyncio.Lock()

    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        async with bus:
            answers = unit not in silent
            await asyncio.sleep(ANSWER_SECONDS if answers else gives_up)
        return [bytes((pdu[0], 2)) + struct.pack(">H", unit)] if answers else []

    async with peer(answer) as port:
        yield port


async def share_of_readings(
    units: int,
    seconds: float,
    *,
    warm_up: float,
    interval: float,
    timeout: float,
    gives_up: float,
    returns: int = 0,
) -> dict[str, Any]:
    """What the living got of the readings that were due, after the warm-up.

    Then so many `returns`, one after the other: how long it took until each was noticed.
    """
    silent = {unit for unit in range(1, units + 1) if unit % 2 == 0}
    counted: dict[str, int] = {}

    def on_scan(configured: ConfiguredDevice, readings: list[Reading]) -> None:
        good = sum(reading.quality == Quality.GOOD for reading in readings)
        counted[configured.device.name] = counted.get(configured.device.name, 0) + good

    async with converter(silent, gives_up) as port, asyncio.TaskGroup() as group:
        slots = Slots()
        pollers = [
            Poller(one, Intake(one, on_scan, tally=Tally()), lambda *_: None, lambda: True, slots)
            for one in (configured(port, unit, interval, timeout) for unit in _all(units))
        ]
        tasks = [group.create_task(poller.run()) for poller in pollers]
        await asyncio.sleep(warm_up)
        counted.clear()
        cpu = process_time()
        await asyncio.sleep(seconds)
        used = process_time() - cpu
        share = [counted.get(f"u{unit}", 0) * interval / seconds for unit in _all(units) if unit not in silent]
        noticed = [await _noticed(silent, counted) for _ in range(returns)]
        for task in tasks:
            task.cancel()
    return {
        "units": units,
        "silent": units // 2,
        "living_share_mean": round(sum(share) / len(share), 3),
        "living_share_least": round(min(share), 3),
        "noticed_after": [round(after) for after in noticed],
        "cpu": round(used / seconds, 3),
    }


async def _noticed(silent: set[int], counted: dict[str, int]) -> float:
    """How long it takes until a silent unit that answers from now on is read."""
    clock = asyncio.get_running_loop().time
    began, unit = clock(), silent.pop()
    while not counted.get(f"u{unit}"):
        await asyncio.sleep(0.1)
    return clock() - began


def _all(units: int) -> range:
    return range(1, units + 1)


def configured(port: int, unit: int, interval: float, timeout: float) -> ConfiguredDevice:
    settings = TcpSettings.model_validate({"host": "127.0.0.1", "port": port, "unit": unit})
    tag = Tag("n", modbus.parse_address("holding:40001:uint16", settings), interval=interval)
    device: Any = Device(f"u{unit}", f"u{unit}", "modbus-tcp", timeout, settings, (tag,))
    driver: Any = modbus.DRIVER  # whose types are opaque to all others
    return ConfiguredDevice(device, driver, BreakerKeys(), PublishOptions(device.path, "tag", {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[20, 100])
    for name, default in (("seconds", 120), ("warm-up", 60), ("interval", 1), ("timeout", 3), ("gives-up", 1)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--returns", type=int, default=3)
    asked = parser.parse_args()
    for units in asked.units:
        keys = {"warm_up": asked.warm_up, "interval": asked.interval, "timeout": asked.timeout}
        work = share_of_readings(units, asked.seconds, gives_up=asked.gives_up, returns=asked.returns, **keys)
        found = asyncio.run(work)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
