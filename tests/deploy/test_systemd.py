"""The systemd units start what there is, and give it time to stop."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infrastructure/systemd"
UNITS = sorted(FOLDER.iterdir())
STOP_SECONDS = 10  # both services end within these

units = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def settings(unit: Path) -> dict[str, str]:
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@units
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    [command, *arguments] = shlex.split(settings(unit)["ExecStart"].partition("/opt/nexus/bin/")[2])
    assert command == "nexus"
    done = subprocess.run(
        [sys.executable, "-m", "nexus", *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@units
def test_a_unit_waits_for_a_clean_stop(unit: Path) -> None:
    assert int(settings(unit)["TimeoutStopSec"]) > STOP_SECONDS


def test_ingesters_of_one_host_have_a_health_port_each() -> None:
    assert "NEXUS_HEALTH_PORT=%i " in settings(FOLDER / "nexus-ingest@.service")["ExecStart"]


@units
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    copy = tmp_path / unit.name.replace("@.", "@8091.")
    copy.write_text(unit.read_text().replace("/opt/nexus/bin/nexus", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert copy.name not in done.stderr, "it warns"
