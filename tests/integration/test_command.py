"""The `nexus` command: exit codes, errors, and clean ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forked
from tests.parts import Mosquitto, Nexus, until

Start = Callable[..., Nexus]
DEVICES = """
devices:
  - {name: plc, protocol: modbus-tcp, host: 127.0.0.1, port: 1, tags: [{name: t, address: "coil:1"}]}
"""
SIMULATION = """
devices:
  - name: plc
    protocol: modbus-tcp
    port: 0
    points: [{table: coil, offset: 0, type: bool, signal: {kind: square}}]
"""


def run_nexus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    settings = {f"NEXUS_{name.upper()}": value for name, value in environment.items()}
    return forked.run(arguments, {**plain, **settings}, seconds=30)


@pytest.fixture
def devices(tmp_path: Path) -> str:
    file = tmp_path / "devices.yaml"
    file.write_text(DEVICES)
    return str(file)


def test_check_says_what_is_there(devices: str) -> None:
    done = run_nexus("check", devices)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "plc: modbus-tcp, 1 tag on dev/plc\nok: 1 device, 1 tag\n"


def test_check_shows_all_faults_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DEVICES.replace("coil:1", "coyl:1"))
    (tmp_path / "b.yaml").write_text("devices: [}")
    done = run_nexus("check", str(tmp_path))
    assert done.returncode == 2
    assert [line.split(": ")[0].rpartition("/")[2] for line in done.stderr.splitlines()] == ["a.yaml:3", "b.yaml:1"]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["check"], ["db"]])
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    assert run_nexus(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["gateway"], {}, "no device file: give --devices PATH, or set NEXUS_DEVICES"),
        (["gateway", "--devices", "/no/such"], {}, "/no/such: cannot be read"),
        (["gateway", "--devices", "{devices}"], {"mqtt_url": "http://x"}, "NEXUS_MQTT_URL: write it like"),
        (
            ["gateway", "--devices", "{devices}"],
            {"mqtt_url": "mqtt://u:change-me@x"},
            "the password is still 'change-me'",
        ),
        (["gateway", "--devices", "{devices}"], {"mqtt_ca_file": "/x"}, "need mqtts://"),
        (["gateway", "--devices", "{devices}"], {"health_port": "99999"}, "NEXUS_HEALTH_PORT"),
        (["gateway", "--devices", "{devices}"], {"group": "a/b"}, "NEXUS_GROUP: must be written like line-1: not"),
        (["gateway", "--devices", "{devices}"], {"lease": "1"}, "NEXUS_LEASE: '1' is not a duration"),
        (["gateway", "--devices", "{devices}"], {"api_port": "x"}, "NEXUS_API_PORT: must be a whole number"),
        (["gateway", "--devices", "{devices}"], {"device_prefix": "NEXUS_MQ"}, "NEXUS_DEVICE_PREFIX: write the"),
        (["ingest"], {"batch_points": "30000"}, "must be at least 90000, which is"),
        (["ingest"], {"batch_points": "many"}, "NEXUS_BATCH_POINTS"),
        (["ingest"], {"database_url": "postgresql://u:change-me@h/d"}, "the password is still 'change-me'"),
        (["ingest"], {"database_url": "mysql:// x"}, "NEXUS_DATABASE_URL"),
        (["db", "migrate"], {"retention": "30 weeks"}, "NEXUS_RETENTION: write an age in whole days"),
        (["db", "migrate"], {"retention": "3d"}, "NEXUS_RETENTION (3d) must be longer than NEXUS_COMPRESS_AFTER"),
        (["simulate", "/no/such"], {}, "/no/such: cannot be read"),
    ],
)
def test_bad_configuration_exits_with_2_and_names_it(
    devices: str, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = run_nexus(*(argument.format(devices=devices) for argument in arguments), **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["simulate", "import"])
def test_a_tool_without_its_file_says_so_in_words(command: str) -> None:
    assert run_nexus(command, "/no/such").stderr == "/no/such: cannot be read: no such file or directory\n"


def test_a_database_that_does_not_answer_is_no_fault_of_the_configuration() -> None:
    done = run_nexus("db", "status", database_url="postgresql://127.0.0.1:1/x")
    assert (done.returncode, done.stderr.count("connection failed")) == (1, 0)
    assert done.stderr.startswith("NEXUS_DATABASE_URL: no connection: connection to server at")


def test_a_taken_port_is_named(devices: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_nexus("gateway", "--devices", devices, health_host="127.0.0.1", health_port=port)
    assert done.returncode == 2
    assert f"NEXUS_HEALTH_PORT: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "set NEXUS_HEALTH_PORT to another port, or to 0 for any" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_service_stops_cleanly_on_a_signal(
    nexus: Start, devices: str, tmp_path: Path, mosquitto: Callable[..., Mosquitto], database: str, number: int
) -> None:
    (tmp_path / "plant.yaml").write_text(SIMULATION)
    url = mosquitto().url
    gateway = nexus("gateway", "--devices", devices, mqtt_url=url).until_ready()
    ingester = nexus("ingest", mqtt_url=url, database_url=database).until_ready()
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    simulator.until_ready()
    assert [one.stop(number) for one in (gateway, ingester, simulator)] == [0, 0, 0]


@pytest.mark.parametrize("service", ["gateway", "ingest"])
def test_services_stop_cleanly_when_nothing_is_there(nexus: Start, devices: str, service: str) -> None:
    arguments = ["gateway", "--devices", devices] if service == "gateway" else ["ingest"]
    one = nexus(*arguments, mqtt_url="mqtt://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/x")
    until(lambda: one.get("/health")[0] == 200, "it is alive")
    status, body = one.get("/ready")
    assert status == 503
    assert "waiting_for" in body
    assert one.stop() == 0


def test_health_tells_whether_the_service_lives(nexus: Start, devices: str) -> None:
    gateway = nexus("gateway", "--devices", devices, mqtt_url="mqtt://127.0.0.1:1")
    until(lambda: gateway.get("/health")[0] == 200, "it is alive")
    assert run_nexus("health", health_port=str(gateway.port)).returncode == 0
    assert gateway.stop() == 0
    done = run_nexus("health", health_port=str(gateway.port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"no answer on port {gateway.port} (Connection refused): is the service running, with this NEXUS_HEALTH_PORT?\n"
    )


def test_metrics_are_served(nexus: Start, devices: str, mosquitto: Callable[..., Mosquitto]) -> None:
    gateway = nexus("gateway", "--devices", devices, mqtt_url=mosquitto().url).until_ready()
    until(lambda: gateway.metric("nexus_gateway_device_failures_total") >= 1, "the failure is counted")
    assert gateway.metric("nexus_gateway_devices") == 1
    assert gateway.metric("nexus_gateway_broker_connected") == 1


IN_A_THREAD = """
from threading import Thread
from nexus.process import log
log.configure("gateway", "info", "json")
thread = Thread(target=lambda: log.get("spool").info("from a thread"))
thread.start()
thread.join()
"""


def test_lines_of_threads_name_the_service_too() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_THREAD], capture_output=True, text=True, check=True, timeout=60)
    line = json.loads(done.stderr)
    assert (line["service"], line["part"], line["event"]) == ("gateway", "spool", "from a thread")
