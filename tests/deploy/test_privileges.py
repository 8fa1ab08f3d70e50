"""Each user of the broker can do its own work and nothing else: the rules of EMQX, translated for Mosquitto."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from nexus.runtime import mqtt
from nexus.runtime.broker import Broker, Client
from tests.deploy.stand_ins.broker import configured, translated
from tests.parts import Mosquitto, Nexus, until

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "infrastructure/docker/emqx/acl.conf").read_text()
USERS = "user_id,password,is_superuser\n" + "".join(
    f"{user},secret-{user},false\n" for user in ("gateway", "ingestion", "viewer", "operator")
)


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto], broker_folder: Path) -> Mosquitto:
    folder = broker_folder / "privileges"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    configured(folder, USERS, RULES, 0)
    return mosquitto(f"allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl")


def allowed(broker: Mosquitto, user: str, *, publish: str = "", subscribe: str = "") -> bool:
    async def ask() -> bool:
        where = Broker("127.0.0.1", broker.port, user, f"secret-{user}")
        async with mqtt.connect(where, Client(f"as-{user}"), lambda *_: None) as connection:
            if publish:
                return await (await connection.publish(publish, b"1")) < mqtt.REFUSED
            try:
                await connection.subscribe(subscribe)
            except mqtt.MqttError:
                return False
            return True

    return asyncio.run(ask())


def test_what_each_may_and_may_not(broker: Mosquitto) -> None:
    for user, may, may_not in (
        ("gateway", ["dev/a/b/t", "status/a", "gateway/g/m", "answer/x"], ["receipt/x", "cmd/a/t", "other"]),
        ("ingestion", ["receipt/x", "receipt-offer/ingestion"], ["dev/a/t", "status/a", "cmd/a/t", "other"]),
        ("viewer", [], ["dev/a/t", "cmd/a/t", "receipt/x", "other"]),
        ("operator", ["cmd/a/t"], ["dev/a/t", "status/a", "receipt/x", "other"]),
    ):
        assert [topic for topic in may if not allowed(broker, user, publish=topic)] == [], user
        assert [topic for topic in may_not if allowed(broker, user, publish=topic)] == [], user


def test_what_each_may_and_may_not_hear(broker: Mosquitto) -> None:
    """Mosquitto acknowledges a subscription and holds back what it forbids: so the messages decide."""
    everything = ("dev/a/t", "status/a", "gateway/g/m", "cmd/a/t", "answer/x", "receipt/x", "receipt-offer/x", "other")
    hears = {
        "gateway": {"gateway/g/m", "cmd/a/t", "receipt/x", "receipt-offer/x"},
        "ingestion": {"dev/a/t"},
        "viewer": {"dev/a/t", "status/a", "gateway/g/m"},
        "operator": {"answer/x", "dev/a/t", "status/a", "gateway/g/m"},
    }
    senders = {
        "gateway": ("dev/a/t", "status/a", "gateway/g/m", "answer/x"),
        "ingestion": ("receipt/x", "receipt-offer/x"),
        "operator": ("cmd/a/t",),
    }

    async def heard(user: str) -> set[str]:
        found: set[str] = set()

        def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
            found.add(message.topic)
            connection.acknowledge(message.mid)

        where = Broker("127.0.0.1", broker.port, user, f"secret-{user}")
        async with mqtt.connect(where, Client(f"hears-{user}"), keep) as connection:
            for topic in everything:
                try:
                    await connection.subscribe(topic)
                except mqtt.MqttError:
                    assert topic not in hears[user]
            for sender, topics in senders.items():
                as_sender = Broker("127.0.0.1", broker.port, sender, f"secret-{sender}")
                async with mqtt.connect(as_sender, Client(f"sends-{sender}"), lambda *_: None) as other:
                    for topic in topics:
                        await (await other.publish(topic, b"1"))
            async with asyncio.timeout(10):
                while not hears[user] <= found:
                    await asyncio.sleep(0.01)
            # What was on its way comes before this one's answer.
            await (await connection.publish("dev/last" if user == "gateway" else "receipt/last", b"1"))
        return found

    for user, wanted in hears.items():
        assert asyncio.run(heard(user)) == wanted, user


def test_a_stranger_gets_nothing(broker: Mosquitto) -> None:
    for user, password in ((None, None), ("stranger", "x"), ("gateway", "wrong")):

        async def come(user: str | None = user, password: str | None = password) -> None:
            async with mqtt.connect(Broker("127.0.0.1", broker.port, user, password), Client("x"), lambda *_: None):
                pass

        with pytest.raises(mqtt.MqttError):
            asyncio.run(come())


def test_the_rules_are_enough_for_the_services(
    broker: Mosquitto, nexus: Callable[..., Nexus], database: str, tmp_path: Path
) -> None:
    """`nexus load` takes the gateway's way, with receipts, and `nexus verify` needs to read: all of it is allowed."""
    url = f"127.0.0.1:{broker.port}"
    nexus("ingest", mqtt_url=f"mqtt://ingestion:secret-ingestion@{url}", database_url=database).until_ready()
    arguments = [
        "--devices",
        "2",
        "--tags",
        "5",
        "--rate",
        "1000",
        "--seconds",
        "1",
        "--out",
        str(tmp_path / "load.json"),
    ]
    load = nexus("load", *arguments, mqtt_url=f"mqtt://gateway:secret-gateway@{url}", receipts="ingestion")
    until(lambda: load.process.poll() is not None, "the load is through", 60)
    assert load.process.returncode == 0, load.log.read_text()
    as_reader = make_conninfo(database, options="-crole=nexus_reader")
    verify = nexus("verify", str(tmp_path / "load.json"), database_url=as_reader)
    until(lambda: verify.process.poll() is not None, "it is counted", 60)
    assert verify.process.returncode == 0, verify.log.read_text()


def test_rules_that_are_not_understood_are_not_taken_for_translated() -> None:
    for rules in (
        "{allow, all}.",
        RULES.replace("{deny, all}.", ""),
        '{allow, {ipaddr, "127.0.0.1"}, all, ["#"]}.\n{deny, all}.',
    ):
        with pytest.raises(AssertionError):
            translated(rules)
