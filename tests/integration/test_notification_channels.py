"""Notifications by each channel, to real receivers: a mail server, an Alertmanager, a broker; and what a flood becomes."""

import asyncio
import json
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import trustme
from msgspec.structs import replace

from nexus import mqtt
from nexus.contract.alarm import AlarmMessage, Event
from nexus.mqtt import Client
from tests.conftest import Production
from tests.consoles import Browser
from tests.integration.test_notifications import Notifying, hook, notifying, store, webhook, word
from tests.integration.test_writer import query
from tests.parts import Nexus, as_role, free_port, listens, until
from tests.receivers import Mail, Reply, Request, Webhook, notify_file

__all__ = ["notifying", "webhook"]  # fixtures

ALERTMANAGER = shutil.which("prometheus-alertmanager")
Start = Callable[..., Notifying]


def after(one: AlarmMessage, event: Event, seconds: float = 0.001, **changes: Any) -> AlarmMessage:
    """A later event of the same occurrence."""
    at = one.record.ts + max(1, int(seconds * 1000))
    later = word(event=event, at=at, occurrence=one.record.occurrence, **changes)
    return replace(later, tag=one.tag)


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Mail]:
    """A mail server with TLS and a login; its authority is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = Mail(context)
    yield server
    server.close()


def mailing(server: Mail, folder: Path, password: str = "a real secret", more: str = "") -> str:
    return f"""
timezone: Europe/Berlin
receivers:
  - name: shift
    email:
      {{host: localhost, port: {server.port}, username: nexus, password: {password}, ca_file: {folder}/ca.pem,
       sender: Nexus <nexus@plant.example>, to: [shift@plant.example, boss@plant.example]}}
{more}
routes:
  - {{name: all, to: shift, tell: [raised, cleared]}}
