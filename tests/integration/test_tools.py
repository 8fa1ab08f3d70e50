"""The tools for the site, as commands against simulated devices."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import config
from gateway.drivers.modbus_address import parse
from gateway.tools.probe import fits
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
        done = subprocess.run(
            [sys.executable, "-m", "nexus", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_read_write_and_plan(tool: Tool) -> None:
    code, text = tool("read", "plc")
    assert code == 0
    assert re.search(r"voltage +229\.0399\d* +V +good", text)
    assert re.search(r"setpoint +0\.5 +good", text)
    assert tool("read", "filler", "level")[1].count("7.5") == 1
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
    words: tuple[int, int], expected: float, type_: str, orders: tuple, scale: float
) -> None:
    first, *_ = fits(dict(enumerate(words)), parse("holding:0:uint16", "zero"), expected)
    assert (first.type, (first.word_order, first.byte_order), first.scale) == (type_, orders, scale)


def test_a_server_is_browsed_trusted_and_read(tool: Tool, ports: dict[str, int], tmp_path: Path) -> None:
    endpoint = f"opc.tcp://127.0.0.1:{ports['opcua']}"
    code, text = tool("browse", endpoint)
    assert code == 0
    (tmp_path / "browsed.yaml").write_text(text)
    [found] = config.load(tmp_path / "browsed.yaml")
    assert [tag.address.node for tag in found.device.tags] == ["ns=2;s=Press.Force"]
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
"""
GENERIC = """name,address,type,unit,scale
temperature,holding:40001,float32,°C,
speed,holding:40005,int16,rpm,0.1
"""


def test_csv_files_become_device_files(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "kepware.csv").write_text(KEPWARE)
    code, text = tool("import", str(tmp_path / "kepware.csv"), "--name", "plc7", "--host", "10.0.0.7")
    assert code == 0
    (tmp_path / "out.yaml").write_text(text)
    [one] = config.load(tmp_path / "out.yaml")
    tags = {tag.name: tag for tag in one.device.tags}
    assert one.device.name == "plc7"
    assert (tags["Voltage"].address.start, tags["Voltage"].address.type, tags["Voltage"].unit) == (0, "float32", "V")
    assert (tags["Alarm_3"].address.start, tags["Alarm_3"].address.bit) == (19, 3)
    assert tags["Level"].reading(27648, 0).value == pytest.approx(100)
    assert (tags["Level"].writable, tags["Level"].interval) == (True, 0.5)
    assert (tags["Name"].address.type, tags["Name"].address.count) == ("string", 8)
    (tmp_path / "generic.csv").write_text(GENERIC)
    code, text = tool("import", str(tmp_path / "generic.csv"))
    assert code == 0
    (tmp_path / "out.yaml").write_text(text)
    assert [tag.unit for tag in config.load(tmp_path / "out.yaml")[0].device.tags] == ["°C", "rpm"]
    (tmp_path / "bad.csv").write_text("Tag Name,Address,Data Type\nx,9,Float\ny,400001,Blob\n")
    code, text = tool("import", str(tmp_path / "bad.csv"))
    assert code == 2
    assert "bad.csv:2: address '9' is no Modbus address" in text
    assert "bad.csv:3: data type 'blob'" in text
