"""Each user of the broker can do its own work and nothing else: the rules of EMQX, translated for Mosquitto."""

import asyncio
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus import mqtt
from nexus.mqtt import Broker, Client
from tests.deploy.stand_ins.broker import may, parsed
from tests.parts import Mosquitto, Nexus, until

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "infrastructure/docker/emqx/acl.conf").read_text()
_numbers = itertools.count()


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto()


@pytest.fixture(scope="module")
def emqx() -> dict[str, int]:
    """Ports by listener of an EMQX on this machine with our files, and the users above: NEXUS_TEST_EMQX=1883,1884."""
    if (ports := os.environ.get("NEXUS_TEST_EMQX")) is None:
        pytest.skip("NEXUS_TEST_EMQX names no EMQX's ports")
    return dict(zip(("default", "ingestion"), map(int, ports.split(",")), strict=True))


def allowed(port: int, user: str, *, publish: str = "", subscribe: str = "") -> bool:
    async def ask() -> bool:
        where = Broker("127.0.0.1", port, user, f"secret-{user}")
        async with mqtt.connect(where, Client(f"as-{next(_numbers)}"), lambda *_: None) as connection:
            if publish:
                return await (await connection.publish(publish, b"1")) < mqtt.REFUSED
            try:
                await connection.subscribe(subscribe)
            except mqtt.MqttError:
                return False
            return True

    return asyncio.run(ask())


NOT_AUTHORIZED = 0x87
GATEWAY = ["dev/a/b/t", "status/a", "answer/x", "audit/a/t", "alarm/a/t/high", "device/a", "completeness/a"]


def test_the_brokers_settings_leave_shared_subscriptions_to_ingestion_and_bound_everybody() -> None:
    text = (ROOT / "infrastructure/docker/emqx/emqx.conf").read_text()
    everybody, ingestion = re.split(r"^zones\.ingestion", text, maxsplit=1, flags=re.MULTILINE)
    ingestion = ingestion.partition("\n}\n")[0]
    for section, is_shared in ((everybody, "false"), (ingestion, "true")):
        assert re.findall(r"shared_subscription = (\w+)", section) == [is_shared]
        [most] = re.findall(r"max_mqueue_len = (\w+)", section)
        assert int(most) <= 200_000
    assert "clientid_override" in everybody
    assert "listeners.tcp.ingestion" in text
    # One refused topic must not end the connection, on which all others flow.
    assert re.findall(r"deny_action = (\w+)", text) == ["ignore"]


PUBLISHING = [
    (
        "gateway",
        [*GATEWAY, "gateway/g/gateway", "gateway/g/gateway/pod-1"],
        ["receipt/x", "cmd/a/t", "ack/a/t/high", "file/g/gateway", "gateway/g/gateway-press", "notify/andon", "other"],
    ),
    ("gateway-press", [*GATEWAY, "gateway/g/gateway-press"], ["gateway/g/gateway", "gateway/gateway-press"]),
    (
        "ingestion",
        ["receipt/x", "receipt-offer/ingestion"],
        ["dev/a/t", "status/a", "cmd/a/t", "alarm/a/t/high", "completeness/a", "other"],
    ),
    (
        "rules",
        ["dev/a/t", "alarm/a/t/high", "audit/a/t", "status/a", "device/a", "answer/x"],
        ["cmd/a/t", "ack/a/t/high", "file/g/gateway", "receipt/x", "gateway/g/rules", "other"],
    ),
    ("viewer", [], ["notify/andon", "dev/a/t", "cmd/a/t", "ack/a/t/high", "file/g/gateway", "receipt/x", "other"]),
    (
        "operator",
        ["cmd/a/t", "ack/a/t/high"],
        ["dev/a/t", "alarm/a/t/high", "status/a", "file/g/gateway", "answer/x", "receipt/x", "notify/andon", "other"],
    ),
    (
        "console",
        ["cmd/a/t", "ack/a/t/high", "file/g/gateway/pod-1", "dev/a/t", "notify/andon"],
        ["status/a", "device/a", "gateway/g/console", "completeness/a", "answer/x", "receipt/x", "other"],
    ),
]


def own_listener(user: str) -> str:
    return "ingestion" if user == "ingestion" else "default"


