"""Notifications of alarms, from the transaction that stores an event to whoever is told; with production's rights."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from console.historian import notifications
from console.notify import leader
from console.notify.attempt import LONGEST_PAUSE
from console.notify.channels.webhook import signature
from ingestion.consume.batch import Batch
from nexus.contract.alarm import AlarmMessage, Event, Record, State
from tests.consoles import Browser, Console
from tests.integration.test_writer import query, write_batch
from tests.parts import Postgres, as_role, until
from tests.receivers import Reply, Request, Webhook, notify_file

SECRET = "a shared secret"


def word(number: int = 0, event: Event = "raised", *, at: int | None = None, **changes: Any) -> AlarmMessage:
    """An event of an alarm of its own number."""
    moment = int(time.time() * 1000) if at is None else at
    states: dict[Event, State] = {"raised": "unacknowledged", "cleared": "returned", "acknowledged": "acknowledged"}
    state = changes.pop("state", states.get(event, "shelved"))
    record = Record(
        state,
        changes.pop("occurrence", moment),
        moment,
        moment,
        active=event != "cleared",
        acknowledged=state == "acknowledged",
        value=84.5,
        limit=80.0,
        by="anna" if event == "acknowledged" else None,
    )
    made = AlarmMessage("plant/line1/press", f"t{number}", "high", record, event, "high", "Too hot", "Slow down", "°C")
    return replace(made, **changes)


def store(url: str, *words: AlarmMessage) -> None:
    """As the ingester does."""
    write_batch(url, Batch(records=list(words)))


@dataclass
class Notifying:
    """A console that sends, and its database."""

    console: Console
    database: str

    def until_leading(self) -> "Notifying":
        until(lambda: self.console.ended() or self.console.metric("nexus_console_notify_leading") == 1, "it sends")
        return self

    def states(self) -> dict[str, int]:
        return dict(query(self.database, "SELECT state, count(*) FROM notifications GROUP BY 1"))


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    sink = Webhook()
    yield sink
    sink.close()


@pytest.fixture
def notifying(tmp_path: Path) -> Iterator[Callable[..., Notifying]]:
    """Starts consoles with this file of notifications."""
    started: list[Console] = []

    def start(database: str, text: str, **settings: str) -> Notifying:
        folder = tmp_path / f"console{len(started)}"
        folder.mkdir()
        path = notify_file(folder, text)
        given = {"console_insecure": "1", "console_notify": str(path), "mqtt_url": "mqtt://127.0.0.1:9", **settings}
        started.append(Console(folder, database, **given))
        return Notifying(started[-1], database)

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def hook(url: str, more: str = "", route: str = "{name: all, to: hook, tell: [raised, cleared, acknowledged]}") -> str:
    """A file with one webhook."""
    return (
        f"receivers:\n  - {{name: hook, webhook: {{url: '{url}', secret: '{SECRET}'}}{more}}}\nroutes:\n  - {route}\n"
    )


def test_an_event_that_is_stored_is_told_signed_and_once(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    store(database, word(9))
    assert query(database, "SELECT count(*) FROM notification_queue") == [(0,)], "nobody wants it yet"
    plant = notifying(database, hook(webhook.url), console_url="https://plant.example").until_leading()
    raised = word()
    at, began = raised.record.ts, raised.record.occurrence
    cleared = word(event="cleared", at=at + 2, occurrence=began)
    store(database, raised, word(1, "shelved"))
    store(database, raised, cleared)
    until(lambda: len(webhook.taken) == 2, "both are told")
    assert [event for _, event in webhook.told()] == ["raised", "cleared"], "what is shelved calls nobody"
    first, second = webhook.taken
    assert first.json["alarm"]["text"] == "Too hot"
    assert (first.json["kind"], first.json["told"], first.json["late"]) == ("event", "raised", False)
    assert first.headers["idempotency-key"] == first.json["key"] != second.json["key"]
    stamp = first.headers["x-nexus-timestamp"]
    assert first.headers["x-nexus-signature"] == f"sha256={signature(SECRET, stamp, first.body)}"
    until(lambda: plant.states() == {"sent": 2}, "both are sent")
    assert query(database, "SELECT sent, answer FROM notification_attempts") == [(True, "200 ok")] * 2
    assert query(database, "SELECT count(*) FROM notification_queue") == [(0,)]
    until(lambda: plant.console.metric("nexus_console_notifications_total") == 2, "they are counted")


def test_what_a_receiver_does_not_take_is_tried_again_and_what_it_refuses_is_dead(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    said = iter([500, 408, 200])

    def answer(request: Request) -> Reply:
        return Reply(400) if request.json["alarm"]["tag"] == "t1" else Reply(next(said, 200))

    webhook.answer = answer
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, word(0))
    until(lambda: plant.states() == {"sent": 1}, "the third attempt is taken")
    assert len({one.headers["idempotency-key"] for one in webhook.came}) == 1
    store(database, word(1))
    until(lambda: plant.states() == {"sent": 1, "dead": 1}, "a refused one is dead")
    assert [one.json["alarm"]["tag"] for one in webhook.came] == ["t0"] * 3 + ["t1"]
    ask = Browser(plant.console.web)
    [dead] = ask.ask("GET", "notifications?state=dead").json["items"]
    assert (dead["attempts"][0]["answer"][:3], dead["receiver"]) == ("400", "hook")
    webhook.answer = lambda _: Reply()
    assert ask.ask("POST", f"notifications/{dead['id']}/retry").status == 202
    until(lambda: plant.states() == {"sent": 2}, "it is sent after all")
    assert ask.ask("POST", f"notifications/{dead['id']}/retry").status == 409, "it was sent"
    assert query(database, "SELECT event, ok FROM console_audit WHERE event = 'notification retried'")


def test_the_newest_are_listed_first_on_every_page(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, *(word(number) for number in range(13)))
    until(lambda: plant.states() == {"sent": 13}, "all are sent")
    ask, found, query_of_next = Browser(plant.console.web), [], "limit=5"
    for _ in range(3):
        page = ask.ask("GET", f"notifications?{query_of_next}").json
        found += [int(one["id"]) for one in page["items"]]
        query_of_next = f"limit=5&after={found[-1]}"
    assert found == sorted(found, reverse=True)
    assert len(found) == 13


def test_a_receiver_that_says_when_is_left_alone_until_then(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    webhook.answer = lambda _: Reply(200) if len(webhook.came) > 1 else Reply(429, retry_after="3")
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, word(0), word(1))
    until(lambda: plant.states() == {"sent": 2}, "they are taken later")
    first_round = [one for one in webhook.came if one.at - webhook.came[0].at < 2.5]
    assert len(first_round) <= 2, "those that were on their way"


def test_some_that_are_never_taken_hold_up_no_others(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    never = {f"t{number}" for number in range(4)}
    webhook.answer = lambda request: Reply(500 if request.json["alarm"]["tag"] in never else 200)
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, *(word(number) for number in range(4)))
    until(lambda: len(webhook.came) >= 8, "all four are tried again")
    store(database, *(word(number) for number in range(4, 30)))
    until(lambda: plant.states() == {"sent": 26, "pending": 4}, "the others are told")


def test_what_a_receiver_has_not_taken_in_time_is_dead_whether_it_was_tried_or_not(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    webhook.answer = lambda _: Reply(503)
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, *(word(number) for number in range(100)))
    until(lambda: plant.states() == {"pending": 100} and len(webhook.came) >= 4, "they wait")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE notifications SET expires = now() WHERE topic <> %s", (word(7).topic,))
    until(lambda: plant.states() == {"pending": 1, "dead": 99}, "they are given up", 2 * LONGEST_PAUSE)
    answers = "SELECT DISTINCT answer FROM notifications WHERE state = 'dead' AND attempts = 0"
    assert query(database, answers) == [("given up before an attempt",)]


def test_counting_what_waits_and_is_dead_reads_nothing_of_what_is_settled(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO notifications (created, receiver, channel, route, kind, key, state, due, expires, settled)"
            " SELECT now(), 'hook', 'webhook', 'r', 'event', n::text, CASE WHEN n > 19990 THEN 'pending'"
            " WHEN n > 19980 THEN 'dead' ELSE 'sent' END, now(), now(), now() FROM generate_series(1, 20000) AS n"
        )
        connection.execute("VACUUM ANALYZE notifications")
        for statement in (leader._MEASURE, notifications._COUNTS):
            plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}", {"most": 100_000}))
            assert "Scan on notifications " not in plan.replace("Index Scan", "").replace("Bitmap Heap Scan", ""), plan


def test_one_that_hangs_delays_no_other(database: str, webhook: Webhook, notifying: Callable[..., Notifying]) -> None:
    slow = Webhook(lambda _: Reply(200, seconds=600))
    text = hook(webhook.url).replace(
        "routes:", f"  - {{name: slow, webhook: {{url: '{slow.url}', timeout: 60s}}}}\nroutes:"
    )
    plant = notifying(database, text.replace("to: hook", "to: [slow, hook]")).until_leading()
    store(database, *(word(number) for number in range(40)))
    until(lambda: len(webhook.taken) == 40, "the other gets all")
    assert len(slow.came) <= 4, "few are on their way at a time"
    until(lambda: plant.states() == {"sent": 40, "pending": 40}, "the slow one's wait")
    slow.close()


def test_one_that_cannot_be_read_is_dead_and_stops_no_other(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    poison = """
    INSERT INTO notifications (created, receiver, channel, route, kind, key, topic, word, due, expires)
    SELECT now(), 'hook', 'webhook', 'all', 'event', 'poison', 'alarm/x/y/z', '{"no": "alarm"}', now(), now() + '1 d'
    """
    with psycopg.connect(database) as connection:
        connection.execute(poison)
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, word())
    until(lambda: plant.states() == {"dead": 1, "sent": 1}, "one is dead, and the other sent")
    [(answer,)] = query(database, "SELECT answer FROM notifications WHERE state = 'dead'")
    assert answer.startswith("cannot be read")


def test_events_of_an_alarm_keep_their_order_though_one_is_tried_again(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    failed = False

    def answer(request: Request) -> Reply:
        nonlocal failed
        if request.json["alarm"]["event"] == "raised" and not failed:
            failed = True
            return Reply(503)
        return Reply()

    webhook.answer = answer
    plant = notifying(database, hook(webhook.url)).until_leading()
    raised = word()
    store(database, raised, word(1, "acknowledged"))
    store(database, word(event="acknowledged", at=raised.record.ts + 1, occurrence=raised.record.occurrence))
    until(lambda: plant.states() == {"sent": 3}, "all are sent")
    topic = raised.topic
    assert [event for one, event in webhook.told() if one == topic] == ["raised", "acknowledged"]


def test_of_two_consoles_one_sends_and_the_other_takes_over(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    webhook.answer = lambda _: Reply(seconds=0.02)
    first = notifying(database, hook(webhook.url)).until_leading()
    second = notifying(database, hook(webhook.url))
    second.console.until_serving()
    count = 300
    for start in range(0, count, 50):
        store(database, *(word(number) for number in range(start, start + 50)))
    until(lambda: len(webhook.taken) > 40, "it is midway")
    assert second.console.metric("nexus_console_notify_leading") == 0
    first.console.process.kill()
    second.until_leading()
    until(lambda: second.states() == {"sent": count}, "the other sends the rest")
    keys = {one.headers["idempotency-key"] for one in webhook.taken}
    assert len({topic for topic, _ in webhook.told()}) == len(keys) == count, "each is told, and doubles have its key"
    assert len(webhook.taken) - count <= 4, "only what was on its way is told twice"


def test_a_sender_that_hangs_is_replaced_and_sends_no_more(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    first = notifying(database, hook(webhook.url)).until_leading()
    second = notifying(database, hook(webhook.url))
    second.console.until_serving()
    first.console.process.send_signal(signal.SIGSTOP)
    second.until_leading()
    first.console.process.send_signal(signal.SIGCONT)
    store(database, *(word(number) for number in range(20)))
    until(lambda: second.states() == {"sent": 20}, "it sends")
    until(lambda: first.console.metric("nexus_console_notify_leading") == 0, "the first has noticed")
    assert len(webhook.taken) == 20


def test_nothing_is_forgotten_while_the_database_dies(
    postgres: Postgres, webhook: Webhook, notifying: Callable[..., Notifying]
) -> None:
    webhook.answer = lambda _: Reply(seconds=0.02)
    plant = notifying(postgres.url, hook(webhook.url)).until_leading()
    store(postgres.url, *(word(number) for number in range(200)))
    until(lambda: len(webhook.taken) > 20, "it is midway")
    postgres.stop("immediate")
    postgres.start()
    until(lambda: plant.states() == {"sent": 200}, "all are sent")
    assert len({one.headers["idempotency-key"] for one in webhook.taken}) == 200
    assert plant.console.get("/health")[0] == 200


def test_a_wrong_file_is_refused_whole_and_a_changed_one_is_taken_if_it_is_right(
    database: str, webhook: Webhook, notifying: Callable[..., Notifying], tmp_path: Path
) -> None:
    wrong = notifying(database, "receivers: [{name: a, webhook: {url: x}}]\nroutes: [{name: r, to: b}]")
    until(lambda: wrong.console.process.poll() is not None, "it ends")
    assert wrong.console.process.returncode == 2
    assert "notify.yaml:1: receiver a, webhook: url:" in (log := wrong.console.log.read_text())
    assert "there is no receiver 'b'" in log

    plant = notifying(database, hook(webhook.url)).until_leading()
    file = Path(plant.console._environment["NEXUS_CONSOLE_NOTIFY"])
    file.write_text("receivers: []")
    until(lambda: json.loads(plant.console.get("/health")[1])["problems"], "it is said")
    store(database, word(0))
    until(lambda: len(webhook.taken) == 1, "the last good one counts")
    file.write_text(hook(webhook.url + "/new"))
    until(lambda: not json.loads(plant.console.get("/health")[1])["problems"], "it is taken")
    plant.until_leading()
    store(database, word(1))
    until(lambda: webhook.taken[-1].path == "/alarms/new", "the new receiver is told")


def test_what_is_queued_for_nobody_goes_with_later_events(database: str) -> None:
    sender = "INSERT INTO notification_sender VALUES (true, now() + %s::interval, 'x', now())"
    with psycopg.connect(database) as connection:
        connection.execute(sender.encode(), ("1 day",))
    store(database, word(0), word(1))
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE notification_sender SET wanted_until = now() - interval '1 day'")
        connection.execute("UPDATE notification_queue SET stored = now() - interval '8 days' WHERE tag = 't0'")
    store(database, word(2))
    assert query(database, "SELECT tag FROM notification_queue") == [("t1",)], "that can still be told, and no other"


def test_who_may_what(database: str) -> None:
    store(database, word(0))
    for role, statement in (
        ("nexus_writer", "SELECT * FROM notification_queue"),
        ("nexus_writer", "DELETE FROM notifications"),
        ("nexus_writer", "SELECT lead_notifications()"),
        ("nexus_reader", "SELECT * FROM notifications"),
        ("nexus_console", "UPDATE notification_queue SET text = ''"),
        ("nexus_console", "UPDATE notification_attempts SET sent = true"),
        ("nexus_console", "SELECT pg_advisory_lock(1)"),
    ):
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
        with psycopg.connect(as_role(database, role)) as login, refused:
            login.execute(statement.encode())
