"""`nexus schema`: an editor takes what `nexus check` takes, and shows what it would refuse."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway import drivers
from gateway.config.variables import allowed
from gateway.tools.schema import DIALECT, schema
from nexus.config.diagnostics import Diagnostics
from nexus.config.yaml_source import Reader
from tests.unit.test_docs import ROOT, examples

SCHEMA, _ = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
HOSTILE = ROOT / "tests/hostile/files"
RIGHT = [
    *ROOT.glob("infrastructure/**/devices/*.yaml"),
    ROOT / "simulators/demo/devices.yaml",
    *(
        HOSTILE / f"{name}.yaml"
        for name, said in yaml.safe_load((HOSTILE / "cases.yaml").read_text()).items()
        if said == "ok"
    ),
]


def written(text: bytes) -> Any:
    """A device file as an editor sees it: variables are not filled in."""
    names = set(re.findall(r"\$\{(\w+)\}", text.decode("utf-8-sig")))
    diagnostics = Diagnostics()
    found = Reader(diagnostics, {name: f"${{{name}}}" for name in names}, allowed()).read(Path("plant.yaml"), text)
    assert not list(diagnostics)
    return found


def diagnostics(text: str) -> list[str]:
    """What an editor would underline, with the place."""
    found: list[jsonschema.ValidationError] = []
    waiting = list(VALIDATOR.iter_errors(written(text.encode())))
    while waiting:
        error = waiting.pop()
        waiting += error.context or ()
        found.append(error)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.name)
def test_every_device_file_here_fits(file: Path) -> None:
    VALIDATOR.validate(written(file.read_bytes()))


@pytest.mark.parametrize("text", examples("yaml"))
def test_every_example_of_the_documentation_fits(text: str) -> None:
    VALIDATOR.validate(written(text.encode()))


DEVICE = """
templates:
  meter: {protocol: modbus-tcp, tags: [{name: v, address: "input:30001:float32"}]}
devices:
  - name: a
    protocol: modbus-tcp
    host: h
    tags: [{name: t, address: "holding:40001:int16"}]
  - {name: b, protocol: s7, host: h, port: "${DEVICE_PORT}", tags: [{name: t, address: "MW0:INT"}]}
  - {name: c, protocol: opcua, endpoint: "opc.tcp://h:4840", tags: [{name: t, address: "ns=2;s=x", interval: 1s}]}
  - {name: d, template: meter, host: h}