@pytest.mark.parametrize(("user", "right", "wrong"), PUBLISHING)
def test_what_each_may_and_may_not(broker: Mosquitto, user: str, right: list[str], wrong: list[str]) -> None:
    rules = parsed(RULES)
    for topic in [*right, *wrong]:
        assert may(rules, user, "publish", topic, own_listener(user)) == (topic in right), topic
        assert allowed(broker.port, user, publish=topic) == (topic in right), topic


@pytest.mark.parametrize(("user", "right", "wrong"), PUBLISHING)
def test_emqx_itself_decides_so(emqx: dict[str, int], user: str, right: list[str], wrong: list[str]) -> None:
    port = emqx[own_listener(user)]
    assert {topic: allowed(port, user, publish=topic) for topic in [*right, *wrong]} == {
        topic: topic in right for topic in [*right, *wrong]
    }


FILTERS = [
    ("gateway", "default", ["receipt/0f", "receipt-offer/+", "cmd/#", "gateway/g/+", "gateway/g/#", "gateway/#"], True),
    ("gateway", "default", ["file/g/gateway", "file/g/gateway/pod-1", "ack/#", "alarm/a/b/#"], True),
    (
        "gateway",
        "default",
        ["receipt/+", "receipt/#", "#", "+/#", "+/+", "+/0f", "dev/#", "audit/#", "device/#"],
        False,
    ),
    ("gateway", "default", ["$share/x/cmd/#", "$share/x/receipt/#", "$SYS/#"], False),
    ("ingestion", "ingestion", ["$share/ingestion/dev/#", "$share/ingestion/audit/#"], True),
    ("ingestion", "ingestion", ["$share/ingestion/completeness/#", "$share/ingestion/alarm/#"], True),
    ("ingestion", "ingestion", ["receipt/+", "cmd/#", "answer/#", "#"], False),
    # Where shared subscriptions are allowed, only ingestion gets anything; and it gets nothing elsewhere.
    ("viewer", "ingestion", ["dev/#", "$share/ingestion/dev/#"], False),
    ("viewer", "default", ["$share/ingestion/dev/#", "$share/other/status/#"], False),
    ("gateway", "ingestion", ["cmd/#", "receipt/0f"], False),
    ("ingestion", "default", ["$share/ingestion/dev/#", "dev/#"], False),
    ("rules", "default", ["dev/a/t", "dev/a", "ack/a/#", "device/a", "receipt/0f", "receipt-offer/+"], True),
    ("rules", "default", ["receipt/+", "receipt/#", "cmd/#", "file/#", "audit/#", "answer/#", "gateway/#", "#"], False),
    ("rules", "ingestion", ["dev/a/t", "receipt/0f"], False),
    ("viewer", "default", ["dev/#", "dev/a/#", "status/#", "gateway/#", "notify/#"], True),
    ("operator", "default", ["answer/#", "dev/#", "notify/andon"], True),
    ("viewer", "default", ["receipt/0f", "cmd/#", "audit/#", "answer/#", "#"], False),
    ("viewer", "default", ["device/#", "completeness/#", "file/#", "ack/#"], False),
    ("console", "default", ["answer/#", "dev/#", "alarm/#", "status/#", "gateway/#", "device/#", "receipt/0f"], True),
    (
        "console",
        "default",
        ["receipt/+", "receipt/#", "cmd/#", "ack/#", "file/#", "audit/#", "completeness/#", "notify/#", "#"],
        False,
    ),
]


@pytest.mark.parametrize(("user", "listener", "filters", "is_allowed"), FILTERS)
def test_which_filters_are_taken(user: str, listener: str, filters: list[str], is_allowed: bool) -> None:
    """Mosquitto cannot refuse a filter, so this asks the rules themselves."""
    rules = parsed(RULES)
    assert {name: may(rules, user, "subscribe", name, listener) for name in filters} == dict.fromkeys(
        filters, is_allowed
    )
    assert not may(rules, f"{user}x", "subscribe", filters[0], listener)


@pytest.mark.parametrize(("user", "listener", "filters", "is_allowed"), FILTERS)
def test_emqx_itself_takes_these_filters(
    emqx: dict[str, int], user: str, listener: str, filters: list[str], is_allowed: bool
) -> None:
    found = {name: allowed(emqx[listener], user, subscribe=name) for name in filters}
    assert found == dict.fromkeys(filters, is_allowed)


