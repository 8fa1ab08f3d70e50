"""What operators see of notifications, and do about them, before a real console that sends none."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import expect

from nexus.contract import alarm
from tests.browser.conftest import PERSON
from tests.browser.visit import Visit
from tests.conftest import Production
from tests.integration.test_notifications import word

ADD = """
WITH made AS (
    INSERT INTO notifications (created, receiver, channel, route, kind, key, topic, word, state, due, expires, attempts,
        settled, answer, digest, remaining, refused)
    VALUES (now(), %(receiver)s, 'email', 'all', %(kind)s, gen_random_uuid()::text, %(topic)s, %(word)s::jsonb, %(state)s,
        now() + '1 min', now() + '1 day', 2, now(), %(answer)s, %(digest)s, %(remaining)s::text[], '{}') RETURNING id
), tried AS (
    INSERT INTO notification_attempts (notification, number, time, seconds, sent, answer)
    SELECT id, number, now(), 0.5, false, 'answer ' || number FROM made, generate_series(1, 2) AS number
) SELECT id FROM made
"""
SUMMARY = """
UPDATE notifications SET summary = '{"count": 40, "late": 0, "alarms": 1, "first": 0, "last": 1, "by_priority": {},
    "by_event": {}, "top": [{"topic": "x", "count": 40, "priority": "high", "text": "Too hot", "last": "raised"}]}'
WHERE id = %s
"""


@pytest.fixture
def told(production: Production) -> Iterator[int]:
    """One of each state, with the number of the dead one."""
    with psycopg.connect(production.owner) as connection:

        def add(tag: int, state: str, receiver: str = "shift", answer: str = "", digest: int | None = None) -> int:
            one = word(tag)
            remaining = ["boss@plant.example"] if state == "dead" else None
            asked: dict[str, Any] = {
                "receiver": receiver,
                "kind": "event",
                "topic": one.topic,
                "word": alarm.encode(one).decode(),
            }
            asked |= {"state": state, "answer": answer, "digest": digest, "remaining": remaining}
            [(number,)] = connection.execute(ADD, asked).fetchall()
            return int(number)

        digest: dict[str, Any] = {
            "receiver": "shift",
            "kind": "digest",
            "topic": "",
            "word": None,
            "state": "sent",
            "answer": "250 taken",
        }
        [(number,)] = connection.execute(ADD, {**digest, "digest": None, "remaining": None}).fetchall()
        connection.execute(SUMMARY, (number,))
        add(1, "digested", digest=number)
        add(2, "pending", "andon", "nobody subscribes to notify/andon")
        dead = add(3, "dead", answer="250 taken; not for boss@plant.example: 550 no such user")
    yield dead
    with psycopg.connect(production.owner) as connection:
        connection.execute("DELETE FROM notifications")


def test_who_was_told_is_seen_and_what_was_given_up_is_sent_again(
    visit: Visit, production: Production, told: int
) -> None:
    visit.log_in("/about")
    visit.open("Notifications")
    expect(visit.page.get_by_text("1 waiting, 1 given up")).to_be_visible()
    expect(visit.row("t2/high")).to_contain_text("High · raised")
    expect(visit.row("t2/high")).to_contain_text("nobody subscribes")
    expect(visit.row("t3/high")).to_contain_text("Not yet told: boss@plant.example")
    visit.row("t3/high").get_by_text("250 taken").click()
    expect(visit.row("t3/high").get_by_role("listitem").first).to_contain_text("answer 2")
    visit.look_everywhere("notifications")

    visit.page.get_by_role("combobox", name="Receiver").select_option("andon")
    expect(visit.row("t3/high")).to_be_hidden()
    expect(visit.row("t2/high")).to_be_visible()
    visit.page.get_by_role("combobox", name="Receiver").select_option("all receivers")
    visit.row("Digest of 40").get_by_role("link").click()
    expect(visit.row("t1/high")).to_contain_text("in a digest")
    expect(visit.row("t3/high")).to_be_hidden()
    visit.page.get_by_role("button", name="all").click()

    visit.page.get_by_role("combobox", name="State").select_option("given up")
    visit.row("t3/high").get_by_role("button", name="Send again").click()
    expect(visit.page.get_by_text("2 waiting, 0 given up")).to_be_visible()
    expect(visit.row("t3/high")).to_be_hidden()
    with psycopg.connect(production.owner) as connection:
        [state] = connection.execute("SELECT state FROM notifications WHERE id = %s", (told,)).fetchall()
        rows = connection.execute("SELECT person FROM console_audit WHERE event = 'notification retried'").fetchall()
    assert (state, rows) == (("pending",), [(PERSON,)])
