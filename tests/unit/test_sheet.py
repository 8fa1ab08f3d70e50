"""Device files as spreadsheets, and back: nothing is lost on the way, whatever Excel makes of it."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import devices as config
from gateway.config.schema import TagKeys
from gateway.drivers.modbus.settings import TcpSettings
from gateway.drivers.s7.settings import Settings as S7Settings
from gateway.tools import sheet
from gateway.tools.exported import TAG_COLUMNS, exported
from gateway.tools.imported import imported
from gateway.tools.sheet import Encoding, Separator
from nexus.process.errors import ConfigError
from tests.unit.test_docs import ROOT, examples

ASSUMED = {"name": "imported", "protocol": "modbus-tcp", "host": "10.0.0.7"}
SAMPLES = [ROOT / "infrastructure/docker/devices", ROOT / "simulators/demo/devices.yaml"]
SEPARATORS = (",", ";", "tab")
ENCODINGS = ("utf-8", "utf-16", "cp1252")

PLANT = """
templates:
  meter:
    protocol: modbus-tcp
    breaker: {failures: 3, open_for: 1s}
    tags:
      - {name: voltage, address: "input:30001:float32", unit: V, scale: 0.1234567890123456, offset: -1.0e-7}
      - {name: " Flow Rate = 1,5 ", address: "holding:40001:float32", unit: "m³/h", deadband: 0.5%, max_silence: 2.5m}
