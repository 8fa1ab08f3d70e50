"""Fifty thousand tags in the pages, before a real console."""

import logging
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import expect

from nexus.contract.codec import Status, encode_status
from nexus.contract.description import Description, TagDescription, encode_description
from nexus.contract.presence import LONGEST_LEASE, Presence, encode_presence
from nexus.process.clock import now_ms
from tests.browser.test_alarms import tell
from tests.browser.visit import Visit
from tests.conftest import Production

DEVICES, TAGS = 50, 1_000
FIGURES = logging.getLogger("figures")  # to read with --log-cli-level=INFO: no test fails on them
VALUES = """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT now() - interval '1 minute', 'dev/many/d' || lpad(device::text, 2, '0') || '/t' || lpad(tag::text, 4, '0'), tag,
    CASE WHEN mod(tag, 500) = 7 THEN 0 ELSE 192 END, 'kW'
FROM generate_series(0, %(devices)s - 1) AS device, generate_series(0, %(tags)s - 1) AS tag
"""


@pytest.fixture
def many(production: Production) -> Iterator[None]:
    """Devices that a gateway describes, with a value of each tag in the database; two of a device's are bad."""
    tags = tuple(TagDescription(f"t{number:04}", f"holding:{number}:uint16", "kW") for number in range(TAGS))
    described = [
        Description(
            f"d{number:02}",
            f"many/d{number:02}",
            "modbus-tcp",
            "gateway-9",
            "h:502",
            1.0,
            "tag",
            tags,
            now_ms(),
            group="many",
        )
        for number in range(DEVICES)
    ]
    with psycopg.connect(production.owner, autocommit=True) as connection:
        connection.execute(VALUES, {"devices": DEVICES, "tags": TAGS})
    online = encode_status(Status("online", "", now_ms()))
    told = [(f"device/{one.path}", encode_description(one)) for one in described]
    told += [(f"status/{one.path}", online) for one in described]
    told.append(("gateway/many/gateway-9", encode_presence(Presence("online", "0" * 16, LONGEST_LEASE))))
    tell(production.broker, told)
    yield
    tell(production.broker, [(topic, b"") for topic, _ in told])
    with psycopg.connect(production.owner, autocommit=True) as connection:
        connection.execute("DELETE FROM metrics WHERE topic LIKE 'dev/many/%'")


def test_fifty_thousand_tags_scroll_to_their_end_and_the_bad_ones_are_found(many: None, visit: Visit) -> None:
    visit.watch_tasks()
    visit.log_in("/tags?q=many")
    expect(visit.page.get_by_text("50,000 tags")).to_be_visible()
    expect(visit.row("many/d00/t0000")).to_contain_text("good")
    visit.longest_task()
    for _ in range(60):
        visit.page.get_by_role("table").hover()
        visit.page.mouse.wheel(0, 700)
        visit.page.wait_for_timeout(30)
    FIGURES.info("longest task in scrolling: %.0f ms", visit.longest_task())
    visit.page.get_by_role("table").focus()
    visit.page.keyboard.press("End")
    expect(visit.row("many/d49/t0999")).to_contain_text("good")
    FIGURES.info("longest task on the way to the end: %.0f ms", visit.longest_task())
    began = now_ms()
    visit.page.get_by_role("combobox", name="Show").select_option("problems only")
    expect(visit.page.get_by_text("100 tags")).to_be_visible()
    FIGURES.info("until the bad ones are found: %.0f ms", now_ms() - began)
    FIGURES.info("longest task in finding them: %.0f ms", visit.longest_task())
    expect(visit.row("many/d00/t0007")).to_contain_text("bad")
