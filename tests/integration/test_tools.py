"""The tools for the site, as commands against simulated devices."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import devices as config
from gateway.drivers.driver import Tag
from gateway.drivers.modbus.address import parse
from gateway.tools.imported import imported
from gateway.tools.probe import fits
from nexus.process.errors import ConfigError
from tests import forked
from tests.parts import Nexus, free_port, until

PLANT = """
devices:
  - {name: plc, protocol: modbus-tcp, port: %(modbus)d, points: [
      {table: holding, offset: 0, type: float32, signal: {kind: constant, value: 229.04}},
      {table: holding, offset: 2, type: int16, signal: {kind: constant, value: 5}},
      {table: holding, offset: 3, type: uint16, signal: {kind: constant, value: 0}}]}
  - {name: press, protocol: opcua, port: %(opcua)d, secure: true, points: [{node: Press.Force, signal: {kind: constant, value: 84.5}}]}
  - {name: filler, protocol: s7, port: %(s7)d, points: [{area: DB1, offset: 0, type: REAL, signal: {kind: constant, value: 7.5}}]}
"""
DEVICES = """
devices:
  - {name: plc, protocol: modbus-tcp, host: 127.0.0.1, port: %(modbus)d, tags: [
      {name: voltage, address: "holding:40001:float32", unit: V},
      {name: setpoint, address: "holding:40003:int16", scale: 0.1, writable: true, min: 0, max: 80}]}
  - {name: press, protocol: opcua, endpoint: "opc.tcp://127.0.0.1:%(opcua)d", security: {policy: Basic256Sha256}, tags: [{name: force, address: "ns=2;s=Press.Force"}]}
  - {name: filler, protocol: s7, host: 127.0.0.1, port: %(s7)d, tags: [{name: level, address: "DB1.DBD0:REAL"}]}
