"""Hostile and merely wrong device files: each is refused by name, and none of them stops what runs.

`files/` has a file for each case, and `cases.yaml` what must be said of it.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from gateway.config import device_files
from gateway.config import devices as config
from nexus.process.errors import ConfigError
from tests.asker import Asker
from tests.integration.test_gateway import Plant
from tests.parts import Mosquitto, Nexus, until

FILES = Path(__file__).parent / "files"
CASES: dict[str, str] = yaml.safe_load((FILES / "cases.yaml").read_text(encoding="utf-8"))
SECRET = "hunter2-of-the-plant"
ENVIRONMENT = {"DEVICE_SECRET": SECRET, "DEVICE_HOST": "127.0.0.1", "NEXUS_MQTT_URL": f"mqtt://u:{SECRET}@127.0.0.1"}

Start = Callable[..., Nexus]


def test_each_file_has_its_case() -> None:
    assert {file.stem for file in FILES.glob("*.yaml")} - {"cases"} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_each_is_refused_with_its_place(name: str) -> None:
    said, began = CASES[name], time.process_time()
    try:
        config.load(FILES / f"{name}.yaml", ENVIRONMENT)
        found = "ok"
    except ConfigError as error:
        found = str(error)
    assert said in found
    assert time.process_time() - began < 5
    assert found == "ok" or found.startswith(str(FILES / f"{name}.yaml"))
    for never in (SECRET, "fault of the program", "Input should", "valid dictionary", "String should"):
        assert never not in found
    assert len(found) < 100_000


CHECK_ALL = """
import json, resource, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from nexus.cli import main
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (90, 90))
found = {}
for file in sys.argv[1:]:
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            main(["check", file])
        except SystemExit as end:
            found[file] = [end.code, out.getvalue()]
print(json.dumps(found))
"""


def test_the_command_says_it_in_bounded_memory() -> None:
    files = [str(FILES / f"{name}.yaml") for name in CASES]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", CHECK_ALL, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for file, (code, text) in json.loads(done.stdout).items():
        said = CASES[Path(file).stem]
        assert (code, said in text) == (0 if said == "ok" else 2, True), (file, code, text[:500])
        assert "Traceback" not in text


def _strange(folder: Path) -> None:
    """What is no file, or cannot be read."""
    os.mkfifo(folder / "pipe.yaml")
    (folder / "device.yaml").symlink_to("/dev/zero")
    (folder / "dangling.yaml").symlink_to(folder / "nothing")
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    (folder / "folder.yaml").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket.yaml"))


STRANGE = {
    "pipe.yaml": "is not an ordinary file",
    "device.yaml": "is not an ordinary file",
    "dangling.yaml": "which is not there",
    "loop.yaml": "cannot be read",
    "folder.yaml": "is not an ordinary file",
    "socket.yaml": "is not an ordinary file",
}


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    _strange(tmp_path)
    shutil.copy(FILES / "json.yaml", tmp_path)
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path)
    for name, said in STRANGE.items():
        assert any(name in line and said in line for line in str(caught.value).splitlines()), name


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    folder.mkdir(mode=0)
    with pytest.raises(ConfigError, match="change its owner or mode"):
        config.load(folder)


def test_a_running_gateway_goes_on(nexus: Start, tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    plant, broker = Plant(tmp_path), mosquitto()
    plant.device("a", 1)
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
    process = gateway.process.pid
    wrong = [name for name, said in CASES.items() if said != "ok" and not name.startswith("wide_")]
    rounds = [wrong[at : at + 50] for at in range(0, len(wrong), 50)]

    def problems() -> str:
        return "\n".join(json.loads(gateway.get("/health")[1] or '{"problems": []}')["problems"])

    def said(names: list[str]) -> bool:
        shown = problems()
        return all(name in shown for name in names)

    with Asker(broker.mqtt("viewer"), "dev/#") as asker:
        for names in rounds:
            for name in names:
                shutil.copy(FILES / f"{name}.yaml", plant.devices / f"{name}.yaml")
            until(partial(said, [f"/{name}.yaml" for name in names]), f"{names} are said", 60)
            for name in names:
                (plant.devices / f"{name}.yaml").unlink()
        _strange(plant.devices)
        until(partial(said, list(STRANGE)), "strange ones are said", 60)
        shutil.move(plant.devices, plant.devices.with_name("elsewhere"))
        until(lambda: "no such file" in problems(), "the folder that is gone is said", 60)
        plant.devices.mkdir()
        plant.device("a", 1)
        until(lambda: gateway.metric("nexus_gateway_config_error") == 0, "the good ones are taken", 60)
        before = len(asker.values("dev/a/count"))
        until(lambda: len(asker.values("dev/a/count")) > before + 3, "it is polled on")
        counts = asker.values("dev/a/count")
        assert counts == list(range(counts[0], counts[0] + len(counts))), "the polling was disturbed"
    assert gateway.process.pid == process
    assert gateway.metric("nexus_handler_faults_total") == 0
    assert SECRET not in gateway.log.read_text()
    assert gateway.stop() == 0


def test_a_start_beside_broken_files_polls_with_the_last_good_ones(
    nexus: Start, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant, broker = Plant(tmp_path), mosquitto()
    plant.device("a", 1)
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
    assert gateway.stop() == 0
    shutil.copy(FILES / "template_not_rendered.yaml", plant.devices)

    gateway.restart()
    gateway.until_ready()
    until(lambda: gateway.metric("nexus_gateway_readings_total") > 3, "the last good ones are polled")
    assert gateway.metric("nexus_gateway_config_last_good") == 1
    assert gateway.metric("nexus_gateway_config_error") == 1
    problems = json.loads(gateway.get("/health")[1])["problems"]
    assert problems[0] == "the device files are wrong: polling the last good ones"
    assert "template_not_rendered.yaml:5" in problems[1]
    assert [one["level"] for one in gateway.events() if "polling the last good ones" in one["event"]] == ["error"]

    (plant.devices / "template_not_rendered.yaml").unlink()
    plant.device("a", 2)
    plant.device("b", 1)
    until(lambda: gateway.metric("nexus_gateway_devices") == 2, "the repaired files are taken")
    assert gateway.metric("nexus_gateway_config_last_good") == 0
    assert json.loads(gateway.get("/health")[1])["problems"] == []
    assert gateway.stop() == 0

    # What was taken by reload is what is kept.
    shutil.rmtree(plant.devices)
    gateway.restart()
    gateway.until_ready()
    assert gateway.metric("nexus_gateway_devices") == 2
    assert gateway.stop() == 0


def test_without_good_ones_a_start_is_refused(nexus: Start, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    file = FILES / "template_not_rendered.yaml"
    device_files.place(tmp_path / "spool", file).write_text('{"x": 5}')  # a copy that is none
    gateway = nexus("gateway", "--devices", str(file))
    assert gateway.process.wait(20) == 2
    assert "template_not_rendered.yaml:5: " in gateway.log.read_text()
    assert "Traceback" not in gateway.log.read_text()


WHOLE = """devices:
  - name: press
    protocol: opcua
    endpoint: opc.tcp://192.168.1.30:4840
    security: {policy: Basic256Sha256, mode: SignAndEncrypt}
    username: operator
    password: ${DEVICE_SECRET}
    sampling: 100ms
    breaker: {failures: 5, open_for: 5s, max_open_for: 2m}
    tags: [{name: force, address: "ns=2;s=Press.Force", unit: kN, deadband: 0.5%, max_silence: 1m}]
  - {name: filler, protocol: s7, host: 192.168.1.40, rack: 0, slot: 1, tags: [{name: level, address: "DB1.DBD0:REAL"}]}
  - name: rtu
    protocol: modbus-rtu
    serial: /dev/ttyS0
    unit: 3
    interval: 10s
    tags: [{name: a, address: "holding:40020.3:bool"}, {name: b, address: "holding:40030:int16", scale: 0.1, writable: true}]
