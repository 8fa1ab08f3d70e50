"""Many alarms in the pages, before real services."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.publish
import psycopg
from msgspec.structs import replace
from playwright.sync_api import expect

from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage, Record
from nexus.process.clock import now_ms
from tests.browser.conftest import PERSON, SECONDS
from tests.browser.visit import Visit
from tests.conftest import Production
from tests.modbus_writer import ModbusWriter
from tests.parts import Mosquitto, Nexus, secret, until

FLOOD = 1_000
FIGURES = logging.getLogger("figures")  # to read with --log-cli-level=INFO: no test fails on them
SCROLL = """async () => {
    const before = scrollY;
    scrollBy(0, 400);
    if (scrollY === before) scrollTo(0, 0);
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    return [...document.querySelectorAll("tbody a")].map((one) => one.textContent);
}"""


def _raised(count: int, event: alarm.Event = "raised") -> list[AlarmMessage]:
    now = now_ms()
    states: dict[alarm.Event, alarm.State] = {"raised": "unacknowledged", "removed": "normal"}
    return [
        AlarmMessage(
            f"plant/hall{number // 100}/plc",
            f"t{number:04}",
            "high",
            Record(
                states[event],
                now,
                now,
                now + number,
                active=event == "raised",
                acknowledged=False,
                value=81.5,
                limit=80.0,
            ),
            event,
            ("low", "medium", "high", "critical")[number % 4],
            f"Bearing {number} of the conveyor is hot",
        )
        for number in range(count)
    ]


@contextmanager
def raised(broker: Mosquitto, count: int) -> Iterator[list[AlarmMessage]]:
    """So many alarms at once, as a gateway tells them; none of them is left behind."""
    messages = _raised(count)
    tell(broker, [(one.topic, alarm.encode(one)) for one in messages])
    try:
        yield messages
    finally:
        tell(broker, [(one.topic, b"") for one in messages])


def tell(broker: Mosquitto, messages: list[tuple[str, bytes]]) -> None:
    """As a gateway does: retained."""
    paho.mqtt.publish.multiple(
        [{"topic": topic, "payload": payload, "qos": 1, "retain": True} for topic, payload in messages],
        hostname="127.0.0.1",
        port=broker.port,
        auth={"username": "gateway", "password": secret("gateway")},
    )


def _scrolled(visit: Visit, seen: set[str]) -> set[str]:
    """Half a screen further down, from the end back to the top, with the names of what is drawn there."""
    seen.update(visit.page.evaluate(SCROLL))
    return seen


def test_a_thousand_alarms_at_once_are_all_listed(visit: Visit, production: Production) -> None:
    visit.watch_tasks()
    visit.log_in("/alarms")
    expect(visit.page.get_by_text("No active alarms")).to_be_visible()
    visit.longest_task()
    with raised(production.broker, FLOOD):
        expect(visit.page.get_by_text(f"{FLOOD:,} alarms", exact=True)).to_be_visible()
        expect(visit.page.get_by_role("region", name="Alarms")).to_contain_text(f"{FLOOD:,} alarms to acknowledge")
        visit.page.get_by_role("combobox", name="Priority").select_option("Low")
        expect(visit.page.get_by_text("250 alarms", exact=True)).to_be_visible()
        visit.page.get_by_role("combobox", name="Priority").select_option("all priorities")
        expect(visit.page.get_by_text(f"{FLOOD:,} alarms", exact=True)).to_be_visible()
        FIGURES.info("longest task in the flood: %.0f ms", visit.longest_task())
        seen: set[str] = set()
        until(lambda: len(_scrolled(visit, seen)) == FLOOD, "all of them are seen in scrolling", SECONDS)
        FIGURES.info("longest task in scrolling through it: %.0f ms", visit.longest_task())
        visit.page.get_by_role("checkbox", name="Select all alarms").check()
        expect(visit.page.get_by_role("button", name=f"Acknowledge ({FLOOD:,})")).to_be_visible()
        FIGURES.info("longest task in selecting all: %.0f ms", visit.longest_task())
    expect(visit.page.get_by_text("No active alarms")).to_be_visible()


def test_only_what_a_person_has_suppressed_can_be_unsuppressed(visit: Visit, production: Production) -> None:
    now = now_ms()
    by_design = Record("suppressed", now, now, now, active=True, acknowledged=False, reason="pump = 0")
    by_person = replace(by_design, suppressed=True, by="anna", reason="flushing")
    flow = AlarmMessage("plant/line1/plc", "flow", "low", by_design, "suppressed")
    messages = [flow, replace(flow, name="none", record=by_person)]
    tell(production.broker, [(one.topic, alarm.encode(one)) for one in messages])
    try:
        visit.log_in("/alarms?list=shelved")
        expect(visit.row("flushing").get_by_role("button", name="Unsuppress")).to_be_visible()
        expect(visit.row("pump = 0").get_by_role("button", name="Comment")).to_be_visible()
        expect(visit.page.get_by_role("button", name="Unsuppress")).to_have_count(1)
        visit.row("pump = 0").get_by_role("link").click()
        expect(visit.page.get_by_text("pump = 0")).to_be_visible()
    finally:
        tell(production.broker, [(one.topic, b"") for one in messages])


def test_several_alarms_are_acknowledged_at_once_and_each_answer_is_shown(
    visit: Visit, plant: dict[str, Nexus], production: Production, devices: Path
) -> None:
    device = ModbusWriter(int(re.search(r"port: (\d+)", (devices / "plc.yaml").read_text())[1]))  # type: ignore[index]
    visit.log_in("/alarms")
    device.set(10, 78)
    try:
        with raised(production.broker, 2):  # no gateway has them
            expect(visit.page.get_by_text("3 alarms", exact=True)).to_be_visible()
            visit.page.get_by_role("checkbox", name="Select all alarms").check()
            visit.page.get_by_role("checkbox", name="Select plant/hall0/plc/t0000/high").uncheck()
            visit.page.get_by_role("button", name="Acknowledge (2)").click()
            dialog = visit.page.get_by_role("dialog")
            dialog.get_by_label("Reason").fill("round made")
            dialog.get_by_role("button", name="Acknowledge").click()
            expect(dialog.get_by_role("status")).to_contain_text("1 of 2 alarms")
            expect(dialog.get_by_role("row").nth(1)).to_contain_text("Not known")
            expect(dialog.get_by_role("row").nth(2)).to_contain_text("active, acknowledged")
            visit.look_everywhere("outcomes of several alarms")
            dialog.get_by_role("button", name="Close").click()
            expect(visit.row("Bearing hot")).to_contain_text("active, acknowledged")
            expect(visit.row("Bearing 1 of")).to_contain_text("not acknowledged")
    finally:
        device.set(10, 20)
    with psycopg.connect(production.owner) as connection:
        rows = connection.execute(
            "SELECT person, ok FROM console_audit WHERE detail ->> 'reason' = 'round made' ORDER BY topic, id"
        ).fetchall()
    assert rows == [(PERSON, None)] * 3 + [(PERSON, True)]
    visit.page.get_by_role("button", name="Statistics").click()
    expect(visit.page.get_by_role("heading", name="Raised most often")).to_be_visible()
    expect(visit.row("plant/line1/plc/setpoint/high")).to_contain_text("High")
    visit.look_everywhere("statistics of alarms")
