"""The file of notifications: all that is wrong is said at once, with its line."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.email import Email
from console.notify.channels.http import retry_after
from console.notify.channels.webhook import Webhook
from console.notify.config import load
from console.notify.event import key_of
from console.notify.flood import Digest
from console.notify.message import Message, body
from console.notify.routes import Step
from console.notify.wording import subject, text
from nexus.contract.alarm import AlarmMessage, Record
from nexus.process.errors import ConfigError
from tests.unit.test_notify_routes import word

PAGE = Path(__file__).parents[2] / "docs/operations/notifications.md"
MAIL = "email: {host: m, sender: a@b.c, to: a@b.c"


def faults(tmp_path: Path, content: str, environment: str = "production", **variables: str) -> list[str]:
    path = tmp_path / "notify.yaml"
    path.write_text(content)
    try:
        load(path, environment, variables)
    except ConfigError as error:
        return [line.removeprefix(f"{path}:") for line in str(error).splitlines()]
    return []


def one(channel: str, more: str = "", route: str = "to: a") -> str:
    return f"receivers: [{{name: a, {channel}{more}}}]\nroutes: [{{name: r, {route}}}]\n"


def test_the_example_of_the_page_is_right(tmp_path: Path) -> None:
    match = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match is not None
    (tmp_path / "smtp").write_text("of a file\n")
    path = tmp_path / "notify.yaml"
    path.write_text(match[1].replace("/run/secrets/smtp", str(tmp_path / "smtp")))
    found = load(path, "production", {"NOTIFY_SMTP": "of the environment", "NOTIFY_CMMS": "shared"})
    assert list(found.receivers) == ["shift", "manager", "maintenance", "prometheus", "andon"]
    shift, manager, maintenance, prometheus, andon = found.receivers.values()
    assert isinstance(shift.channel, Email)
    assert (shift.channel.password, shift.digest) == ("of a file", Digest(20, timedelta(minutes=5)))
    assert isinstance(manager.channel, Email)
    assert (manager.channel.password, manager.digest) == ("of the environment", shift.digest)
    assert isinstance(maintenance.channel, Webhook)
    assert (maintenance.channel.secret, maintenance.digest, andon.digest) == ("shared", None, None)
    assert isinstance(prometheus.channel, Alertmanager)
    assert found.routes.states == {"prometheus"}
    assert found.routes.routes[0].steps == (Step(timedelta(minutes=10), ("manager",)),)


def test_the_body_of_the_page_is_what_a_webhook_gets() -> None:
    match = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match is not None
    at = int(datetime(2026, 11, 26, 20, 28, 35, tzinfo=UTC).timestamp() * 1000)
    record = Record("unacknowledged", at, at, at, active=True, acknowledged=False, value=84.5, limit=80.0)
    text = ("Too hot", "Slow down", "°C")
    raised = AlarmMessage("plant/line1/press", "temperature", "high", record, "raised", "high", *text)
    message = Message(key_of(raised, "maintenance"), "maintenance", "urgent", "event", False, raised)
    assert json.loads(match[1]) == json.loads(body(message))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1: must have `receivers:` and `routes:`, both lists"),
        ("receivers: 3\nroutes: []", "1: notifications: receivers must be a list, each item after a `- `"),
        (one("webhook: {url: 'http://x'}", route="to: b"), "2: route r: there is no receiver 'b'; known: a"),
        (one("webhook: {url: 'ftp://x'}"), "1: receiver a, webhook: url: write a whole URL"),
        (one(MAIL + ", colour: 1}"), "1: receiver a, email: unknown key 'colour'"),
        (one(MAIL.replace("to: a@b.c", "to: nobody") + "}"), "1: receiver a, email: to: 'nobody' is no address"),
        (one(MAIL + ", username: x}"), "1: receiver a, email: username and password come together"),
        (
            one(MAIL + ", username: x, password: y, security: none}"),
            "1: receiver a, email: a password would travel in clear",
        ),
        (
            one(MAIL + ", username: x, password: change-me}"),
            "1: receiver a, email: password: the password is still 'change-me'",
        ),
        (one(MAIL + ", username: x, password_file: /nowhere}"), "1: receiver a, email: password_file: No such file"),
        (one(MAIL + ", ca_file: /nowhere}"), "1: receiver a, email: ca_file: there is no file /nowhere"),
        (
            one(MAIL + ", password: '${SMTP}'}"),
            "1: ${SMTP} is not for the file of notifications: their variables begin with NOTIFY_",
        ),
        (one("mqtt: {topic: dev/x}"), "1: receiver a, mqtt: topic must be a topic below notify/"),
        (one("mqtt: {topic: notify/x}", ", webhook: {url: 'http://x'}"), "1: receiver a: has several channels"),
        (
            one("alertmanager: {url: 'http://x'}", ", digest: {above: 1, within: 1m}"),
            "1: receiver a: an Alertmanager groups alerts itself",
        ),
        (one("alertmanager: {url: 'http://x/api/v2/'}"), "1: receiver a, alertmanager: url: leave /api/v2 out"),
        (one("mqtt: {topic: notify/x}", ", digest: {above: 1}"), "1: receiver a, digest: key 'within' is missing"),
        (one("mqtt: {topic: notify/x}", route="to: a, priority: hihg"), "2: route r: priority must be"),
        (one("mqtt: {topic: notify/x}", route="to: a, hours: 6-7"), "2: route r: hours: '6-7' are no hours"),
        (one("mqtt: {topic: notify/x}", route="to: a, days: [mo]"), "2: route r: days: 'mo' is no day"),
        (one("mqtt: {topic: notify/x}", route="to: a, device: 'a/#/b'"), "2: route r: device: 'a/#/b' is no filter"),
        (
            one("mqtt: {topic: notify/x}", route="to: a, escalate: [{after: 10, to: a}]"),
            "2: route r, escalate: after: 10 is not a duration",
        ),
        (one("mqtt: {topic: notify/x}") + "timezone: Mars", "3: notifications: timezone: 'Mars' is no time zone"),
        (
            "receivers: [{name: a, mqtt: {topic: notify/x}}, {name: a, mqtt: {topic: notify/y}}]\nroutes: [{name: r, to: a}]",
            "1: receiver a: the name is used at line 1 already",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    found = faults(tmp_path, content)
    assert any(line.startswith(said) for line in found), found


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, one("mqtt: {topic: x}", route="to: b, hours: 1, days: x, escalate: [{after: 1, to: c}]"))
    assert len(found) == 6, found
    assert faults(tmp_path, one(MAIL + ", username: x, password: change-me}"), "development") == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("99999", 3600),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 30),
        ("soon", None),
        ("-1", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", None),
    ],
)
def test_a_receiver_says_when_to_try_again(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 11, 26, 12, tzinfo=UTC)) == seconds


def test_a_mail_says_what_matters_first() -> None:
    message = Message("k", "shift", "urgent", "event", True, word())
    assert subject(message) == "HIGH raised (late): Too hot [plant/line1/press/force/high]"
    body = text(message, ZoneInfo("Europe/Berlin"), "https://plant.example")
    assert "2026-11-26 13:00:00 CET" in body
    assert "https://plant.example/alarms?device=plant%2Fline1%2Fpress" in body
    escalation = Message("k", "boss", "urgent", "escalation", False, word("cleared", "returned"))
    assert subject(escalation).startswith("HIGH not acknowledged: ")
    assert "the condition is over" in text(escalation, ZoneInfo("UTC"), None)
