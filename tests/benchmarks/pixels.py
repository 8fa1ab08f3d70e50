"""From a register to a pixel: how long a value, and an alarm, take until a page shows them. Prints JSON.

    NEXUS_MOSQUITTO=… python -m tests.benchmarks.pixels [--flips N] [--rate READINGS]

A register is written at random moments; a gateway polls it every 100 ms; in Chromium, a page of tags and the alarm bar
note when they have painted the change. The floor is when a bare MQTT subscriber has it. Meanwhile so many readings a
second flow through broker, ingester and database.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from db.migrate import connect, migrate
from db.settings import Settings
from nexus.cli import embedded
from tests.asker import Asker
from tests.browser.conftest import CHROMIUM
from tests.modbus_writer import ModbusWriter
from tests.parts import ANYBODY, Mosquitto, Nexus, as_role, ended_with_block, free_port, listens, until

LOW, HIGH = 20, 90
VALUE, ALARM = "dev/plant/plc/t", "alarm/plant/plc/t/high"
STATES = ("cleared, not acknowledged", "active, not acknowledged")  # as the page of alarms has them

# Notes, once it is painted, what the first row with a text says.
WATCH = """
([text]) => {
    window.seen = [];
    const rows = () => [...document.querySelectorAll("tr, [role=row]")];
    const look = () => requestAnimationFrame(() => {
        const now = rows().find((row) => row.innerText.includes(text))?.innerText ?? "";
        if (seen.at(-1)?.[1] !== now) seen.push([Date.now() / 1000, now]);
    });
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
    look();
}
"""


def written(folder: Path, port: int) -> None:
    """A simulated device, and its device file."""
    point = "{table: holding, offset: 0, type: uint16, signal: {kind: constant, value: 20}}"
    (folder / "plant.yaml").write_text(
        f"devices: [{{name: plc, protocol: modbus-tcp, port: {port}, unit: 1, points: [{point}]}}]"
    )
    (folder / "devices.yaml").write_text(
        f"devices:\n  - name: plc\n    path: plant/plc\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {port}\n"
        "    interval: 100ms\n    tags:\n"
        "      - {name: t, address: 'holding:40001:uint16', alarms: [{name: high, above: 80, text: Hot}]}\n"
    )


class Screen:
    """A page of which one row is watched, the one with `text`; it says one of `words` for a low or a high value."""

    def __init__(self, page: Page, address: str, text: str, words: tuple[str, str]) -> None:
        self._page, self._words = page, words
        page.goto(address)
        page.wait_for_selector(f"text={text}")
        page.evaluate(WATCH, [text])

    def shown(self, is_high: bool, since: float) -> float:
        """When the row said so; waits for it."""
        found = "([text, since]) => seen.find((one) => one[0] >= since && one[1].includes(text))?.[0]"
        return float(
            self._page.wait_for_function(found, arg=[self._words[is_high], since], timeout=30_000).json_value()
        )


def flips(count: int, device: ModbusWriter, ear: Asker, screens: dict[str, Screen]) -> dict[str, list[float]]:
    """Seconds from each write until something shows it."""
    found: dict[str, list[float]] = {name: [] for name in ("value at a subscriber", "alarm at a subscriber", *screens)}
    chance = random.Random(1)
    for number in range(count):
        is_high, before = number % 2 == 1, len(ear.heard)
        time.sleep(chance.uniform(0.5, 1.0))
        began = time.time()
        device.set(0, HIGH if is_high else LOW)
        for name, screen in screens.items():
            found[name].append(screen.shown(is_high, began) - began)
        for name, topic, is_it in (
            ("value at a subscriber", VALUE, lambda one: one["v"] == (HIGH if is_high else LOW)),  # noqa: B023
            ("alarm at a subscriber", ALARM, lambda one: one["active"] is is_high),  # noqa: B023
        ):
            found[name].append(heard(ear, before, topic, is_it) - began)
    return found


def heard(ear: Asker, before: int, topic: str, is_it: Callable[[Any], bool]) -> float:
    """When the subscriber had such a message."""

    def look() -> float | None:
        later = ear.heard[before:]
        return next((one.at for one in later if one.topic == topic and one.payload and is_it(one.content)), None)

    return until(look, f"{topic} is heard") or 0.0


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


def measured(folder: Path, broker: Mosquitto, database: str, count: int, rate: int) -> dict[str, Any]:
    port, web = free_port(), free_port()
    written(folder, port)
    mqtt = {"NEXUS_MQTT_URL": broker.url}
    stored = {**mqtt, "NEXUS_DATABASE_URL": as_role(database, "nexus_writer")}
    shown = {**mqtt, "NEXUS_DATABASE_URL": as_role(database, "nexus_console")}
    shown |= {"NEXUS_CONSOLE_INSECURE": "1", "NEXUS_CONSOLE_PORT": str(web)}
    simulator = Nexus(folder, ["simulate", str(folder / "plant.yaml")], {})
    ingester, console = Nexus(folder, ["ingest"], stored), Nexus(folder, ["console"], shown)
    gateway = Nexus(folder, ["gateway", "--devices", str(folder / "devices.yaml")], mqtt)
    load = ["load", "--rate", str(rate), "--out", str(folder / "load.json")]
    parts = [simulator, ingester, console, gateway]
    if rate:
        parts.append(Nexus(folder, load, mqtt))
    with ended_with_block(*parts), Asker(broker.url, VALUE, ALARM) as ear, sync_playwright() as playwright:
        for part in (simulator, ingester, gateway):
            part.until_ready()
        until(lambda: listens(web), "the console listens")
        until(lambda: any(one.topic == VALUE for one in ear.heard), "the device is polled")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        address = f"http://127.0.0.1:{web}"
        device = ModbusWriter(port)
        device.set(0, HIGH)  # so that there is an alarm to look at
        until(lambda: any(one.topic == ALARM for one in ear.heard), "an alarm")
        screens = {
            "value on a page": Screen(
                browser.new_page(), f"{address}/tags?q=plc", "plant/plc/t", (f"{LOW}", f"{HIGH}")
            ),
            "alarm on a page": Screen(browser.new_page(), f"{address}/alarms", "Hot", STATES),
        }
        return {name: quantiles(some) for name, some in flips(count, device, ear, screens).items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--rate", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded.running(folder) as server:
            with connect(server.url) as connection:
                migrate(connection, Settings())
            broker = Mosquitto(folder, ANYBODY).start()
            try:
                found = measured(folder, broker, server.url, given.flips, given.rate)
            finally:
                broker.stop()
    print(json.dumps({"flips": given.flips, "readings_a_second": given.rate, "seconds": found}))


if __name__ == "__main__":
    main()
