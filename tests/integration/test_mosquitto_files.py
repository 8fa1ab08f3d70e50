"""What we ship for Mosquitto: the rules are those of EMQX, and a real one takes the files."""

import asyncio
from pathlib import Path

import pytest

from nexus import mqtt
from nexus.cli.credentials import check
from nexus.mqtt import Broker, Client, connect
from tests.deploy.stand_ins.broker import translated
from tests.parts import Mosquitto

DOCKER = Path(__file__).parents[2] / "infrastructure/docker"
USERS = ["gateway", "ingestion", "rules", "viewer", "operator", "console"]


def test_the_rules_are_those_of_emqx() -> None:
    shipped = (DOCKER / "mosquitto/acl").read_text().splitlines()
    rules = "\n".join(line for line in shipped if not line.startswith("#"))
    assert rules == translated((DOCKER / "emqx/acl.conf").read_text(), USERS).rstrip()


def test_mosquitto_takes_our_files_and_the_passwords_that_we_write(broker_folder: Path) -> None:
    folder = broker_folder / "shipped"
    folder.mkdir()
    folder.chmod(0o777)
    passwords = folder / "passwords"
    given = {f"MQTT_USER_{user}": f"a-long-secret-of-{user}" for user in USERS}
    check(given, development=False, users=passwords)
    assert passwords.stat().st_mode & 0o777 == 0o600
    passwords.chmod(0o644)  # a broker started by root becomes another user
    (folder / "acl").write_text((DOCKER / "mosquitto/acl").read_text())
    (folder / "acl").chmod(0o644)
    lines = (DOCKER / "mosquitto/mosquitto.conf").read_text().replace("listener 1883\n", "")
    lines = lines.replace("/etc/mosquitto/", f"{folder}/").replace("/var/lib/mosquitto/", f"{folder}/")
    broker = Mosquitto(broker_folder, lines).start()

    async def said(user: str, password: str, topic: str) -> int:
        where = Broker("127.0.0.1", broker.port, user=user, password=password)
        async with connect(where, Client("one")) as connection:
            return await (await connection.publish(topic, b"1"))

    try:
        assert asyncio.run(said("gateway", "a-long-secret-of-gateway", "dev/a")) < mqtt.REFUSED
        assert asyncio.run(said("viewer", "a-long-secret-of-viewer", "dev/a")) >= mqtt.REFUSED
        with pytest.raises(mqtt.MqttError, match=r"(?i)not authori[sz]ed"):
            asyncio.run(said("gateway", "another", "dev/a"))
    finally:
        broker.stop()
