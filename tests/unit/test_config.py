"""Device files: what is accepted, and what is said of the rest."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config import devices as config
from gateway.config.shared_tags import SharedTags
from gateway.drivers.driver import Tag
from gateway.drivers.modbus.settings import TcpSettings
from nexus.config.diagnostics import Diagnostics
from nexus.process.errors import ConfigError

GOOD = """
templates:
  meter:
    protocol: modbus-tcp
    interval: 5s
    tags:
      - {name: voltage, address: "input:30001:float32", unit: V}
      - {name: energy, address: "holding:40011:uint64", unit: Wh, scale: 0.1}
devices:
  - name: plc001
    path: plant/line1/plc001
    protocol: modbus-tcp
    host: 192.168.1.10
    port: 502
    unit: 1
    addressing: modicon
    word_order: big
    interval: 1s
    timeout: 3s
    request_delay: 0ms
    breaker: {failures: 5, open_for: 5s, max_open_for: 2m}
    publish: tag
    tags:
      - {name: temperature, address: "holding:40001:float32", unit: "°C"}
      - {name: running, address: "coil:1:bool"}
      - {name: alarm_3, address: "holding:40020.3:bool", interval: 100ms}
  - {name: meter7, template: meter, host: 192.168.1.20, unit: 7}
  - name: meter8
    template: meter
    host: ${DEVICE_METER}
    interval: 1m
    tags:
      - {name: energy, address: "holding:40021:uint64", unit: kWh}
      - {name: on, address: "coil:00002"}
