"""The command line as a process: what it imports, and how a shell completes it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLANT = "devices: [{name: a, protocol: modbus-tcp, host: h, tags: [{name: t, address: 'coil:1'}]}]"
HEAVY = {"asyncua", "psycopg", "snap7", "aiohttp", "rich", "cryptography"}
IMPORTED = """
import sys
from nexus.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code or 0
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *arguments], env=given, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "more", "code"),
    [
        (["--help"], {"pydantic", "structlog", "asyncio"}, 0),
        (["--version"], {"pydantic", "structlog", "asyncio"}, 0),
        (["health"], {"structlog", "msgspec", "yaml"}, 1),  # a container asks every ten seconds
        (["secrets"], {"structlog", "msgspec", "yaml"}, 2),
        (["check"], {"structlog", "tenacity", "prometheus_client", "mqtt5"}, 0),
    ],
)
def test_only_what_is_needed_is_imported(arguments: list[str], more: set[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(PLANT)
    paths = [str(tmp_path)] if arguments == ["check"] else []
    done = python("-c", IMPORTED, *arguments, *paths, NEXUS_HEALTH_PORT="1")
    assert done.returncode == code, done.stderr
    assert not (HEAVY | more) & set(done.stderr.split())


@pytest.mark.parametrize(
    ("service", "others"),
    [
        ("gateway.service", {"pymodbus", "serial", "asyncua", "snap7", "cryptography", "psycopg", "ingestion"}),
        ("ingestion.service", {"pymodbus", "serial", "asyncua", "snap7", "cryptography", "sqlite3", "gateway"}),
    ],
)
def test_a_service_imports_no_driver_before_a_device_needs_it(service: str, others: set[str]) -> None:
    done = python("-c", f"import sys, {service}; print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert done.returncode == 0, done.stderr
    assert not others & set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nexus ch", ["check"]),
        ("nexus db mig", ["migrate"]),
        ("nexus read --dev", ["--devices"]),
        ("nexus read a", ["a", "a2"]),
        ("nexus write a2 t", ["t", "t2"]),
        ("nexus plan --devices none.yaml a", []),
    ],
)
def test_a_shell_completes_commands_options_devices_and_tags(words: str, expected: list[str], tmp_path: Path) -> None:
    tags = "tags: [{name: t, address: 'coil:1'}, {name: t2, address: 'coil:2'}]"
    more = f"{{name: a2, protocol: modbus-tcp, host: h2, {tags}}}"
    (tmp_path / "plant.yaml").write_text(PLANT.removesuffix("]") + f", {more}]")
    given = {"_NEXUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = python("-m", "nexus", NEXUS_DEVICES=str(tmp_path), **given)
    assert (done.stdout.split(), done.stderr) == (expected, "")


def test_the_version_is_that_of_the_package() -> None:
    done = python("-m", "nexus", "--version")
    assert (done.returncode, done.stdout.startswith("nexus-edge ")) == (0, True)


WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from nexus.cli import main
main(sys.argv[1:])
"""
PROTOCOLS = "pymodbus,serial,asyncua,cryptography,snap7"


@pytest.mark.parametrize(
    ("missing", "arguments", "said"),
    [
        ("pymodbus", ["check", "{plant}"], "protocol modbus-tcp needs the package pymodbus: pip install 'nexus-edge[modbus]'"),
        ("asyncua", ["browse", "opc.tcp://127.0.0.1:4840"], "needs the package asyncua: pip install 'nexus-edge[opcua]'"),
        ("asyncua", ["simulate"], "needs the package asyncua: pip install 'nexus-edge[opcua]'"),
        ("pymodbus", ["probe", "127.0.0.1", "coil:1"], "needs the package pymodbus: pip install 'nexus-edge[modbus]'"),
        (PROTOCOLS, ["schema"], "protocol s7 needs the package snap7"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named(missing: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(PLANT)
    given = [one.format(plant=tmp_path / "plant.yaml") for one in arguments]
    done = python("-c", WITHOUT, missing, *given)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_the_image_needs_no_rich() -> None:
    for arguments, code in (["--help"], 0), (["nonsense"], 2):
        done = python("-c", WITHOUT, "rich,pygments,markdown_it,mdurl", *arguments)
        assert (done.returncode, "Usage: nexus" in done.stdout + done.stderr) == (code, True), done.stderr


def test_each_part_runs_without_what_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(PLANT)
    done = python("-c", WITHOUT, "asyncua,cryptography,snap7", "check", str(tmp_path))
    assert done.returncode == 0, done.stderr
    done = python("-c", WITHOUT, "asyncua,cryptography,snap7", "schema")
    assert (done.returncode, "left out: protocol opcua needs" in done.stderr) == (0, True), done.stderr
    # An ingester, and a gateway's own parts, without any protocol: both get as far as the wrong setting.
    for arguments in (["ingest"], ["gateway", "--devices", str(tmp_path)]):
        done = python("-c", WITHOUT, PROTOCOLS, *arguments, NEXUS_MQTT_URL="nonsense")
        assert (done.returncode, "NEXUS_MQTT_URL" in done.stderr) == (2, True), done.stderr
