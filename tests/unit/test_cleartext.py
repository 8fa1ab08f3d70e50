"""What goes over a network in clear is said once at the start; what stays on this host, or is verified, is not."""

import pytest
import structlog

from nexus.mqtt import Broker, Tls
from nexus.process import cleartext


def said(broker: Broker, database_url: str | None = None) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        cleartext.warn(str(broker), database_url)
    return [entry["event"].split(" ")[0] for entry in logs if entry["log_level"] == "warning"]


HERE = Broker("127.0.0.1", 1883, "u", "p")


@pytest.mark.parametrize(
    ("broker", "database_url", "wanted"),
    [
        (HERE, None, []),
        (Broker("localhost", 1883), None, []),
        (Broker("::1", 1883), None, []),
        (Broker("emqx", 1883, "u", "p"), None, ["MQTT"]),
        (Broker("192.168.1.2", 1883), None, ["MQTT"]),
        (Broker("emqx", 8883, "u", "p", tls=Tls()), None, []),
        (HERE, "postgresql://u:p@127.0.0.1/x", []),
        (HERE, "postgresql://u@/x?host=/run/postgresql", []),
        (HERE, "postgresql://u:p@timescaledb/x", ["PostgreSQL's"]),
        (HERE, "postgresql://u:p@timescaledb/x?sslmode=require", ["PostgreSQL's"]),
        (HERE, "postgresql://u:p@timescaledb/x?sslmode=verify-full", []),
        (HERE, "host=127.0.0.1,other user=u", ["PostgreSQL's"]),
    ],
)
def test_what_is_in_clear_is_said(broker: Broker, database_url: str | None, wanted: list[str]) -> None:
    assert said(broker, database_url) == wanted


def test_libpqs_own_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert said(HERE, "postgresql://u:p@timescaledb/x") == []
