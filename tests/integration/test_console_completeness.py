"""Completeness in the console, from a gateway's counts and what is stored, with production's rights on every tier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.access.person import Role
from console.api.completeness import Hour, Hours
from tests.conftest import TIERS, Production
from tests.consoles import Browser, Console, add_key
from tests.parts import Nexus, free_port, until

Start = Callable[..., Nexus]


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_what_is_due_is_there_and_what_is_not_has_a_cause(nexus: Start, production: Production, tmp_path: Path) -> None:
    port = free_port()
    points = "[{table: holding, offset: 0, type: uint16, signal: {kind: counter}}]"
    (tmp_path / "plant.yaml").write_text(
        f"devices: [{{name: plc, protocol: modbus-tcp, port: {port}, unit: 1, points: {points}}}]"
    )
    tags = '[{name: count, address: "holding:40001:uint16"}]'
    (tmp_path / "devices.yaml").write_text(
        f"devices:\n  - {{name: plc, path: plant/plc, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, "
        f"interval: 100ms, timeout: 500ms, breaker: {{failures: 2, open_for: 1s}}, tags: {tags}}}\n"
    )
    simulator = nexus("simulate", str(tmp_path / "plant.yaml")).until_ready()
    nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
    keys = {"mqtt_url": production.broker.url, "counts_interval": "1s", "receipts": "ingestion"}
    gateway = nexus("gateway", "--devices", str(tmp_path / "devices.yaml"), **keys).until_ready()
    key = add_key(production.owner, "reader", Role.viewer)
    console = Console(tmp_path, production.owner, mqtt_url=production.mqtt("console")).until_serving()
    browser = Browser(console.web, key=key)

    described = {field.alias or name for name, field in Hour.model_fields.items()}

    def told() -> dict[str, Any]:
        items = browser.ask("GET", "completeness?device=plant/plc").json["items"]
        found: dict[str, Any] = {}
        Hours.model_validate({"items": items})
        assert all(item.keys() == described for item in items)
        for item in items:  # of two hours, if one begins meanwhile
            found |= {name: found.get(name, 0) + count for name, count in item.items() if isinstance(count, int)}
            found["causes"] = found.get("causes", set()) | {one["cause"] for one in item["causes"]}
        return found

    until(lambda: told().get("receipted", 0) > 20, "it is counted, and receipted", 60)
    simulator.stop()
    until(lambda: {"device away", "breaker open"} <= told()["causes"], "the gap has its causes", 60)
    assert gateway.stop() == 0

    def is_even() -> bool:
        found = told()
        return bool(found["sent"] - found["duplicate"] == found["stored"] + found["late"])

    until(is_even, "the sums come out", 60)
    found = told()
    assert found["due"] == found["read"] + found["missing"]
    assert found["causes"] - {"scan overran"} == {"device away", "breaker open"}  # a busy machine overruns
    assert browser.ask("GET", "completeness?device=plant").json["items"] == []
    assert browser.ask("GET", "completeness").json["items"]
    too_long = browser.ask("GET", "completeness?from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z")
    assert (too_long.status, "31 days" in too_long.json["detail"]) == (422, True)
    console.stop()