async def test_on_emqx_nobody_takes_anothers_session_and_a_refused_topic_ends_nothing(emqx: dict[str, int]) -> None:
    where = Broker("127.0.0.1", emqx["ingestion"], "ingestion", "secret-ingestion")
    name = f"ingestion-{os.getpid()}"
    async with mqtt.connect(where, Client(name, session_seconds=60), lambda *_: None) as ingestion:
        for user in ("viewer", "gateway"):
            thief = Broker("127.0.0.1", emqx["default"], user, f"secret-{user}")
            async with mqtt.connect(thief, Client(name, session_seconds=60), lambda *_: None) as other:
                assert not other.session_present
                assert await (await other.publish("other", b"1")) == NOT_AUTHORIZED
                assert await (await other.publish("receipt/x", b"1")) == NOT_AUTHORIZED
                if user == "gateway":
                    assert await (await other.publish("dev/a/t", b"1")) < mqtt.REFUSED
        assert await (await ingestion.publish("receipt/x", b"1")) < mqtt.REFUSED
    async with mqtt.connect(where, Client(name, session_seconds=1), lambda *_: None) as ingestion:
        assert ingestion.session_present


def test_what_each_may_and_may_not_hear(broker: Mosquitto) -> None:
    """Mosquitto acknowledges a subscription and holds back what it forbids: so the messages decide."""
    presence, alarm = "gateway/g/gateway", "alarm/a/t/x"
    state = {"dev/a/t", "status/a", presence, alarm}
    asked, receipts = ("cmd/a/t", "ack/a/t/x", "file/g/gateway"), ("receipt/x", "receipt-offer/x")
    numbered = ("dev/a/t", "audit/a/t", "completeness/a", alarm)
    everything = (*state, *asked, *numbered, *receipts, "answer/x", "device/a", "notify/andon", "other")
    hears = {
        "gateway": {presence, alarm, *asked, *receipts},
        "gateway-press": {presence, alarm, *asked, *receipts},
        "ingestion": {*numbered},
        "viewer": {"notify/andon", *state},
        "operator": {"answer/x", "notify/andon", *state},
        "console": {"answer/x", "device/a", "receipt/x", *state},
    }
    senders = {
        "gateway": (*state, *numbered, "answer/x", "device/a"),
        "ingestion": receipts,
        "console": (*asked, "notify/andon"),
    }

    async def heard(user: str) -> set[str]:
        found: set[str] = set()

        def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
            found.add(message.topic)
            connection.acknowledge(message.packet_id)

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
            async with asyncio.timeout(40):
                while not hears[user] <= found:
                    await asyncio.sleep(0.01)
            # What was on its way comes before this one's answer.
            await (await connection.publish("dev/last" if user.startswith("gateway") else "receipt/last", b"1"))
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
    nexus("ingest", mqtt_url=broker.url, database_url=database).until_ready()
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
    load = nexus("load", *arguments, mqtt_url=broker.url, receipts="ingestion")
    until(lambda: load.process.poll() is not None, "the load is through", 60)
    assert load.process.returncode == 0, load.log.read_text()
    verify = nexus("verify", str(tmp_path / "load.json"), database_url=database)
    until(lambda: verify.process.poll() is not None, "it is counted", 60)
    assert verify.process.returncode == 0, verify.log.read_text()


def test_tests_start_no_service_on_a_broker_that_takes_anybody(
    nexus: Callable[..., Nexus], shared_mosquitto: Mosquitto
) -> None:
    for command in ("gateway", "ingest", "load"):
        with pytest.raises(AssertionError, match="say why the broker of this test takes"):
            nexus(command, mqtt_url=shared_mosquitto.url)


def test_rules_that_are_not_understood_are_not_taken_for_translated() -> None:
    for rules in (
        "{allow, all}.",
        RULES.replace("{deny, all}.", ""),
        RULES.replace("${username}", '"} x'),
        '{allow, {ipaddr, "127.0.0.1"}, all, ["#"]}.\n{deny, all}.',
    ):
        with pytest.raises(AssertionError):
            parsed(rules)