"""


def load(tmp_path: Path, text: str, **environment: str) -> tuple[config.ConfiguredDevice, ...]:
    file = tmp_path / "plant.yaml"
    file.write_text(text, encoding="utf-8")
    return config.load(file, environment)


def faults(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environment)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


def warnings(folder: Path, text: str, **environment: str) -> list[str]:
    (folder / "plant.yaml").write_text(text)
    diagnostics = Diagnostics()
    config.read(folder / "plant.yaml", environment, diagnostics=diagnostics)
    return [str(one).removeprefix(f"{folder}/") for one in diagnostics.warnings]


def device(tags: str = '{name: t, address: "holding:40001:int16"}', **keys: str) -> str:
    given = {"name": "plc", "protocol": "modbus-tcp", "host": "plc", **keys}
    lines = "".join(f"    {key}: {value}\n" for key, value in given.items())
    return f"devices:\n  -\n{lines}    tags:\n      - {tags}\n"


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    plc, meter7, meter8 = load(tmp_path, GOOD, DEVICE_METER="10.0.0.8")
    assert (plc.device.path, plc.device.timeout, plc.publish_options.publish) == ("plant/line1/plc001", 3.0, "tag")
    assert plc.publish_options.units == {"temperature": "°C"}
    assert [tag.interval for tag in plc.device.tags] == [1.0, 1.0, 0.1]
    assert meter7.device.path == "meter7"
    assert isinstance(meter7.device.settings, TcpSettings)
    assert meter7.device.settings.unit == 7
    assert [tag.interval for tag in meter7.device.tags] == [5.0, 5.0]
    assert isinstance(meter8.device.settings, TcpSettings)
    assert meter8.device.settings.host == "10.0.0.8"
    assert [(tag.name, tag.interval) for tag in meter8.device.tags] == [
        ("voltage", 60.0),
        ("energy", 60.0),
        ("on", 60.0),
    ]
    assert meter8.publish_options.units == {"voltage": "V", "energy": "kWh"}


@pytest.mark.parametrize(
    ("second", "warning"),
    [
        ("holding:40002:float32", "plant.yaml:8: device plc, tag b: overlaps tag a (holding 0 to 1, counted from 0)"),
        ("holding:40002:int16", "plant.yaml:8: device plc, tag b: overlaps tag a"),
        ("holding:40003:float32", None),
        ("holding:40001:int32", None),
        ("holding:40001.3:bool", None),
        ("input:30002:float32", None),
    ],
)
def test_tags_that_overlap_are_warned_of(second: str, warning: str | None, tmp_path: Path) -> None:
    text = device(f"{{name: a, address: 'holding:40001:float32'}}\n      - {{name: b, address: '{second}'}}")
    assert [line.startswith(warning or "-") for line in warnings(tmp_path, text)] == ([True] if warning else [])


def test_what_a_template_repeats_is_warned_of_once(tmp_path: Path) -> None:
    text = GOOD.replace("unit: V}", "unit: V, deadband: 1, on_change: true}")
    assert [line.partition(": ")[2] for line in warnings(tmp_path, text, DEVICE_METER="x")] == [
        "device meter7, tag voltage: deadband decides alone what is sent: leave on_change out"
    ]


@pytest.mark.parametrize(
    ("protocol", "address", "keys", "warning"),
    [
        (
            "modbus-tcp",
            "coil:1",
            "deadband: 1",
            "deadband is for numbers, and this tag is none: write `on_change: true`",
        ),
        (
            "modbus-tcp",
            "holding:40001.3:bool",
            "scale: 0.1",
            "scale is for numbers, and this tag is none: leave it out",
        ),
        ("modbus-tcp", "coil:1", "writable: true, min: 0", "min is for numbers"),
        ("modbus-tcp", "holding:40001:string(8)", "deadband: 1%", "deadband is for numbers"),
        ("modbus-tcp", "holding:40001:int16", "deadband: 1, scale: 0.1", None),
        ("s7", "DB1.DBX4.0:BOOL", "deadband: 1", "deadband is for numbers"),
        ("s7", "DB1.DBB10:STRING(16)", "offset: 1", "offset is for numbers"),
        ("s7", "DB1.DBD0:REAL", "deadband: 1, scale: 0.1", None),
    ],
)
def test_keys_for_numbers_are_warned_of_elsewhere(
    tmp_path: Path, protocol: str, address: str, keys: str, warning: str | None
) -> None:
    text = device(f"{{name: t, address: '{address}', {keys}}}", protocol=protocol)
    assert [f"device plc, tag t: {warning}" in line for line in warnings(tmp_path, text)] == ([True] if warning else [])


@pytest.mark.parametrize("name", ["t ", " t", "t\u00a0", "t\u200b", "a\u00a0b"])
@pytest.mark.parametrize("key", ["name", "path", "tag"])
def test_names_that_look_like_others_are_warned_of(tmp_path: Path, name: str, key: str) -> None:
    written = json.dumps(name)
    text = device(f"{{name: {written}, address: 'coil:1'}}") if key == "tag" else device(**{key: written})
    (found,) = warnings(tmp_path, text)
    assert f"{key.replace('tag', 'name')} {name!r} has spaces at an end, or characters that cannot be seen" in found


def test_names_that_can_be_read_are_not_warned_of(tmp_path: Path) -> None:
    assert warnings(tmp_path, device("{name: Kühlung 3 °C 温度, address: 'coil:1'}", path="werk 1/linie é")) == []


def test_equal_tags_of_many_devices_are_one_object(tmp_path: Path) -> None:
    text = GOOD + "  - {name: meter9, template: meter, host: 192.168.1.22, unit: 9}\n"
    _, meter7, meter8, meter9 = (one.device.tags for one in load(tmp_path, text, DEVICE_METER="192.168.1.21"))
    assert [one is two for one, two in zip(meter7, meter9, strict=True)] == [True, True]
    assert meter8[0].name == meter7[0].name
    assert meter8[0] != meter7[0], "its interval is another"


def test_tags_whose_address_has_no_hash_are_as_good() -> None:
    tags: list[Tag] = [Tag("a", {"register": 1}), Tag("a", {"register": 1}), Tag("b", 1)]
    assert SharedTags().of(tags) == tuple(tags)


def test_a_template_that_no_device_uses_is_warned_of(tmp_path: Path) -> None:
    text = "templates:\n  meter:\n    protokol: modbus-tcp\n" + device()
    assert warnings(tmp_path, text) == [
        "plant.yaml:3: template 'meter': no device uses it, so its keys are not checked"
    ]


def test_folders_in_the_directory_are_warned_of_and_files_may_have_capital_letters(tmp_path: Path) -> None:
    for folder in ("line2", "notes", "..2026_11_26"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notes/readme.txt").write_text("not: ours")
    for file in ("LINE1.YAML", "line2/b.yml", "..2026_11_26/c.yaml"):
        (tmp_path / file).write_text(device())
    diagnostics = Diagnostics()
    _, devices = config.read(tmp_path, {}, diagnostics=diagnostics)
    assert [one.device.name for one in devices] == ["plc"]
    assert [str(one) for one in diagnostics.warnings] == [
        f"{tmp_path}/line2: is a folder, whose files are not read: move them up"
    ]


def test_a_directory_is_all_its_yaml_files(tmp_path: Path) -> None:
    (tmp_path / "templates.yml").write_text(
        "templates:\n  m: {protocol: modbus-tcp, tags: [{name: a, address: 'coil:1'}]}\n"
    )
    (tmp_path / "one.yaml").write_text("devices:\n  - {name: one, template: m, host: a}\n")
    (tmp_path / "two.yaml").write_text("devices:\n  - {name: two, template: m, host: b}\n")
    (tmp_path / "notes.txt").write_text("not: ours")
    (tmp_path / ".hidden.yaml").write_text("not: ours")
    assert [one.device.name for one in config.load(tmp_path)] == ["one", "two"]


def test_a_misspelt_key_that_every_device_needs_is_named(tmp_path: Path) -> None:
    text = "devices:\n  - name: plc\n    protcol: modbus-tcp\n    host: a\n    tags:\n      - {nmae: t, address: 'coil:1'}\n"
    assert faults(tmp_path, text) == [
        "plant.yaml:3: device plc: unknown key 'protcol'; did you mean 'protocol'?",
        "plant.yaml:6: device plc, tag (no name): unknown key 'nmae'; did you mean 'name'?",
    ]


def test_a_key_that_is_missing_is_not_taken_for_another_one_that_is_right(tmp_path: Path) -> None:
    text = "devices:\n  - {protocol: opcua, endpoint: 'opc.tcp://a', username: me, insecure_password: true,"
    text += " tags: [{name: t, address: 'i=1'}]}\n"
    assert faults(tmp_path, text) == ["plant.yaml:2: device (no name): key 'name' is missing"]


def test_what_is_wrong_with_a_template_is_said_once_and_of_how_many_devices(tmp_path: Path) -> None:
    devices = "".join(f"  - name: m{n}\n    template: meter\n    host: a\n" for n in range(300))
    tags = "    tags:\n      - {name: t, address: 'coil'}\n      - {name: u, address: 'coil'}\n"
    meter = f"templates:\n  meter:\n    protocol: modbus-tcp\n    timeout: 5 sec\n{tags}"
    found = faults(tmp_path, f"{meter}devices:\n{devices}  - {{name: other, protocol: s7}}\n")
    assert [line.partition(": ")[0] for line in found[:3]] == ["plant.yaml:4", "plant.yaml:6", "plant.yaml:7"]
    for line, start in zip(found, ("device m0: timeout: ", "device m0, tag t: ", "device m0, tag u: "), strict=False):
        assert line.partition(": ")[2].startswith(start)
        assert line.endswith(" (in 300 devices)")
    assert any("device other: key 'host' is missing" in line for line in found[3:]), "it is not among more faults"


def test_all_faults_are_shown_with_their_places(tmp_path: Path) -> None:
    text = GOOD.replace("host: 192.168.1.10", "hots: 192.168.1.10").replace("40001", "30001").replace("5s", "5 sec")
    shown = faults(tmp_path, text, DEVICE_METER="x")
    assert any(
        line.startswith("plant.yaml:13: device plc001: unknown key 'hots'; did you mean 'host'?") for line in shown
    )
    assert not any("'host' is missing" in line for line in shown), "that is said"
    assert any("device plc001: breaker.open_for: '5 sec' is not a duration" in line for line in shown)
    assert any("device meter7: interval: '5 sec' is not a duration" in line for line in shown)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (device(protocol="profibus"), "plant.yaml:4: device plc: unknown protocol 'profibus'; known: modbus-tcp"),
        (device(protocol="modbus_tcp"), "plant.yaml:4: device plc: unknown protocol 'modbus_tcp'; did you mean"),
        (device(word_order="middle"), "plant.yaml:6: device plc: word_order must be 'big' or 'little' (CDAB is"),
        (device(interval="50ms"), "plant.yaml:6: device plc: interval: '50ms' is shorter than 100ms"),
        (device(interval="1"), "plant.yaml:6: device plc: interval: 1 is not a duration: write it with its unit"),
        (device(path="plant//x"), "plant.yaml:6: device plc: path 'plant//x' has an empty level"),
        (device(path="plant/+"), "plant.yaml:6: device plc: path 'plant/+' contains '+', which MQTT reserves"),
        (device(template="meter"), "plant.yaml:6: device plc: there is no template 'meter'; known: none"),
        (
            "templates:\n  base: {protocol: modbus-tcp}\n  meter:\n    template: base\n" + device(template="meter"),
            "plant.yaml:4: template 'meter': a template takes nothing from another one",
        ),
        (
            "templates:\n  meter:\n    tags: {a: {address: 'coil:1'}}\n" + device(template="meter"),
            "plant.yaml:3: template 'meter': tags must be a list",
        ),
        (
            device("{name: t, address: 'coil:1', scale: '0,1'}"),
            "tag t: scale must be a number, not the text '0,1': write 0.1",
        ),
        (
            device("{name: t, address: 'holding:40001:INT'}"),
            "address 'holding:40001:INT': there is no type INT: write int16",
        ),
        (device(port="70000"), "plant.yaml:6: device plc: port must be 65535 or less"),
        (
            device(breaker="{failure: 3}"),
            "plant.yaml:6: device plc: unknown key 'breaker.failure'; did you mean 'failures'?",
        ),
        (
            device("{name: t, address: 'holding:99:int16'}"),
            "plant.yaml:7: device plc, tag t: address 'holding:99:int16': Modicon",
        ),
        (device("{name: t}"), "plant.yaml:7: device plc, tag t: key 'address' is missing"),
        (device("{name: a/b, address: 'coil:1'}"), "plant.yaml:7: device plc, tag a/b: the tag's name contains '/'"),
        (device("{name: t, address: 'coil:1', scale: 0}"), "plant.yaml:7: device plc, tag t: scale: a scale of 0"),
        (device("{name: t, address: 'coil:1', deadbnd: 1}"), "plant.yaml:7: device plc, tag t: unknown key 'deadbnd'"),
        (device("temperature"), "plant.yaml:6: device plc: 'temperature' is not a tag"),
        (
            device("{name: t, address: 'coil:1'}\n      - {name: t, address: 'coil:2'}"),
            "plant.yaml:8: device plc, tag t: two tags are on the topic dev/plc/t: rename one",
        ),
        (
            device() + "  - {name: plc, protocol: modbus-tcp, host: b, tags: [{name: a, address: 'coil:1'}]}",
            "plant.yaml:8: device plc: name already used at",
        ),
        (
            device() + "  - {name: b, path: plc, protocol: modbus-tcp, host: b, tags: [{name: a, address: 'coil:1'}]}",
            "plant.yaml:8: device b: path 'plc' is also that of device plc: change one",
        ),
        (
            device()
            + "  - {name: b, path: plc/t, protocol: modbus-tcp, host: b, tags: [{name: a, address: 'coil:1'}]}",
            "plant.yaml:6: device plc: tag t has the topic of device b",
        ),
        (device(host="${DEVICE_PLC}"), "plant.yaml:5: the environment has no variable DEVICE_PLC: set it"),
        ("devices: [", "plant.yaml:1: this is not YAML: "),
        ("devices:\n\t- a", "plant.yaml:2: this is not YAML: "),
        ("devices:\n  - name: a\n    name: b\n", "plant.yaml:3: key 'name' appears twice in this mapping: remove one"),
        ("", "plant.yaml: is empty"),
        ("hello", "plant.yaml:1: a device file is a mapping"),
        ("device: []", "plant.yaml:1: device file: unknown key 'device'; did you mean 'devices'?"),
        ("devices: {}", "plant.yaml: no device is described here"),
        ("devices: {a: 1}", "plant.yaml:1: device file: devices must be a list"),
        ("devices: [5]", "plant.yaml:1: a device is a mapping"),
        ("devices: []", "plant.yaml: no device is described here"),
        (
            "devices:\n  - {name: a, protocol: modbus-tcp, host: b, tags: []}",
            "plant.yaml:2: device a: tags must not be empty: at least 1 is needed",
        ),
        (
            "devices:\n  - {protocol: modbus-tcp, host: b, tags: [{name: a, address: 'coil:1'}]}",
            "key 'name' is missing",
        ),
    ],
)
def test_each_fault_names_its_place_and_remedy(tmp_path: Path, text: str, fault: str) -> None:
    shown = faults(tmp_path, text)
    assert any(fault in line for line in shown), shown


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    shown = faults(tmp_path, device(port="${DEVICE_SECRET}"), DEVICE_SECRET="hunter2")
    assert shown
    assert "hunter2" not in "".join(shown)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \.yaml file"):
        config.load(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        config.load(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_bytes(b"\xff\xfe\x00d")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(tmp_path / "plant.yaml")


def test_yaml_holds_no_surprises(tmp_path: Path) -> None:
    [one] = load(tmp_path, device("{name: off, address: 'coil:1', unit: no}"))
    assert one.device.tags[0].name == "off"
    assert one.publish_options.units == {"off": "no"}


def test_a_dollar_can_be_written(tmp_path: Path) -> None:
    [one] = load(tmp_path, device("{name: t, address: 'coil:1', unit: $$}"))
    assert one.publish_options.units == {"t": "$"}


SLOW_LINE = """
devices:
  - {{name: a, protocol: modbus-rtu, serial: /dev/ttyS0, baudrate: 1200, unit: 1, interval: {first}, tags: [{{name: x, address: "holding:40001:float64"}}]}}
  - {{name: b, protocol: modbus-rtu, serial: /dev/ttyS0, baudrate: 1200, unit: 2, interval: 500ms, tags: [{{name: x, address: "holding:40001:float64"}}]}}