"""
ODD = [
    *(
        "~",
        "true",
        "5",
        "-5",
        "1e999",
        ".nan",
        "[]",
        "{}",
        "[1]",
        "{a: b}",
        '"\\0"',
        '"${DEVICE_SECRET}"',
        '"${NEXUS_X}"',
    ),
    *(
        "&a [1]",
        "*a",
        "!!int x",
        "1e-320",
        "9" * 40,
        '""',
        "٣",
        "a/b",
        '"ns=1;i=99999999999"',
        '"ns=99999;s=x"',
        '"g=xx"',
    ),
    *(
        '"b=$$"',
        '"DB0.DBD0:REAL"',
        '"DB1.DBX0.9:BOOL"',
        '"DB1:0:STRING(999999999999)"',
        '"holding:²:int16"',
        '"coil:99999999"',
    ),
    *('"opc.tcp://"', '"opc.tcp://[::1]:x"', "99999d", "0ms", '"1e5%"'),
]


@pytest.mark.parametrize("seed", range(4))
def test_variants_are_right_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    places = list(re.finditer(r"\w+: ([^\n,{}\[\]]+|\{[^}]*\}|\[[^\]]*\])", WHOLE))
    for _ in range(400):
        text = WHOLE
        for place in sorted(chance.sample(places, chance.randint(1, 3)), key=lambda match: -match.start()):
            text = text[: place.start(1)] + chance.choice(ODD) + text[place.end(1) :]
        data = bytearray(text.encode())
        for _ in range(chance.choice((0, 0, 1, 3))):
            data[chance.randrange(len(data))] = chance.choice(b"{}[]:,&*!|>'\"%@`#?-\n\t $\x00\xff")
        said = ""
        try:
            config.build({Path("plant.yaml"): bytes(data)}, Path("plant.yaml"), ENVIRONMENT)
        except ConfigError as error:
            said = str(error)
        for never in (SECRET, "fault of the program", "Input should", "the wrong form"):
            assert never not in said, (text, said)
