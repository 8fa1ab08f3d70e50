"""Drivers of other packages: they are found, and a broken one costs itself only."""

from pathlib import Path

import pytest

from gateway import drivers
from gateway.config import devices as config
from gateway.tools.schema import schema
from nexus.process.errors import ConfigError
from tests.conformance.packages import EXAMPLE, Site

METER = "  - {name: meter, protocol: modbus-tcp, host: 127.0.0.1, tags: [{name: t, address: 'coil:1'}]}\n"
PAGE = Path(__file__).parents[2] / "docs/protocols/own-driver.md"


def check(folder: Path, protocol: str) -> str:
    """What `nexus check` says of a device of the protocol, beside one that is right."""
    file = folder / "plant.yaml"
    file.write_text(f"devices:\n{METER}  - {{name: own, protocol: {protocol}, tags: [{{name: t, address: x}}]}}\n")
    with pytest.raises(ConfigError) as raised:
        config.load(file)
    return str(raised.value)


def test_a_driver_that_is_installed_is_a_protocol_like_ours(site: Site) -> None:
    assert "lines" not in drivers.names()
    site.install_example()
    assert drivers.names() == (*drivers.BUILT_IN, "lines")
    assert not drivers.is_loaded("lines")
    assert "lines" in drivers.load("lines").settings
    assert drivers.is_loaded("lines")


def test_the_page_on_it_shows_a_device_that_is_accepted(tmp_path: Path, site: Site) -> None:
    site.install_example()
    (tmp_path / "plant.yaml").write_text(PAGE.read_text().split("```yml\n")[1].split("```")[0])
    [one] = config.load(tmp_path / "plant.yaml")
    assert [tag.address for tag in one.device.tags] == ["weight", "tare"]
    [request] = one.driver.requests(one.device)
    assert (request.tags, one.driver.bus(one.device.settings)) == (("weight", "tare"), None)


def test_the_example_declares_its_module_as_the_page_shows() -> None:
    entry = '[project.entry-points."nexus.drivers"]\nlines = "nexus_lines"\n'
    assert entry in (EXAMPLE / "pyproject.toml").read_text()
    assert entry in PAGE.read_text()


def test_wrong_keys_and_addresses_are_said_as_they_are_of_ours(tmp_path: Path, site: Site) -> None:
    site.install_example()
    file = tmp_path / "plant.yaml"
    tags = "[{name: t, address: '4 2'}]"
    file.write_text(f"devices:\n  - {{name: own, protocol: lines, host: h, prot: 1, tags: {tags}}}\n")
    with pytest.raises(ConfigError) as raised:
        config.load(file)
    said = str(raised.value)
    assert "plant.yaml:2: device own, tag t: address '4 2': write the name of a channel" in said
    assert "'prot'" in said
    assert "'port'" in said
    assert "did you mean 'lines'?" in check(tmp_path, "line")


def test_the_schema_has_it(site: Site) -> None:
    site.install_example()
    found, remarks = schema()
    assert remarks == []
    assert found["$defs"]["lines-whole"] == {"required": ["name", "protocol", "tags", "host"]}
    assert found["$defs"]["lines-tag"]["properties"]["address"]["examples"] == ["level"]


BROKEN = {
    "is not there": ("gone_module", {}, "cannot be imported: ModuleNotFoundError"),
    "raises": ("own", {"own": "raise RuntimeError('made for another version')"}, "made for another version"),
    "leaves": ("own", {"own": "import sys; sys.exit(3)"}, "SystemExit(3)"),
    "is no Python": ("own", {"own": "def ("}, "SyntaxError"),
    "has none": ("own", {"own": ""}, "has no `DRIVER`"),
    "has another thing": ("own", {"own": "DRIVER = 7"}, "has no `DRIVER`"),
    "has another name": ("own", {"own": (EXAMPLE / "nexus_lines.py").read_text()}, "no settings for own"),
}


@pytest.mark.parametrize(("module", "code", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_package_that_cannot_be_loaded_is_named_and_costs_itself(
    module: str, code: dict[str, str], said: str, tmp_path: Path, site: Site
) -> None:
    site.install("acme-own", {"own": module}, code)
    found = check(tmp_path, "own")
    assert "plant.yaml:3: device own: protocol own of the package acme-own" in found
    assert said in found
    assert found.count("\n") == 0
    made, remarks = schema()
    assert "modbus-tcp" in made["$defs"]
    assert "own" not in made["$defs"]
    assert ["acme-own" in remark for remark in remarks] == [True]


FAULTY = """
from nexus_lines import DRIVER, Settings
from dataclasses import replace

def fails(*_):
    raise RuntimeError("slip")

DRIVER = replace(DRIVER, settings={"own": Settings}, %s=fails)
"""


@pytest.mark.parametrize("part", ["parse_address", "requests", "bus"])
def test_a_fault_in_its_code_is_its_package_s(part: str, tmp_path: Path, site: Site) -> None:
    site.install_example()
    site.install("acme-own", {"own": "acme_own"}, {"acme_own": FAULTY % part})
    file = tmp_path / "plant.yaml"
    file.write_text(f"devices:\n{METER}  - {{name: own, protocol: own, host: h, tags: [{{name: t, address: x}}]}}\n")
    with pytest.raises(ConfigError) as raised:
        config.load(file)
    assert str(raised.value).startswith(f"{file}:3: device own: cannot be checked: RuntimeError('slip')")
    assert str(raised.value).endswith("this is a fault of the package acme-own, please report it there")


def test_of_two_packages_with_one_name_neither_is_taken(tmp_path: Path, site: Site) -> None:
    site.install_example()
    site.install("acme-lines", {"lines": "acme_lines"}, {"acme_lines": ""})
    assert "the package acme-lines is also one of nexus-lines: uninstall all but one" in check(tmp_path, "lines")


def test_ours_cannot_be_replaced(site: Site) -> None:
    before = drivers.load("s7")
    site.install("acme-s7", {"s7": "acme_s7"}, {"acme_s7": "raise RuntimeError"})
    assert drivers.load("s7") is before
    assert drivers.names() == tuple(drivers.BUILT_IN)


def test_a_package_whose_metadata_is_broken_hides_no_other(site: Site) -> None:
    metadata = site.install("acme-own", {"own": "own"}, {})
    (metadata / "entry_points.txt").write_bytes(b"[nexus.drivers]\nno equals sign \xff\n")
    site.install_example()
    assert drivers.names() == (*drivers.BUILT_IN, "lines")


def test_one_that_is_gone_is_said(site: Site) -> None:
    """As when it is uninstalled while the gateway runs."""
    assert drivers.whose("lines") == "the driver"
    with pytest.raises(ConfigError, match="no package offers protocol lines"):
        drivers.load("lines")
    site.install_example()
    assert drivers.whose("lines") == "the driver of the package nexus-lines"