devices:
  - {name: "=1*1", path: a/b, template: meter, host: 10.0.0.1, port: 1502, transaction_ids: zero, request_delay: 2.5ms}
  - {name: "'quoted'", template: meter, host: "${DEVICE_HOST}", tags: [{name: -x, address: "coil:1", writable: true}]}
  - name: "1,5"
    protocol: opcua
    endpoint: "opc.tcp://h:4840/a;x,b"
    security: {policy: Basic256Sha256, mode: Sign, trust: any, application_uri: "urn:a$$b"}
    username: "007"
    password: ${DEVICE_PASSWORD}
    tags:
      - {name: "true", address: "ns=2;s=a,\\"b", unit: "@", deadband: 1, on_change: false, interval: 100ms}
      - {name: "12", address: "i=12", writable: true, min: -1.5, max: 80, unit: "$$"}
"""
ENVIRONMENT = {"DEVICE_HOST": "10.0.0.9", "DEVICE_PASSWORD": "a$b ${c}"}


def back(file: Path, folder: Path, separator: Separator = ",", encoding: Encoding = "utf-8") -> list[str]:
    text, _ = exported(file, "DEVICE_", separator)
    (folder / "tags.csv").write_bytes(sheet.encoded(text, encoding))
    lines, remarks = imported(folder / "tags.csv", ASSUMED)
    assert remarks == []
    (folder / "back.yaml").write_text("\n".join(lines))
    return lines


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_lost(
    separator: Separator, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "plant.yaml").write_text(PLANT)
    lines = back(tmp_path / "plant.yaml", tmp_path, separator, encoding)
    assert config.load(tmp_path / "back.yaml") == config.load(tmp_path / "plant.yaml")
    assert '    host: "${DEVICE_HOST}"' in lines, "variables stay variables"
    assert not any(value in "\n".join(lines) for value in ENVIRONMENT.values())


def asked(file: Path) -> list[object]:
    """What is asked of the devices: alarms and derived tags have no columns."""
    return [(one.device, one.breaker, one.publish_options.publish) for one in config.load(file)]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_nothing_of_the_samples_is_lost(path: Path, tmp_path: Path) -> None:
    back(path, tmp_path, ";", "cp1252")
    assert asked(tmp_path / "back.yaml") == asked(path)


@pytest.mark.parametrize("text", examples("yaml"))
def test_nothing_of_the_documentation_is_lost(text: str, tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(text.replace("password: change-me", "password: ${DEVICE_SECRET}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEVICE_SECRET", "x")
        back(tmp_path / "plant.yaml", tmp_path)
        assert asked(tmp_path / "back.yaml") == asked(tmp_path / "plant.yaml")


def test_alarms_and_derived_tags_are_left_out_and_named(tmp_path: Path) -> None:
    alarm = "alarms: [{name: high, above: 3}]"
    (tmp_path / "plant.yaml").write_text(
        f"devices: [{{name: a, protocol: s7, host: h, tags: [{{name: t, address: 'MW0:INT', {alarm}}}, "
        f"{{name: u, expression: t * 2, {alarm}}}]}}]"
    )
    text, remarks = exported(tmp_path / "plant.yaml", "DEVICE_", ",")
    assert remarks == ["a: derived tags are left out: u", "a: its 2 alarms are left out"]
    assert len(text.splitlines()) == 2


names = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/+#\\"), min_size=1, max_size=8)
numbers = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda value: not 0 < abs(value) < 1e-9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=names,
    unit=names,
    scale=numbers.filter(bool),
    offset=numbers,
    separator=st.sampled_from(SEPARATORS),
    encoding=st.sampled_from(("utf-8", "utf-16")),
)
def test_nothing_of_any_text_or_number_is_lost(
    name: str, unit: str, scale: float, offset: float, separator: Separator, encoding: Encoding, tmp_path: Path
) -> None:
    (tmp_path / "plant.yaml").write_text(
        f"devices:\n  - name: {sheet.quoted(name)}\n    protocol: modbus-tcp\n    host: h\n    tags:\n"
        f"      - {{name: {sheet.quoted(name)}, address: 'holding:40001:int16', unit: {sheet.quoted(unit)}, "
        f"scale: {scale!r}, offset: {offset!r}}}\n"
    )
    back(tmp_path / "plant.yaml", tmp_path, separator, encoding)
    assert config.load(tmp_path / "back.yaml") == config.load(tmp_path / "plant.yaml")


def test_every_key_of_a_tag_has_its_column() -> None:
    assert set(TAG_COLUMNS) == set(TagKeys.model_fields) - {"alarms"}


def test_a_formula_is_none(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(PLANT.replace("${DEVICE_HOST}", "h").replace("${DEVICE_PASSWORD}", "p"))
    text, remarks = exported(tmp_path / "plant.yaml", "DEVICE_", ",")
    assert not re.search(r"(^|,)[=+@-](?!\d)", text.replace("-1e-07", "").replace("-1.5", ""), re.MULTILINE)
    assert remarks == ["1,5: the password is left out: a spreadsheet is no place for it"]


def test_what_excel_has_saved_is_taken(tmp_path: Path) -> None:
    saved = (
        "sep=;\r\ndevice;name;address;unit;scale;deadband;on_change;writable;min;device.host;device.port;Note\r\n"
        "oven;temperature;holding:40001:int16;°C;0,1;0,5%;WAHR;;;10.0.0.5;502;hot\r\n"
        "oven;setpoint;holding:40002:int16;°C;0,1;;FALSCH;yes;-1,5;;;\r\n;;;;;;;;;;;\r\n"
    )
    for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"):
        (tmp_path / "tags.csv").write_bytes(saved.encode(codec))
        lines, remarks = imported(tmp_path / "tags.csv", ASSUMED)
        (tmp_path / "back.yaml").write_text("\n".join(lines))
        [one] = config.load(tmp_path / "back.yaml")
        temperature, setpoint = one.device.tags
        assert isinstance(one.device.settings, TcpSettings)
        assert (one.device.name, one.device.settings.host) == ("oven", "10.0.0.5")
        assert temperature.report is not None
        assert (temperature.unit, temperature.scale, temperature.report.deadband) == ("°C", 0.1, 0.005)
        assert (setpoint.writable, setpoint.low, setpoint.report) == (True, -1.5, None)
        assert remarks == [f"{tmp_path}/tags.csv: not taken over: note"]


def test_a_devices_keys_may_stand_in_any_of_its_rows(tmp_path: Path) -> None:
    rows = ["oven,a,MW0:INT,,", "mixer,b,coil:1,,", "oven,c,MW2:INT,s7,10.0.0.5", "oven,d,MW4:INT,s7,"]
    (tmp_path / "tags.csv").write_text("\n".join(["device,name,address,device.protocol,device.host", *rows]))
    lines, _ = imported(tmp_path / "tags.csv", ASSUMED)
    (tmp_path / "back.yaml").write_text("\n".join(lines))
    oven, mixer = (one.device for one in config.load(tmp_path / "back.yaml"))
    assert isinstance(oven.settings, S7Settings)
    assert isinstance(mixer.settings, TcpSettings)
    assert (oven.protocol, oven.settings.host, [tag.name for tag in oven.tags]) == ("s7", "10.0.0.5", ["a", "c", "d"])
    assert (mixer.protocol, mixer.settings.host) == ("modbus-tcp", "10.0.0.7"), "as is assumed"


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("device.host", ["10.0.0.1", "10.0.0.2"], "3: device.host of a is '10.0.0.2' here, and '10.0.0.1' in row 2"),
        ("on_change", ["perhaps"], "2: on_change 'perhaps' is neither yes nor no"),
        ("device.insecure_password", ["maybe"], "2: device a: unknown key 'insecure_password'"),
        ("device.hots", ["x"], "2: device a: unknown key 'hots'"),
        ("device.breaker,device.breaker.failures", ["1,2"], "device.breaker.failures stands beside a column"),
        ('"device.x: {"', ["1"], "names no key"),
        ("device.protocol", ["profinet"], "2: device a: unknown protocol 'profinet'"),
        ("scale", ['"0,5"'], "2: scale '0,5' is not a number"),
    ],
)
def test_what_is_wrong_in_a_sheet_is_said_with_its_row(header: str, rows: list[str], said: str, tmp_path: Path) -> None:
    lines = [f"a,t{number},holding:4000{number}:int16,{row}" for number, row in enumerate(rows, 1)]
    (tmp_path / "tags.csv").write_text("\n".join([f"device,name,address,{header}", *lines]))
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path / "tags.csv", ASSUMED)
    assert f"{tmp_path}/tags.csv:" in str(caught.value)
    assert said in str(caught.value)


def test_what_an_encoding_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="'Ω' is not in cp1252: use --encoding utf-8"):
        sheet.encoded("R in Ω", "cp1252")