"""

Tool = Callable[..., tuple[int, str]]


@pytest.fixture
def ports() -> dict[str, int]:
    return {name: free_port() for name in ("modbus", "opcua", "s7")}


@pytest.fixture
def tool(tmp_path: Path, nexus: Callable[..., Nexus], ports: dict[str, int]) -> Tool:
    (tmp_path / "plant.yaml").write_text(PLANT % ports)
    (tmp_path / "devices.yaml").write_text(DEVICES % ports)
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")

    def run(*arguments: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "NEXUS_DEVICES": str(tmp_path / "devices.yaml"),
            "NEXUS_PKI_DIR": str(tmp_path / "pki"),
        }
        done = forked.run(arguments, environment)
        return done.returncode, done.stdout + done.stderr

    return run


def test_read_write_and_plan(tool: Tool) -> None:
    code, text = tool("read", "plc")
    assert code == 0
    assert re.search(r"voltage +229\.0399\d* +V +good", text)
    assert re.search(r"setpoint +0\.5 +good", text)
    assert re.search(r"level +7\.5 +good", tool("read", "filler", "level")[1])
    code, text = tool("write", "plc", "setpoint", "12.5")
    assert code == 0
    assert re.search(r"setpoint +12\.5 +good", text)
    assert re.search(r"setpoint +12\.5", tool("read", "plc", "setpoint")[1])
    for arguments, said in (
        (("write", "plc", "setpoint", "81"), "81 is outside the limits of tag setpoint: 0 to 80"),
        (("write", "plc", "voltage", "1"), "tag voltage is not marked `writable: true`"),
    ):
        code, text = tool(*arguments)
        assert code == 1
        assert said in text
    code, text = tool("read", "pcl")
    assert code == 2
    assert "there is no device 'pcl'; known: plc, press, filler" in text
    code, text = tool("plan", "plc", "--measure")
    assert code == 0
    assert "unit 1 holding 0..2" in text
    assert "of the interval" in text


def test_all_devices_are_read_at_once(tool: Tool, ports: dict[str, int], tmp_path: Path) -> None:
    plant = DEVICES.replace("{policy: Basic256Sha256}", "{policy: None}")
    (tmp_path / "devices.yaml").write_text(plant % ports)
    code, text = tool("read", "--all")
    assert code == 0, text
    assert re.search(r"^device +tag +value +unit +quality +time", text)
    for row in (r"plc +voltage +229\.0399\d* +V +good", r"plc +setpoint +0\.5 +good", r"press +force +84\.5 +good"):
        assert re.search(f"^{row}", text, re.MULTILINE), text
    assert re.search(r"^filler +level +7\.5 +good", text, re.MULTILINE)
    # One that is lost, and one with a bad tag, cost the others nothing.
    lost = f"  - {{name: lost, protocol: s7, host: 127.0.0.1, port: {free_port()}, tags: [{{name: a, address: MW0:INT}}]}}\n"
    (tmp_path / "devices.yaml").write_text(plant % ports + lost)
    code, text = tool("read", "--all")
    assert code == 1
    assert re.search(r"^lost +lost +no connection to .* refused", text, re.MULTILINE)
    assert re.search(r"^filler +level +7\.5 +good", text, re.MULTILINE)
    bad = plant.replace("holding:40003:int16", "holding:40900:int16")
    (tmp_path / "devices.yaml").write_text(bad % ports)
    code, text = tool("read", "--all")
    assert code == 1
    assert re.search(r"^plc +setpoint +bad .* illegal address", text, re.MULTILINE)
    for arguments in (("read",), ("read", "plc", "--all")):
        code, text = tool(*arguments)
        assert (code, "name a device, or use --all" in text) == (2, True)


def test_tags_go_to_a_spreadsheet_and_back(tool: Tool, tmp_path: Path) -> None:
    before = config.load(tmp_path / "devices.yaml")
    code, text = tool("export", "--separator", ";", "--encoding", "cp1252", "--out", str(tmp_path / "tags.csv"))
    assert (code, text) == (0, "")
    code, text = tool("import", str(tmp_path / "tags.csv"))
    assert code == 0
    (tmp_path / "back.yaml").write_text(text)
    assert config.load(tmp_path / "back.yaml") == before
    code, text = tool("export", str(tmp_path / "devices.yaml"))
    assert (code, text.splitlines()[0][:26]) == (0, "\ufeffdevice,name,address,unit,")
    code, text = tool("export", "--out", str(tmp_path))
    assert (code, "cannot be written" in text) == (2, True)


def test_probe_finds_type_and_order(tool: Tool, ports: dict[str, int]) -> None:
    code, text = tool("probe", "127.0.0.1", "holding:40001", "--port", str(ports["modbus"]), "--expect", "229.0")
    assert code == 0
    assert 'fits: - {name: …, address: "holding:40001:float32"}' in text
    assert "229.04 <==" in text
    # One off, as it happens: the neighbour is found too.
    assert (
        'address: "holding:40001:float32"'
        in tool("probe", "127.0.0.1", "holding:40002", "--port", str(ports["modbus"]), "--expect", "229")[1]
    )
    assert tool("probe", "127.0.0.1", "holding:40100", "--port", str(ports["modbus"]))[0] == 1


@pytest.mark.parametrize(
    ("words", "expected", "type_", "orders", "scale"),
    [
        ((0x4365, 0x0A3D), 229.04, "float32", ("big", "big"), 1),
        ((0x0A3D, 0x4365), 229.04, "float32", ("little", "big"), 1),
        ((0x6543, 0x3D0A), 229.04, "float32", ("big", "little"), 1),
        ((0x3D0A, 0x6543), 229.04, "float32", ("little", "little"), 1),
        ((2290, 0xFFFF), 229.0, "int16", ("big", "big"), 0.1),
    ],
)
def test_every_order_is_told_apart(
    words: tuple[int, int], expected: float, type_: str, orders: tuple[Any, ...], scale: float
) -> None:
    first, *_ = fits(dict(enumerate(words)), parse("holding:0:uint16", "zero"), expected)
    assert (first.type, (first.word_order, first.byte_order), first.scale) == (type_, orders, scale)


def test_a_server_is_browsed_trusted_and_read(tool: Tool, ports: dict[str, int], tmp_path: Path) -> None:
    endpoint = f"opc.tcp://127.0.0.1:{ports['opcua']}"
    code, text = tool("browse", endpoint)
    assert code == 0
    (tmp_path / "browsed.yaml").write_text(text)
    [found] = config.load(tmp_path / "browsed.yaml")
    address: Any = found.device.tags[0].address
    assert len(found.device.tags) == 1
    assert address.uri.startswith("urn:")
    assert address.node == "s=Press.Force"
    code, text = tool("read", "press")
    assert code == 1
    assert "we do not trust the server's certificate" in text
    code, text = tool("opcua", "trust", endpoint)
    assert code == 0
    fingerprint = re.findall(r"--fingerprint (\S+)", text)[0]
    assert tool("opcua", "trust", endpoint, "--fingerprint", "00" * 32)[0] == 1
    code, text = tool("opcua", "trust", endpoint, "--fingerprint", fingerprint)
    assert code == 0
    assert "trusted from now on" in text
    code, text = tool("read", "press")
    assert code == 0
    assert re.search(r"force +84\.5 +good", text)
    # With security and a login, what is printed connects in the same way.
    (tmp_path / "device-secrets").mkdir()
    (tmp_path / "device-secrets/password").write_text("x")
    secure = (
        "--policy",
        "Basic256Sha256",
        "--mode",
        "Sign",
        "--username",
        "a: b",
        "--password-file",
        str(tmp_path / "device-secrets/password"),
    )
    code, text = tool("browse", endpoint, *secure)
    assert code == 0
    (tmp_path / "browsed.yaml").write_text(text)
    settings: Any = config.load(tmp_path / "browsed.yaml")[0].device.settings
    assert (settings.security.policy, settings.security.mode) == ("Basic256Sha256", "Sign")
    assert (settings.username, settings.password_file) == ("a: b", tmp_path / "device-secrets/password")
    code, text = tool("opcua", "cert", "--out", str(tmp_path / "own.der"))
    assert code == 0
    assert "URI          urn:" in text
    assert (tmp_path / "own.der").stat().st_size > 500


KEPWARE = """Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,Scaled Low,Scaled High,Eng Units,Description
Voltage,400001,Float,1,RO,1000,,,,,,V,"a, b"
Alarm 3,400020.3,Boolean,1,RO,100,,,,,,,
Running,000001,Boolean,1,RO,100,,,,,,,
Level,300010,Word,1,R/W,500,Linear,0,27648,0,100,%,
Name,400100.16H,String,1,RO,1000,,,,,,,
Flow,400200,Word,1,R/W,500,Square Root,0,27648,0,100,m³/h,
"""
GENERIC = """name,address,type,unit,scale
temperature,holding:40001,float32,°C,
speed,holding:40005,int16,rpm,0.1
"""


def test_csv_files_become_device_files(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "kepware.csv").write_text(KEPWARE)
    code, text = tool("import", str(tmp_path / "kepware.csv"), "--name", "plc7", "--host", "10.0.0.7")
    assert code == 0
    (tmp_path / "out.yaml").write_text("\n".join(line for line in text.splitlines() if "kepware.csv:" not in line))
    [one] = config.load(tmp_path / "out.yaml")
    tags: dict[str, Tag[Any]] = {tag.name: tag for tag in one.device.tags}
    assert one.device.name == "plc7"
    assert (tags["Voltage"].address.start, tags["Voltage"].address.type, tags["Voltage"].unit) == (0, "float32", "V")
    assert (tags["Alarm_3"].address.start, tags["Alarm_3"].address.bit) == (19, 3)
    assert tags["Level"].reading(27648, 0).value == pytest.approx(100)
    assert (tags["Level"].writable, tags["Level"].interval) == (False, 0.5), "inputs are not written"
    # What is not taken over is said, and stands at the tag.
    assert "kepware.csv:7: Square Root scaling is not taken over: the value is the raw one" in text
    assert re.search(r"name: \"Flow\".*}  # Square Root scaling is not taken over", text)
    assert (tags["Flow"].reading(100, 0).value, tags["Flow"].writable) == (100, True)
    assert (tags["Name"].address.type, tags["Name"].address.count) == ("string", 8)
    (tmp_path / "generic.csv").write_text(GENERIC)
    code, text = tool("import", str(tmp_path / "generic.csv"))
    assert code == 0
    (tmp_path / "out.yaml").write_text(text)
    assert [tag.unit for tag in config.load(tmp_path / "out.yaml")[0].device.tags] == ["°C", "rpm"]
    (tmp_path / "bad.csv").write_text("Tag Name,Address,Data Type\nx,9,Float\ny,400001,Blob\n")
    code, text = tool("import", str(tmp_path / "bad.csv"))
    assert code == 2
    assert "bad.csv:2: address '9' is not a Modbus address" in text
    assert "bad.csv:3: data type 'blob'" in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "a/b,holding:40001:int16,,\na_b,holding:40002:int16,,",
            "3: device imported, tag a_b: two tags are on the topic",
        ),
        ("x,holding:99:int16,,", "2: device imported, tag x: address 'holding:99:int16': Modicon"),
        ("x,holding:40001:int16,,0", "2: device imported, tag x: scale: a scale of 0"),
        ('x,holding:40001:int16,,"1, writable: true"', "2: scale '1, writable: true' is not a number"),
        ('x,"holding:40001:int16\n",°C,', None),
        ("$x,holding:40001:int16,°C,", None),
    ],
)
def test_what_is_imported_is_what_check_takes(rows: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text(f"name,address,unit,scale\n{rows}\n")
    device = {"name": "imported", "protocol": "modbus-tcp", "host": "10.0.0.7"}
    if said is not None:
        with pytest.raises(ConfigError) as caught:
            imported(tmp_path / "tags.csv", device)
        assert f"tags.csv:{said}" in str(caught.value)
        return
    lines, remarks = imported(tmp_path / "tags.csv", device)
    assert remarks == []
    (tmp_path / "out.yaml").write_text("\n".join(lines))
    assert config.load(tmp_path / "out.yaml")


def test_wrong_arguments_are_said_without_a_traceback(tool: Tool, ports: dict[str, int], tmp_path: Path) -> None:
    endpoint = f"opc.tcp://127.0.0.1:{ports['opcua']}"
    nobody = f"opc.tcp://127.0.0.1:{free_port()}"
    for arguments, expected, said in (
        (("browse", "127.0.0.1"), 2, "endpoint"),
        (("browse", endpoint, "--policy", "Basic128"), 2, "security.policy must be 'None', 'Basic256Sha256'"),
        (("browse", endpoint, "--policy", "Basic256Sha256", "--mode", "None"), 2, "security.mode must be"),
        (("browse", endpoint, "--policy", "Aes128Sha256RsaOaep"), 1, "we do not trust the server's certificate"),
        (("browse", nobody), 1, "refused: the host is there, but nothing listens on that port"),
        (("browse", "opc.tcp://no-such-host.invalid:4840"), 1, "unknown host: is the name right"),
        (("opcua", "trust", "http://127.0.0.1"), 2, "endpoint"),
        (("probe", "127.0.0.1", "holding:40001", "--port", "99999"), 2, "port must be 65535 or less"),
        (("import", str(tmp_path)), 2, "cannot be read"),
    ):
        code, text = tool(*arguments)
        assert (code, said in text) == (expected, True), (arguments, text)
        assert "Traceback" not in text


def test_a_tag_that_is_bad_is_no_success(tool: Tool, tmp_path: Path) -> None:
    file = tmp_path / "devices.yaml"
    file.write_text(file.read_text().replace("holding:40003:int16", "holding:40103:int16"))
    code, text = tool("read", "plc")
    assert code == 1
    assert re.search(r"voltage +229\.0399\d* +V +good", text)
    assert re.search(r"setpoint +bad .*illegal address", text)
    assert tool("read", "plc", "voltage")[0] == 0