"""


def test_an_interval_that_the_line_cannot_keep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(SLOW_LINE.format(first="5s"))
    assert len(config.load(file)) == 2
    file.write_text(SLOW_LINE.format(first="300ms"))
    with pytest.raises(
        ConfigError,
        match=r"plant.yaml:4: device b: polling does not fit into its interval: with the devices before it, /dev/ttyS0 is busy 1\d\d %",
    ):
        config.load(file)


@pytest.mark.parametrize(
    "port", ["spy:///dev/ttyS0?file=/tmp/x", "socket://plc:502", "/etc/passwd", "/dev/../x", "ttyS0"]
)
def test_a_serial_port_is_a_device_of_this_machine(tmp_path: Path, port: str) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(SLOW_LINE.format(first="5s").replace("/dev/ttyS0", port, 1))
    with pytest.raises(ConfigError, match="not a serial port: write its path, like /dev/ttyUSB0"):
        config.load(file)


def test_a_pause_between_requests_counts_too(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    tags = ", ".join(f'{{name: t{n}, address: "holding:{40001 + 200 * n}:uint16"}}' for n in range(4))
    file.write_text(
        f"devices: [{{name: a, protocol: modbus-tcp, host: plc, interval: 300ms, request_delay: 100ms, tags: [{tags}]}}]"
    )
    with pytest.raises(ConfigError, match=r"takes 13\d % of it"):
        config.load(file)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("max_silence: 1m", "max_silence needs on_change or deadband"),
        ("min: 1", "add `writable: true`"),
        ("writable: true, min: 2, max: 1", "min is greater than max"),
        ("deadband: wide", "'wide' is not a deadband"),
        ("deadband: -1", "-1 is not a deadband"),
        ("deadband: 100%", "'100%' is not a deadband: .* a share below 100%"),
    ],
)
def test_tag_keys_that_make_no_sense_are_refused(tmp_path: Path, keys: str, said: str) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(
        f'devices: [{{name: a, protocol: modbus-tcp, host: plc, tags: [{{name: x, address: "holding:40001:uint16", {keys}}}]}}]'
    )
    with pytest.raises(ConfigError, match=said):
        config.load(file)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('protocol: opcua, endpoint: "http://plc", tags: [{name: x, address: "i=1"}]', "endpoint "),
        (
            'protocol: opcua, endpoint: "opc.tcp://plc:99999", tags: [{name: x, address: "i=1"}]',
            "endpoint: ports are 1 to 65535, not 99999",
        ),
        (
            'protocol: opcua, endpoint: "opc.tcp://[plc/press", tags: [{name: x, address: "i=1"}]',
            "endpoint: '[plc' is not a host",
        ),
        (
            'protocol: opcua, endpoint: "opc.tcp://plc..lan:4840", tags: [{name: x, address: "i=1"}]',
            "endpoint: 'plc..lan' is not a host",
        ),
        (
            'protocol: opcua, endpoint: "opc.tcp://plc", tags: [{name: x, address: Force}]',
            "write it like ns=2;s=Press.Force",
        ),
        (
            'protocol: opcua, endpoint: "opc.tcp://plc", security: {policy: Basic256}, tags: [{name: x, address: "i=1"}]',
            "security.policy",
        ),
        ("protocol: s7, host: plc, tags: [{name: x, address: DB1}]", "write it like DB1.DBD0:REAL"),
        (
            'protocol: s7, host: plc, slots: 2, tags: [{name: x, address: "MW0:INT"}]',
            "unknown key 'slots'; did you mean 'slot'",
        ),
        ('protocol: modbus-rtu, host: plc, tags: [{name: x, address: "coil:1"}]', "key 'serial' is missing"),
    ],
)
def test_faults_of_each_protocol_are_said(tmp_path: Path, keys: str, said: str) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(f"devices: [{{name: a, {keys}}}]")
    with pytest.raises(ConfigError) as fault:
        config.load(file)
    assert said in str(fault.value)


def test_a_fault_of_the_device_does_not_hide_those_of_its_tags(tmp_path: Path) -> None:
    tags = "{name: t, address: 'holding:99:int16'}\n      - {name: u, address: 'coil:1', scal: 2}"
    for keys in ({"port": "70000"}, {"interval": "often"}, {"hots": "x"}, {"unit": "true"}, {"breaker": "5"}):
        shown = faults(tmp_path, device(tags, **keys))
        assert any(next(iter(keys)) in line for line in shown)
        assert any("tag t: address 'holding:99:int16': Modicon" in line for line in shown), keys
        assert any("tag u: unknown key 'scal'" in line for line in shown)
    # Addresses hang on this one: nothing is said of them that may be wrong.
    shown = faults(tmp_path, device("{name: t, address: 'holding:99:int16'}", addressing="modikon"))
    assert shown == ["plant.yaml:6: device plc: addressing must be 'modicon', 'zero' or 'one'"]


def test_variables_can_have_another_prefix(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(device(host="${PLANT_HOST}"))
    [one] = config.load(file, {"PLANT_HOST": "10.0.0.8"}, "PLANT_")
    assert isinstance(one.device.settings, TcpSettings)
    assert one.device.settings.host == "10.0.0.8"
    with pytest.raises(ConfigError, match=r"begin with DEVICE_ \(NEXUS_DEVICE_PREFIX\)"):
        config.load(file, {"PLANT_HOST": "10.0.0.8"})


def test_a_tag_has_its_own_order_where_the_protocol_has_orders(tmp_path: Path) -> None:
    text = GOOD.replace(
        '{name: temperature, address: "holding:40001:float32", unit: "°C"}',
        '{name: temperature, address: "holding:40001:float32", word_order: little, byte_order: little}',
    )
    [plc, *_] = load(tmp_path, text, DEVICE_METER="192.168.1.30")
    by_name: dict[str, Any] = {tag.name: tag.address for tag in plc.device.tags}
    assert (by_name["temperature"].word_order, by_name["temperature"].byte_order) == ("little", "little")
    assert by_name["alarm_3"].word_order == "big"
    s7 = 'devices: [{name: a, protocol: s7, host: b, tags: [{name: t, address: "DB1.DBD0:REAL", word_order: little}]}]'
    assert any("word_order is for Modbus" in fault for fault in faults(tmp_path, s7))


def test_an_input_is_not_writable(tmp_path: Path) -> None:
    text = "devices: [{name: a, protocol: modbus-tcp, host: b, tags: [{name: t, address: 'input:30001:int16', writable: true}]}]"
    assert any("input can only be read" in fault for fault in faults(tmp_path, text))


def test_a_missing_variable_is_said_once(tmp_path: Path) -> None:
    text = "devices: [{name: a, protocol: modbus-tcp, host: '${DEVICE_PLC}', tags: [{name: t, address: 'coil:1'}]}]"
    (tmp_path / "plant.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path, {})
    [said] = str(error.value).splitlines()
    assert "no variable DEVICE_PLC" in said


def test_a_file_in_another_encoding_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_bytes(b"devices:\n  - name: K\xfchler\n")
    with pytest.raises(ConfigError, match=r"plant.yaml:2: this is not UTF-8 text: save the file as UTF-8"):
        config.load(tmp_path, {})


def test_a_double_name_is_said_beside_other_faults(tmp_path: Path) -> None:
    one = "{name: a, protocol: modbus-tcp, host: h, tags: [{name: t, address: 'coil:x'}]}"
    (tmp_path / "plant.yaml").write_text(f"devices:\n  - {one}\n  - {one}\n")
    with pytest.raises(ConfigError, match="name already used at") as error:
        config.load(tmp_path)
    assert len(str(error.value).splitlines()) == 3


def places(shown: list[str]) -> list[int]:
    return [int(line.split(":")[1]) for line in shown]


@pytest.mark.parametrize("wrong", [{"interval": "1"}, {"timeout": "often"}, {"publish": "scan"}])
def test_a_wrong_key_does_not_hide_a_wrong_path(tmp_path: Path, wrong: dict[str, str]) -> None:
    shown = faults(tmp_path, device(path="plant/line+/pump1", **wrong))
    assert any("path 'plant/line+/pump1' contains '+'" in line for line in shown), shown
    assert len(shown) == 2


def test_a_wrong_key_of_a_tag_does_not_hide_its_name_or_its_address(tmp_path: Path) -> None:
    shown = faults(tmp_path, device("{name: a/b, scale: much, address: 'holding:99:int16', interval: 1}"))
    said = (
        "the tag's name contains '/'",
        "scale must be a number",
        "address 'holding:99:int16': Modicon",
        "interval: 1",
    )
    assert [sum(text in line for line in shown) for text in said] == [1, 1, 1, 1], shown


@pytest.mark.parametrize(
    ("keys", "faults_expected"),
    [
        ("scal: 1, writable: true, min: 2, max: 1", 2),
        ("scal: 1, max_silence: 1m", 2),
        ("writable: true, min: 2, max: 1", 1),
        ("deadband: wide, max_silence: 1m", 1),
        ("writable: yes please, min: 1", 1),
    ],
)
def test_a_wrong_key_of_a_tag_does_not_hide_what_its_others_cannot_mean(
    tmp_path: Path, keys: str, faults_expected: int
) -> None:
    shown = faults(tmp_path, device(f"{{name: t, address: 'holding:40001:int16', {keys}}}"))
    assert len(shown) == faults_expected, shown


def test_a_wrong_device_does_not_hide_what_is_wrong_between_others(tmp_path: Path) -> None:
    one = "  - {name: %s, protocol: modbus-tcp, host: b, %stags: [{name: %s, address: 'coil:1'}]}\n"
    text = "devices:\n" + one % ("a", "interval: 1, ", "x") + one % ("b", "", "c") + one % ("b/c", "", "t")
    assert [line.partition(": ")[2][:40] for line in faults(tmp_path, text)] == [
        "device a: interval: 1 is not a duration:",
        "device b: tag c has the topic of device ",
    ]


def test_faults_stand_in_the_order_of_the_lines(tmp_path: Path) -> None:
    tags = "{name: t, address: 'holding:99:int16'}\n      - {name: u, address: 'coil:1', scal: 2}"
    text = device(tags, interval="1", hots="x", path="a/+") + "  - {name: plc, protocol: profibus}\n"
    shown = faults(tmp_path, text.replace("devices:", "device: 1\ndevices:"))
    assert places(shown) == sorted(places(shown))
    assert len(shown) >= 8


def broken(*tags: str, before: str = "    host: plc") -> str:
    """A file that is no YAML: its device is on line 2, the line `before` the tags on line 4, the first tag on line 6."""
    listed = "".join(f"      {tag}\n" for tag in tags)
    return f"devices:\n  - name: plc\n    protocol: modbus-tcp\n{before}\n    tags:\n{listed}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (broken("\t- {name: t, address: 'coil:1'}"), "6: this is not YAML: a tab: YAML is indented with spaces only"),
        (broken("- {name: t}", before="\thost: plc"), "4: this is not YAML: a tab"),
        (broken("\t- {name: t}", "- {name: u}"), "6: this is not YAML: a tab"),
        (broken('- {name: "t, address: "coil:1"}', "- {name: u}"), "6: this is not YAML: this ends without its '}': a"),
        (broken("- {name: t, address: 'coil:1'", "- {name: u}"), "6: this is not YAML: this ends without its '}': a"),
        (
            broken('- {name: "t, address: coil}', "- {name: u}"),
            "6: this is not YAML: the quote that begins here is nev",
        ),
        (broken("- {name: t}", before="    host:plc"), "4: this is not YAML: a key needs a colon and a space"),
        (broken("- {name: t}", before="      host: plc"), "4: this is not YAML: wrong indentation: begin keys"),
        (broken("- {name: t}", before="   host: plc"), "4: this is not YAML: wrong indentation: begin keys"),
        (
            broken("- name: t", "  unit: °C: x"),
            "7: this is not YAML: wrong indentation: .*; or a text that contains `: `",
        ),
        (broken("- name: t", "  unit: %"), "7: this is not YAML: a text that begins with a special character must"),
        (broken(r'- {name: t, unit: "\U"}'), "6: this is not YAML: a backslash in double quotes"),
    ],
)
def test_what_is_no_yaml_has_its_line_and_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    (line,) = faults(tmp_path, text)
    assert re.match(rf"plant\.yaml:{said}", line), line


@pytest.mark.parametrize(("written", "meant"), [("scale: 0,1", "0.1"), ("scale: -0,50, offset: 1", "-0.50")])
def test_a_decimal_comma_is_one_fault_and_the_remedy_is_right(tmp_path: Path, written: str, meant: str) -> None:
    shown = faults(tmp_path, device(f"{{name: t, address: 'coil:1', {written}}}"))
    assert shown == [f"plant.yaml:7: scale: the decimal sign is a point: write {meant}"]


@pytest.mark.parametrize("key", ["name", "host", "interval"])
def test_a_key_without_a_value_is_called_that(tmp_path: Path, key: str) -> None:
    shown = faults(tmp_path, device(**{key: ""}))
    assert any(f"key '{key}' has no value: write one after the colon" in line for line in shown), shown
    assert "None" not in "".join(shown)
