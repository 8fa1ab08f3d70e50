"""A thousand alarms in one scan, until a subscriber has the last message; against the bare messages. Prints JSON.

NEXUS_MOSQUITTO=… python -m tests.benchmarks.alarm_burst [--rounds N]
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from nexus import mqtt
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage, Record
from nexus.mqtt import Broker, Client
from tests.asker import Asker
from tests.modbus_writer import ModbusWriter
from tests.parts import ANYBODY, Mosquitto, Nexus, free_port, until

ALARMS = 1000
MESSAGE = AlarmMessage(
    "bare", "t", "a", Record("unacknowledged", 1, 1, 1, active=True, acknowledged=False, value=90), "raised"
)


def written(folder: Path) -> int:
    """A simulated device, and a device file in which its tag has all the alarms; the device's port."""
    port = free_port()
    point = "{table: holding, offset: 0, type: uint16, signal: {kind: constant, value: 0}}"
    (folder / "plant.yaml").write_text(
        f"devices: [{{name: plc, protocol: modbus-tcp, port: {port}, unit: 1, points: [{point}]}}]"
    )
    alarms = ", ".join(f"{{name: a{number}, above: 80}}" for number in range(ALARMS))
    (folder / "devices.yaml").write_text(
        f"devices:\n  - name: plc\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {port}\n    interval: 100ms\n"
        f"    tags:\n      - {{name: t, address: 'holding:40001:uint16', alarms: [{alarms}]}}\n"
    )
    return port


def burst(gateway: Nexus, ear: Asker, port: int, value: int) -> tuple[float, float]:
    """Seconds from the write to the last message, and seconds of the gateway's CPU, polling included."""
    before, spent = len(ear.heard), cpu(gateway)
    began = time.monotonic()
    ModbusWriter(port).set(0, value)
    until(lambda: len(ear.heard) >= before + ALARMS, "all messages")
    took = time.monotonic() - began
    return took, cpu(gateway) - spent


def bare(broker: Mosquitto, ear: Asker, count: int) -> float:
    """Seconds that as many bare messages of the same size take, published by our own client."""
    before, payload = len(ear.heard), alarm.encode(MESSAGE)

    async def publish() -> float:
        where = Broker("127.0.0.1", broker.port)
        async with mqtt.connect(where, Client("bare"), lambda *_: None) as connection:
            began = time.monotonic()
            for number in range(count):
                await connection.publish(f"alarm/bare/t/{number}", payload, retain=True)
            await asyncio.to_thread(until, lambda: len(ear.heard) >= before + count, "all of them")
            return time.monotonic() - began

    return asyncio.run(publish())


def cpu(process: Nexus) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        port = written(folder)
        broker = Mosquitto(folder, ANYBODY).start()
        simulator = Nexus(folder, ["simulate", str(folder / "plant.yaml")], {}).until_ready()
        arguments = ["gateway", "--devices", str(folder / "devices.yaml")]
        gateway = Nexus(folder, arguments, {"NEXUS_MQTT_URL": broker.url}).until_ready()
        try:
            with Asker(broker.url, "alarm/#") as ear:
                found = [burst(gateway, ear, port, 0 if number % 2 else 90) for number in range(rounds)]
                floor = [bare(broker, ear, ALARMS) for _ in range(rounds)]
        finally:
            for process in (gateway, simulator):
                process.stop()
            broker.stop()
    print(
        json.dumps(
            {
                "alarms": ALARMS,
                "rounds": rounds,
                "seconds": round(median(took for took, _ in found), 3),
                "worst_seconds": round(max(took for took, _ in found), 3),
                "cpu_seconds": round(median(spent for _, spent in found), 3),
                "floor_seconds": round(median(floor), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