"""


def test_a_mail_is_sent_over_tls_with_a_login(database: str, mail: Mail, notifying: Start, tmp_path: Path) -> None:
    plant = notifying(database, mailing(mail, tmp_path), console_url="https://plant.example").until_leading()
    raised = word()
    store(database, raised)
    store(database, after(raised, "cleared"))
    until(lambda: len(mail.mails) == 2, "both came")
    first, second = mail.mails
    assert first["Subject"] == "HIGH raised: Too hot [plant/line1/press/t0/high]"
    assert (first["From"], first["To"]) == ("Nexus <nexus@plant.example>", "shift@plant.example, boss@plant.example")
    text = first.get_content()
    assert "84.5 °C, limit 80 °C" in text
    assert "Response:  Slow down" in text
    assert "https://plant.example/alarms?device=plant%2Fline1%2Fpress" in text
    [key] = query(database, "SELECT key FROM notifications ORDER BY id LIMIT 1")[0]
    assert (first["Message-ID"], first["References"]) == (f"<{key}@plant.example>", second["References"])
    assert set(mail.logins) == {True}
    until(lambda: plant.states() == {"sent": 2}, "they are sent")


def test_what_a_mail_server_refuses_for_ever_is_dead_and_a_wrong_password_waits(
    database: str, mail: Mail, notifying: Start, tmp_path: Path
) -> None:
    mail.refuses = dict.fromkeys(("shift@plant.example", "boss@plant.example"), "550 no such user")
    plant = notifying(database, mailing(mail, tmp_path)).until_leading()
    store(database, word(0))
    until(lambda: plant.states() == {"dead": 1}, "nobody is there")
    assert "550 no such user" in str(query(database, "SELECT answer FROM notifications"))
    mail.refuses = {"boss@plant.example": "450 full", "shift@plant.example": "450 full"}
    store(database, word(1))
    until(lambda: "450" in str(query(database, "SELECT answer FROM notifications WHERE state = 'pending'")), "it waits")
    mail.refuses = {}
    until(lambda: plant.states() == {"dead": 1, "sent": 1}, "they have it")
    Path(plant.console._environment["NEXUS_CONSOLE_NOTIFY"]).write_text(mailing(mail, tmp_path, "a wrong secret"))
    until(lambda: len(plant.console.log.read_text().split("this console sends notifications")) == 3, "it is taken")
    store(database, word(2))
    until(lambda: "535" in str(query(database, "SELECT answer FROM notifications WHERE state = 'pending'")), "it waits")


def test_a_mail_that_is_refused_for_some_is_tried_again_for_them_alone(
    database: str, mail: Mail, notifying: Start, tmp_path: Path
) -> None:
    shift, boss = "shift@plant.example", "boss@plant.example"
    mail.refuses = {boss: "450 greylisted"}
    plant = notifying(database, mailing(mail, tmp_path)).until_leading()
    store(database, word(0))
    until(lambda: mail.recipients == [[shift]], "one has it")
    ask = Browser(plant.console.web)
    until(lambda: ask.ask("GET", "notifications").json["items"][0]["remaining"] == [boss], "the other waits")
    mail.refuses = {}
    until(lambda: plant.states() == {"sent": 1}, "both have it")
    assert mail.recipients == [[shift], [boss]]

    mail.refuses = {boss: "550 no such user"}
    store(database, word(1))
    until(lambda: plant.states() == {"sent": 1, "dead": 1}, "the boss never gets it")
    [dead] = ask.ask("GET", "notifications?state=dead").json["items"]
    assert (dead["remaining"], dead["refused"]) == ([boss], [boss])
    assert "not for boss@plant.example: 550" in dead["answer"]
    assert "its server refuses some recipients" in plant.console.log.read_text()
    assert 'result="recipient refused"} 1.0' in plant.console.get("/metrics")[1]
    mail.refuses = {}
    assert ask.ask("POST", f"notifications/{dead['id']}/retry").status == 202
    until(lambda: plant.states() == {"sent": 2}, "it is sent after all")
    assert mail.recipients[2:] == [[shift], [boss]]


def test_a_flood_is_a_few_mails_and_nothing_is_left_out(
    database: str, mail: Mail, notifying: Start, tmp_path: Path
) -> None:
    plant = notifying(database, mailing(mail, tmp_path, more="    digest: {above: 5, within: 10s}")).until_leading()
    for start in range(0, 1_000, 250):
        store(database, *(word(number) for number in range(start, start + 250)))
    settled = "SELECT count(*) FROM notifications WHERE kind = 'event' AND state IN ('sent', 'digested')"
    until(lambda: query(database, settled) == [(1_000,)], "all are told", 40)
    until(lambda: plant.states().get("pending", 0) == 0, "the digests are sent")
    told = query(database, "SELECT sum((summary ->> 'count')::int) FROM notifications WHERE kind = 'digest'")
    single = query(database, "SELECT count(*) FROM notifications WHERE kind = 'event' AND state = 'sent'")
    assert told[0][0] + single[0][0] == 1_000
    assert query(database, "SELECT count(*) FROM notifications WHERE state = 'digested' AND digest IS NULL") == [(0,)]
    assert len(mail.mails) < 30
    digest = next(one for one in mail.mails if "notifications of" in one["Subject"])
    assert "The most urgent and frequent:" in digest.get_content()


def test_events_that_come_hours_late_are_told_as_one_and_marked(
    database: str, mail: Mail, notifying: Start, tmp_path: Path
) -> None:
    plant = notifying(database, mailing(mail, tmp_path)).until_leading()
    hours_ago = int(time.time() * 1000) - 5 * 3_600_000
    store(database, *(word(number, at=hours_ago + number) for number in range(10)), word(11))
    until(lambda: len(mail.mails) == 2, "both came")
    assert [one["Subject"] for one in mail.mails] == [
        "HIGH raised: Too hot [plant/line1/press/t11/high]",
        "10 notifications of 10 alarms (late)",
    ]
    happened = datetime.fromtimestamp(hours_ago / 1000, ZoneInfo("Europe/Berlin"))
    assert f"First: {happened:%Y-%m-%d %H:%M:%S}" in mail.mails[1].get_content()
    until(lambda: plant.states() == {"sent": 2, "digested": 10}, "all are settled")


def test_others_are_told_of_what_nobody_acknowledges(database: str, webhook: Webhook, notifying: Start) -> None:
    boss = Webhook()
    text = hook(webhook.url, route="{name: all, to: hook, escalate: [{after: 3s, to: boss}]}")
    text = text.replace("routes:", f"  - {{name: boss, webhook: {{url: '{boss.url}'}}}}\nroutes:")
    notifying(database, text).until_leading()
    first, second, third = word(0), word(1), word(2)
    store(database, first, second, third)
    store(database, after(first, "acknowledged"), after(third, "cleared"))
    until(lambda: len(boss.taken) == 2, "two wait still")
    until(lambda: query(database, "SELECT count(*) FROM notification_waits") == [(0,)], "no more to come")
    found = {one.json["alarm"]["tag"]: one.json for one in boss.taken}
    assert {tag: (one["kind"], one["alarm"]["active"]) for tag, one in found.items()} == {
        "t1": ("escalation", True),
        "t2": ("escalation", False),
    }
    assert len(webhook.taken) == 3
    boss.close()


def test_an_escalation_that_has_begun_outlives_its_route_and_says_so_if_its_receiver_is_gone(
    database: str, webhook: Webhook, notifying: Start
) -> None:
    boss = Webhook()
    text = hook(webhook.url, route="{name: all, to: hook, escalate: [{after: 5s, to: [boss, deputy]}]}")
    both = f"  - {{name: boss, webhook: {{url: '{boss.url}'}}}}\n"
    third = f"  - {{name: deputy, webhook: {{url: '{webhook.url}'}}}}\n"
    plant = notifying(database, text.replace("routes:", both + third + "routes:")).until_leading()
    store(database, word(0))
    until(lambda: len(webhook.taken) == 1, "the first is told")
    file = Path(plant.console._environment["NEXUS_CONSOLE_NOTIFY"])
    file.write_text(hook(webhook.url, route="{name: another, to: hook}").replace("routes:", both + "routes:"))
    until(lambda: len(plant.console.log.read_text().split("this console sends notifications")) == 3, "it is taken")
    until(lambda: len(boss.taken) == 1, "the boss is told")
    until(lambda: plant.states() == {"sent": 2, "dead": 1}, "the deputy is not")
    [(answer,)] = query(database, "SELECT answer FROM notifications WHERE receiver = 'deputy'")
    assert answer == "its receiver is not in the file any more"
    until(lambda: "their receiver is not in the file" in plant.console.log.read_text(), "it is said")
    boss.close()


class Alerts:
    """A real Alertmanager."""

    def __init__(self, folder: Path) -> None:
        assert ALERTMANAGER is not None
        self.port = free_port()
        folder.mkdir()
        (folder / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        self._command = [
            ALERTMANAGER,
            f"--config.file={folder}/am.yml",
            f"--storage.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        self.start()

    def start(self) -> None:
        null = subprocess.DEVNULL
        self.process = subprocess.Popen(self._command, stdout=null, stderr=null)
        until(lambda: listens(self.port), "the Alertmanager listens")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def active(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=5) as answer:
            return [one for one in json.load(answer) if one["endsAt"] > datetime.now(UTC).isoformat()]


@pytest.mark.skipif(ALERTMANAGER is None, reason="needs Debian's prometheus-alertmanager")
def test_an_alertmanager_holds_what_stands_also_after_it_has_lost_its_memory(
    database: str, notifying: Start, tmp_path: Path
) -> None:
    alerts = Alerts(tmp_path / "am")
    try:
        url = f"http://127.0.0.1:{alerts.port}"
        text = f"receivers:\n  - {{name: am, alertmanager: {{url: '{url}', resend: 1s, labels: {{site: berlin}}}}}}\n"
        notifying(database, f"{text}routes:\n  - {{name: all, to: am}}\n").until_leading()
        raised, other = word(0), word(1)
        store(database, raised, other)
        until(lambda: len(alerts.active()) == 2, "both stand")
        found = next(one for one in alerts.active() if one["labels"]["tag"] == "t0")
        assert found["labels"] == {
            **{"alertname": "high", "device": "plant/line1/press", "tag": "t0", "severity": "high", "site": "berlin"},
            "topic": raised.topic,
        }
        assert found["annotations"]["summary"] == "Too hot"
        assert abs(datetime.fromisoformat(found["startsAt"]).timestamp() * 1000 - raised.record.occurrence) < 2
        alerts.stop()
        alerts.start()
        until(lambda: len(alerts.active()) == 2, "it is told again")
        store(database, after(raised, "cleared"), after(other, "shelved"))
        until(lambda: alerts.active() == [], "one is over, and one is shelved")
    finally:
        alerts.stop()


def test_what_stands_is_told_again_before_an_end_and_not_beside_it(database: str, notifying: Start) -> None:
    log: list[str] = []

    def answer(request: Request) -> Reply:
        log.append("came")
        time.sleep(0.5)
        log.append("answered")
        return Reply()

    slow = Webhook(answer)
    text = f"receivers:\n  - {{name: am, alertmanager: {{url: '{slow.url}', resend: 1s}}}}\n"
    plant = notifying(database, f"{text}routes:\n  - {{name: all, to: am}}\n").until_leading()
    for number in range(4):
        raised, before = word(number), len(log)
        store(database, raised)
        until(lambda before=before: len(log) >= before + 3, "it is told, and told again")
        store(database, after(raised, "cleared"))
        until(lambda number=number: plant.states() == {"sent": 2 * number + 2}, "its end is told")
    plant.console.stop()
    assert log[: len(log) // 2 * 2] == ["came", "answered"] * (len(log) // 2)
    slow.close()


def test_a_topic_below_notify_is_told_once_somebody_listens(production: Production, notifying: Start) -> None:
    database = production.owner
    text = "receivers: [{name: andon, mqtt: {topic: notify/andon}}]\nroutes: [{name: all, to: andon}]"
    plant = notifying(database, text, mqtt_url=production.mqtt("console")).until_leading()
    store(database, word(0))
    until(lambda: "nobody subscribes" in str(query(database, "SELECT answer FROM notifications")), "nobody listens")
    heard: list[bytes] = []

    def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard.append(message.payload)
        connection.acknowledge(message.packet_id)

    async def listen() -> None:
        async with mqtt.connect(production.broker.login("viewer"), Client("andon"), keep) as connection:
            await connection.subscribe("notify/#")
            await asyncio.to_thread(until, lambda: plant.states() == {"sent": 1}, "it is told")

    asyncio.run(listen())
    assert json.loads(heard[0])["alarm"]["tag"] == "t0"


def test_the_command_checks_tries_lists_and_retries(
    database: str, webhook: Webhook, notifying: Start, nexus: Callable[..., Nexus], tmp_path: Path
) -> None:
    def said(*arguments: str, code: int = 0, **environment: str) -> str:
        done = nexus("notify", *arguments, database_url=as_role(database, "nexus_console"), **environment)
        assert done.process.wait(60) == code, done.log.read_text()
        return done.log.read_text()

    file = notify_file(tmp_path, hook(webhook.url))
    assert "is right: 1 receiver, 1 route" in said("check", str(file))
    assert "hook has taken it: 200 ok" in said("test", "hook", console_notify=str(file))
    assert webhook.taken[0].json["kind"] == "test"
    assert "there is no receiver 'x'" in said("test", "x", "--file", str(file), code=2)
    webhook.answer = lambda _: Reply(404)
    assert "404" in said("test", "hook", "--file", str(file), code=1)
    plant = notifying(database, hook(webhook.url)).until_leading()
    store(database, word(0))
    until(lambda: plant.states() == {"dead": 1}, "it is refused")
    assert "raised plant/line1/press/t0/high" in said("list", "--dead")
    webhook.answer = lambda _: Reply()
    [(number,)] = query(database, "SELECT id FROM notifications")
    said("retry", str(number))
    until(lambda: plant.states() == {"sent": 1}, "it is sent")
    assert "is not sent again: only what was given up" in said("retry", str(number), code=2)
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT via FROM console_audit WHERE event = 'notification retried'").fetchall()
    assert rows == [("command",)]
