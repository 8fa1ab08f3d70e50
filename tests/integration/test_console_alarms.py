"""Alarms in the console's API: a gateway's, on a broker with production's rights, and in the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.access.person import Role
from console.live.alarm_item import identity
from tests.conftest import Production
from tests.consoles import Browser, add_key
from tests.consoles import Console as Guarded
from tests.integration.test_alarms import ALARM, HIGH, Plant
from tests.integration.test_console_live import Console
from tests.parts import Nexus, ended_with_block, until

Start = Callable[..., Nexus]


class Alarmed(Plant):
    """A plant with an ingester and a console."""

    def __init__(self, folder: Path, nexus: Start, production: Production) -> None:
        super().__init__(folder, nexus, production.broker)
        self.production = production
        self.write(ALARM + ', {name: low, above: 70, priority: low, text: "Warm"}')
        self.ingester = nexus(
            "ingest", mqtt_url=production.broker.url, database_url=production.owner, batch_seconds="0.2"
        ).until_ready()
        self.poller = self.gateway()
        self.console = Console(nexus, production)

    def alarms(self, query: str = "") -> Any:
        status, found = self.console.ask("GET", f"alarms?{query}")
        assert status == 200, found
        return found

    def until_listed(self, query: str, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.alarms(query)["items"]) == count, f"{count} with {query}")
        return list(self.alarms(query)["items"])

    def act(self, alarm: dict[str, Any], action: str, **body: Any) -> tuple[int, Any]:
        return self.console.ask("POST", f"alarms/{alarm['id']}/{action}", body)


@pytest.fixture
def plant(tmp_path: Path, nexus: Start, production: Production) -> Alarmed:
    return Alarmed(tmp_path, nexus, production)


def test_an_alarm_is_seen_acknowledged_shelved_and_over(plant: Alarmed) -> None:
    with plant.console.live() as live:
        live.send({"alarms": True})
        plant.temperature(85)
        assert {one["state"] for one in live.next("alarms")} == {"unacknowledged"}
        high, low = plant.until_listed("state=active", 2)
        assert (high["name"], high["value"], high["limit"], high["text"]) == ("high", 85, 80, "Bearing hot")
        assert plant.alarms()["counts"] == {
            "unacknowledged": 2,
            "active": 2,
            "shelved": 0,
            "by_priority": {"critical": 0, "high": 1, "medium": 0, "low": 1},
        }
        status, done = plant.act(high, "acknowledge", reason="on my way")
        assert (status, done) == (200, {"ok": True, "state": "acknowledged", "recorded": True})
        until(lambda: "acknowledged" in {one["state"] for one in live.next("alarms")}, "it is told")
        assert [one["name"] for one in plant.alarms()["items"]] == ["low", "high"], "who waits for a person comes first"

        assert plant.act(low, "shelve")[0] == 422, "for how long?"
        assert plant.act(low, "shelve", reason="no\nline", seconds=60)[0] == 422
        assert plant.act(low, "shelve", seconds=3600)[1]["state"] == "shelved"
        [shelved] = plant.until_listed("state=shelved", 1)
        assert (shelved["by"], shelved["until"] > shelved["time"]) == ("anonymous", True)
        assert shelved["suppressed"] is False
        assert plant.act(low, "suppress")[1]["state"] == "suppressed"
        until(lambda: plant.alarms("state=shelved")["items"][0]["suppressed"], "a person has suppressed it")
        assert plant.act(low, "unsuppress")[1]["state"] == "shelved"
        assert plant.alarms("priority=low")["items"] == plant.alarms("device=elsewhere")["items"] == []
        assert [one["name"] for one in plant.alarms("q=BEARING+plc")["items"]] == ["high"]

        plant.temperature(20)
        plant.until_listed("", 0)
        assert plant.act(high, "acknowledge")[0] == 409, "that is over"
    until(lambda: len(plant.alarms("state=history")["items"]) == 8, "all is stored")
    assert {one["suppressed"] for one in plant.alarms("state=history")["items"]} == {None}, "the journal cannot tell"
    events = [(one["name"], one["event"], one["by"]) for one in plant.alarms("state=history&q=high")["items"]]
    assert events == [("high", "cleared", None), ("high", "acknowledged", "anonymous"), ("high", "raised", None)]
    _, journal = plant.console.ask("GET", f"alarms/{high['id']}/journal?limit=2")
    assert [one["event"] for one in journal["items"]] == ["cleared", "acknowledged"]
    _, journal = plant.console.ask("GET", f"alarms/{high['id']}/journal?after={journal['next']}")
    assert ([one["event"] for one in journal["items"]], journal["next"]) == (["raised"], None)
    _, figures = plant.console.ask("GET", "alarms/statistics")
    assert (figures["raised"], figures["shelved"], figures["standing"]) == (2, 1, 0)
    assert {one["topic"]: one["share"] for one in figures["top"]} == {HIGH: 0.5, HIGH.replace("high", "low"): 0.5}
    with psycopg.connect(plant.production.owner) as connection:
        rows = connection.execute(
            "SELECT event, ok FROM console_audit WHERE topic = %s ORDER BY id", (HIGH,)
        ).fetchall()
    assert rows == [("alarm acknowledge", ok) for ok in (None, True, None, False)]


def test_several_are_acknowledged_at_once_and_each_has_an_answer_and_rows_in_the_audit(plant: Alarmed) -> None:
    plant.temperature(85)
    high, low = plant.until_listed("", 2)
    nobody = identity("alarm/plant/nowhere/tag/high", 1_703_289_600_000)
    asked = {"ids": [low["id"], nobody, "x", high["id"], low["id"]], "reason": "round made"}
    status, done = plant.console.ask("POST", "alarms/acknowledge", asked)
    assert status == 200
    answers = {one["id"]: (one["ok"], one["state"], one["recorded"]) for one in done["items"]}
    assert answers == {
        low["id"]: (True, "acknowledged", True),
        nobody: (None, None, True),
        "x": (False, None, True),
        high["id"]: (True, "acknowledged", True),
    }
    errors = {one["id"]: one["error"] for one in done["items"] if not one["ok"]}
    assert ("no gateway has answered" in errors[nobody], "an alarm's id" in errors["x"]) == (True, True)
    assert {one["by"] for one in plant.until_listed("q=warm", 1)} == {"anonymous"}
    with psycopg.connect(plant.production.owner) as connection:
        rows = connection.execute(
            "SELECT topic, ok, detail ->> 'reason' FROM console_audit WHERE event = 'alarm acknowledge' ORDER BY topic, id"
        ).fetchall()
    known = [(topic, ok, "round made") for topic in (HIGH, HIGH.replace("high", "low")) for ok in (None, True)]
    assert rows == [*[("alarm/plant/nowhere/tag/high", None, "round made")] * 2, *known]
    assert plant.console.ask("POST", "alarms/acknowledge", {"ids": [high["id"]] * 201})[0] == 422
    assert plant.console.ask("POST", "alarms/shelve", {"ids": [high["id"]]})[1]["items"][0]["ok"] is False, "how long?"


def test_pages_of_what_stands_and_of_history_leave_nothing_out(plant: Alarmed) -> None:
    plant.temperature(85)
    plant.until_listed("", 2)
    until(lambda: len(plant.alarms("state=history")["items"]) == 2, "both are stored")
    for state in ("active", "history"):
        first = plant.alarms(f"state={state}&limit=1")
        second = plant.alarms(f"state={state}&limit=1&after={first['next']}")
        assert {first["items"][0]["name"], second["items"][0]["name"]} == {"high", "low"}
        assert second["next"] is None
    for after in ("x", "AAAA", "WyJcdTAwMDAiXQ=="):
        assert plant.console.ask("GET", f"alarms?after={after}")[0] == 422
    assert plant.console.ask("GET", "alarms/x/journal")[0] == 404
    assert plant.console.ask("POST", "alarms/x/acknowledge", {})[0] == 404
    assert plant.console.ask("GET", "alarms/statistics?from=2026-01-01T00:00:00Z&to=2026-09-01T00:00:00Z")[0] == 422


def test_while_the_broker_is_away_the_database_says_what_stood(plant: Alarmed) -> None:
    plant.temperature(85)
    [high, _] = plant.until_listed("", 2)
    until(lambda: len(plant.alarms("state=history")["items"]) == 2, "both are stored")
    plant.broker.stop()
    until(lambda: plant.alarms()["missing"] == ["broker"], "it says so")
    found = plant.alarms()
    assert [(one["name"], one["state"]) for one in found["items"]] == [
        ("high", "unacknowledged"),
        ("low", "unacknowledged"),
    ]
    status, problem = plant.act(high, "acknowledge")
    assert (status, "nothing was sent" in problem["detail"]) == (503, True)
    plant.broker.start()
    until(lambda: not plant.alarms()["missing"], "it is back", 40)
    until(lambda: plant.act(high, "acknowledge")[0] == 200, "the gateway is back, too", 40)


def test_who_only_looks_acknowledges_nothing(tmp_path: Path, production: Production) -> None:
    viewer, operator = (add_key(production.owner, role.name, role) for role in (Role.viewer, Role.operator))
    with ended_with_block(console := Guarded(tmp_path, production.owner, mqtt_url=production.mqtt("console"))):
        console.until_serving()
        acknowledge = f"alarms/{identity('alarm/plant/plc/t/high', 1)}/acknowledge"
        assert Browser(console.web).ask("GET", "alarms").status == 401
        assert Browser(console.web, key=viewer).ask("GET", "alarms").status == 200
        assert Browser(console.web, key=viewer).ask("POST", acknowledge, {}).status == 403
        asker = Browser(console.web, key=operator)
        until(lambda: not asker.ask("GET", "alarms").json["missing"], "it hears the broker")
        answer = asker.ask("POST", acknowledge, {})
        assert (answer.status, "reached nobody" in answer.json["detail"]) == (504, True)
