"""Fifty thousand tags in the pages, before a real console."""

import logging
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from playwright.sync_api import expect

from nexus.process.clock import now_ms
from tests.browser.visit import Visit
from tests.conftest import Production

DEVICES, TAGS = 50, 1_000
MINE: LiteralString = "topic LIKE 'dev/many/%'"
FIGURES = logging.getLogger("figures")  # to read with --log-cli-level=INFO: no test fails on them
VALUES = """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT now() - interval '1 minute', 'dev/many/d' || lpad(device::text, 2, '0') || '/t' || lpad(tag::text, 4, '0'), tag,
    CASE WHEN mod(tag, 500) = 7 THEN 0 ELSE 192 END, 'kW'
FROM generate_series(0, %(devices)s - 1) AS device, generate_series(0, %(tags)s - 1) AS tag
"""


@pytest.fixture
def database(production: Production) -> Iterator[psycopg.Connection]:
    """Without these tags, before and after."""
    with psycopg.connect(production.owner, autocommit=True) as connection:
        yield connection
        connection.execute(f"DELETE FROM metrics WHERE {MINE}")
        connection.execute(f"DELETE FROM topics WHERE {MINE}")


@pytest.fixture
def many(database: psycopg.Connection) -> None:
    """A value of each tag in the database, of devices that no gateway describes; two of each device's are bad."""
    insert(database, devices=DEVICES)


def insert(database: psycopg.Connection, *, devices: int) -> None:
    """Tags of so many devices."""
    database.execute(VALUES, {"devices": devices, "tags": TAGS})
    database.execute(
        f"INSERT INTO topics (topic) SELECT DISTINCT topic FROM metrics WHERE {MINE} ON CONFLICT DO NOTHING"
    )


def test_tags_that_are_new_come_to_an_open_page_and_move_nothing(database: psycopg.Connection, visit: Visit) -> None:
    visit.log_in("/tags?q=many")
    expect(visit.page.get_by_text("No tag matches all words")).to_be_visible()
    insert(database, devices=2)
    expect(visit.page.get_by_text("2,000 tags")).to_be_visible()
    visit.page.get_by_role("table").focus()
    visit.page.keyboard.press("End")
    expect(visit.row("many/d01/t0999")).to_contain_text("good")
    scrolled = visit.page.get_by_role("table").evaluate("(table) => table.scrollTop")
    insert(database, devices=3)
    expect(visit.page.get_by_text("3,000 tags")).to_be_visible()
    expect(visit.row("many/d01/t0999")).to_be_in_viewport()
    assert visit.page.get_by_role("table").evaluate("(table) => table.scrollTop") == scrolled


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
