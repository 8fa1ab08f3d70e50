"""The gateway for a long time at 20,000 tags a second, while faults come and go. Prints JSON.

    python -m tests.benchmarks.soak [--minutes 15]

Memory is sampled every ten seconds; its slope is that of a straight line through the samples of the last two thirds.
"""

import argparse
import json
import random
import statistics
import sys
import time
import urllib.request
from typing import Any

from tests.benchmarks.poll import Histogram, Usage, modbus_plant, parts
from tests.parts import Nexus, until

KINDS = ("refuse", "drop", "hang", "slow", "garbage", "half", "exception")
SAMPLE_SECONDS = 10.0
BROKEN_AT_ONCE = 60


def plant() -> tuple[str, str]:
    """950 Modbus devices × 20 tags, 10 S7 PLCs × 50, 4 OPC UA servers × 125; a second each."""
    simulation, devices = modbus_plant(950, 20, 21000, spread=190)
    sine = "signal: {kind: sine, min: 0, max: 100}"
    for number in range(10):
        points = ", ".join(f"{{area: DB1, offset: {4 * n}, type: REAL, {sine}}}" for n in range(50))
        simulation += f"  - {{name: s7-{number}, protocol: s7, port: {22000 + number}, points: [{points}]}}\n"
        tags = ", ".join(f'{{name: t{n}, address: "DB1.DBD{4 * n}:REAL"}}' for n in range(50))
        devices += f"  - {{name: s7-{number}, protocol: s7, host: 127.0.0.1, port: {22000 + number}, publish: device, tags: [{tags}]}}\n"
    for number in range(4):
        points = ", ".join(f"{{node: N{n}, {sine}}}" for n in range(125))
        simulation += f"  - {{name: ua-{number}, protocol: opcua, port: {22100 + number}, points: [{points}]}}\n"
        tags = ", ".join(f'{{name: n{n}, address: "ns=2;s=N{n}"}}' for n in range(125))
        devices += f'  - {{name: ua-{number}, protocol: opcua, endpoint: "opc.tcp://127.0.0.1:{22100 + number}", publish: device, tags: [{tags}]}}\n'
    return simulation, devices


def switch(simulator: Nexus, device: str, fault: dict[str, Any] | None) -> None:
    body = json.dumps(fault).encode() if fault else None
    url = f"http://127.0.0.1:{simulator.port}/faults/{device}"
    with urllib.request.urlopen(urllib.request.Request(url, body, method="PUT" if fault else "DELETE"), timeout=10):
        pass


def soak(minutes: float) -> dict[str, Any]:
    simulation, devices = plant()
    names = [f"d{n}" for n in range(950)] + [f"s7-{n}" for n in range(10)] + [f"ua-{n}" for n in range(4)]
    chance = random.Random(1)
    broken: list[str] = []
    samples: list[tuple[float, float]] = []
    with parts(simulation, devices) as (simulator, gateway, _):
        until(lambda: gateway.metric("nexus_gateway_devices_polled") == len(names), "polling")
        time.sleep(10)
        lateness, usage = Histogram(gateway, "nexus_gateway_lateness_seconds"), Usage(gateway.process.pid)
        lines, readings, tasks = (
            len(gateway.events()),
            gateway.metric("nexus_gateway_readings_total"),
            gateway.metric("nexus_gateway_tasks"),
        )
        files = gateway.metric("process_open_fds")
        began = time.monotonic()
        sampled = began
        while (now := time.monotonic()) < began + minutes * 60:
            if len(broken) >= BROKEN_AT_ONCE:
                switch(simulator, broken.pop(chance.randrange(len(broken))), None)
            device = chance.choice([name for name in names if name not in broken])
            broken.append(device)
            switch(simulator, device, {"kind": chance.choice(KINDS), "delay": "500ms"})
            if now >= sampled:
                sampled += SAMPLE_SECONDS
                samples.append((now - began, usage.rss_mb()))
            time.sleep(0.5)
        took, cpu, p99 = time.monotonic() - began, usage.cpu(), lateness.percentile(0.99)
        taken = gateway.metric("nexus_gateway_readings_total") - readings
        for device in broken:
            switch(simulator, device, None)
        until(lambda: gateway.metric("nexus_gateway_breaker_state") == 0, "all devices are back", 180)
        settled = samples[len(samples) // 3 :]
        slope = statistics.linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 1 else 0.0
        return {
            "minutes": round(took / 60, 1),
            "readings_per_s": round(taken / took),
            "gateway_cpu": cpu,
            "lateness_p99_s": p99,
            "rss_mb": {"first": samples[0][1], "last": samples[-1][1], "highest": max(mb for _, mb in samples)},
            "rss_slope_mb_per_hour": round(slope * 3600, 2),
            "log_lines_per_minute": round((len(gateway.events()) - lines) / took * 60, 1),
            "tasks": {"before": tasks, "after": gateway.metric("nexus_gateway_tasks")},
            "open_files": {"before": files, "after": gateway.metric("process_open_fds")},
            "dropped": gateway.metric("nexus_gateway_readings_dropped_total"),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    json.dump(soak(parser.parse_args().minutes), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