"""


def test_the_right_one_is_right() -> None:
    assert diagnostics(DEVICE) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("host: h\n", "hots: h\n", "devices.0: Additional properties are not allowed ('hots' was unexpected)"),
        ("host: h\n", "timeout: 1s\n", "devices.0: 'host' is a required property"),
        ("host: h\n", "host: h\n    slot: 1\n", "('slot' was unexpected)"),
        ("host: h\n", "host: h\n    interval: 1\n", "devices.0.interval: 1 is not of type 'string'"),
        ("host: h\n", "host: h\n    interval: 1 sec\n", "devices.0.interval: '1 sec' does not match"),
        ("host: h\n", "host: h\n    interval: 50ms\n", "devices.0.interval: '50ms' does not match"),
        ("host: h\n", "host: h\n    port: 70000\n", "devices.0.port: 70000 is greater than the maximum of 65535"),
        ("host: h\n", "host: h\n    breaker: {failure: 3}\n", "devices.0.breaker: Additional properties"),
        ("host: h\n", "host: h\n    word_order: medium\n", "'medium' is not one of ['big', 'little']"),
        ("protocol: modbus-tcp\n", "protocol: modbus\n", "devices.0.protocol: 'modbus' is not one of"),
        ("protocol: modbus-tcp\n", "unit: 1\n", "devices.0: 'protocol' is a required property"),
        ("name: a\n", "path: a\n", "devices.0: 'name' is a required property"),
        (
            "holding:40001:int16",
            "holding:40001:int17",
            "devices.0.tags.0.address: 'holding:40001:int17' does not match",
        ),
        ("holding:40001:int16", "DB1.DBD0:REAL", "devices.0.tags.0.address"),
        ("MW0:INT", "holding:40001:int16", "devices.1.tags.0.address"),
        ("ns=2;s=x", "x", "devices.2.tags.0.address: 'x' does not match"),
        ('"MW0:INT"', '"MW0:INT", word_order: big', "devices.1.tags.0: Additional properties"),
        ("interval: 1s", "deadband: a lot", "devices.2.tags.0.deadband: 'a lot' does not match"),
        ("interval: 1s", "scale: '2'", "devices.2.tags.0.scale: '2' is not of type 'number'"),
        ("interval: 1s", "writeable: true", "('writeable' was unexpected)"),
        ('[{name: t, address: "ns=2;s=x", interval: 1s}]', "[]", "devices.2.tags: [] should be non-empty"),
        ("opc.tcp://h:4840", "http://h", "devices.2.endpoint: 'http://h' does not match"),
        ("template: meter, host: h", "template: meter, hots: h", "devices.3: Additional properties"),
        ("templates:", "template:", "('template' was unexpected)"),
        ("  meter: {protocol: modbus-tcp, ", "  meter: {protocol: modbus-tcp, hots: h, ", "templates.meter"),
        ("  meter: {protocol: modbus-tcp, ", "  meter: {protocol: modbus-tcp, template: base, ", "templates.meter"),
        ("interval: 1s", "deadband: 100%", "devices.2.tags.0.deadband: '100%' does not match"),
        ("interval: 1s", "alarms: [{name: a}]", "devices.2.tags.0.alarms.0: {'name': 'a'} is not valid under any"),
        ("interval: 1s", "alarms: [{name: a, above: 1, below: 0}]", "is valid under each of"),
        ("interval: 1s", "alarms: [{name: a, lost: true}]", "('lost' was unexpected)"),
        ("interval: 1s", "alarms: [{name: a, above: true}]", "alarms.0.above: True is not of type 'number', 'string'"),
        ("interval: 1s", "alarms: [{name: a, above: 1, priority: urgent}]", "'urgent' is not one of ['low', 'medium'"),
        ("host: h\n", "host: h\n    alarms: [{name: a, above: 3}]\n", "('above' was unexpected)"),
        ('address: "MW0:INT"', "expression: a + b, writable: true", "('writable' was unexpected)"),
        ('address: "MW0:INT"', "total: a, per: day", "devices.1.tags.0.per: 'day' is not one of"),
    ],
)
def test_what_is_wrong_is_shown(right: str, wrong: str, said: str) -> None:
    assert right in DEVICE
    found = diagnostics(DEVICE.replace(right, wrong, 1))
    assert any(said in fault for fault in found), found


ADDRESSES = {
    "modbus-tcp": (
        ["holding:40001:float32", "holding:400001:uint64", "input:30010:string(8)", "holding:40020.3:bool", "coil:1",
         "coil:1:bool", "discrete:10001", " coil:1 "],
        ["holding:40001", "coil:1:int16", "holding:40001:bool", "holding:40001.3", "holding:40001:string", "40001", ""],
    ),
    "opcua": (
        ["ns=2;s=Press.Force", "i=2258", "ns=3;i=1001", "nsu=urn:vendor;s=a;b=c", "ns=1;b=AAEC",
         "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a", "s=x"],
        ["", "Press.Force", "ns=2", "ns=x;s=a", "i=x"],
    ),
    "s7": (
        ["DB1.DBD0:REAL", "db1.dbd0:real", "%DB1.DBX4.0:BOOL", "DB1.DBX4.7", "DB1.DBB10:STRING(20)", "I0.0", "QB1:BYTE",
         "DB1.DBB10:WSTRING[20]", "DB1:10:LREAL", "DB1,R4", "DB1,X4.3", "M10.5", "MW20:INT", "IW64", "E0.1", "DB1,S10.20"],
        ["DB1", "holding:40001", "", "DB1.DBD0", "X0.0", "DB1.DBQ0:REAL"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("protocol", ADDRESSES)
def test_addresses_are_those_of_the_driver(protocol: str) -> None:
    pattern = SCHEMA["$defs"][f"{protocol}-tag"]["properties"]["address"]["pattern"]
    driver = drivers.load(protocol)
    needed = {"opcua": {"endpoint": "opc.tcp://h"}}.get(protocol, {"host": "h"})
    settings = driver.settings[protocol].model_validate(needed)
    right, wrong = ADDRESSES[protocol]
    for text in [*right, *SCHEMA["$defs"][f"{protocol}-tag"]["properties"]["address"]["examples"]]:
        driver.parse_address(text, settings, False)
        assert re.search(pattern, text), text
    for text in wrong:
        with pytest.raises(ValueError, match=r"."):
            driver.parse_address(text, settings, False)
        assert not re.search(pattern, text), text


def described(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, one in schema.get("properties", {}).items():
        yield f"{place}{key}", one


def test_an_editor_says_how_a_value_is_written_and_not_a_pattern() -> None:
    plc = SCHEMA["$defs"]["s7"]["properties"]
    assert (
        plc["interval"]["patternErrorMessage"]
        == plc["interval"]["errorMessage"]
        == "Write it like 500ms, 1s, 2.5s, 5m."
    )
    address = SCHEMA["$defs"]["s7-tag"]["properties"]["address"]
    assert address["patternErrorMessage"].startswith("Write it like DB1.DBD0:REAL, DB1.DBX4.0:BOOL")


def test_every_key_is_described() -> None:
    for name, one in SCHEMA["$defs"].items():
        for key, inner in described(one, f"{name}."):
            forms = inner.get("anyOf", [inner])
            assert "description" in inner or any("description" in form for form in forms) or key == "any.protocol", key
